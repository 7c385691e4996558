package video

import (
	"sync/atomic"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/layout"
)

// relay is a studio with a source that can be passed through.
type relay struct {
	*studio
	src     *Source
	asked   atomic.Int64 // key frames asked of the sender
	changes atomic.Int64 // calls of OnPassthrough
	n       int          // frames sent
}

func newRelay(t testing.TB, tier string) *relay {
	x := &relay{}
	x.studio = newStudio(t, tier, func(c *RenditionConfig) {
		c.OnPassthrough = func() { x.changes.Add(1) }
	})
	var err error
	x.src, err = NewSource(SourceConfig{
		Decoder: &fakeDecoder{}, Pool: x.pool, Frames: x.frames, RequestKeyframe: func() { x.asked.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.src.Close() })
	return x
}

// send sends a frame as old as the studio's next canvas, and waits.
func (x *relay) send(key bool, w, h int, change func(*codec.EncodedFrame)) {
	f := coded(key, w, h, byte(x.n), time.Duration(x.ticks)*time.Second/30)
	f.Stream = 77
	x.n++
	if change != nil {
		change(f)
	}
	x.src.Write(f)
	settle(x.pool)
}

// pass brings a relay to where a source of 640x360 is passed through.
func (x *relay) pass() *keptSink {
	k := &keptSink{}
	x.Subscribe(k)
	x.tick()
	x.SetPassthrough(x.src)
	x.send(true, 640, 360, nil)
	return k
}

// keptSink keeps what it is lent.
type keptSink struct {
	frames  []codec.EncodedFrame // copies without their memory, of the pool's thread
	verdict codec.Verdict
}

func (s *keptSink) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	s.frames = append(s.frames, codec.EncodedFrame{
		Stream: f.Stream, PTS: f.PTS, Key: f.Key, Discardable: f.Discardable, Temporal: f.Temporal,
		LayerSync: f.LayerSync, Width: f.Width, Height: f.Height, Data: append([]byte(nil), f.Data...),
	})
	return s.verdict
}

func (s *keptSink) last() *codec.EncodedFrame { return &s.frames[len(s.frames)-1] }

// check looks for what must hold of all that a viewer gets.
func (s *keptSink) check(t *testing.T) {
	t.Helper()
	for i := range s.frames {
		f := &s.frames[i]
		if f.Width == 0 || f.Height == 0 || f.Stream == 0 && f.Data[0] != tone(1).y {
			t.Errorf("frame %d: %+v", i, f)
		}
		if i == 0 {
			continue
		}
		if f.PTS <= s.frames[i-1].PTS {
			t.Errorf("frame %d at %v after %v", i, f.PTS, s.frames[i-1].PTS)
		}
		if f.Stream != s.frames[i-1].Stream && !f.Key {
			t.Errorf("frame %d: a stream begins without a key frame", i)
		}
	}
}

func TestPassthrough(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := &keptSink{}
	x.Subscribe(k)
	x.tick()
	x.SetPassthrough(x.src)
	x.SetPassthrough(x.src)
	if x.asked.Load() != 1 {
		t.Errorf("the sender was asked for %d key frames, want 1", x.asked.Load())
	}
	x.tick()
	x.send(false, 0, 0, nil)
	if len(k.frames) != 2 || !x.Encodes() {
		t.Fatalf("%d frames before the sender's key frame, want the encoder's 2", len(k.frames))
	}
	x.send(true, 640, 360, nil)
	if f := k.last(); len(k.frames) != 3 || !f.Key || f.Stream == 0 || f.Width != 640 {
		t.Fatalf("%d frames, %+v", len(k.frames), k.last())
	}
	if x.Encodes() || x.changes.Load() != 1 {
		t.Errorf("encodes %v, %d changes told", x.Encodes(), x.changes.Load())
	}
	for n := range 30 {
		x.tick() // canvases are ignored
		x.send(false, 0, 0, func(f *codec.EncodedFrame) {
			f.Temporal, f.Discardable, f.LayerSync = uint8(n%2), n%2 == 1, n%2 == 1
		})
	}
	if f := k.last(); len(k.frames) != 33 || f.Temporal != 1 || !f.Discardable || !f.LayerSync || f.Height != 360 {
		t.Errorf("%d frames, %+v", len(k.frames), f)
	}
	if !x.encoders[0].closed.Load() {
		t.Error("an encoder that nobody needs was kept")
	}
	k.check(t)
	st := x.Stats()
	if st.Passed != 31 || st.Encoded != 2 || !st.Passing || st.PassDropped != 1 || st.PassedBytes == 0 {
		t.Errorf("%+v", st)
	}
	if s := x.src.Stats(); s.Decoded != 0 || s.Hidden != 32 {
		t.Errorf("a hidden source was decoded: %+v", s)
	}
	if in := x.src.Incoming(); in.Width != 640 || in.FPS < 29 || in.FPS > 31 || in.BitrateBps == 0 {
		t.Errorf("%+v", in)
	}
}

