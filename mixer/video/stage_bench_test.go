package video

import (
	"fmt"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/vp8"
	"mixdown/codec/worker"
	"mixdown/mixer/layout"
)

// Benchmarks called Stage are the steps of a tick, each alone:
//
//	go test -run '^$' -bench Stage ./...
//
// is the table of all of them. What runs on the pool is waited for, at the price
// of waking its thread and being woken: BenchmarkSubmitRun of package worker.

// barrier returns a function that waits until all that is queued has run.
func barrier(pool *worker.Pool) func() {
	done := make(chan struct{})
	task := worker.NewTask(func() { done <- struct{}{} })
	return func() { pool.Submit(task, time.Duration(1<<62)); <-done }
}

// BenchmarkStageDecode is one coded picture on its way to a tile of a canvas of
// 1280x720: queue, decode, scale, due queue.
func BenchmarkStageDecode(b *testing.B) {
	enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 640, Height: 360, FPS: 30, BitrateBps: 500_000})
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	stream := codectest.Encode(b, enc, codectest.Scene{}.Frames(b, 640, 360, 60))
	for _, tiles := range []int{1, 9, 16, 49} {
		tile := layout.Arrange(hd, tiles)[0]
		b.Run(fmt.Sprintf("640x360/tiles=%d", tiles), func(b *testing.B) {
			pool := startPool(b)
			dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
			if err != nil {
				b.Fatal(err)
			}
			s, err := NewSource(SourceConfig{Decoder: dec, Pool: pool, Frames: codec.NewVideoPool(testBudget), RequestKeyframe: func() {}})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			s.SetTarget(tile.W, tile.H, false)
			wait := barrier(pool)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				f := codec.NewEncodedFrame(len(stream[n%len(stream)].Data))
				f.Codec, f.Data = codec.VP8, append(f.Data, stream[n%len(stream)].Data...)
				f.PTS, f.Arrival = time.Duration(n)*time.Second/30, time.Duration(n)*time.Second/30
				s.Write(f)
				wait()
				if picture, _ := s.Latest(f.Arrival); picture != nil {
					picture.Release()
				}
				n++
			}
			if st := s.Stats(); st.Pictures < uint64(n) {
				b.Fatalf("%d pictures of %d: %+v", st.Pictures, n, st)
			}
		})
	}
}

// BenchmarkStageEncode is one canvas of 1280x720 on its way to those who take a
// tier: mailbox, scale, encode, hand out.
func BenchmarkStageEncode(b *testing.B) {
	for _, name := range []string{"1280x720@30", "640x360@30", "320x180@15"} {
		for _, sinks := range []int{1, 50} {
			b.Run(fmt.Sprintf("%s/sinks=%d", name, sinks), func(b *testing.B) {
				pool, frames := startPool(b), codec.NewVideoPool(testBudget)
				tier, err := ParseTier(name)
				if err != nil {
					b.Fatal(err)
				}
				r, err := NewRendition(RenditionConfig{
					Tier: tier, Pool: pool, Frames: frames,
					NewEncoder: func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return vp8.NewEncoder(c) },
				})
				if err != nil {
					b.Fatal(err)
				}
				defer r.Close()
				taken := &countingSink{}
				for range sinks {
					r.Subscribe(taken)
				}
				canvases := codectest.Scene{}.Frames(b, 1280, 720, 30)
				wait := barrier(pool)
				n := 0
				b.ReportAllocs()
				for b.Loop() {
					c := canvases[n%len(canvases)]
					c.PTS = time.Duration(n) * time.Second / time.Duration(tier.FPS)
					r.Write(c, true)
					wait()
					n++
				}
				if got := taken.n.Load(); got < int64(n*sinks)*9/10 { // rate control may leave some out
					b.Fatalf("%d pictures handed out, want %d", got, n*sinks)
				}
			})
		}
	}
}

// BenchmarkStageDue is a decoded picture that waits for its time.
func BenchmarkStageDue(b *testing.B) {
	frames := codec.NewVideoPool(testBudget)
	for _, delay := range []time.Duration{0, 200 * time.Millisecond} {
		b.Run(fmt.Sprintf("delay=%v", delay), func(b *testing.B) {
			var q dueQueue
			defer q.clear()
			now := time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				now += tick
				f, err := frames.Get(320, 180)
				if err != nil {
					b.Fatal(err)
				}
				q.put(f, now+delay, now)
				q.latest(now)
			}
		})
	}
}
