package video

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
)

// VideoSink takes coded pictures: a client, a recorder.
type VideoSink interface {
	// WriteVideo lends f: Retain to keep it. It must not block, is called on
	// a thread of the pool, never twice at the same time for one
	// Subscription, and begins with a key frame.
	WriteVideo(f *codec.EncodedFrame) codec.Verdict
}

// keyWindow is the shortest time between two key frames that were asked for:
// twenty people who join within two seconds cost seven, not twenty.
const keyWindow = 300 * time.Millisecond

// tickSlack is by how much a tick may come early: its PTS was rounded, and 60
// fps, the fastest canvas, has ticks three times as far apart.
const tickSlack = 5 * time.Millisecond

// KeyReason says who wants a key frame.
type KeyReason uint8

const (
	// KeySink is a sink whose Verdict was NeedKey.
	KeySink KeyReason = iota
	// KeyClient is a client that asked (PLI, FIR).
	KeyClient
	// KeySubscribe is a new subscriber.
	KeySubscribe
	// KeyStart is an encoder that was made because somebody watches again,
	// KeySize because the canvas has another size, KeyError because the one
	// before had failed.
	KeyStart
	KeySize
	KeyError
	// NumKeyReasons is how many there are.
	NumKeyReasons
)

// String returns the reason as metrics spell it.
func (r KeyReason) String() string {
	if r >= NumKeyReasons {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return [...]string{"sink", "client", "subscribe", "start", "size", "error"}[r]
}

// RenditionConfig says what a [Rendition] makes and with what.
type RenditionConfig struct {
	// Tier is the size, rate and bitrate.
	Tier Tier
	// Codec is what NewEncoder's encoders make. Defaults to VP8.
	Codec codec.Codec
	// NewEncoder makes the encoder, on the pool, when it is first needed.
	NewEncoder func(codec.VideoEncoderConfig) (codec.VideoEncoder, error)
	// Pool runs the scaling and encoding.
	Pool *worker.Pool
	// Frames holds the scaled picture.
	Frames *codec.VideoPool
	// Log is told of encoder errors, at most once a second. Defaults to none.
	Log *slog.Logger
	// Screen tunes the encoder for shared screens.
	Screen bool
	// Speed is the encoder's; 0 is the codec's default.
	Speed int
	// Epoch is PTS zero on [codec.Now]'s clock; of use for pass-through only.
	Epoch time.Duration
	// OnPassthrough is called when [Rendition.Encodes] may have changed by what a
	// passed source did. It must not block and is called with no lock held.
	// Defaults to nothing.
	OnPassthrough func()
}

// Rendition codes a canvas at one tier, once, for all who subscribe. It costs
// nothing while nobody does. All methods are safe for concurrent use.
type Rendition struct {
	c        RenditionConfig
	interval time.Duration
	task     *worker.Task
	done     chan struct{} // closed by finish
	once     sync.Once     // finish
	subs     atomic.Pointer[[]*Subscription]
	bitrate  atomic.Int64
	speed    atomic.Int64
	baseOnly atomic.Bool

	mu struct {
		sync.Mutex
		closed bool
		// The mailbox. Bound: one frame. Drop policy: the newer replaces the
		// older. Counter: RenditionStats.Skipped.
		slot *codec.VideoFrame
		base bool          // it is to be of the base layer
		next time.Duration // PTS from which a frame is taken again
		rest stillness
		pass passing
		// width and height are what was sent last; keep is the only size that may be
		// passed through, 0, 0 any.
		width, height int
		keep          [2]int
		// wanted says which reasons wait for a key frame.
		wanted [NumKeyReasons]bool
		stats  RenditionStats
	}

	enc encoding // of the task alone
}

// RenditionStats counts since the Rendition was made.
type RenditionStats struct {
	// Written is the frames the tier's rate let through.
	Written uint64
	// Still is frames that it let through as well but that were not worth coding,
	// because the canvas looked as before.
	Still uint64
	// Skipped is frames replaced in the mailbox because encoding was behind.
	Skipped uint64
	// Encoded is coded frames, Keyframes those of them that were key frames.
	Encoded, Keyframes uint64
	// KeyRequests counts what was asked for, by reason.
	KeyRequests [NumKeyReasons]uint64
	// KeyframesFor says why key frames were coded. One that answers several
	// reasons is counted under the last of them in the order above: it would
	// have come without the others. The rest of Keyframes nobody asked for.
	KeyframesFor [NumKeyReasons]uint64
	// RateDropped is frames that the encoder's rate control left out.
	RateDropped uint64
	// Errors is encoder failures; each costs a new encoder.
	Errors uint64
	// NoMemory is frames lost to the frame pool's budget.
	NoMemory uint64
	// Bytes is coded bytes.
	Bytes uint64
	// Passed is frames of a source that were passed through, PassedBytes their
	// size; PassDropped those that could not be: the task was behind, there had
	// been no key frame, or they did not suit the tier.
	Passed, PassedBytes, PassDropped uint64
	// Passing says that what is sent now is passed through.
	Passing bool
	// EncodeTime is the time spent in scaling and encoding, EncodeTimes that
	// of each picture.
	EncodeTime  time.Duration
	EncodeTimes worker.Histogram
	// CPU is the processor time of all that.
	CPU time.Duration
	// Subscribers is how many there are now.
	Subscribers int
}

// NewRendition returns a rendition without subscribers. It starts no goroutine.
func NewRendition(c RenditionConfig) (*Rendition, error) {
	if c.NewEncoder == nil || c.Pool == nil || c.Frames == nil {
		return nil, fmt.Errorf("rendition: NewEncoder, Pool and Frames must be set: %w", codec.ErrBadConfig)
	}
	if err := c.Tier.Validate(); err != nil {
		return nil, fmt.Errorf("rendition: tier: %w: %w", err, codec.ErrBadConfig)
	}
	if c.Codec == 0 {
		c.Codec = codec.VP8
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.OnPassthrough == nil {
		c.OnPassthrough = func() {}
	}
	r := &Rendition{c: c, interval: time.Second / time.Duration(c.Tier.FPS), done: make(chan struct{})}
	r.task = worker.NewTask(r.run)
	r.subs.Store(&[]*Subscription{})
	r.bitrate.Store(int64(c.Tier.bitrate()))
	r.speed.Store(int64(c.Speed))
	return r, nil
}

// Tier returns what the rendition was made for.
func (r *Rendition) Tier() Tier { return r.c.Tier }

// Codec returns what the pictures are coded in.
func (r *Rendition) Codec() codec.Codec { return r.c.Codec }

// Subscription is one sink's place at a [Rendition].
type Subscription struct {
	r       *Rendition
	sink    VideoSink
	closed  atomic.Bool
	started bool // has had a key frame; of the task alone
}

// Subscribe makes the rendition write to sink, from the next key frame on,
// which is asked for. Each call makes a subscription of its own.
func (r *Rendition) Subscribe(sink VideoSink) *Subscription {
	s := &Subscription{r: r, sink: sink}
	r.mu.Lock()
	if r.mu.closed {
		s.closed.Store(true)
		r.mu.Unlock()
		return s
	}
	// The list is replaced, not changed: the task reads it without the lock.
	list := append(slices.Clone(*r.subs.Load()), s)
	r.subs.Store(&list)
	if len(list) == 1 {
		r.mu.rest.lost() // the encoder will be a new one
	}
	r.want(KeySubscribe)
	ask := r.senderToAsk()
	r.mu.Unlock()
	ask.requestKeyframe()
	return s
}

// Close ends the subscription; twice is fine. It does not wait: a WriteVideo
// that runs on another thread may still be under way when Close returns,
// later ones do not begin.
func (s *Subscription) Close() {
	if s.closed.Swap(true) {
		return
	}
	r := s.r
	r.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(*r.subs.Load()), func(x *Subscription) bool { return x == s })
	r.subs.Store(&list)
	last := len(list) == 0 && !r.mu.closed
	r.mu.Unlock()
	if last {
		r.c.Pool.Submit(r.task, codec.Now()+r.interval) // frees the encoder
	}
}

// RequestKeyframe asks for a key frame for the sake of one client. Requests
// are merged: the first is answered by the next frame, later ones at most
// once per 300 ms. It does not block.
func (r *Rendition) RequestKeyframe(reason KeyReason) {
	r.mu.Lock()
	r.want(min(reason, NumKeyReasons-1))
	ask := r.senderToAsk()
	r.mu.Unlock()
	ask.requestKeyframe()
}

// want notes a wish for a key frame. The caller holds mu.
func (r *Rendition) want(reason KeyReason) {
	r.mu.wanted[reason] = true
	r.mu.stats.KeyRequests[reason]++
}

// SetBitrate changes the target from the next frame on, without a key frame.
// Zero means the tier's own. It does not block.
func (r *Rendition) SetBitrate(bps int) {
	if bps <= 0 {
		bps = r.c.Tier.bitrate()
	}
	r.bitrate.Store(int64(bps))
}

// SetSpeed changes the encoder's speed, 1 (slow) to 16, from the next frame on,
// without a key frame. Zero means what the rendition was made with. It does
// not block.
func (r *Rendition) SetSpeed(speed int) {
	if speed <= 0 {
		speed = r.c.Speed
	}
	r.speed.Store(int64(min(speed, maxSpeed)))
}

// maxSpeed is the fastest that any codec knows.
const maxSpeed = 16

// SetBaseLayerOnly leaves out the upper temporal layer from the next frame on:
// half the frames, about half the work, no key frame. It does not block.
func (r *Rendition) SetBaseLayerOnly(on bool) { r.baseOnly.Store(on) }

// Write lends a canvas; changed says whether it differs from the one before.
// It never blocks: a frame that finds the encoder busy replaces the one that
// waits. Frames beyond the tier's rate, most of a canvas at rest, and all while
// nobody is subscribed or what they get is passed through, are ignored. PTS
// must grow.
func (r *Rendition) Write(f *codec.VideoFrame, changed bool) {
	r.mu.Lock()
	r.mu.rest.dirty = r.mu.rest.dirty || changed
	if r.mu.closed || len(*r.subs.Load()) == 0 || !r.due(f.PTS) {
		r.mu.Unlock()
		return
	}
	ended, passes := r.canvasReady(f.PTS)
	if passes {
		r.mu.Unlock()
		return
	}
	take, base := r.mu.rest.take(f.PTS, r.mu.wanted != [NumKeyReasons]bool{})
	if take {
		r.mu.stats.Written++
		if r.mu.slot != nil {
			r.mu.slot.Release()
			r.mu.stats.Skipped++
		}
		r.mu.slot, r.mu.base = f.Retain(), base
	} else {
		r.mu.stats.Still++
	}
	r.mu.Unlock()
	if take {
		r.c.Pool.Submit(r.task, codec.Now()+r.interval)
	}
	if ended != nil {
		ended.src.untap(ended)
		r.c.OnPassthrough()
	}
}

// due reports whether the tier's rate lets a frame of that PTS through, and
// counts it: of a 30 fps canvas a 15 fps tier takes every second frame. The
// caller holds mu.
func (r *Rendition) due(pts time.Duration) bool {
	next, interval := r.mu.next, r.interval
	if r.baseOnly.Load() {
		interval *= 2
	}
	if pts+tickSlack < next && next-pts < 2*interval {
		return false
	}
	next += interval
	if d := next - pts; d < 0 || d > 2*interval {
		next = pts + interval // frames were missing: do not catch up in a burst
	}
	r.mu.next = next
	return true
}

// Stats returns a snapshot.
func (r *Rendition) Stats() RenditionStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := r.mu.stats
	stats.Subscribers = len(*r.subs.Load())
	stats.Passing = r.mu.pass.from != nil
	stats.CPU = r.task.CPU()
	return stats
}

