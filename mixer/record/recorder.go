package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
)

// State is where a recording stands.
type State string

// A recording is starting until its first frame is in the file, and ends as
// complete or failed. Of a failed one there may be files all the same.
const (
	Starting State = "starting"
	Active   State = "active"
	Paused   State = "paused"
	Complete State = "complete"
	Failed   State = "failed"
)

// Final reports whether nothing will change any more.
func (s State) Final() bool { return s == Complete || s == Failed }

// Errors, to be tested with errors.Is.
var (
	// ErrNotFound says that there is no such recording, or part of one. It
	// also answers ids that no recording can have.
	ErrNotFound = errors.New("recording not found")
	// ErrActive says that a recording has not ended yet.
	ErrActive = errors.New("recording has not ended")
	// ErrFinal says that a recording has ended.
	ErrFinal = errors.New("recording has ended")
	// ErrEmpty says that nothing came that could be recorded.
	ErrEmpty = errors.New("nothing was recorded")
	// ErrInUse says that another process has the directory.
	ErrInUse = errors.New("recordings directory is in use by another process")
	// ErrClosed says that the Store was closed.
	ErrClosed = errors.New("recordings store is closed")
	// ErrBadConfig says that a configuration value is out of range; the
	// wrapping error names it.
	ErrBadConfig = errors.New("bad recording configuration")
)

// File is where a part goes; *os.File is one. Truncate and Sync are used when
// it has them.
type File interface {
	io.WriterAt
	io.Closer
}

