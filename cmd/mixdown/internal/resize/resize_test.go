package resize

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/vp8"
)

var _ client.Resizer = (*Player)(nil)

func TestSize(t *testing.T) {
	for _, c := range []struct{ w, h, boundW, boundH, wantW, wantH int }{
		{1280, 720, 0, 0, 1280, 720},
		{1280, 720, 1920, 1080, 1280, 720}, // never enlarged
		{1280, 720, 640, 360, 640, 360},
		{1280, 720, 426, 240, 426, 240},
		{640, 360, 426, 240, 426, 240},
		{640, 360, 212, 120, 212, 120},
		{640, 480, 426, 240, 320, 240},
		{640, 480, 320, 0, 320, 240},
		{720, 1280, 426, 240, 136, 240},
		{641, 361, 0, 0, 640, 360},
		{1280, 720, 4, 2, 16, 16},
	} {
		if w, h := Size(c.w, c.h, codec.UplinkTarget{Width: c.boundW, Height: c.boundH}); w != c.wantW || h != c.wantH {
			t.Errorf("%dx%d within %dx%d is %dx%d, want %dx%d", c.w, c.h, c.boundW, c.boundH, w, h, c.wantW, c.wantH)
		}
	}
}

// moving is two seconds of a moving pattern, 640x360@30.
func moving(t *testing.T) *clip.Clip {
	t.Helper()
	cfg := codec.VideoEncoderConfig{Width: 640, Height: 360, FPS: 30, BitrateBps: 1_000_000}
	enc, err := vp8.NewEncoder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	picture, err := codec.NewVideoPool(1<<20).Get(cfg.Width, cfg.Height)
	if err != nil {
		t.Fatal(err)
	}
	c := &clip.Clip{Codec: codec.VP8, Width: cfg.Width, Height: cfg.Height}
	for n := range 60 {
		for y := range cfg.Height {
			for x := range cfg.Width {
				picture.Y[y*picture.StrideY+x] = byte(x/2 + y + 4*n)
			}
		}
		step := time.Second / 30
		f, err := enc.Encode(picture, time.Duration(n)*step, false)
		if errors.Is(err, codec.ErrDropped) {
			c.Units[len(c.Units)-1].Duration += step
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Units = append(c.Units, clip.Unit{Data: bytes.Clone(f.Data), Duration: step, Key: f.Key})
		f.Release()
	}
	return c
}

// watched plays so much of a player and decodes it.
type watched struct {
	units, keys, bytes int
	time               time.Duration
	first              clip.Unit // without data
	width, height      int
}

func watch(t *testing.T, p *Player, dec *vp8.Decoder, span time.Duration) (w watched) {
	t.Helper()
	for w.time < span {
		u, err := p.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.time += u.Duration
		if len(u.Data) == 0 {
			continue
		}
		if w.units == 0 {
			w.first = clip.Unit{Key: u.Key, Duration: u.Duration}
		}
		if err := dec.Decode(u.Data); err != nil {
			t.Fatalf("unit %d: %v", w.units, err)
		}
		if head, _ := vp8.ParseHeader(u.Data); head.Key != u.Key {
			t.Errorf("unit %d: key is %v, and told as %v", w.units, head.Key, u.Key)
		}
		w.units++
		w.bytes += len(u.Data)
		if u.Key {
			w.keys++
		}
	}
	w.width, w.height = dec.Size()
	return w
}

func TestPlayerFollowsTheTarget(t *testing.T) {
	c := moving(t)
	p, err := Loop(c)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if u, err := p.Next(t.Context()); err != nil || &u.Data[0] != &c.Units[0].Data[0] {
		t.Error("what nobody wants smaller is not sent as it is")
	}
	p.Limit(codec.UplinkTarget{Width: 1280, Height: 720, FPS: 30, BitrateBps: 1_500_000})
	full := watch(t, p, dec, 2*time.Second)
	if full.width != 640 || !full.first.Key {
		t.Errorf("in full: %+v", full)
	}

	p.Limit(codec.UplinkTarget{Width: 426, Height: 240, FPS: 30, BitrateBps: 300_000})
	small := watch(t, p, dec, 2*time.Second)
	if small.width != 426 || small.height != 240 || !small.first.Key || small.keys != 1 || small.bytes*8 > 2*400_000 {
		t.Errorf("426x240: %+v", small)
	}
	p.RequestKeyframe()
	if again := watch(t, p, dec, time.Second); again.keys != 1 {
		t.Errorf("asked for a key frame: %+v", again)
	}
	// Another bitrate alone costs no key frame.
	p.Limit(codec.UplinkTarget{Width: 426, Height: 240, FPS: 30, BitrateBps: 200_000})
	if same := watch(t, p, dec, time.Second); same.keys != 0 {
		t.Errorf("another bitrate: %+v", same)
	}

	p.Limit(codec.UplinkTarget{Width: 212, Height: 120, FPS: 15, BitrateBps: 60_000})
	tiny := watch(t, p, dec, 2*time.Second)
	if tiny.height != 120 || tiny.units > 31 || tiny.first.Duration < 60*time.Millisecond || tiny.time > 2100*time.Millisecond {
		t.Errorf("212x120@15: %+v", tiny)
	}
	p.Limit(codec.UplinkTarget{})
	if back := watch(t, p, dec, time.Second); back.width != 640 || !back.first.Key {
		t.Errorf("back in full: %+v", back)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Next(t.Context()); !errors.Is(err, codec.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestLoopRefuses(t *testing.T) {
	for _, c := range []*clip.Clip{
		{Codec: codec.Opus, Units: []clip.Unit{{Data: []byte{1}, Duration: time.Second}}},
		{Codec: codec.VP8},
		{Codec: codec.VP8, Units: []clip.Unit{{Data: []byte{1, 2, 3, 4}, Duration: time.Second}}},
	} {
		if _, err := Loop(c); !errors.Is(err, clip.ErrFormat) {
			t.Errorf("%v: %v", c.Codec, err)
		}
	}
}
