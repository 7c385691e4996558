//go:build !nodlopen

package h264

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/h264/nal"
	"mixdown/codec/vp8"
)

// coding is an encoder and a clock of 30 frames a second.
type coding struct {
	codec.VideoEncoder
	t     testing.TB
	ticks int
}

func newCoding(t testing.TB, c codec.VideoEncoderConfig) *coding {
	t.Helper()
	c.FPS = 30
	e, err := library(t).NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return &coding{VideoEncoder: e, t: t}
}

// encode codes a picture after so many ticks; nil is a frame that was dropped.
func (c *coding) encode(picture *codec.VideoFrame, after int) *codec.EncodedFrame {
	c.t.Helper()
	c.ticks += after
	f, err := c.Encode(picture, time.Duration(c.ticks)*time.Second/30, false)
	if err != nil && !errors.Is(err, codec.ErrDropped) {
		c.t.Fatal(err)
	}
	if f != nil {
		c.t.Cleanup(f.Release)
	}
	return f
}

// TestBitstream: what is made is what every decoder takes, one slice a picture,
// parameter sets with each key frame and only there, all of it referred to.
func TestBitstream(t *testing.T) {
	c := newCoding(t, codec.VideoEncoderConfig{Width: 1280, Height: 720, BitrateBps: 1_500_000})
	for n, p := range (codectest.Scene{}).Frames(t, 1280, 720, 6) {
		f, err := c.Encode(p, time.Duration(n)*time.Second/30, n == 3)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []nal.Type
		for unit, rest := nal.Next(f.Data); unit != nil; unit, rest = nal.Next(rest) {
			kinds = append(kinds, nal.TypeOf(unit))
		}
		want := []nal.Type{nal.Slice}
		if n == 0 || n == 3 {
			want = []nal.Type{nal.SPS, nal.PPS, nal.IDR}
		}
		if fmt.Sprint(kinds) != fmt.Sprint(want) {
			t.Errorf("frame %d has units %v, want %v", n, kinds, want)
		}
		got, err := nal.ParseFrame(f.Data)
		if err != nil || got.Key != f.Key || got.Discardable {
			t.Errorf("frame %d: %+v, %v", n, got, err)
		}
		if s := got.Set; got.Key && (!s.ConstrainedBaseline() || s.Level != 31 || s.Width != 1280 || s.Height != 720) {
			t.Errorf("frame %d: %+v, want constrained baseline at level 3.1", n, s)
		}
		f.Release()
	}
}

// TestRest: a picture that stays on show becomes sharp, without a burst and
// without one when it moves again.
func TestRest(t *testing.T) {
	const bps = 120_000
	c := newCoding(t, codec.VideoEncoderConfig{Width: 160, Height: 90, BitrateBps: bps})
	pictures := codectest.Scene{}.Frames(t, 160, 90, 90)
	for _, p := range pictures[:45] {
		if f := c.encode(p, 1); f != nil && f.Sharp {
			t.Fatal("a moving picture of 120 kb/s is said to be sharp")
		}
	}
	for n := 1; ; n++ {
		if n > 15 {
			t.Fatal("it never becomes sharp")
		}
		c.StartPattern()
		f := c.encode(pictures[44], 3)
		if f == nil {
			continue
		}
		if len(f.Data)*8 > bps*3/10 {
			t.Errorf("still frame %d has %d bytes", n, len(f.Data))
		}
		if f.Sharp {
			break
		}
	}
	for range 60 { // a minute of one frame a second saves nothing up
		c.StartPattern()
		if f := c.encode(pictures[44], 30); f != nil && len(f.Data)*8 > bps/4 {
			t.Errorf("a still frame of %d bytes", len(f.Data))
		}
	}
	burst := 0
	for _, p := range pictures[45:] {
		if f := c.encode(p, 1); f != nil {
			burst += len(f.Data)
		}
	}
	if rate := burst * 8 * 30 / 45; rate > bps*8/5 {
		t.Errorf("%d bit/s in the second and a half after a rest, want about %d", rate, bps)
	}
}

