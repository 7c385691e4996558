package video

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/layout"
)

// The queue of coded frames in front of the decoder. Bound: so many frames and
// bytes, whichever comes first. Drop policy: a frame that nothing references
// is dropped alone; else all up to the next key frame, which is asked for; a
// key frame replaces what waits. Counter: SourceStats.Overflow.
const (
	maxQueuedFrames = 8
	maxQueuedBytes  = 2 << 20
)

const (
	// decodeWithin is the decoding deadline after arrival: one tick at 30 fps.
	decodeWithin = 33 * time.Millisecond
	// starveAfter bounds how long scaling is skipped in favour of frames that
	// wait: a decoder that never catches up still shows ten pictures a second.
	starveAfter = 100 * time.Millisecond
)

// SourceConfig says what a [Source] works with. PixelRate, Screen and NewDecoder
// may be left out.
type SourceConfig struct {
	// Decoder is VP8's. It is taken over: the Source's Close closes it.
	Decoder codec.VideoDecoder
	// Pool runs the decoding.
	Pool *worker.Pool
	// Frames holds the decoded pictures.
	Frames *codec.VideoPool
	// RequestKeyframe asks the sender for a key frame. It is called for every
	// frame that cannot be used, from the caller of Write and from the pool, so
	// it must not block and is expected to merge requests.
	RequestKeyframe func()
	// PixelRate is how many coded pixels per second are decoded; above that
	// only key frames are. Defaults to 1920x1088 at 40 fps.
	PixelRate int
	// Screen is for a source of shared screens: pictures are scaled sharply.
	Screen bool
	// NewDecoder makes the decoder of another codec, on the pool, when the first
	// frame of that comes. Without it only VP8 is decoded.
	NewDecoder func(codec.Codec) (codec.VideoDecoder, error)
}

// Source is one sender's video: a bounded queue of coded frames, the decoder,
// and the pictures that are to be shown, at the size at which they are shown.
// All methods are safe for concurrent use.
type Source struct {
	decoder codec.VideoDecoder // used by the task only, and by finish
	decodes codec.Codec        // the decoder's; used likewise
	other   func(codec.Codec) (codec.VideoDecoder, error)
	pool    *worker.Pool
	frames  *codec.VideoPool
	ask     func()
	sharp   bool
	task    *worker.Task
	done    chan struct{}          // closed by finish
	once    sync.Once              // finish
	taps    atomic.Pointer[[]*tap] // who passes its coded frames on; nil is nobody

	mu struct {
		sync.Mutex
		queue   [maxQueuedFrames]*codec.EncodedFrame
		n       int
		bytes   int
		needKey bool // the next frame for the decoder must be a key frame
		seen    bool // a frame has ever come
		closed  bool
		// freshFrom is the PTS of the last key frame that ended needKey.
		freshFrom time.Duration
		incoming  incomingMeter

		width, height int  // target; 0, 0 is hidden
		fill          bool // crop to the target's shape
		redraw        bool // the target changed since the last picture

		due    dueQueue
		clock  transit
		epoch  uint64 // of clock: counts its jumps
		delay  time.Duration
		police police
		stats  SourceStats
	}

	// Of the task alone.
	decodedPTS time.Duration // of the decoder's picture
	lastShown  time.Duration // arrival of the last frame that became a picture
}

// SourceStats counts frames since the Source was made.
type SourceStats struct {
	// Received is all that Write was given.
	Received uint64
	// Decoded is how many of them went through the decoder, without error.
	Decoded uint64
	// DecodedPixels is how many luma samples these had.
	DecodedPixels uint64
	// Pictures is how many were scaled for display.
	Pictures uint64
	// Overflow is frames dropped because the decoder was behind.
	Overflow uint64
	// AwaitingKey is frames that were useless without a key frame.
	AwaitingKey uint64
	// Hidden is frames dropped because nobody sees the source.
	Hidden uint64
	// TooLarge, SizeChanges and TooManyPixels are frames refused by policing.
	TooLarge, SizeChanges, TooManyPixels uint64
	// Corrupt is frames that are no picture.
	Corrupt uint64
	// Unscaled is pictures not scaled because a newer frame waited already.
	Unscaled uint64
	// Superseded is pictures that were replaced before they were shown.
	Superseded uint64
	// NoMemory is pictures lost to the frame pool's budget.
	NoMemory uint64
	// KeyframeRequests is calls of RequestKeyframe.
	KeyframeRequests uint64
	// Width and Height are what the sender sends now.
	Width, Height int
	// Queued is how many coded frames wait now.
	Queued int
	// DecodeTime is the time spent in the decoder and in scaling, DecodeTimes
	// that of each frame, scaling included where there was any.
	DecodeTime  time.Duration
	DecodeTimes worker.Histogram
	// CPU is the processor time of all that.
	CPU time.Duration
}

