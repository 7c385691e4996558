package video

import (
	"context"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mixdown/codec"
	"mixdown/codec/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startPool runs a pool of one thread, so that tasks run one after the other,
// until the test ends.
func startPool(t testing.TB) *worker.Pool {
	t.Helper()
	pool, err := worker.New(worker.Config{Workers: 1, Nice: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { pool.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return pool
}

// settle waits until everything queued in a pool of one thread has run.
func settle(pool *worker.Pool) {
	done := make(chan struct{})
	pool.Submit(worker.NewTask(func() { close(done) }), math.MaxInt64)
	<-done
}

// hold occupies a pool of one thread until release is called.
func hold(pool *worker.Pool) (release func()) {
	began, gate := make(chan struct{}), make(chan struct{})
	pool.Submit(worker.NewTask(func() { close(began); <-gate }), -time.Hour)
	<-began
	return func() { close(gate) }
}

// startLabeller runs a labeller until the test ends.
func startLabeller(t testing.TB, c LabellerConfig) *Labeller {
	t.Helper()
	l, err := NewLabeller(c)
	if err != nil {
		t.Fatal(err)
	}
	runLabeller(t, l)
	return l
}

func runLabeller(t testing.TB, l *Labeller) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// newFrame returns a picture of one colour.
func newFrame(t testing.TB, pool *codec.VideoPool, w, h int, c colour) *codec.VideoFrame {
	t.Helper()
	f, err := pool.Get(w, h)
	if err != nil {
		t.Fatal(err)
	}
	fillBytes(f.Y, c.y)
	fillBytes(f.U, c.u)
	fillBytes(f.V, c.v)
	return f
}

func fillBytes(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// samplesAt returns the colour of one luma sample.
func samplesAt(f *codec.VideoFrame, x, y int) [3]uint8 {
	uv := y/2*f.StrideUV + x/2
	return [3]uint8{f.Y[y*f.StrideY+x], f.U[uv], f.V[uv]}
}

func (c colour) yuv() [3]uint8 { return [3]uint8{c.y, c.u, c.v} }

// still is a source that shows one picture until it is given another.
type still struct {
	mu      sync.Mutex
	frame   *codec.VideoFrame
	twin    *codec.VideoFrame // the same but for one sample; made by touch
	version uint64
}

func (s *still) set(f *codec.VideoFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range []*codec.VideoFrame{s.frame, s.twin} {
		if old != nil {
			old.Release()
		}
	}
	s.frame, s.twin = f, nil
	s.version++
}

// touch makes a new picture of the present one, and the next time the other
// way round.
func (s *still) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	if s.frame == nil {
		return
	}
	if s.twin == nil {
		s.twin = copyFrame(s.frame)
		s.twin.Y[0] ^= 8 // more than alikeTolerance
	}
	s.frame, s.twin = s.twin, s.frame
}

// repeat shows an equal picture as a new one, taken later.
func (s *still) repeat(pts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := copyFrame(s.frame)
	f.PTS = pts
	s.frame.Release()
	s.frame = f
	s.version++
}

func copyFrame(f *codec.VideoFrame) *codec.VideoFrame {
	c, err := codec.NewVideoPool(testBudget).Get(f.Width, f.Height)
	if err != nil {
		panic(err)
	}
	copy(c.Y, f.Y)
	copy(c.U, f.U)
	copy(c.V, f.V)
	c.PTS = f.PTS
	return c
}

func (s *still) Latest(time.Duration) (*codec.VideoFrame, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frame == nil {
		return nil, s.version
	}
	return s.frame.Retain(), s.version
}

// coded returns a frame that passes for VP8: of a key frame the header holds
// the size; tag is what a fakeDecoder shows as luma.
func coded(key bool, w, h int, tag byte, arrival time.Duration) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(64)
	f.Codec = codec.VP8
	f.Key = key
	f.PTS, f.Arrival = arrival, arrival
	head := []byte{0x31, 0, 0} // a delta frame, shown, first partition of one byte
	if key {
		head = []byte{0x30, 0, 0, 0x9d, 0x01, 0x2a, byte(w), byte(w >> 8), byte(h), byte(h >> 8)}
	}
	f.Data = append(append(f.Data, head...), tag, tag)
	return f
}

// fakeDecoder shows a flat picture whose luma is the frame's last byte.
type fakeDecoder struct {
	w, h    int
	luma    byte
	decodes atomic.Int64
	scales  atomic.Int64
	fail    atomic.Pointer[error] // returned once
	gate    chan struct{}         // if set, Decode waits for it
	views   chan codec.View       // if set, what was asked for
	closed  atomic.Bool
}

func (d *fakeDecoder) Decode(data []byte) error {
	if d.gate != nil {
		<-d.gate
	}
	if err := d.fail.Swap(nil); err != nil {
		return *err
	}
	d.decodes.Add(1)
	if data[0]&1 == 0 {
		d.w, d.h = int(data[6])|int(data[7])<<8, int(data[8])|int(data[9])<<8
	}
	d.luma = data[len(data)-1]
	return nil
}

func (d *fakeDecoder) Size() (int, int) { return d.w, d.h }

func (d *fakeDecoder) Picture(dst *codec.VideoFrame) error {
	if d.w == 0 {
		return codec.ErrNoPicture
	}
	d.scales.Add(1)
	fillBytes(dst.Y, d.luma)
	fillBytes(dst.U, 128)
	fillBytes(dst.V, 128)
	return nil
}

func (d *fakeDecoder) View(dst *codec.VideoFrame, v codec.View) error {
	if d.views != nil {
		d.views <- v
	}
	return d.Picture(dst)
}

func (d *fakeDecoder) Close() error { d.closed.Store(true); return nil }

// writePNG keeps a picture where MIXDOWN_PICTURES says, for people to look at.
func writePNG(t testing.TB, name string, f *codec.VideoFrame) {
	t.Helper()
	dir := os.Getenv("MIXDOWN_PICTURES")
	if dir == "" {
		return
	}
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := png.Encode(file, toImage(f)); err != nil {
		t.Fatal(err)
	}
}
