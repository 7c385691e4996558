package video

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
)

const tick = time.Second / 30

// rig is a source on a fake decoder.
type rig struct {
	*Source
	pool    *worker.Pool
	frames  *codec.VideoPool
	decoder *fakeDecoder
	asked   atomic.Int64
	now     time.Duration
}

func newRig(t testing.TB, change func(*SourceConfig)) *rig {
	t.Helper()
	r := &rig{pool: startPool(t), frames: codec.NewVideoPool(testBudget), decoder: &fakeDecoder{}}
	c := SourceConfig{Decoder: r.decoder, Pool: r.pool, Frames: r.frames, RequestKeyframe: func() { r.asked.Add(1) }}
	if change != nil {
		change(&c)
	}
	var err error
	if r.Source, err = NewSource(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if !r.decoder.closed.Load() {
			t.Error("the decoder was not closed")
		}
	})
	return r
}

// send writes one frame, one tick after the last, and waits for the decoder.
func (r *rig) send(key bool, w, h int, tag byte) {
	r.now += tick
	r.Write(coded(key, w, h, tag, r.now))
	settle(r.pool)
}

// look returns the luma and size of what is shown; -1 is nothing.
func (r *rig) look() (luma, w, h int, version uint64) {
	f, version := r.Latest(r.now)
	if f == nil {
		return -1, 0, 0, version
	}
	defer f.Release()
	return int(f.Y[0]), f.Width, f.Height, version
}

func (r *rig) want(t *testing.T, luma, w, h int) {
	t.Helper()
	if l, gw, gh, _ := r.look(); l != luma || gw != w || gh != h {
		t.Errorf("luma %d at %dx%d, want %d at %dx%d", l, gw, gh, luma, w, h)
	}
}

func TestSourceShowsTheNewestPicture(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.want(t, -1, 0, 0)
	r.send(true, 640, 360, 50)
	r.want(t, 50, 416, 234)
	_, _, _, v1 := r.look()
	if _, _, _, again := r.look(); again != v1 {
		t.Error("the version changed without a new picture")
	}
	r.send(false, 0, 0, 60)
	r.want(t, 60, 416, 234)
	if _, _, _, v2 := r.look(); v2 == v1 || v1 == 0 {
		t.Errorf("versions %d and %d", v1, v2)
	}
	if s := r.Stats(); s.Received != 2 || s.Decoded != 2 || s.Pictures != 2 || s.Width != 640 || s.Height != 360 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSourceFitsTheTile(t *testing.T) {
	for _, c := range []struct{ w, h, wantW, wantH int }{
		{640, 480, 312, 234}, {720, 1280, 132, 234}, {320, 180, 416, 234}, {1920, 1080, 416, 234},
	} {
		r := newRig(t, nil)
		r.SetTarget(416, 234, false)
		r.send(true, c.w, c.h, 1)
		r.want(t, 1, c.wantW, c.wantH)
	}
}

// TestSourceRerendersAtOnce: a new layout needs no new frame from the sender.
func TestSourceRerendersAtOnce(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 50)
	_, _, _, v1 := r.look()
	r.SetTarget(640, 360, false)
	if l, _, _, _ := r.look(); l != 50 {
		t.Errorf("black between two sizes: %d", l)
	}
	settle(r.pool)
	r.want(t, 50, 640, 360)
	if _, _, _, v2 := r.look(); v2 == v1 {
		t.Error("same version at another size")
	}
	if n := r.decoder.decodes.Load(); n != 1 {
		t.Errorf("%d decodes", n)
	}
	r.SetTarget(640, 360, false)
	settle(r.pool)
	if n := r.decoder.scales.Load(); n != 2 {
		t.Errorf("%d scalings, want 2", n)
	}
}