// TestPassthroughEnds: the source is passed through until the canvas shows it.
func TestPassthroughEnds(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := x.pass()
	before := len(k.frames)
	x.SetPassthrough(nil)
	x.src.SetTarget(640, 360, false)
	if !x.Encodes() {
		t.Error("nobody draws the canvas that is wanted")
	}
	x.tick()
	x.send(false, 0, 0, nil)
	if len(k.frames) != before+1 || k.last().Stream != k.frames[before-1].Stream {
		t.Errorf("%d more frames, want one of the source's", len(k.frames)-before)
	}
	x.send(true, 640, 360, nil)
	look := func() {
		if f, _ := x.src.Latest(time.Hour); f != nil {
			f.Release()
		}
	}
	look()
	x.tick() // may have been drawn before
	if len(k.frames) != before+2 {
		t.Errorf("%d more frames, want two of the source's", len(k.frames)-before)
	}
	x.tick()
	if f := k.last(); len(k.frames) != before+3 || !f.Key || f.Stream != 0 {
		t.Errorf("%d more frames, the last %+v", len(k.frames)-before, f)
	}
	x.send(false, 0, 0, nil)
	if len(k.frames) != before+3 || x.Stats().Passing {
		t.Error("it is still passed through")
	}
	k.check(t)
}

// TestPassthroughEndsWithoutAPicture: half a second of canvases at most, none when the
// source is gone.
func TestPassthroughEndsWithoutAPicture(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := x.pass()
	before := len(k.frames)
	x.SetPassthrough(nil)
	for range 15 {
		x.tick()
	}
	if len(k.frames) != before {
		t.Errorf("%d frames of a canvas that does not show the source", len(k.frames)-before)
	}
	x.tick()
	if len(k.frames) != before+1 || !k.last().Key {
		t.Errorf("%d frames after half a second", len(k.frames)-before)
	}
	x.SetPassthrough(x.src)
	x.send(true, 640, 360, nil)
	x.SetPassthrough(nil)
	x.src.Close()
	before = len(k.frames)
	x.ticks++ // the frame that was sent has that time
	x.tick()
	if len(k.frames) != before+1 || !k.last().Key {
		t.Errorf("%d frames after the source was closed", len(k.frames)-before)
	}
	k.check(t)
}

// TestPassthroughRefusesSizes: who grows beyond the tier is decoded again.
func TestPassthroughRefusesSizes(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := x.pass()
	changes, before := x.changes.Load(), len(k.frames)
	x.send(true, 480, 270, nil)
	if f := k.last(); len(k.frames) != before+1 || f.Width != 480 || x.changes.Load() != changes {
		t.Errorf("a smaller picture: %+v", f)
	}
	x.send(true, 1280, 720, nil)
	x.send(false, 0, 0, nil)
	if len(k.frames) != before+1 || x.changes.Load() != changes+1 || !x.Encodes() {
		t.Errorf("a larger one was sent on, or nobody was told")
	}
	// One that has to keep its size.
	y := newRelay(t, "640x360@30")
	y.KeepSize(640, 360)
	l := y.pass()
	y.send(true, 480, 270, nil)
	if f := l.last(); f.Width != 640 || !y.Encodes() {
		t.Errorf("the size changed: %+v", f)
	}
}