// CPU returns the processor time that was spent so far. Any goroutine may ask.
func (r *Rendition) CPU() time.Duration { return r.task.CPU() }

// Close ends all subscriptions, waits for an encode that runs, and frees the
// encoder. No WriteVideo runs after it. Twice is fine. It must not be called
// from a sink's WriteVideo.
func (r *Rendition) Close() error {
	r.mu.Lock()
	r.mu.closed = true
	for _, s := range *r.subs.Load() {
		s.closed.Store(true)
	}
	r.subs.Store(&[]*Subscription{})
	taps := r.dropTaps()
	r.mu.Unlock()
	for _, t := range taps {
		t.src.untap(t)
	}
	r.c.Pool.Submit(r.task, codec.Now())
	select {
	case <-r.done:
	case <-r.c.Pool.Done(): // the task never runs again
		r.finish()
	}
	return nil
}

// finish frees everything, once, from the task or when no task runs.
func (r *Rendition) finish() {
	r.once.Do(func() {
		r.mu.Lock()
		slot := r.mu.slot
		r.mu.slot = nil
		r.mu.Unlock()
		if slot != nil {
			slot.Release()
		}
		r.dropEncoder()
		close(r.done)
	})
}

// run is the task: the frame in the mailbox, if any, or those that are passed
// through.
func (r *Rendition) run() {
	r.mu.Lock()
	closed, slot, base, passes := r.mu.closed, r.mu.slot, r.mu.base, r.mu.pass.from != nil
	r.mu.slot = nil
	r.mu.Unlock()
	watched := len(*r.subs.Load()) > 0
	switch {
	case closed || !watched:
	case passes:
		r.dropEncoder()
		r.passOn()
	case slot != nil && !r.encode(slot, base):
		r.mu.Lock()
		r.mu.rest.lost()
		r.mu.Unlock()
	}
	if slot != nil {
		slot.Release()
	}
	switch {
	case closed:
		r.finish()
	case !watched:
		r.dropEncoder()
	}
}