// NewSource returns a source that is hidden until SetTarget. It starts no goroutine.
func NewSource(c SourceConfig) (*Source, error) {
	if c.Decoder == nil || c.Pool == nil || c.Frames == nil || c.RequestKeyframe == nil {
		return nil, fmt.Errorf("video source: Decoder, Pool, Frames and RequestKeyframe must be set: %w", codec.ErrBadConfig)
	}
	if c.PixelRate == 0 {
		c.PixelRate = defaultPixelRate
	}
	if c.PixelRate < 0 {
		return nil, fmt.Errorf("video source: PixelRate %d: want 0 (the default) or more: %w", c.PixelRate, codec.ErrBadConfig)
	}
	s := &Source{
		decoder: c.Decoder, decodes: codec.VP8, other: c.NewDecoder, pool: c.Pool, frames: c.Frames, ask: c.RequestKeyframe, sharp: c.Screen,
		done: make(chan struct{}),
	}
	s.task = worker.NewTask(s.run)
	s.mu.needKey = true
	s.mu.police.rate = float64(c.PixelRate)
	return s, nil
}

// Write queues a coded frame. It transfers f, never blocks, and drops what
// does not fit or must not be decoded.
func (s *Source) Write(f *codec.EncodedFrame) {
	header, err := parseHeader(f)
	deadline := f.Arrival + decodeWithin // read now: once queued, f may be gone at any time
	taps := s.taps.Load()
	if taps != nil {
		f.Retain()
	}
	s.mu.Lock()
	s.mu.incoming.observe(f, header)
	taken, request := s.take(f, header, err)
	if request {
		s.mu.stats.KeyframeRequests++
	}
	due := s.mu.clock.capture(f.PTS) + s.mu.delay
	s.mu.Unlock()
	if taken {
		s.pool.Submit(s.task, deadline) // merged if the task waits already
	} else {
		f.Release()
	}
	if request {
		s.ask()
	}
	if taps == nil {
		return
	}
	for _, t := range *taps {
		t.take(f, header, err != nil, due)
	}
	f.Release()
}

// take decides about f and queues it. The caller holds mu.
func (s *Source) take(f *codec.EncodedFrame, header codedHeader, err error) (taken, request bool) {
	mu := &s.mu
	if mu.closed {
		return false, false
	}
	mu.seen = true
	mu.stats.Received++
	// Also of what is not shown: who appears has to be in time from the start.
	if mu.clock.observe(f.PTS, f.Arrival) {
		mu.epoch++
	}
	if mu.width == 0 {
		mu.stats.Hidden++
		mu.needKey = true
		return false, false
	}
	if err != nil || f.Codec != codec.VP8 && s.other == nil {
		mu.stats.Corrupt++
		mu.needKey = true
		return false, true
	}
	if !header.Key && mu.needKey {
		mu.stats.AwaitingKey++
		return false, true
	}
	if len(f.Data) > maxQueuedBytes {
		mu.stats.Overflow++
		mu.needKey = true
		return false, true
	}
	if !s.admit(header, f.Arrival) {
		mu.needKey = true
		return false, true
	}
	if mu.n == maxQueuedFrames || mu.bytes+len(f.Data) > maxQueuedBytes {
		switch {
		case header.Key:
			mu.stats.Overflow += uint64(mu.n)
			s.dropQueue()
		case f.Discardable:
			mu.stats.Overflow++
			return false, false
		default:
			mu.stats.Overflow++
			mu.needKey = true
			return false, true
		}
	}
	if header.Key {
		if mu.needKey {
			mu.freshFrom = f.PTS
		}
		mu.needKey = false
	}
	mu.queue[mu.n] = f
	mu.n++
	mu.bytes += len(f.Data)
	return true, false
}

// admit asks the police and counts its refusals. The caller holds mu.
func (s *Source) admit(header codedHeader, arrival time.Duration) bool {
	stats, p := &s.mu.stats, &s.mu.police
	var r ruling
	if header.Key {
		r = p.key(header.decodedWidth, header.decodedHeight, arrival)
	} else {
		r = p.delta(arrival)
	}
	switch r {
	case tooLarge:
		stats.TooLarge++
	case tooManySizes:
		stats.SizeChanges++
	case tooManyPixels:
		stats.TooManyPixels++
	}
	if header.Key && r == pass {
		stats.Width, stats.Height = header.Width, header.Height
	}
	return r == pass
}

