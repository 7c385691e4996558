package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer"
)

// Bounds of the flight recorder.
const (
	// flightAge is how much of the past is kept, at least, and flightBytes how
	// much memory that may take; a room of nine makes 0.2 MB a second.
	flightAge   = 5 * time.Second
	flightBytes = 16 << 20
	// maxDumpBytes bounds a dump, since flightBytes is only a wish to the
	// runtime; a trace that is cut off cannot be read, so it is not kept.
	maxDumpBytes = 4 * flightBytes
	// maxDumps files are kept; the oldest goes.
	maxDumps = 10
	// dumpInterval is the shortest time between two dumps: a machine that is
	// late is not to be busy with writing about it.
	dumpInterval = time.Minute
)

// Names of dumps: sorted by name they are sorted by time.
const (
	dumpPrefix = "late-"
	dumpSuffix = ".trace"
	dumpTime   = "20060102T150405.000Z"
	dumpTemp   = "unfinished.tmp"
)

// flightRecorder keeps the last seconds of the runtime's execution trace and
// writes them to a file when audio ticks run late: what goroutines, threads
// and the collector did just before, for `go tool trace`. A nil one is off.
//
// In a room of nine, switched on and off every four seconds on a busy machine,
// it cost between 2% and 5% of the server's processor time [m]: too much to be
// on while nobody asks what is wrong.
type flightRecorder struct {
	log      *slog.Logger
	root     *os.Root
	now      func() time.Time
	interval time.Duration
	// late is the signal to write. Bound: one. Drop policy: the newer is
	// dropped, since the one before writes about the same seconds. Counter:
	// suppressed.
	late chan lateTick

	ring *trace.FlightRecorder
	mu   sync.Mutex // one snapshot at a time, and none while it is being stopped
	on   bool       // under mu: the runtime traces

	dumps, suppressed, failed atomic.Uint64
}

// lateTick is why a dump is made.
type lateTick struct {
	room    mixer.RoomID
	late    time.Duration
	skipped int64
}

// newFlightRecorder makes dir if it is missing. Nothing is traced before Run.
func newFlightRecorder(dir string, log *slog.Logger) (*flightRecorder, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("--trace-dir: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("--trace-dir: %w", err)
	}
	return &flightRecorder{
		log: log, root: root, now: time.Now, interval: dumpInterval, late: make(chan lateTick, 1),
		ring: trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: flightAge, MaxBytes: flightBytes}),
	}, nil
}

// lateAudio is mixer.Config.LateTick: it asks for a dump and does not block.
func (f *flightRecorder) lateAudio(room mixer.RoomID, late time.Duration, skipped int64) {
	// It stands in the trace, too: that is where to look.
	trace.Logf(context.Background(), "late audio tick", "room %s, %v late, %d ticks skipped", room, late, skipped)
	select {
	case f.late <- lateTick{room, late, skipped}:
	default:
		f.suppressed.Add(1)
	}
}

// Run traces and writes dumps until ctx is done. It fails, without tracing,
// when the process has another flight recorder.
func (f *flightRecorder) Run(ctx context.Context) error {
	f.mu.Lock()
	err := f.ring.Start()
	f.on = err == nil
	f.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ring.Stop()
		f.on = false
	}()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case tick := <-f.late:
			now := f.now()
			if !last.IsZero() && now.Sub(last) < f.interval {
				f.suppressed.Add(1)
				continue
			}
			last = now
			f.dump(now, tick)
		}
	}
}

// dump writes one file and says so.
func (f *flightRecorder) dump(now time.Time, tick lateTick) {
	name := dumpPrefix + now.UTC().Format(dumpTime) + dumpSuffix
	err := f.write(name)
	if err == nil {
		f.dumps.Add(1)
		f.log.Warn("an audio tick was late: the seconds before are on file", "room", tick.room,
			"late", tick.late, "skipped", tick.skipped, "file", name)
		err = f.prune()
	} else {
		f.failed.Add(1)
	}
	if err != nil {
		f.log.Error("flight recorder", "error", err)
	}
}

// write makes the file under another name first: what has its name is whole.
func (f *flightRecorder) write(name string) (err error) {
	file, err := f.root.OpenFile(dumpTemp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	if err = errors.Join(f.snapshot(file), file.Close()); err == nil {
		err = f.root.Rename(dumpTemp, name)
	}
	if err != nil {
		err = errors.Join(err, f.root.Remove(dumpTemp))
	}
	return err
}

// prune removes the oldest dumps beyond maxDumps.
func (f *flightRecorder) prune() error {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), dumpPrefix) && strings.HasSuffix(e.Name(), dumpSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for len(names) > maxDumps {
		err = errors.Join(err, f.root.Remove(names[0]))
		names = names[1:]
	}
	return err
}

// errDumpTooLarge says that a trace has outgrown its bound.
var errDumpTooLarge = fmt.Errorf("the trace is larger than %d MiB", maxDumpBytes>>20)

// errFlightRecorderOff says that nothing is being traced.
var errFlightRecorderOff = errors.New("the flight recorder is off: start the server with --flight-recorder")

// snapshot writes what is kept to w.
func (f *flightRecorder) snapshot(w io.Writer) error {
	if f == nil {
		return errFlightRecorderOff
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on {
		return errFlightRecorderOff
	}
	_, err := f.ring.WriteTo(&boundedWriter{w, maxDumpBytes})
	return err
}

// boundedWriter fails once more than left bytes are written.
type boundedWriter struct {
	w    io.Writer
	left int
}

func (b *boundedWriter) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errDumpTooLarge
	}
	return b.w.Write(p)
}

// serve is GET /debug/flightrecorder. The trace is copied first, so that a slow
// client does not hold the recorder.
func (f *flightRecorder) serve(w http.ResponseWriter, _ *http.Request) {
	var copied bytes.Buffer
	switch err := f.snapshot(&copied); {
	case errors.Is(err, errFlightRecorderOff):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="mixdown.trace"`)
	_, _ = w.Write(copied.Bytes()) // the client may have gone
}

// Close lets the directory go. Twice is fine.
func (f *flightRecorder) Close() error {
	if f == nil {
		return nil
	}
	return f.root.Close()
}

// recorderCollector exposes the flight recorder; nil is one that is off.
type recorderCollector struct{ flight *flightRecorder }

var (
	flightOn         = desc("flight_recorder_on", "1 when the runtime's trace is recorded, else 0.")
	flightDumps      = desc("flight_recorder_dumps_total", "Traces written because an audio tick was late.")
	flightSuppressed = desc("flight_recorder_suppressed_total", "Late audio ticks not written about, since another was just before.")
	flightFailed     = desc("flight_recorder_failed_total", "Traces that could not be written.")
)

// Describe implements prometheus.Collector.
func (c recorderCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c recorderCollector) Collect(ch chan<- prometheus.Metric) {
	var on, dumps, suppressed, failed float64
	if f := c.flight; f != nil {
		f.mu.Lock()
		if f.on {
			on = 1
		}
		f.mu.Unlock()
		dumps, suppressed, failed = float64(f.dumps.Load()), float64(f.suppressed.Load()), float64(f.failed.Load())
	}
	ch <- prometheus.MustNewConstMetric(flightOn, prometheus.GaugeValue, on)
	ch <- prometheus.MustNewConstMetric(flightDumps, prometheus.CounterValue, dumps)
	ch <- prometheus.MustNewConstMetric(flightSuppressed, prometheus.CounterValue, suppressed)
	ch <- prometheus.MustNewConstMetric(flightFailed, prometheus.CounterValue, failed)
}