// TestPassthroughKeyWishes go to the sender, at most once in a window.
func TestPassthroughKeyWishes(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := x.pass()
	asked := x.asked.Load()
	for range 20 {
		x.RequestKeyframe(KeyClient)
	}
	late := &keptSink{}
	x.Subscribe(late)
	x.send(false, 0, 0, nil)
	if n := x.asked.Load() - asked; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if len(late.frames) != 0 {
		t.Error("who joins began without a key frame")
	}
	x.send(true, 640, 360, nil)
	x.send(false, 0, 0, nil)
	if len(late.frames) != 2 || !late.frames[0].Key {
		t.Errorf("who joins got %d frames", len(late.frames))
	}
	// What is lost on the way to us breaks the stream until a key frame.
	before := len(k.frames)
	x.send(false, 0, 0, func(f *codec.EncodedFrame) { f.Data = f.Data[:1] })
	x.send(false, 0, 0, nil)
	x.send(false, 0, 0, func(f *codec.EncodedFrame) { f.Stream++ })
	if len(k.frames) != before {
		t.Errorf("%d frames after one that is none", len(k.frames)-before)
	}
	x.send(true, 640, 360, nil)
	if len(k.frames) != before+1 || k.last().Stream == k.frames[before-1].Stream {
		t.Error("a new history has the name of the old")
	}
	k.check(t)
}

// TestPassthroughWithoutViewers costs nothing and keeps nothing.
func TestPassthroughWithoutViewers(t *testing.T) {
	x := newRelay(t, "640x360@30")
	x.SetPassthrough(x.src)
	x.send(true, 640, 360, nil)
	if x.Encodes() || x.Stats().Passed != 0 {
		t.Error("it runs without viewers")
	}
	k := &keptSink{}
	sub := x.Subscribe(k)
	x.send(true, 640, 360, nil)
	if len(k.frames) != 1 {
		t.Errorf("%d frames", len(k.frames))
	}
	sub.Close()
	x.send(false, 0, 0, nil)
	x.SetPassthrough(nil)
	if st := x.Stats(); st.Passing {
		t.Error("it passes through though nobody wants it to")
	}
	if x.src.taps.Load() != nil {
		t.Error("the source still hands its frames on")
	}
}