func TestHiddenSourceDecodesNothing(t *testing.T) {
	r := newRig(t, nil)
	r.send(true, 640, 360, 1) // hidden from the start
	r.want(t, -1, 0, 0)
	r.SetTarget(416, 234, false)
	if r.asked.Load() != 1 {
		t.Errorf("%d key frames asked for when first shown, want 1", r.asked.Load())
	}
	r.send(true, 640, 360, 2)
	r.want(t, 2, 416, 234)
	r.SetTarget(0, 0, false)
	settle(r.pool)
	r.want(t, -1, 0, 0)
	for range 20 {
		r.send(false, 0, 0, 3)
	}
	if n := r.decoder.decodes.Load(); n != 1 {
		t.Errorf("%d decodes, want 1", n)
	}
	if n := r.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want not while hidden", n)
	}
	r.SetTarget(416, 234, false)
	settle(r.pool)
	if n := r.asked.Load(); n != 2 {
		t.Errorf("asked %d times, want once more when shown", n)
	}
	r.want(t, 2, 416, 234) // the last picture, until the key frame comes
	r.send(false, 0, 0, 4) // useless
	r.want(t, 2, 416, 234)
	r.send(true, 640, 360, 5)
	r.want(t, 5, 416, 234)
	if s := r.Stats(); s.Hidden != 21 || s.AwaitingKey != 1 {
		t.Errorf("%+v", s)
	}
}

func TestShownBeforeTheFirstFrameAsksForNothing(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	if r.asked.Load() != 0 {
		t.Error("asked a sender that has not begun")
	}
}

func TestSourceOverflow(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	write := func(key bool, tag byte, discardable bool) {
		r.now += tick
		f := coded(key, 640, 360, tag, r.now)
		f.Discardable = discardable
		r.Write(f)
	}
	release := hold(r.pool)
	for i := range maxQueuedFrames {
		write(false, byte(10+i), false)
	}
	write(false, 90, true) // nothing references it: only it is lost
	if s := r.Stats(); s.Queued != maxQueuedFrames || s.Overflow != 1 || r.asked.Load() != 0 {
		t.Errorf("after a discardable frame: %+v, asked %d", s, r.asked.Load())
	}
	write(false, 91, false)
	write(false, 92, false)
	if s := r.Stats(); s.Overflow != 2 || s.AwaitingKey != 1 || r.asked.Load() != 2 {
		t.Errorf("after an overflow: %+v, asked %d", s, r.asked.Load())
	}
	release()
	settle(r.pool)
	r.want(t, 17, 416, 234) // what was queued before is whole
	r.send(false, 0, 0, 93)
	r.want(t, 17, 416, 234)
	r.send(true, 640, 360, 94)
	r.want(t, 94, 416, 234)

	release = hold(r.pool)
	for range maxQueuedFrames {
		write(false, 20, false)
	}
	write(true, 21, false) // replaces all that waits
	if s := r.Stats(); s.Queued != 1 || s.Overflow != 2+maxQueuedFrames {
		t.Errorf("after a key frame: %+v", s)
	}
	release()
	settle(r.pool)
	r.want(t, 21, 416, 234)
}

func TestSourceBoundsBytes(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	defer hold(r.pool)()
	big := func(key bool, bytes int) {
		r.now += tick
		f := codec.NewEncodedFrame(bytes)
		small := coded(key, 640, 360, 1, r.now)
		f.Codec, f.Arrival = codec.VP8, r.now
		f.Data = f.Buffer()[:bytes]
		copy(f.Data, small.Data)
		small.Release()
		r.Write(f)
	}
	big(true, maxQueuedBytes+1)
	if s := r.Stats(); s.Queued != 0 || s.Overflow != 1 {
		t.Errorf("one too large: %+v", s)
	}
	big(true, maxQueuedBytes/2)
	big(false, maxQueuedBytes/2)
	big(false, 20)
	if s := r.Stats(); s.Queued != 2 || s.Overflow != 2 {
		t.Errorf("together too large: %+v", s)
	}
}

// TestSourceSkipsScaling: of several frames that wait only the last is scaled.
func TestSourceSkipsScaling(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	release := hold(r.pool)
	for i := range 3 {
		r.now += tick / 4
		r.Write(coded(false, 0, 0, byte(2+i), r.now))
	}
	release()
	settle(r.pool)
	r.want(t, 4, 416, 234)
	if s := r.Stats(); s.Decoded != 4 || s.Pictures != 2 || s.Unscaled != 2 {
		t.Errorf("%+v", s)
	}
}