// Config says what a Recorder records.
type Config struct {
	// Log gets the end of the recording. Defaults to nothing.
	Log *slog.Logger
	// Video says that the room has a canvas, so that pictures are waited for.
	Video bool
	// Create makes the file of a part, the first being 1. It is called by
	// Run's goroutine, may block, and is required.
	Create func(part int) (File, error)
	// RequestKeyframe asks for a key frame when the last one is KeyInterval
	// old: without it a recording of an hour may have one place to seek to.
	// It is called by Run's goroutine. Defaults to not asking.
	RequestKeyframe func()
	// KeyInterval, in media time. Defaults to 10 s.
	KeyInterval time.Duration
	// StartTimeout is how much sound is kept while waiting for the first key
	// frame before the recording starts without pictures. Defaults to 3 s,
	// at most 5 s.
	StartTimeout time.Duration
	// OnState is called with every change of State or number of parts, by
	// Run's goroutine, one call at a time, last with a final state. It may
	// block. Defaults to nothing.
	OnState func(Status)
	// Date goes into the file. Defaults to none.
	Date time.Time
	// MaxVideoFrames and MaxVideoBytes bound the queue of pictures. Default
	// to 300 (10 s at 30 fps) and 8 MiB.
	MaxVideoFrames, MaxVideoBytes int
	// MaxAudioFrames bounds the queue of sound. Defaults to 1000 (20 s).
	MaxAudioFrames int
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Create == nil {
		errs = append(errs, errors.New("Create: is required"))
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
		max   time.Duration
	}{
		{"KeyInterval", &c.KeyInterval, 10 * time.Second, time.Hour},
		{"StartTimeout", &c.StartTimeout, 3 * time.Second, 5 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < 0 || *d.value > d.max {
			errs = append(errs, fmt.Errorf("%s: %v: want 0..%v", d.name, *d.value, d.max))
		}
	}
	for _, n := range []struct {
		name  string
		value *int
		def   int
		max   int
	}{
		{"MaxVideoFrames", &c.MaxVideoFrames, 300, 1 << 16},
		{"MaxVideoBytes", &c.MaxVideoBytes, 8 << 20, 1 << 30},
		{"MaxAudioFrames", &c.MaxAudioFrames, 1000, 1 << 16},
	} {
		if *n.value == 0 {
			*n.value = n.def
		}
		if *n.value < 1 || *n.value > n.max {
			errs = append(errs, fmt.Errorf("%s: %d: want 1..%d", n.name, *n.value, n.max))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("record: %w: %w", ErrBadConfig, err)
	}
	return c, nil
}

// Part is one file of a recording.
type Part struct {
	Bytes    int64         `json:"bytes"`
	Duration time.Duration `json:"durationNs"`
	// Width and Height of the picture; 0 for sound alone.
	Width  int `json:"width,omitempty"`
	Height int `json:"height,omitempty"`
}

// Status is where a recording stands. Bytes and Duration are sums over Parts.
type Status struct {
	State    State
	Bytes    int64
	Duration time.Duration
	Parts    []Part
	// Err is why the recording failed.
	Err error
}

// Stats counts frames.
type Stats struct {
	// VideoWritten and AudioWritten went into a file.
	VideoWritten, AudioWritten uint64
	// VideoDropped were lost because the queue was full, or came between that
	// (or a pause) and the next key frame; VideoThinned because it was half
	// full and nothing references them; AudioDropped because theirs was full.
	VideoDropped, VideoThinned, AudioDropped uint64
	// Refused were out of order, empty or gigantic.
	Refused uint64
	// KeyRequests were made to keep the file seekable.
	KeyRequests uint64
	// QueuedMax is the most frames that ever waited.
	QueuedMax int
}

// add counts o in.
func (s *Stats) add(o Stats) {
	s.VideoWritten += o.VideoWritten
	s.AudioWritten += o.AudioWritten
	s.VideoDropped += o.VideoDropped
	s.VideoThinned += o.VideoThinned
	s.AudioDropped += o.AudioDropped
	s.Refused += o.Refused
	s.KeyRequests += o.KeyRequests
	s.QueuedMax = max(s.QueuedMax, o.QueuedMax)
}

// item is a frame in the queue; frames of different gen have a pause between.
type item struct {
	frame *codec.EncodedFrame
	gen   uint64
}

// Recorder writes one recording. Its methods are safe for concurrent use.
type Recorder struct {
	cfg     Config
	wake    chan struct{} // one slot: there is something for Run
	running atomic.Bool
	done    chan struct{} // closed when the state is final

	mu struct {
		sync.Mutex
		queue            []item // a ring; bounds in cfg
		head, n          int
		video, audio     int // frames queued, by kind
		videoBytes       int
		gen              uint64
		paused, stopping bool
		needKey          bool // pictures cannot go on without a key frame
		stream           codec.StreamID
		status           Status
		doneBytes        int64 // of the parts before the last
		doneDuration     time.Duration
		stats            Stats
		began            bool // a frame is in a file
	}

	out output // owned by Run
}

// New returns a Recorder that is ready to take frames; [Recorder.Run] starts
// it. [ErrBadConfig].
func New(cfg Config) (*Recorder, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Recorder{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.mu.queue = make([]item, cfg.MaxVideoFrames+cfg.MaxAudioFrames)
	r.mu.needKey = true
	r.mu.status.State = Starting
	r.out.rec = r
	return r, nil
}

// Run writes the file until [Recorder.Stop], the end of ctx (which drains and
// finishes the file just so), or a fault, which it returns. [ErrEmpty] when
// nothing had come. A second call waits for the same end.
func (r *Recorder) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		<-r.done
		return r.Status().Err
	}
	return r.run(ctx)
}

func (r *Recorder) run(ctx context.Context) error {
	var err error
	state, parts := Starting, 0
	for {
		var final bool
		if final, err = r.work(); final {
			break
		}
		if s, n := r.outline(); s != state || n != parts {
			state, parts = s, n
			r.report(r.Status())
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			r.stop()
		}
	}
	r.stop() // after a fault: nothing more is taken
	for it, ok := r.take(); ok; it, ok = r.take() {
		it.frame.Release()
	}
	err = errors.Join(err, r.out.close())
	if err == nil && !r.began() {
		err = ErrEmpty
	}
	r.mu.Lock()
	r.mu.status.State, r.mu.status.Err = Complete, err
	if err != nil {
		r.mu.status.State = Failed
	}
	stats := r.mu.stats
	r.mu.Unlock()
	st := r.Status()
	r.report(st)
	r.cfg.Log.Info("recording ended", "state", st.State, "duration", st.Duration, "bytes", st.Bytes,
		"videoDropped", stats.VideoDropped, "videoThinned", stats.VideoThinned,
		"audioDropped", stats.AudioDropped, "refused", stats.Refused)
	close(r.done)
	return err
}

func (r *Recorder) report(st Status) {
	if r.cfg.OnState != nil {
		r.cfg.OnState(st)
	}
}

// work writes what is queued and reports whether it is over: by an error, or
// because that was all there will be.
func (r *Recorder) work() (final bool, err error) {
	for {
		it, ok := r.take()
		if !ok {
			break
		}
		err := r.out.put(it)
		it.frame.Release()
		if err != nil {
			return true, err
		}
	}
	r.mu.Lock()
	paused, gen := r.mu.paused, r.mu.gen
	final = r.mu.stopping && r.mu.n == 0
	r.mu.Unlock()
	if final {
		return true, r.out.drain()
	}
	if paused {
		return false, r.out.pause(gen)
	}
	return false, nil
}

// WriteAudio takes a packet of sound. It lends f and never blocks.
func (r *Recorder) WriteAudio(f *codec.EncodedFrame) {
	if f.Codec != codec.Opus {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.mu.paused || r.mu.stopping:
	case r.mu.audio >= r.cfg.MaxAudioFrames:
		r.mu.stats.AudioDropped++
	default:
		r.mu.audio++
		r.push(f)
	}
}

// WriteVideo takes a picture. It lends f and never blocks. NeedKey says that a
// key frame would be used and nothing else.
func (r *Recorder) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	if f.Codec != codec.VP8 || !r.cfg.Video {
		return codec.Dropped
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.paused || r.mu.stopping {
		return codec.Dropped
	}
	free := r.cfg.MaxVideoFrames - r.mu.video
	freeBytes := r.cfg.MaxVideoBytes - r.mu.videoBytes
	half := free <= r.cfg.MaxVideoFrames/2 || freeBytes <= r.cfg.MaxVideoBytes/2
	if !f.Key && (r.mu.needKey || f.Stream != r.mu.stream) {
		if r.mu.began {
			r.mu.stats.VideoDropped++
		}
		r.mu.needKey = true
		if half { // no room for it yet: do not make the encoder work
			return codec.Dropped
		}
		return codec.NeedKey
	}
	if free <= 0 || len(f.Data) > freeBytes {
		r.mu.stats.VideoDropped++
		r.mu.needKey = true
		return codec.Dropped
	}
	if half && f.Discardable && !f.Key {
		r.mu.stats.VideoThinned++
		return codec.Dropped
	}
	r.mu.needKey, r.mu.stream = false, f.Stream
	r.mu.video++
	r.mu.videoBytes += len(f.Data)
	r.push(f)
	return codec.Sent
}

// push queues f. The caller holds mu and has counted it.
func (r *Recorder) push(f *codec.EncodedFrame) {
	r.mu.queue[(r.mu.head+r.mu.n)%len(r.mu.queue)] = item{f.Retain(), r.mu.gen}
	r.mu.n++
	r.mu.stats.QueuedMax = max(r.mu.stats.QueuedMax, r.mu.n)
	r.notify()
}

// take removes the oldest frame; its reference passes to the caller.
func (r *Recorder) take() (item, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.n == 0 {
		return item{}, false
	}
	it := r.mu.queue[r.mu.head]
	r.mu.queue[r.mu.head] = item{}
	r.mu.head, r.mu.n = (r.mu.head+1)%len(r.mu.queue), r.mu.n-1
	if it.frame.Codec == codec.VP8 {
		r.mu.video--
		r.mu.videoBytes -= len(it.frame.Data)
	} else {
		r.mu.audio--
	}
	return it, true
}

func (r *Recorder) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Pause stops taking frames; what was handed in before is written. Twice is
// fine. [ErrFinal] after the end.
func (r *Recorder) Pause() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.stopping {
		return ErrFinal
	}
	if !r.mu.paused {
		r.mu.paused, r.mu.needKey = true, true
		r.mu.gen++
		r.mu.status.State = Paused
		r.notify()
	}
	return nil
}