// TestPassthroughLetsGo: no source goes on handing its frames to a rendition that
// has no use for them, whatever the order in which viewers and wishes end.
func TestPassthroughLetsGo(t *testing.T) {
	// The second source was still waited for when the last viewer left.
	x := newRelay(t, "640x360@30")
	k := &keptSink{}
	sub := x.Subscribe(k)
	x.tick()
	x.SetPassthrough(x.src)
	x.send(true, 640, 360, nil)
	second, err := NewSource(SourceConfig{Decoder: &fakeDecoder{}, Pool: x.pool, Frames: x.frames, RequestKeyframe: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	x.SetPassthrough(second)
	sub.Close()
	x.SetPassthrough(nil)
	if x.src.taps.Load() != nil || second.taps.Load() != nil || x.Stats().Passing {
		t.Errorf("first %v, second %v: a source still hands its frames on", x.src.taps.Load(), second.taps.Load())
	}

	// The last viewer left before the canvas that was to take over, and with
	// frames on their way, which whoever comes next must not see.
	y := newRelay(t, "640x360@30")
	sub = y.Subscribe(k)
	y.tick()
	y.SetPassthrough(y.src)
	y.send(true, 640, 360, nil)
	y.SetPassthrough(nil)
	release := hold(y.pool)
	f := coded(true, 640, 360, 1, 0)
	f.Stream = 77
	y.src.Write(f)
	sub.Close()
	y.SetPassthrough(nil)
	release()
	settle(y.pool)
	if y.src.taps.Load() != nil || y.Stats().Passing {
		t.Error("the source still hands its frames on")
	}
	late := &keptSink{}
	y.Subscribe(late)
	y.ticks++ // the frame that was sent has that time
	y.tick()
	if len(late.frames) != 1 || late.frames[0].Stream != 0 {
		t.Errorf("who comes next gets %d frames: %+v", len(late.frames), late.frames)
	}
}

// TestPassthroughForWhoNeedsASize: he begins with the first picture of that size, and
// no other, while those who were there see on.
func TestPassthroughForWhoNeedsASize(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := &keptSink{}
	x.Subscribe(k)
	x.tick()
	x.SetPassthrough(x.src)
	x.send(true, 480, 270, nil)
	picky := &keptSink{}
	x.KeepSize(640, 360)
	x.Subscribe(picky)
	x.SetPassthrough(nil)
	x.send(true, 480, 270, nil) // he had asked
	x.send(false, 0, 0, nil)
	if n := len(k.frames); n != 4 || k.last().Width != 480 {
		t.Errorf("who was there has %d frames, the last %+v", n, k.last())
	}
	for range 20 {
		x.tick()
	}
	if len(picky.frames) == 0 || !picky.frames[0].Key || picky.frames[0].Width != 640 {
		t.Errorf("he begins with %+v", picky.frames[:min(1, len(picky.frames))])
	}
	k.check(t)
}

// TestPassthroughGrowsToTheSize: a sender that has grown to the size that is to be
// kept is not refused because what was sent before was smaller.
func TestPassthroughGrowsToTheSize(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := &keptSink{}
	x.Subscribe(k)
	x.tick()
	x.SetPassthrough(x.src)
	x.send(true, 480, 270, nil)
	x.KeepSize(640, 360)
	x.SetPassthrough(nil)
	x.SetPassthrough(x.src) // for it has just said that it sends more
	x.send(true, 640, 360, nil)
	x.send(false, 0, 0, nil)
	if x.Encodes() || k.last().Width != 640 || k.last().Key {
		t.Errorf("encodes %v, %d frames, the last %+v", x.Encodes(), len(k.frames), k.last())
	}
	k.check(t)
}

// TestPassthroughBound: frames that nobody takes off are dropped to the next key
// frame.
func TestPassthroughBound(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := x.pass()
	before := len(k.frames)
	release := hold(x.pool)
	for range maxPassed + 5 {
		x.src.Write(coded(false, 0, 0, 1, 0))
	}
	release()
	settle(x.pool)
	if st := x.Stats(); st.PassDropped == 0 || len(k.frames) != before {
		t.Errorf("%d frames of a queue that ran over, %+v", len(k.frames)-before, st)
	}
	x.Close()
	if x.src.taps.Load() != nil {
		t.Error("a closed rendition still takes frames")
	}
}

// TestPassthroughSwitches from one source to another at its key frame.
func TestPassthroughSwitches(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := x.pass()
	first := x.src
	second, err := NewSource(SourceConfig{Decoder: &fakeDecoder{}, Pool: x.pool, Frames: x.frames, RequestKeyframe: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	x.SetPassthrough(second)
	x.send(false, 0, 0, nil)
	if k.last().Stream != k.frames[len(k.frames)-2].Stream {
		t.Error("the first source was left before the second could begin")
	}
	x.src = second
	x.send(true, 640, 360, nil)
	if f := k.last(); !f.Key || f.Stream == k.frames[len(k.frames)-2].Stream || x.Encodes() {
		t.Errorf("%+v", f)
	}
	if first.taps.Load() != nil {
		t.Error("the first source still hands its frames on")
	}
	k.check(t)
	x.src = first // for Cleanup
}

func TestPassthroughPTS(t *testing.T) {
	x := newRelay(t, "640x360@30")
	x.c.Epoch = -10 * time.Second // the room is ten seconds old
	k := x.pass()
	x.src.SetDelay(100 * time.Millisecond)
	const wait = time.Second / 30 / 2 // for a tick, were it drawn
	// One that comes late is due when it was taken, as far as the fastest tell.
	x.send(false, 0, 0, func(f *codec.EncodedFrame) {
		f.PTS = 200 * time.Millisecond
		f.Arrival = 250 * time.Millisecond
	})
	if got, want := k.last().PTS, 10*time.Second+300*time.Millisecond+wait; got != want {
		t.Errorf("at %v, want %v", got, want)
	}
	x.src.SetDelay(time.Hour)
	x.send(false, 0, 0, func(f *codec.EncodedFrame) {
		f.PTS, f.Arrival = 300*time.Millisecond, 300*time.Millisecond
	})
	if got, want := k.last().PTS, 10*time.Second+300*time.Millisecond+passAhead+wait; got != want {
		t.Errorf("at %v, want %v", got, want)
	}
}

func TestPassthroughAllocates(t *testing.T) {
	x := newRelay(t, "640x360@30")
	k := &countingSink{}
	x.Subscribe(k)
	x.tick()
	x.SetPassthrough(x.src)
	x.send(true, 640, 360, nil)
	done := make(chan struct{})
	barrier := worker.NewTask(func() { done <- struct{}{} })
	f := coded(false, 0, 0, 1, time.Second)
	f.Stream = 77
	defer f.Release()
	if n := testing.AllocsPerRun(100, func() {
		x.src.Write(f.Retain())
		x.pool.Submit(barrier, time.Hour)
		<-done
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
	if k.n.Load() < 100 {
		t.Errorf("%d frames", k.n.Load())
	}
}

func TestPassRule(t *testing.T) {
	hd := layout.Canvas{Width: 1280, Height: 720, FPS: 30}
	src := &Source{}
	bare := Tile{Rect: hd.Bounds(), Source: src, Bare: true}
	labelled, small := bare, bare
	labelled.Bare = false
	small.Rect.W /= 2
	for name, c := range map[string]struct {
		tiles []Tile
		want  bool
	}{
		"one bare tile":      {[]Tile{bare}, true},
		"a label":            {[]Tile{labelled}, false},
		"two":                {[]Tile{bare, bare}, false},
		"none":               {nil, false},
		"a part":             {[]Tile{small}, false},
		"somebody unseen":    {[]Tile{{Rect: hd.Bounds(), Bare: true}}, false},
		"no source of ours":  {[]Tile{{Rect: hd.Bounds(), Bare: true, Source: &still{}}}, false},
		"somebody in colour": {[]Tile{{Rect: hd.Bounds(), Bare: true, Source: (*Source)(nil)}}, false},
	} {
		if got := (PassRule{Canvas: hd, Tiles: c.tiles}).Source(); (got != nil) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}

	in := Incoming{Width: 1280, Height: 720, BitrateBps: 1_500_000, FPS: 30, Last: time.Minute, Codec: codec.VP8, Common: true}
	for name, c := range map[string]struct {
		change func(*Incoming, *PassRule)
		want   bool
	}{
		"all of it":           {func(*Incoming, *PassRule) {}, true},
		"unknown yet":         {func(in *Incoming, _ *PassRule) { in.FPS = 0 }, false},
		"two thirds":          {func(in *Incoming, _ *PassRule) { in.Width, in.Height = 854, 480 }, true},
		"half":                {func(in *Incoming, _ *PassRule) { in.Width, in.Height = 640, 360 }, true},
		"upright":             {func(in *Incoming, _ *PassRule) { in.Width, in.Height = 720, 1280 }, false},
		"4:3":                 {func(in *Incoming, _ *PassRule) { in.Width, in.Height = 960, 720 }, false},
		"1080p":               {func(in *Incoming, _ *PassRule) { in.Width, in.Height = 1920, 1080 }, false},
		"a bit much":          {func(in *Incoming, _ *PassRule) { in.BitrateBps = 1_900_000 }, true},
		"too much":            {func(in *Incoming, _ *PassRule) { in.BitrateBps = 2_000_000 }, false},
		"not too much to end": {func(in *Incoming, p *PassRule) { in.BitrateBps, p.Passing = 2_000_000, true }, true},
		"another codec":       {func(in *Incoming, _ *PassRule) { in.Codec = codec.H264 }, false},
		"not for everybody":   {func(in *Incoming, _ *PassRule) { in.Common = false }, false},
		"too fast":            {func(in *Incoming, _ *PassRule) { in.FPS = 60 }, false},
		"silent":              {func(in *Incoming, _ *PassRule) { in.Last = 50 * time.Second }, false},
		"just the size":       {func(_ *Incoming, p *PassRule) { p.KeepSize = true }, true},
		"another size":        {func(in *Incoming, p *PassRule) { in.Width, in.Height, p.KeepSize = 960, 540, true }, false},
		"a smaller tier":      {func(_ *Incoming, p *PassRule) { p.Tier = Tier{Width: 640, Height: 360, FPS: 30} }, false},
	} {
		in, rule := in, PassRule{Tier: Tier{Width: 1280, Height: 720, FPS: 30}, Codec: codec.VP8, Canvas: hd, BitrateBps: 1_500_000}
		c.change(&in, &rule)
		if got := rule.Suits(in, time.Minute); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
