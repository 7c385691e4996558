package video

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
)

// fakeEncoder codes nothing: it notes what it was asked.
type fakeEncoder struct {
	c       codec.VideoEncoderConfig
	first   bool
	fail    *atomic.Pointer[error] // shared by all of a maker; returned once
	bitrate atomic.Int64
	speed   atomic.Int64
	bases   atomic.Int64 // calls of StartPattern
	sharp   atomic.Bool  // what is said of frames
	baseOnly,
	closed atomic.Bool
	inside atomic.Int32
}

func (e *fakeEncoder) Encode(src *codec.VideoFrame, pts time.Duration, forceKey bool) (*codec.EncodedFrame, error) {
	if e.inside.Add(1) > 1 || e.closed.Load() {
		panic("encoder used twice at a time or after Close")
	}
	defer e.inside.Add(-1)
	if err := e.fail.Swap(nil); err != nil {
		return nil, *err
	}
	f := codec.NewEncodedFrame(100)
	f.Codec, f.PTS, f.Width, f.Height = codec.VP8, pts, src.Width, src.Height
	f.Key = forceKey || !e.first
	f.Sharp = e.sharp.Load()
	f.Data = append(f.Data, src.Y[0])
	e.first = true
	return f, nil
}
func (e *fakeEncoder) SetBitrate(bps int) error { e.bitrate.Store(int64(bps)); return nil }
func (e *fakeEncoder) SetSpeed(n int) error     { e.speed.Store(int64(n)); return nil }
func (e *fakeEncoder) SetBaseLayerOnly(on bool) error {
	e.baseOnly.Store(on)
	return nil
}
func (e *fakeEncoder) StartPattern() { e.bases.Add(1) }
func (e *fakeEncoder) Close() error  { e.closed.Store(true); return nil }

// sink notes what it is lent.
type sink struct {
	mu      sync.Mutex
	frames  []seenFrame
	verdict codec.Verdict
}

type seenFrame struct {
	pts  time.Duration
	key  bool
	w, h int
	luma byte
}

func (s *sink) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, seenFrame{f.PTS, f.Key, f.Width, f.Height, f.Data[0]})
	return s.verdict
}

func (s *sink) seen() []seenFrame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]seenFrame(nil), s.frames...)
}

func (s *sink) say(v codec.Verdict) {
	s.mu.Lock()
	s.verdict = v
	s.mu.Unlock()
}

func keys(frames []seenFrame) (pts []time.Duration) {
	for _, f := range frames {
		if f.key {
			pts = append(pts, f.pts)
		}
	}
	return pts
}

// studio is a rendition on fake encoders and a 640x360 canvas.
type studio struct {
	*Rendition
	t        testing.TB
	pool     *worker.Pool
	frames   *codec.VideoPool
	canvas   *codec.VideoFrame
	encoders []*fakeEncoder
	fail     atomic.Pointer[error]
	refuse   atomic.Pointer[error] // NewEncoder returns it
	ticks    int
}

func newStudio(t testing.TB, tier string, change func(*RenditionConfig)) *studio {
	t.Helper()
	s := &studio{t: t, pool: startPool(t), frames: codec.NewVideoPool(testBudget)}
	s.resize(640, 360)
	parsed, err := ParseTier(tier)
	if err != nil {
		t.Fatal(err)
	}
	c := RenditionConfig{Tier: parsed, Pool: s.pool, Frames: s.frames, NewEncoder: s.newEncoder}
	if change != nil {
		change(&c)
	}
	if s.Rendition, err = NewRendition(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		s.canvas.Release()
		for i, e := range s.encoders {
			if !e.closed.Load() {
				t.Errorf("encoder %d was not closed", i)
			}
		}
	})
	return s
}

func (s *studio) newEncoder(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) {
	if err := s.refuse.Load(); err != nil {
		return nil, *err
	}
	e := &fakeEncoder{c: c, fail: &s.fail}
	s.encoders = append(s.encoders, e)
	return e, nil
}

func (s *studio) resize(w, h int) {
	if s.canvas != nil {
		s.canvas.Release()
	}
	s.canvas = newFrame(s.t, s.frames, w, h, tone(1))
}

// tick writes one canvas and waits for the encoder.
func (s *studio) tick() {
	s.write()
	settle(s.pool)
}

func (s *studio) write() {
	s.canvas.PTS = time.Duration(s.ticks) * time.Second / 30
	s.ticks++
	s.Write(s.canvas, true)
}