// TestBaseLayerOnly: half the frames take the same bitrate, and no key frame.
func TestBaseLayerOnly(t *testing.T) {
	const bps = 150_000
	c := newCoding(t, codec.VideoEncoderConfig{Width: 160, Height: 90, BitrateBps: bps})
	pictures := codectest.Scene{}.Frames(t, 160, 90, 60)
	run := func(n, every int) float64 {
		bytes := 0
		for range n {
			f := c.encode(pictures[c.ticks%len(pictures)], every)
			if f == nil {
				continue
			}
			if f.Key && c.ticks > 1 {
				t.Error("a key frame")
			}
			bytes += len(f.Data)
		}
		return float64(bytes) * 8 * 30 / float64(n*every)
	}
	run(60, 1)
	for _, every := range []int{2, 1} {
		if err := errors.Join(c.SetBaseLayerOnly(every == 2), c.SetBaseLayerOnly(every == 2)); err != nil {
			t.Fatal(err)
		}
		run(30, every) // settles
		if bits := run(60, every); bits < bps*0.8 || bits > bps*1.15 {
			t.Errorf("%.0f bit/s with every %d. frame, want %d", bits, every, bps)
		}
	}
	c.Close()
	if err := c.SetBaseLayerOnly(true); !errors.Is(err, codec.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}

func TestRefusesSizes(t *testing.T) {
	l := library(t)
	for _, s := range [][2]int{{161, 90}, {160, 91}, {4098, 16}, {4096, 4096}} {
		if _, err := l.NewEncoder(codec.VideoEncoderConfig{Width: s[0], Height: s[1], FPS: 30, BitrateBps: 300_000}); !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%v: %v, want ErrBadConfig", s, err)
		}
	}
	if _, err := l.NewDecoder(DecoderConfig{MaxHeight: -1}); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("%v, want ErrBadConfig", err)
	}
}

// BenchmarkEncode codes the same pictures as VP8 and as H.264.
func BenchmarkEncode(b *testing.B) {
	l := library(b)
	makers := map[string]func(codec.VideoEncoderConfig) (codec.VideoEncoder, error){
		"VP8":  func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return vp8.NewEncoder(c) },
		"H264": l.NewEncoder,
	}
	for _, c := range []codec.VideoEncoderConfig{
		{Width: 1280, Height: 720, BitrateBps: 1_500_000},
		{Width: 640, Height: 360, BitrateBps: 600_000},
		{Width: 320, Height: 180, BitrateBps: 150_000},
	} {
		c.FPS, c.TemporalLayers = 30, 2
		pictures := codectest.Scene{}.Frames(b, c.Width, c.Height, 60)
		for _, name := range []string{"VP8", "H264"} {
			for _, speed := range []int{0, 6} {
				c.Speed = speed
				b.Run(fmt.Sprintf("%dp/%s/speed%d", c.Height, name, speed), func(b *testing.B) {
					enc, err := makers[name](c)
					if err != nil {
						b.Fatal(err)
					}
					defer enc.Close()
					n, bytes := 0, 0
					b.ReportAllocs()
					for b.Loop() {
						f, err := enc.Encode(pictures[n%len(pictures)], time.Duration(n)*time.Second/30, false)
						if err == nil {
							bytes += len(f.Data)
							f.Release()
						} else if !errors.Is(err, codec.ErrDropped) {
							b.Fatal(err)
						}
						n++
					}
					b.ReportMetric(float64(bytes)*8*30/float64(n)/1000, "kb/s")
				})
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	l := library(b)
	enc, err := l.NewEncoder(codec.VideoEncoderConfig{Width: 640, Height: 360, FPS: 30, BitrateBps: 500_000})
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	stream := codectest.Encode(b, enc, codectest.Scene{}.Frames(b, 640, 360, 60))
	dec, err := l.NewDecoder(DecoderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer dec.Close()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := dec.Decode(stream[n%len(stream)].Data); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