// TestSourceNeverStarves: however far behind the decoder is, ten pictures a
// second are shown.
func TestSourceNeverStarves(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	release := hold(r.pool)
	for range 8 {
		r.now += 40 * time.Millisecond
		r.Write(coded(false, 0, 0, 2, r.now))
	}
	release()
	settle(r.pool)
	if s := r.Stats(); s.Pictures != 1+3 { // after 120, 240 and, being the last, 320 ms
		t.Errorf("%d pictures: %+v", s.Pictures, s)
	}
}

func TestSourceDecoderErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		find func(SourceStats) uint64
	}{
		{fmt.Errorf("bad bits: %w", codec.ErrCorrupt), func(s SourceStats) uint64 { return s.Corrupt }},
		{codec.ErrNeedKey, func(s SourceStats) uint64 { return s.AwaitingKey }},
		{codec.ErrTooLarge, func(s SourceStats) uint64 { return s.TooLarge }},
		{errors.New("anything else"), func(s SourceStats) uint64 { return s.Corrupt }},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			r := newRig(t, nil)
			r.SetTarget(416, 234, false)
			r.send(true, 640, 360, 1)
			r.decoder.fail.Store(&c.err)
			r.send(false, 0, 0, 2)
			if n := r.asked.Load(); n != 1 || c.find(r.Stats()) != 1 {
				t.Errorf("asked %d times, %+v", n, r.Stats())
			}
			r.want(t, 1, 416, 234) // the last good picture stays
			decodes := r.decoder.decodes.Load()
			r.send(false, 0, 0, 3)
			if r.decoder.decodes.Load() != decodes {
				t.Error("a frame that references a broken one was decoded")
			}
			r.send(true, 640, 360, 4)
			r.want(t, 4, 416, 234)
		})
	}
}

// TestErrorWithKeyFrameQueued: what follows a broken frame is dropped up to
// the key frame that is already there, and none is asked for.
func TestErrorWithKeyFrameQueued(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	release := hold(r.pool)
	err := error(codec.ErrCorrupt)
	r.decoder.fail.Store(&err)
	for i, key := range []bool{false, false, false, true, false} {
		r.now += tick
		r.Write(coded(key, 640, 360, byte(10+i), r.now))
	}
	release()
	settle(r.pool)
	r.want(t, 14, 416, 234)
	if s := r.Stats(); s.Decoded != 3 || s.Corrupt != 1 || s.AwaitingKey != 2 || r.asked.Load() != 0 {
		t.Errorf("%+v, asked %d", s, r.asked.Load())
	}
}

// TestFrameBombs: sizes are judged before the decoder sees a byte.
func TestFrameBombs(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	for i, size := range [][2]int{{16383, 16383}, {1922, 1080}, {1920, 1090}, {1090, 1920}} {
		r.send(true, size[0], size[1], 9)
		if s := r.Stats(); s.TooLarge != uint64(i+1) || r.asked.Load() != int64(i+1) {
			t.Errorf("%v: %+v, asked %d", size, s, r.asked.Load())
		}
	}
	r.send(false, 0, 0, 9) // belongs to the bomb
	r.want(t, 1, 416, 234)
	if n := r.decoder.decodes.Load(); n != 1 {
		t.Errorf("%d decodes, want 1", n)
	}
	r.now += time.Second
	r.send(true, 1920, 1088, 2)
	r.want(t, 2, 416, 234) // the eight lines too many do not show
	r.now += time.Second
	r.send(true, 1088, 1920, 3) // a phone held upright
	r.want(t, 3, 132, 234)
}

func TestSizeChangesArePoliced(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 320, 180, 1)
	r.send(true, 640, 360, 2) // growing right after the start
	r.want(t, 2, 416, 234)
	for i := range 20 {
		r.send(true, 320+2*i, 180, 3)
	}
	if s := r.Stats(); s.SizeChanges != 20 || s.Decoded != 2 {
		t.Errorf("%+v", s)
	}
	r.now += time.Second
	r.send(true, 320, 180, 4)
	r.want(t, 4, 416, 234)
	r.send(true, 320, 180, 5) // a key frame of the same size is no change
	r.want(t, 5, 416, 234)
}