func TestRenditionEncodesOnceForAll(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	s.tick()
	if len(s.encoders) != 0 || s.Stats().Written != 0 {
		t.Error("it ran without a subscriber")
	}
	sinks := make([]*sink, 10)
	for i := range sinks {
		sinks[i] = &sink{}
		s.Subscribe(sinks[i])
	}
	for range 30 {
		s.tick()
	}
	for i, k := range sinks {
		if f := k.seen(); len(f) != 30 || !f[0].key || len(keys(f)) != 1 {
			t.Errorf("sink %d: %d frames, keys at %v", i, len(f), keys(f))
		}
	}
	st := s.Stats()
	if st.Encoded != 30 || st.Keyframes != 1 || st.Skipped != 0 || st.Bytes != 30 || st.Subscribers != 10 || st.KeyRequests[KeySubscribe] != 10 {
		t.Errorf("%+v", st)
	}
	if len(s.encoders) != 1 {
		t.Fatalf("%d encoders", len(s.encoders))
	}
	if c := s.encoders[0].c; c.Width != 640 || c.Height != 360 || c.FPS != 30 || c.BitrateBps != 600_000 || c.TemporalLayers != 2 {
		t.Errorf("%+v", c)
	}
}

func TestRenditionScalesToItsTier(t *testing.T) {
	s := newStudio(t, "320x180@30", nil)
	k := &sink{}
	s.Subscribe(k)
	s.tick()
	f := k.seen()
	if len(f) != 1 || f[0].w != 320 || f[0].h != 180 || f[0].luma != tone(1).y {
		t.Errorf("%+v", f)
	}
}

func TestRenditionTakesItsShareOfTicks(t *testing.T) {
	for tier, want := range map[string]int{"320x180@15": 30, "320x180@30": 60, "320x180@10": 20, "320x180@60": 60, "320x180@1": 2} {
		s := newStudio(t, tier, nil)
		k := &sink{}
		s.Subscribe(k)
		for range 60 {
			s.tick()
		}
		f := k.seen()
		if len(f) != want {
			t.Errorf("%s: %d of 60 frames, want %d", tier, len(f), want)
		}
		for i := 2; i < len(f); i++ {
			if gap := f[i].pts - f[i-1].pts; gap > f[1].pts-f[0].pts+time.Millisecond {
				t.Errorf("%s: gap of %v", tier, gap)
			}
		}
	}
}

// TestRenditionMailbox: while the encoder is busy the newest canvas waits, the
// others are skipped, and none is kept.
func TestRenditionMailbox(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	s.tick()
	release := hold(s.pool)
	canvases := make([]*codec.VideoFrame, 5)
	for i := range canvases {
		canvases[i] = newFrame(t, s.frames, 640, 360, tone(i))
		canvases[i].PTS = time.Duration(1+i) * time.Second / 30
		s.Write(canvases[i], true)
	}
	for i, f := range canvases[:4] {
		if f.Shared() {
			t.Errorf("canvas %d is still held", i)
		}
	}
	release()
	settle(s.pool)
	if f := k.seen(); len(f) != 2 || f[1].pts != canvases[4].PTS {
		t.Errorf("%+v", f)
	}
	for _, f := range canvases {
		if f.Shared() {
			t.Error("a canvas is held after its encode")
		}
		f.Release()
	}
	if st := s.Stats(); st.Skipped != 4 || st.Written != 6 || st.Encoded != 2 {
		t.Errorf("%+v", st)
	}
}

// TestKeyWindow: the first request is answered by the next frame, many more
// within 300 ms by one more key frame, 300 ms after the first.
func TestKeyWindow(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	for range 30 { // a second without requests
		s.tick()
	}
	s.RequestKeyframe(KeyClient)
	for range 9 {
		s.tick()
		s.RequestKeyframe(KeyClient)
	}
	for range 30 {
		s.tick()
	}
	got := keys(k.seen())
	if len(got) != 3 {
		t.Fatalf("keys at %v", got)
	}
	for i, ticks := range []int{0, 30, 39} {
		if want := time.Duration(ticks) * time.Second / 30; got[i] != want {
			t.Errorf("key %d at %v, want %v", i, got[i], want)
		}
	}
	if st := s.Stats(); st.KeyRequests[KeyClient] != 10 || st.Keyframes != 3 ||
		st.KeyframesFor[KeyStart] != 1 || st.KeyframesFor[KeyClient] != 2 || st.EncodeTimes.Count() != st.Encoded {
		t.Errorf("%+v", st)
	}
}