// dropQueue releases what waits for the decoder. The caller holds mu.
func (s *Source) dropQueue() {
	for i := range s.mu.n {
		s.mu.queue[i].Release()
	}
	clear(s.mu.queue[:])
	s.mu.n, s.mu.bytes = 0, 0
}

// SetTarget says at which size the source is shown: that of its largest tile,
// into which pictures are fitted with their aspect kept, or, with fill, cropped
// to its shape. Who shows it on several canvases asks for fill only when all of
// them do: what is cropped here is lost to the others. The picture that is being
// shown is rendered anew at once. 0, 0 hides the source: nothing is decoded
// until it is shown again, which asks for a key frame; until that comes, the
// last picture from before is shown. It does not block.
func (s *Source) SetTarget(width, height int, fill bool) {
	if width <= 0 || height <= 0 {
		width, height, fill = 0, 0, false
	}
	s.mu.Lock()
	if s.mu.closed || width == s.mu.width && height == s.mu.height && fill == s.mu.fill {
		s.mu.Unlock()
		return
	}
	appears := s.mu.width == 0
	s.mu.width, s.mu.height, s.mu.fill = width, height, fill
	request := false
	if width == 0 {
		// The frames that wait are dropped, so the decoder has lost the thread.
		s.mu.stats.Hidden += uint64(s.mu.n)
		s.dropQueue()
		s.mu.due.clear()
		s.mu.needKey = true
		s.mu.redraw = false
	} else {
		s.mu.redraw = true
		// A source from which nothing has come yet begins with a key frame anyway.
		request = appears && s.mu.needKey && s.mu.seen
	}
	if request {
		s.mu.stats.KeyframeRequests++
	}
	s.mu.Unlock()
	if width > 0 {
		s.pool.Submit(s.task, codec.Now()+decodeWithin)
	}
	if request {
		s.ask()
	}
}

// SetDelay makes pictures wait that long after their capture (see
// [Source.Transit]) before they are shown, for lip sync: they are shown at the
// pace at which they were taken. It starts at 0, where the newest picture is
// always the one that is due.
func (s *Source) SetDelay(d time.Duration) {
	s.mu.Lock()
	s.mu.delay = max(0, d)
	s.mu.Unlock()
}

// Transit relates the source's clock to the process's: capture instant = PTS +
// offset, by the fastest pictures of the last seconds, so with their network
// delay but without its jitter. It counts hidden pictures too. epoch changes when
// the source's clock jumps; it is 0 before the first picture. Any goroutine may ask.
func (s *Source) Transit() (offset time.Duration, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.clock.offset, s.mu.epoch
}

// Latest returns the picture to show at now (on [codec.Now]'s clock), retained
// for the caller, or nil; and a number that is different for every picture of
// this source, so that one who has drawn it knows. It does not block.
func (s *Source) Latest(now time.Duration) (*codec.VideoFrame, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.mu.due.latest(now)
	if f == nil {
		return nil, s.mu.due.version
	}
	return f.Retain(), s.mu.due.version
}

// Stats returns a snapshot.
func (s *Source) Stats() SourceStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.mu.stats
	stats.Superseded = s.mu.due.superseded
	stats.Queued = s.mu.n
	stats.CPU = s.task.CPU()
	return stats
}

// CPU returns the processor time that was spent so far. Any goroutine may ask.
func (s *Source) CPU() time.Duration { return s.task.CPU() }

// Close drops what waits, waits for a decoding that runs, and frees the
// decoder. Twice is fine; frames written later are released.
func (s *Source) Close() error {
	s.mu.Lock()
	s.mu.closed = true
	s.dropQueue()
	s.mu.Unlock()
	s.pool.Submit(s.task, codec.Now())
	select {
	case <-s.done:
	case <-s.pool.Done(): // the task never runs again
		s.finish()
	}
	return nil
}

// finish frees everything, once, when no task runs or from the task itself.
func (s *Source) finish() {
	s.once.Do(func() {
		s.mu.Lock()
		s.mu.due.clear()
		s.mu.Unlock()
		s.decoder.Close()
		close(s.done)
	})
}

// run is the task: at most one frame, at most one picture.
func (s *Source) run() {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		s.finish()
		return
	}
	f := s.pop()
	more, redraw := s.mu.n > 0, s.mu.redraw
	var due, dueNext time.Duration
	if f != nil {
		due = s.mu.clock.capture(f.PTS) + s.mu.delay
	}
	s.mu.redraw = false
	w, h, fill := s.mu.width, s.mu.height, s.mu.fill
	var next time.Duration
	if more {
		next = s.mu.queue[0].Arrival + decodeWithin
		dueNext = s.mu.clock.capture(s.mu.queue[0].PTS) + s.mu.delay
	}
	s.mu.Unlock()

	start := codec.Now()
	switch {
	case f != nil:
		// One that the next frame is due with will never be shown.
		s.decode(f, w, h, fill, due, redraw, more && dueNext <= start)
		f.Release()
	case redraw:
		s.render(w, h, fill, true, 0, 0)
	}
	took := codec.Now() - start
	s.mu.Lock()
	s.mu.stats.DecodeTime += took
	if f != nil {
		s.mu.stats.DecodeTimes.Observe(took)
	}
	s.mu.Unlock()
	if more {
		s.pool.Submit(s.task, next)
	}
}