// Resume goes on, with pictures at the next key frame, which WriteVideo asks
// for. Twice is fine. [ErrFinal] after the end.
func (r *Recorder) Resume() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.stopping {
		return ErrFinal
	}
	if r.mu.paused {
		r.mu.paused = false
		r.mu.status.State = Starting
		if r.mu.began {
			r.mu.status.State = Active
		}
		r.notify()
	}
	return nil
}

// Stop ends the recording and returns when the file is final, or with ctx's
// error when that is sooner; the file gets finished all the same. What had
// been handed in is written. Later calls return the same.
func (r *Recorder) Stop(ctx context.Context) (Status, error) {
	r.stop()
	if r.running.CompareAndSwap(false, true) {
		_ = r.run(ctx) // Run never came; its error is in the status
	}
	select {
	case <-r.done:
		return r.Status(), nil
	case <-ctx.Done():
		return r.Status(), ctx.Err()
	}
}

// Close stops the recording and waits for the file to be final. It returns
// what the recording failed from. Twice is fine.
func (r *Recorder) Close() error {
	st, _ := r.Stop(context.Background())
	return st.Err
}

func (r *Recorder) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.stopping = true
	r.notify()
}

// Done is closed when the state is final.
func (r *Recorder) Done() <-chan struct{} { return r.done }

// Status returns where the recording stands.
func (r *Recorder) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.mu.status
	st.Parts = append([]Part(nil), st.Parts...)
	return st
}

// Stats returns the counters.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.stats
}

// outline is the part of the status that OnState tells.
func (r *Recorder) outline() (State, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.status.State, len(r.mu.status.Parts)
}

func (r *Recorder) began() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.began
}