// TestNeedKeyNeverForces: a sink that wants a key frame at every frame gets
// one per 300 ms.
func TestNeedKeyNeverForces(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	greedy, other := &sink{verdict: codec.NeedKey}, &sink{}
	s.Subscribe(greedy)
	s.Subscribe(other)
	for range 300 { // 10 s
		s.tick()
	}
	if n := len(keys(other.seen())); n < 30 || n > 34 {
		t.Errorf("%d key frames in 10 s, want one per 300 ms", n)
	}
	greedy.say(codec.Dropped)
	before := s.Stats().Keyframes
	for range 60 {
		s.tick()
	}
	if got := s.Stats().Keyframes - before; got > 1 {
		t.Errorf("%d key frames though nobody asked", got)
	}
	if n := len(other.seen()); n != 360 {
		t.Errorf("the other sink got %d of 360 frames", n)
	}
}

func TestLateSubscriberBeginsWithAKey(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	first, late := &sink{}, &sink{}
	s.Subscribe(first)
	for range 30 {
		s.tick()
	}
	sub := s.Subscribe(late)
	for range 5 {
		s.tick()
	}
	if f := late.seen(); len(f) != 5 || !f[0].key {
		t.Errorf("%+v", f)
	}
	if n := len(keys(first.seen())); n != 2 {
		t.Errorf("%d key frames, want 2", n)
	}
	sub.Close()
	sub.Close()
	s.tick()
	if f := late.seen(); len(f) != 5 {
		t.Errorf("%d frames after Close", len(f))
	}
	if f := first.seen(); len(f) != 36 {
		t.Errorf("the other sink has %d frames", len(f))
	}
}

func TestLastSubscriberFreesTheEncoder(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	sub := s.Subscribe(k)
	s.tick()
	sub.Close()
	settle(s.pool)
	if !s.encoders[0].closed.Load() {
		t.Error("the encoder lives on without a subscriber")
	}
	s.tick()
	if n := len(k.seen()); n != 1 {
		t.Errorf("%d frames", n)
	}
	again := &sink{}
	s.Subscribe(again)
	s.tick()
	if f := again.seen(); len(s.encoders) != 2 || len(f) != 1 || !f[0].key {
		t.Errorf("%d encoders, %+v", len(s.encoders), f)
	}
}

func TestCanvasSizeChange(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	s.tick()
	s.tick()
	s.resize(360, 640)
	s.tick()
	f := k.seen()
	if len(f) != 3 || f[2].w != 202 || f[2].h != 360 || !f[2].key {
		t.Errorf("%+v", f)
	}
	if len(s.encoders) != 2 || !s.encoders[0].closed.Load() {
		t.Error("the encoder was not replaced")
	}
	if st := s.Stats(); st.KeyframesFor[KeyStart] != 1 || st.KeyframesFor[KeySize] != 1 {
		t.Errorf("reasons of key frames %v", st.KeyframesFor)
	}
}

func TestEncoderErrors(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	s.tick()
	broken := errors.New("broken")
	s.fail.Store(&broken)
	s.tick()
	if st := s.Stats(); st.Errors != 1 || len(k.seen()) != 1 {
		t.Errorf("%+v", st)
	}
	for range 15 {
		s.tick()
	}
	f := k.seen()
	if len(s.encoders) != 2 || !s.encoders[0].closed.Load() || len(f) < 4 || !f[1].key {
		t.Errorf("%d encoders, %+v", len(s.encoders), f)
	}
	if gap := f[1].pts - f[0].pts; gap > 400*time.Millisecond {
		t.Errorf("no picture for %v after an error", gap)
	}
	if st := s.Stats(); st.KeyframesFor[KeyStart] != 1 || st.KeyframesFor[KeyError] != 1 {
		t.Errorf("reasons of key frames %v", st.KeyframesFor)
	}

	s.refuse.Store(&broken)
	s.fail.Store(&broken)
	before := s.Stats().Errors
	for range 90 { // 3 s
		s.tick()
	}
	if n := s.Stats().Errors - before; n < 5 || n > 12 {
		t.Errorf("%d tries in 3 s, want one per 300 ms", n)
	}
	s.refuse.Store(nil)
	n := len(k.seen())
	for range 15 {
		s.tick()
	}
	if f := k.seen(); len(f) == n || !f[n].key {
		t.Error("no recovery")
	}
}

// TestRateDroppedKey: a key frame that rate control leaves out is still owed.
func TestRateDroppedKey(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	for range 20 {
		s.tick()
	}
	s.RequestKeyframe(KeyClient)
	dropped := error(codec.ErrDropped)
	s.fail.Store(&dropped)
	s.tick()
	s.tick()
	f := k.seen()
	if len(f) != 21 || !f[20].key {
		t.Errorf("%d frames, keys at %v", len(f), keys(f))
	}
	if st := s.Stats(); st.RateDropped != 1 || st.Errors != 0 || len(s.encoders) != 1 {
		t.Errorf("%+v", st)
	}
}

