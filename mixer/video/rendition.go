package video

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/codec/yuv"
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
		next time.Duration // PTS from which a frame is taken again
		// wanted says which reasons wait for a key frame.
		wanted [NumKeyReasons]bool
		stats  RenditionStats
	}

	enc encoding // of the task alone
}

// encoding is what the task keeps between frames.
type encoding struct {
	encoder       codec.VideoEncoder
	width, height int
	bitrateBps    int
	speed         int
	broken        bool          // the encoder is to be made anew
	started       bool          // lastPTS means something
	lastPTS       time.Duration // of the last frame given to the encoder
	keyed         bool          // lastKey means something
	lastKey       time.Duration // PTS of the last key frame
	failed        bool          // lastFail means something
	lastFail      time.Duration // PTS of the last encoder error
	lastLog       time.Duration // on codec.Now's clock; 0 is never
}

// RenditionStats counts since the Rendition was made.
type RenditionStats struct {
	// Written is the frames the tier's rate let through.
	Written uint64
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
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
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
	r.want(KeySubscribe)
	r.mu.Unlock()
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
	r.mu.Unlock()
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

// SetPassthrough makes the frames that src receives the rendition's own, from
// src's next key frame on; nil ends that. It does not block.
func (r *Rendition) SetPassthrough(src *Source) {}

// Encodes reports whether the rendition needs the canvas: somebody watches,
// and what he gets is not passed through.
func (r *Rendition) Encodes() bool { return len(*r.subs.Load()) > 0 }

// Write lends a canvas; changed says whether it differs from the one before.
// It never blocks: a frame that finds the encoder busy replaces the one that
// waits. Frames beyond the tier's rate, and all while nobody is subscribed,
// are ignored. PTS must grow.
func (r *Rendition) Write(f *codec.VideoFrame, changed bool) {
	r.mu.Lock()
	if r.mu.closed || len(*r.subs.Load()) == 0 || !r.due(f.PTS) {
		r.mu.Unlock()
		return
	}
	r.mu.stats.Written++
	if r.mu.slot != nil {
		r.mu.slot.Release()
		r.mu.stats.Skipped++
	}
	r.mu.slot = f.Retain()
	r.mu.Unlock()
	r.c.Pool.Submit(r.task, codec.Now()+r.interval)
}

// due reports whether the tier's rate lets a frame of that PTS through, and
// counts it: of a 30 fps canvas a 15 fps tier takes every second frame. The
// caller holds mu.
func (r *Rendition) due(pts time.Duration) bool {
	next := r.mu.next
	if pts+tickSlack < next && next-pts < 2*r.interval {
		return false
	}
	next += r.interval
	if d := next - pts; d < 0 || d > 2*r.interval {
		next = pts + r.interval // frames were missing: do not catch up in a burst
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
	r.mu.Unlock()
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

// run is the task: the frame in the mailbox, if any.
func (r *Rendition) run() {
	r.mu.Lock()
	closed, slot := r.mu.closed, r.mu.slot
	r.mu.slot = nil
	r.mu.Unlock()
	watched := len(*r.subs.Load()) > 0
	if slot != nil && !closed && watched {
		r.encode(slot)
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

// encode codes one canvas and lends the result to everybody. Of the task.
func (r *Rendition) encode(canvas *codec.VideoFrame) {
	e := &r.enc
	pts := canvas.PTS
	if e.started && pts <= e.lastPTS {
		return // an encoder's time never stands still
	}
	start := codec.Now()
	w, h := r.c.Tier.sizeOf(canvas.Width, canvas.Height)
	if !r.prepare(w, h, pts) {
		return
	}
	picture := canvas
	if w != canvas.Width || h != canvas.Height {
		scaled, err := r.c.Frames.Get(w, h)
		if err == nil {
			defer scaled.Release()
			err = yuv.Scale(scaled, canvas)
		}
		if err != nil {
			r.count(func(s *RenditionStats) { s.NoMemory++ })
			return
		}
		picture = scaled
	}
	key, answered := r.keyDue(pts)
	e.started, e.lastPTS = true, pts
	out, err := e.encoder.Encode(picture, pts, key)
	if err != nil {
		r.unanswer(answered)
		r.encodeFailed(err, pts)
		return
	}
	r.published(out, pts, codec.Now()-start, answered)
	r.deliver(out)
	out.Release()
}

// prepare makes the encoder fit the size and bitrate, and reports whether
// there is one. Of the task.
func (r *Rendition) prepare(w, h int, pts time.Duration) bool {
	e := &r.enc
	bps, speed := int(r.bitrate.Load()), int(r.speed.Load())
	reason := KeyStart
	if e.encoder != nil && (e.broken || e.width != w || e.height != h) {
		reason = KeySize
		r.dropEncoder()
	}
	if e.broken {
		reason = KeyError
	}
	if e.encoder == nil {
		// An encoder that fails at once is not to cost a key frame per tick.
		if e.failed && pts-e.lastFail < keyWindow {
			return false
		}
		encoder, err := r.c.NewEncoder(codec.VideoEncoderConfig{
			Width: w, Height: h, FPS: r.c.Tier.FPS, BitrateBps: bps,
			TemporalLayers: 2, Speed: speed, Screen: r.c.Screen,
		})
		if err != nil {
			r.encodeFailed(err, pts)
			return false
		}
		e.encoder, e.width, e.height, e.bitrateBps, e.speed, e.broken = encoder, w, h, bps, speed, false
		r.RequestKeyframe(reason)
		e.keyed = false // what it codes first is a key frame, window or not
	}
	if e.bitrateBps != bps {
		if err := e.encoder.SetBitrate(bps); err != nil {
			r.encodeFailed(err, pts)
			return false
		}
		e.bitrateBps = bps
	}
	if e.speed != speed {
		if err := e.encoder.SetSpeed(speed); err != nil {
			r.encodeFailed(err, pts)
			return false
		}
		e.speed = speed
	}
	return true
}

// keyDue says whether the frame at pts is to be a key frame, and which reasons
// that answers. Of the task.
func (r *Rendition) keyDue(pts time.Duration) (key bool, answered [NumKeyReasons]bool) {
	if r.enc.keyed && pts-r.enc.lastKey < keyWindow {
		return false, answered
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answered = r.mu.wanted
	r.mu.wanted = [NumKeyReasons]bool{}
	return answered != [NumKeyReasons]bool{}, answered
}

// unanswer puts reasons back whose key frame did not come. Of the task.
func (r *Rendition) unanswer(reasons [NumKeyReasons]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, wanted := range reasons {
		r.mu.wanted[i] = r.mu.wanted[i] || wanted
	}
}

// encodeFailed counts err. Of the task.
func (r *Rendition) encodeFailed(err error, pts time.Duration) {
	if errors.Is(err, codec.ErrDropped) {
		r.count(func(s *RenditionStats) { s.RateDropped++ })
		return
	}
	e := &r.enc
	e.broken, e.failed, e.lastFail = true, true, pts
	r.count(func(s *RenditionStats) { s.Errors++ })
	if now := codec.Now(); e.lastLog == 0 || now-e.lastLog >= time.Second {
		e.lastLog = now
		r.c.Log.Error("video encoder failed; making a new one", "tier", r.c.Tier.String(), "err", err)
	}
}

// published counts a coded frame and what it answered. Of the task.
func (r *Rendition) published(out *codec.EncodedFrame, pts, took time.Duration, answered [NumKeyReasons]bool) {
	if out.Key {
		r.enc.keyed, r.enc.lastKey = true, pts
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.mu.stats
	s.Encoded++
	s.Bytes += uint64(len(out.Data))
	s.EncodeTime += took
	s.EncodeTimes.Observe(took)
	if !out.Key {
		return
	}
	s.Keyframes++
	for reason := NumKeyReasons; reason > 0; reason-- {
		if answered[reason-1] {
			s.KeyframesFor[reason-1]++
			break
		}
	}
}

// deliver lends out to everybody who can use it. Of the task. The list is read
// here and not before the encode: whoever's wish this key frame answered was
// in the list by the time the wish was read.
func (r *Rendition) deliver(out *codec.EncodedFrame) {
	for _, s := range *r.subs.Load() {
		if s.closed.Load() || !out.Key && !s.started {
			continue
		}
		s.started = true
		if s.sink.WriteVideo(out) == codec.NeedKey {
			r.RequestKeyframe(KeySink)
		}
	}
}

func (r *Rendition) count(add func(*RenditionStats)) {
	r.mu.Lock()
	add(&r.mu.stats)
	r.mu.Unlock()
}

// dropEncoder frees the encoder. Of the task, or of finish.
func (r *Rendition) dropEncoder() {
	if r.enc.encoder != nil {
		r.enc.encoder.Close()
		r.enc.encoder = nil
	}
}