func TestPixelRateIsPoliced(t *testing.T) {
	const size = 640 * 360
	r := newRig(t, func(c *SourceConfig) { c.PixelRate = 10 * size })
	r.SetTarget(416, 234, false)
	r.now = time.Second
	write := func(key bool, at time.Duration) {
		r.Write(coded(key, 640, 360, 1, at))
		settle(r.pool)
	}
	write(true, r.now)
	for range 30 { // all at one instant
		write(false, r.now)
	}
	s := r.Stats()
	if s.Decoded != 10 || s.TooManyPixels != 1 || s.AwaitingKey != 20 {
		t.Errorf("a second's worth in an instant: %+v", s)
	}
	for range 30 { // key frames may overdraw it by as much again
		write(true, r.now)
	}
	if s = r.Stats(); s.Decoded != 20 {
		t.Errorf("key frames: %+v", s)
	}
	for i := range 100 { // 5 s at 20/s when 10/s are allowed
		write(true, r.now+time.Duration(i+1)*50*time.Millisecond)
	}
	if got := r.Stats().Decoded - s.Decoded; got < 49 || got > 51 {
		t.Errorf("%d decoded in 5 s, want 50", got)
	}
}

func TestGarbage(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	for _, data := range [][]byte{nil, {1}, {0, 0, 0}, {0x10, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8}} {
		f := codec.NewEncodedFrame(64)
		f.Codec = codec.VP8
		f.Data = append(f.Data, data...)
		r.Write(f)
	}
	opus := coded(true, 640, 360, 1, 0)
	opus.Codec = codec.Opus
	r.Write(opus)
	settle(r.pool)
	if s := r.Stats(); s.Corrupt != 5 || r.decoder.decodes.Load() != 0 || r.asked.Load() != 5 {
		t.Errorf("%+v, asked %d", s, r.asked.Load())
	}
}

func TestSourceOutOfMemoryKeepsTheLastPicture(t *testing.T) {
	frames := codec.NewVideoPool(int64(codec.VideoFrameBytes(416, 234)) * 2)
	r := newRig(t, func(c *SourceConfig) { c.Frames = frames })
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	hog, err := frames.Get(416, 234)
	if err != nil {
		t.Fatal(err)
	}
	r.send(false, 0, 0, 2)
	r.want(t, 1, 416, 234)
	if s := r.Stats(); s.NoMemory != 1 || s.Decoded != 2 {
		t.Errorf("%+v", s)
	}
	hog.Release()
	r.send(false, 0, 0, 3)
	r.want(t, 3, 416, 234)
}

func TestDelayedPicturesWaitForTheirTime(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.SetDelay(100 * time.Millisecond)
	start := r.now + tick
	for i := range 3 {
		r.send(i == 0, 640, 360, byte(10+i))
	}
	at := func(after time.Duration) int {
		r.now = start + after
		l, _, _, _ := r.look()
		return l
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{90 * time.Millisecond, -1}, {100 * time.Millisecond, 10}, {101 * time.Millisecond, 10}, {100*time.Millisecond + tick, 11}, {time.Second, 12}} {
		if got := at(c.after); got != c.want {
			t.Errorf("after %v: %d, want %d", c.after, got, c.want)
		}
	}
	for i := range 20 { // nobody looks: the queue stays bounded
		r.send(false, 0, 0, byte(20+i))
	}
	if used := r.frames.Used(); used > int64(codec.VideoFrameBytes(416, 234))*(maxDue+2) {
		t.Errorf("%d bytes of pictures", used)
	}
	if s := r.Stats(); s.Superseded == 0 {
		t.Errorf("%+v", s)
	}
}

func TestSourceCloseWaitsAndIsFinal(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	shown, _ := r.Latest(r.now)
	r.decoder.gate = make(chan struct{})
	r.now += tick
	r.Write(coded(false, 0, 0, 2, r.now))
	closed := make(chan struct{})
	go func() {
		r.Close()
		if !r.decoder.closed.Load() {
			t.Error("Close returned before the decoder was closed")
		}
		close(closed)
	}()
	close(r.decoder.gate)
	<-closed
	r.Close()
	if f, _ := r.Latest(r.now); f != nil {
		t.Error("a picture after Close")
	}
	if shown.Y[0] != 1 {
		t.Error("a picture that was handed out changed")
	}
	shown.Release()
	r.Write(coded(true, 640, 360, 3, r.now))
	r.SetTarget(100, 100, false)
	settle(r.pool)
}