func TestSetBitrate(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	s.Subscribe(&sink{})
	s.tick()
	s.SetBitrate(400_000)
	if s.encoders[0].bitrate.Load() != 0 {
		t.Error("the encoder was touched outside its task")
	}
	s.tick()
	if got := s.encoders[0].bitrate.Load(); got != 400_000 {
		t.Errorf("bitrate %d", got)
	}
	s.SetBitrate(0)
	s.tick()
	if got := s.encoders[0].bitrate.Load(); got != 600_000 {
		t.Errorf("bitrate %d, want the tier's", got)
	}
	if s.Stats().Keyframes != 1 {
		t.Error("a bitrate cost a key frame")
	}
}

// TestBackwardPTS: time that stands still or goes back reaches no encoder.
func TestBackwardPTS(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	for range 10 {
		s.tick()
	}
	s.ticks = 2
	s.tick()
	s.ticks = 10
	s.tick()
	f := k.seen()
	for i := 1; i < len(f); i++ {
		if f[i].pts <= f[i-1].pts {
			t.Errorf("frame %d at %v after %v", i, f[i].pts, f[i-1].pts)
		}
	}
}

func TestRenditionOutOfMemory(t *testing.T) {
	s := newStudio(t, "320x180@30", func(c *RenditionConfig) { c.Frames = codec.NewVideoPool(100) })
	k := &sink{}
	s.Subscribe(k)
	s.tick()
	if st := s.Stats(); st.NoMemory != 1 || st.Errors != 0 || len(k.seen()) != 0 {
		t.Errorf("%+v", st)
	}
}

func TestRenditionClose(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	sub := s.Subscribe(k)
	release := hold(s.pool)
	s.write()
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	release()
	<-closed
	if s.canvas.Shared() {
		t.Error("the canvas is still held after Close")
	}
	n := len(k.seen())
	s.tick()
	if len(k.seen()) != n {
		t.Error("a frame after Close")
	}
	s.Close()
	sub.Close()
	after := s.Subscribe(k)
	s.RequestKeyframe(KeyClient)
	s.tick()
	after.Close()
	if len(k.seen()) != n {
		t.Error("a frame for one who came after Close")
	}
}

func TestRenditionCloseAfterPool(t *testing.T) {
	pool, err := worker.New(worker.Config{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { pool.Run(ctx); close(ended) }()
	s := newStudio(t, "640x360@30", func(c *RenditionConfig) { c.Pool = pool })
	s.Subscribe(&sink{})
	s.write()
	cancel()
	<-ended
	s.write()
	s.Close()
	if s.canvas.Shared() {
		t.Error("the canvas is still held")
	}
}

func TestRenditionConcurrently(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	var wg sync.WaitGroup
	frames := make([]*codec.VideoFrame, 300)
	for i := range frames {
		frames[i] = newFrame(t, s.frames, 64, 36, tone(i%30))
		frames[i].PTS = time.Duration(i) * time.Second / 30
	}
	wg.Go(func() {
		for _, f := range frames {
			s.Write(f, true)
			f.Release()
		}
	})
	for range 4 {
		wg.Go(func() {
			for range 50 {
				k := &sink{}
				sub := s.Subscribe(k)
				s.RequestKeyframe(KeyClient)
				s.SetBitrate(500_000)
				s.Stats()
				sub.Close()
			}
		})
	}
	wg.Wait()
	s.Close()
	if st := s.Stats(); st.Subscribers != 0 {
		t.Errorf("%+v", st)
	}
}

func TestRenditionAllocatesNothing(t *testing.T) {
	s := newStudio(t, "320x180@30", nil)
	k := &countingSink{}
	for range 9 {
		s.Subscribe(k)
	}
	done := make(chan struct{})
	barrier := worker.NewTask(func() { done <- struct{}{} })
	if n := testing.AllocsPerRun(100, func() {
		s.write()
		s.pool.Submit(barrier, time.Hour)
		<-done
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
	if k.n.Load() == 0 {
		t.Error("nothing was coded")
	}
}

type countingSink struct{ n atomic.Int64 }

func (s *countingSink) WriteVideo(*codec.EncodedFrame) codec.Verdict { s.n.Add(1); return codec.Sent }

func TestNewRenditionErrors(t *testing.T) {
	if _, err := NewRendition(RenditionConfig{}); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("empty: %v", err)
	}
	pool, _ := worker.New(worker.Config{})
	c := RenditionConfig{Pool: pool, Frames: codec.NewVideoPool(1), NewEncoder: func(codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return nil, nil }}
	if _, err := NewRendition(c); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("no tier: %v", err)
	}
}

func TestKeyReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumKeyReasons {
		seen[r.String()] = true
	}
	if len(seen) != int(NumKeyReasons) || NumKeyReasons.String() != "reason(6)" {
		t.Errorf("%v", seen)
	}
}