// pop takes the oldest frame out of the queue. The caller holds mu.
func (s *Source) pop() *codec.EncodedFrame {
	if s.mu.n == 0 {
		return nil
	}
	f := s.mu.queue[0]
	copy(s.mu.queue[:], s.mu.queue[1:s.mu.n])
	s.mu.n--
	s.mu.queue[s.mu.n] = nil
	s.mu.bytes -= len(f.Data)
	return f
}

// decode feeds f to the decoder and, unless a newer frame waits that is due as
// well, makes the picture. Of the task.
func (s *Source) decode(f *codec.EncodedFrame, w, h int, fill bool, due time.Duration, redraw, more bool) {
	err := s.speak(f.Codec)
	if err == nil {
		err = s.decoder.Decode(f.Data)
	}
	if err != nil {
		s.failed(err)
		if redraw {
			s.render(w, h, fill, true, 0, 0)
		}
		return
	}
	s.decodedPTS = f.PTS
	skip := more && !redraw && f.Arrival-s.lastShown < starveAfter
	srcW, srcH := s.decoder.Size()
	s.mu.Lock()
	s.mu.stats.Decoded++
	s.mu.stats.DecodedPixels += uint64(srcW * srcH)
	if skip {
		s.mu.stats.Unscaled++
	}
	s.mu.Unlock()
	if skip || w == 0 {
		return
	}
	s.lastShown = f.Arrival
	s.render(w, h, fill, false, due, f.Arrival)
}

// speak makes the decoder one of that codec. Of the task.
func (s *Source) speak(c codec.Codec) error {
	if c == s.decodes {
		return nil
	}
	if s.other == nil {
		return codec.ErrCorrupt
	}
	decoder, err := s.other(c)
	if err != nil {
		return err
	}
	s.decoder.Close()
	s.decoder, s.decodes = decoder, c
	return nil
}

// failed drops what cannot be decoded any more and asks for a key frame. Of the task.
func (s *Source) failed(err error) {
	s.mu.Lock()
	stats := &s.mu.stats
	if errors.Is(err, codec.ErrTooLarge) {
		stats.TooLarge++
	} else if errors.Is(err, codec.ErrNeedKey) {
		stats.AwaitingKey++
	} else {
		stats.Corrupt++
	}
	// Frames up to the next key frame are useless. They are few, so they are
	// parsed again rather than marked.
	keep := 0
	for keep < s.mu.n {
		if header, err := parseHeader(s.mu.queue[keep]); err == nil && header.Key {
			break
		}
		keep++
	}
	for range keep {
		s.pop().Release()
	}
	stats.AwaitingKey += uint64(keep)
	request := s.mu.n == 0 && !s.mu.closed && s.mu.width > 0
	if s.mu.n == 0 {
		s.mu.needKey = true
	}
	if request {
		stats.KeyframeRequests++
	}
	s.mu.Unlock()
	if request {
		s.ask()
	}
}

// render makes the decoder's picture fit w x h, or fill it, and publishes it,
// either as a new picture or in place of the newest. Of the task.
func (s *Source) render(w, h int, fill, again bool, due, arrival time.Duration) {
	srcW, srcH := s.decoder.Size()
	if w == 0 || srcW == 0 {
		return
	}
	at, view := layout.Rect{W: w, H: h}, codec.View{Sharp: s.sharp}
	if fill {
		part := layout.Fill(at, srcW, srcH)
		view.X, view.Y, view.Width, view.Height = part.X, part.Y, part.W, part.H
	} else {
		at = layout.Fit(at, srcW, srcH)
	}
	picture, err := s.frames.Get(at.W, at.H)
	if err == nil {
		if err = s.decoder.View(picture, view); err != nil {
			picture.Release()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.mu.stats.NoMemory++ // the last picture stays up; the next frame tries again
		return
	}
	picture.PTS = s.decodedPTS
	if s.mu.closed || s.mu.width == 0 {
		picture.Release()
		return
	}
	s.mu.stats.Pictures++
	if again {
		s.mu.due.replaceNewest(picture)
	} else {
		s.mu.due.put(picture, due, arrival)
	}
}
