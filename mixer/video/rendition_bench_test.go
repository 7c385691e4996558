package video

import (
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/codectest/floor"
	"mixdown/codec/vp8"
	"mixdown/mixer/layout"
)

// What a second of a rendition of 1280x720@30 costs, in processor time, beside
// what raw libvpx needs for a second in which all of the canvas moves: the unit
// "x-floor". What rests has become sharp before.

const benchSeconds = 2

// bench is a rendition with the real encoder and one viewer.
type bench struct {
	*Rendition
	wait  func()
	ticks int
	taken countingSink
}

func newBench(b *testing.B) *bench {
	pool := startPool(b)
	tier, err := ParseTier("1280x720@30")
	if err != nil {
		b.Fatal(err)
	}
	r, err := NewRendition(RenditionConfig{
		Tier: tier, Pool: pool, Frames: codec.NewVideoPool(testBudget),
		NewEncoder: func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return vp8.NewEncoder(c) },
	})
	if err != nil {
		b.Fatal(err)
	}
	x := &bench{Rendition: r, wait: barrier(pool)}
	b.Cleanup(func() { r.Close() })
	x.Subscribe(&x.taken)
	return x
}

func (x *bench) tick(canvas *codec.VideoFrame, changed bool) {
	canvas.PTS = time.Duration(x.ticks) * time.Second / 30
	x.ticks++
	x.Write(canvas, changed)
	x.wait()
}

// rawSecond is what raw libvpx needs for a second of these canvases.
func rawSecond(b *testing.B, canvases []*codec.VideoFrame) time.Duration {
	took, err := floor.EncodeVP8(canvases, codec.VideoEncoderConfig{
		Width: 1280, Height: 720, FPS: 30, BitrateBps: 1_500_000, TemporalLayers: 2,
	})
	if err != nil {
		b.Fatal(err)
	}
	return took * 30 / time.Duration(len(canvases))
}

// report turns what cpu was used for b.N seconds into the ratio.
func report(b *testing.B, used, raw time.Duration) {
	perSecond := used / time.Duration(b.N)
	b.ReportMetric(float64(perSecond)/float64(raw), "x-floor")
	b.ReportMetric(float64(perSecond)/float64(time.Millisecond), "cpu-ms/s")
}

// benchmarkCanvas runs seconds of canvases; still says that they do not change,
// raw what they are compared with.
func benchmarkCanvas(b *testing.B, canvases, raw []*codec.VideoFrame, still bool) {
	x := newBench(b)
	unit := rawSecond(b, raw)
	for n := range 60 {
		x.tick(canvases[n%len(canvases)], n == 0 || !still)
	}
	before := x.CPU()
	b.ResetTimer()
	for range b.N {
		for range 30 {
			x.tick(canvases[x.ticks%len(canvases)], !still)
		}
	}
	b.StopTimer()
	report(b, x.CPU()-before, unit)
}

func BenchmarkRenditionMoving(b *testing.B) {
	canvases := codectest.Scene{}.Frames(b, 1280, 720, 30*benchSeconds)
	benchmarkCanvas(b, canvases, canvases, false)
}

func BenchmarkRenditionStill(b *testing.B) {
	canvases := codectest.Scene{}.Frames(b, 1280, 720, 30)
	benchmarkCanvas(b, canvases[:1], canvases, true)
}

// BenchmarkRenditionOneTile is a canvas on which one of nine tiles moves.
func BenchmarkRenditionOneTile(b *testing.B) {
	canvases := codectest.Scene{}.Frames(b, 1280, 720, 30*benchSeconds)
	some := make([]*codec.VideoFrame, len(canvases))
	tile := layout.Arrange(hd, 9)[0]
	for n := range some {
		some[n] = codectest.NewFrame(b, 1280, 720)
		copy(some[n].Y, canvases[0].Y)
		copy(some[n].U, canvases[0].U)
		copy(some[n].V, canvases[0].V)
		for y := tile.Y; y < tile.Y+tile.H; y++ {
			at := y*some[n].StrideY + tile.X
			copy(some[n].Y[at:at+tile.W], canvases[n].Y[at:])
		}
		for y := tile.Y / 2; y < (tile.Y+tile.H)/2; y++ {
			at := y*some[n].StrideUV + tile.X/2
			copy(some[n].U[at:at+tile.W/2], canvases[n].U[at:])
			copy(some[n].V[at:at+tile.W/2], canvases[n].V[at:])
		}
	}
	benchmarkCanvas(b, some, canvases, false)
}

// BenchmarkRenditionPassthrough is a source of that size whose frames are passed
// through.
func BenchmarkRenditionPassthrough(b *testing.B) {
	canvases := codectest.Scene{}.Frames(b, 1280, 720, 30)
	unit := rawSecond(b, canvases)
	enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 1280, Height: 720, FPS: 30, BitrateBps: 1_500_000, TemporalLayers: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	stream := codectest.Encode(b, enc, canvases)
	x := newBench(b)
	src, err := NewSource(SourceConfig{Decoder: &fakeDecoder{}, Pool: x.c.Pool, Frames: x.c.Frames, RequestKeyframe: func() {}})
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	x.SetPassthrough(src)
	n := 0
	send := func() {
		coded := stream[n%len(stream)]
		f := codec.NewEncodedFrame(len(coded.Data))
		f.Data = append(f.Data, coded.Data...)
		f.Codec, f.Stream, f.Temporal, f.Discardable = codec.VP8, 1, coded.Temporal, coded.Discardable
		f.PTS = time.Duration(n) * time.Second / 30
		f.Arrival = f.PTS
		n++
		src.Write(f)
		x.wait()
	}
	send()
	before := x.CPU() + src.CPU()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for range 30 {
			send()
		}
	}
	b.StopTimer()
	if s := x.Stats(); s.Passed != uint64(n) || s.Encoded != 0 {
		b.Fatalf("%d of %d frames passed, %d encoded", s.Passed, n, s.Encoded)
	}
	report(b, x.CPU()+src.CPU()-before, unit)
}