func TestSourceCloseAfterPool(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	// newRig's clean-up closes the source before the pool; here the pool
	// belongs to another source and is gone first.
	pool, _ := worker.New(worker.Config{Workers: 1})
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { pool.Run(ctx); close(ended) }()
	d := &fakeDecoder{}
	s, err := NewSource(SourceConfig{Decoder: d, Pool: pool, Frames: r.frames, RequestKeyframe: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	s.SetTarget(416, 234, false)
	cancel()
	<-ended
	s.Write(coded(true, 640, 360, 1, 0))
	s.Close()
	if !d.closed.Load() {
		t.Error("the decoder was not closed")
	}
}

func TestSourceReleasesEverything(t *testing.T) {
	r := newRig(t, nil)
	size := int64(codec.VideoFrameBytes(416, 234))
	r.SetTarget(416, 234, false)
	for i := range 300 {
		r.send(i%50 == 0, 640, 360, byte(i))
		r.look()
	}
	if used := r.frames.Used(); used > 3*size {
		t.Errorf("%d bytes of pictures, want at most 3 pictures of %d", used, size)
	}
}

func TestSourceConcurrently(t *testing.T) {
	r := newRig(t, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 500 {
			r.Write(coded(i%20 == 0, 640, 360, byte(i), time.Duration(i)*tick))
		}
	})
	wg.Go(func() {
		for i := range 500 {
			r.SetTarget(i%4*100, i%4*100, false)
			r.SetDelay(time.Duration(i%3) * tick)
		}
	})
	wg.Go(func() {
		for i := range 500 {
			if f, _ := r.Latest(time.Duration(i) * tick); f != nil {
				f.Release()
			}
			r.Stats()
		}
	})
	wg.Wait()
	r.Close()
}

// TestSourceCropsAndStaysSharp: what the decoder is asked for.
func TestSourceCropsAndStaysSharp(t *testing.T) {
	for _, screen := range []bool{false, true} {
		r := newRig(t, func(c *SourceConfig) { c.Screen = screen })
		views := make(chan codec.View, 4)
		r.decoder.views = views
		want := func(w, h int, v codec.View) {
			t.Helper()
			settle(r.pool)
			v.Sharp = screen
			if got := <-views; got != v {
				t.Errorf("the decoder was asked for %+v, want %+v", got, v)
			}
			if _, gw, gh, _ := r.look(); gw != w || gh != h {
				t.Errorf("%dx%d, want %dx%d", gw, gh, w, h)
			}
		}
		r.SetTarget(416, 234, false)
		r.send(true, 640, 480, 1)
		want(312, 234, codec.View{})
		r.SetTarget(416, 234, true)
		want(416, 234, codec.View{Y: 60, Width: 640, Height: 360})
		r.SetTarget(100, 200, true)
		want(100, 200, codec.View{X: 200, Width: 240, Height: 480})
		r.SetTarget(100, 200, true) // nothing changed: nothing is drawn
		r.SetTarget(100, 200, false)
		want(100, 76, codec.View{})
		if len(views) > 0 {
			t.Error("drawn more often than its target changed")
		}
	}
}

func TestSourceAllocatesNothing(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(416, 234, false)
	r.send(true, 640, 360, 1)
	barrierDone := make(chan struct{})
	barrier := worker.NewTask(func() { barrierDone <- struct{}{} })
	if n := testing.AllocsPerRun(100, func() {
		r.now += tick
		r.Write(coded(false, 0, 0, 2, r.now))
		r.pool.Submit(barrier, time.Hour)
		<-barrierDone
		if f, _ := r.Latest(r.now); f != nil {
			f.Release()
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func TestNewSourceErrors(t *testing.T) {
	if _, err := NewSource(SourceConfig{}); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("empty: %v", err)
	}
	pool, _ := worker.New(worker.Config{})
	c := SourceConfig{Decoder: &fakeDecoder{}, Pool: pool, Frames: codec.NewVideoPool(1), RequestKeyframe: func() {}, PixelRate: -1}
	if _, err := NewSource(c); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("negative rate: %v", err)
	}
}
