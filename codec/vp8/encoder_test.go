package vp8

import (
	"errors"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

// coding is an encoder and a clock of 30 frames a second.
type coding struct {
	*Encoder
	t     testing.TB
	ticks int
}

func newCoding(t testing.TB, c codec.VideoEncoderConfig) *coding {
	t.Helper()
	c.FPS, c.TemporalLayers = 30, 2
	e, err := NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return &coding{Encoder: e, t: t}
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

// TestRest: a picture that stays on show becomes sharp, in frames of layer 0,
// without a burst and without one when it moves again.
func TestRest(t *testing.T) {
	const bps = 120_000
	c := newCoding(t, codec.VideoEncoderConfig{Width: 160, Height: 90, BitrateBps: bps})
	pictures := codectest.Scene{}.Frames(t, 160, 90, 90)
	for _, p := range pictures[:45] {
		c.encode(p, 1)
	}
	var bytes, n int
	for n = 1; ; n++ {
		if n > 30 {
			t.Fatal("it never becomes sharp")
		}
		c.StartPattern()
		f := c.encode(pictures[44], 3)
		if f == nil {
			continue
		}
		if f.Temporal != 0 || f.Discardable || f.Key {
			t.Errorf("still frame %d: layer %d, discardable %v, key %v", n, f.Temporal, f.Discardable, f.Key)
		}
		if len(f.Data)*8 > bps*3/10 {
			t.Errorf("still frame %d has %d bytes", n, len(f.Data))
		}
		if bytes += len(f.Data); f.Sharp {
			break
		}
	}
	if bytes*8 > bps*(n+5)/10 {
		t.Errorf("%d bytes in %d frames until it is sharp", bytes, n)
	}
	// A minute of one frame a second saves nothing up.
	for range 60 {
		c.StartPattern()
		if f := c.encode(pictures[44], 30); f != nil && len(f.Data)*8 > bps/4 {
			t.Errorf("a still frame of %d bytes", len(f.Data))
		}
	}
	burst := 0
	for i, p := range pictures[45:] {
		after := 1
		if i == 0 {
			after = 20
			c.StartPattern()
		}
		if f := c.encode(p, after); f != nil {
			if i == 0 && (f.Temporal != 0 || len(f.Data)*8 > bps/4) {
				t.Errorf("the first frame that moves is of layer %d and has %d bytes", f.Temporal, len(f.Data))
			}
			burst += len(f.Data)
		}
	}
	if rate := burst * 8 * 30 / 45; rate > bps*8/5 {
		t.Errorf("%d bit/s in the second and a half after a rest, want about %d", rate, bps)
	}
}

// TestBaseLayerOnly: half the frames take the same bitrate, no key frame, and
// layer 1 comes back.
func TestBaseLayerOnly(t *testing.T) {
	const bps = 150_000
	c := newCoding(t, codec.VideoEncoderConfig{Width: 160, Height: 90, BitrateBps: bps})
	pictures := codectest.Scene{}.Frames(t, 160, 90, 60)
	run := func(n, every int) (bits float64, tops int) {
		bytes := 0
		for i := range n {
			f := c.encode(pictures[c.ticks%len(pictures)], every)
			if f == nil {
				continue
			}
			if f.Key && c.ticks > 1 {
				t.Error("a key frame")
			}
			bytes += len(f.Data)
			if f.Temporal > 0 {
				tops++
			}
			if i > 0 && every == 2 && (f.Temporal != 0 || f.Discardable) {
				t.Errorf("layer %d without layer 1", f.Temporal)
			}
		}
		return float64(bytes) * 8 * 30 / float64(n*every), tops
	}
	run(60, 1)
	if err := errors.Join(c.SetBaseLayerOnly(true), c.SetBaseLayerOnly(true)); err != nil {
		t.Fatal(err)
	}
	run(30, 2) // settles
	if bits, _ := run(60, 2); bits < bps*0.8 || bits > bps*1.15 {
		t.Errorf("%.0f bit/s of the base layer alone, want %d", bits, bps)
	}
	if err := c.SetBaseLayerOnly(false); err != nil {
		t.Fatal(err)
	}
	run(30, 1)
	if bits, tops := run(60, 1); bits < bps*0.8 || bits > bps*1.15 || tops < 28 {
		t.Errorf("%.0f bit/s and %d frames of layer 1 afterwards", bits, tops)
	}
	c.Close()
	if err := c.SetBaseLayerOnly(true); !errors.Is(err, codec.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}
