package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
	"mixdown/transport/transporttest"
)

// Config says what room to measure.
type Config struct {
	// Participants join, of whom the first Talkers talk. Required.
	Participants, Talkers int
	// Duration is what is measured, after Warmup of the same.
	Duration, Warmup time.Duration
	// Impair is what the last ImpairCount participants' links do, both ways.
	Impair      transporttest.Spec
	ImpairCount int
	// Clips is the directory that fetch-clips.sh fills.
	Clips string
	// Executable is run as the server, unless URL and PID name a running one.
	Executable string
	URL        string
	PID        int
	// Log gets the server's log and what happens; it may be io.Discard.
	Log io.Writer
}

// Validate reports what is wrong with the numbers.
func (c *Config) Validate() error {
	switch {
	case c.Participants < 1 || c.Participants > 500:
		return fmt.Errorf("%d participants: want 1..500", c.Participants)
	case c.Talkers < 0 || c.Talkers > c.Participants:
		return fmt.Errorf("%d talkers: want 0..%d", c.Talkers, c.Participants)
	case c.Duration < time.Second:
		return fmt.Errorf("duration %v: want 1s or more", c.Duration)
	case c.ImpairCount < 0 || c.ImpairCount > c.Participants:
		return fmt.Errorf("%d impaired: want 0..%d", c.ImpairCount, c.Participants)
	case (c.URL == "") != (c.PID == 0):
		return errors.New("a running server needs both its URL and its process id")
	}
	return nil
}

// tailSeconds is how much of what everybody heard is decoded for tones at most.
// The longer, the less coding noise there is in a tone's bin.
const tailSeconds = 60

// Room runs one measurement. It takes Duration and half a minute more.
func Room(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	logf := func(format string, args ...any) { fmt.Fprintf(cfg.Log, "bench: "+format+"\n", args...) }
	logf("making %d streams", cfg.Participants)
	members, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	canvas := layout.Canvas{Width: 1280, Height: 720, FPS: 30}
	work, err := newFloorWork(members, []video.Tier{{Width: canvas.Width, Height: canvas.Height, FPS: canvas.FPS}}, canvas)
	if err != nil {
		return nil, err
	}
	before, err := work.measure()
	if err != nil {
		return nil, err
	}
	paced, err := work.paced()
	if err != nil {
		return nil, err
	}
	srv := &server{url: cfg.URL, pid: cfg.PID}
	if cfg.URL == "" {
		data, err := os.MkdirTemp("", "mixdown-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(data)
		if srv, err = startServer(ctx, cfg.Executable, data, cfg.Log); err != nil {
			return nil, err
		}
	}
	r, err := measure(ctx, cfg, srv, members, logf)
	if err = errors.Join(err, srv.stop()); err != nil {
		return nil, err
	}
	after, err := work.measure()
	if err != nil {
		return nil, err
	}
	r.FloorBefore, r.FloorAfter, r.Floor = before, after, before.mean(after)
	r.PacedFloor = paced
	if r.Floor.Total > 0 {
		r.Ratio = r.ServerCores / r.Floor.Total
		r.PacedRatio = r.ServerCores / r.PacedFloor
	}
	return r, r.judgeSound(members, cfg.Talkers)
}

// measure joins everybody, watches for Duration, and has everybody leave.
func measure(ctx context.Context, cfg Config, srv *server, members []*member, logf func(string, ...any)) (r *Result, err error) {
	cert, err := client.NewCertificate()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	joined := 0
	defer func() {
		cancel()
		for _, m := range members[:joined] {
			err = errors.Join(err, <-m.result)
		}
	}()
	var keep atomic.Bool
	url := srv.url + "/r/bench"
	if strings.Contains(srv.url, "/r/") {
		url = srv.url
	}
	for _, m := range members {
		m.keep = keep.Load
		if err := m.join(ctx, url, cert, cfg); err != nil {
			return nil, err
		}
		joined++
		if err := m.connected(ctx, 15*time.Second); err != nil {
			return nil, err
		}
	}
	logf("%d joined, warming up for %v", joined, cfg.Warmup)
	var w witness
	wg.Go(func() { w.run(ctx) })
	if err := wait(ctx, cfg.Warmup); err != nil {
		return nil, err
	}
	logf("measuring for %v", cfg.Duration)
	start := take(ctx, srv, members)
	tail := min(cfg.Duration, tailSeconds*time.Second)
	if err := wait(ctx, cfg.Duration-tail); err != nil {
		return nil, err
	}
	keep.Store(true)
	if err := wait(ctx, tail); err != nil {
		return nil, err
	}
	keep.Store(false)
	end := take(ctx, srv, members)
	if err := errors.Join(start.err, end.err); err != nil {
		return nil, err
	}
	for _, m := range members {
		select {
		case err := <-m.result:
			m.result <- err
			return nil, fmt.Errorf("participant %d left: %w", m.index+1, err)
		default:
		}
	}
	return evaluate(cfg, members, &w, start, end), nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// snapshot is everything that counts at one instant.
type snapshot struct {
	at      time.Duration // codec.Now
	server  usage
	own     time.Duration
	clients []client.Stats
	metrics series
	err     error
}

func take(ctx context.Context, srv *server, members []*member) snapshot {
	s := snapshot{metrics: srv.scrape(ctx)}
	s.at = codec.Now()
	s.server, s.err = readUsage(srv.pid)
	s.own = ownCPU()
	for _, m := range members {
		s.clients = append(s.clients, m.client.Stats())
	}
	return s
}

// machine describes where this ran.
func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d x %s, %s", runtime.NumCPU(), model, runtime.Version())
}
