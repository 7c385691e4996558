package codectest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
)

// VideoEncoder runs every test of a [codec.VideoEncoder]; newDec looks at what
// it made.
func VideoEncoder(t *testing.T, format VideoFormat, newEnc NewVideoEncoder, newDec NewVideoDecoder) {
	for layers := 1; layers <= format.Layers; layers++ {
		t.Run(fmt.Sprintf("%d layers", layers), func(t *testing.T) {
			t.Run("fields", func(t *testing.T) { setsFields(t, newEnc, layers) })
			t.Run("key on request only", func(t *testing.T) { keyOnRequest(t, newEnc, layers) })
			t.Run("obeys the bitrate", func(t *testing.T) { obeysBitrate(t, newEnc, layers) })
			t.Run("keeps quality", func(t *testing.T) { keepsQuality(t, newEnc, newDec, layers) })
			t.Run("drops rather than overshoot", func(t *testing.T) { dropsFrames(t, newEnc, newDec, layers) })
			t.Run("takes any time", func(t *testing.T) { takesAnyTime(t, newEnc, newDec, layers) })
		})
	}
	if format.Layers > 1 {
		t.Run("layers alternate", func(t *testing.T) { layersAlternate(t, newEnc) })
	}
	t.Run("ignores strides", func(t *testing.T) { ignoresStrides(t, format, newEnc) })
	t.Run("refuses bad settings", func(t *testing.T) { refusesSettings(t, newEnc) })
	t.Run("screen", func(t *testing.T) { codesScreens(t, newEnc, newDec) })
	t.Run("closes", func(t *testing.T) { encoderCloses(t, newEnc) })
	t.Run("allocates nothing", func(t *testing.T) { encoderAllocatesNothing(t, newEnc) })
}

func setsFields(t *testing.T, newEnc NewVideoEncoder, layers int) {
	pictures := Scene{}.Frames(t, 160, 90, 3)
	c := codec.VideoEncoderConfig{Width: 160, Height: 90, TemporalLayers: layers}
	a, b := Encode(t, newEnc.must(t, c), pictures), Encode(t, newEnc.must(t, c), pictures)
	for n, f := range a {
		if f.PTS != time.Duration(n)*frameTime || f.Width != 160 || f.Height != 90 || f.Codec == 0 || len(f.Data) == 0 {
			t.Errorf("frame %d: pts %v, %v, %dx%d, %d bytes", n, f.PTS, f.Codec, f.Width, f.Height, len(f.Data))
		}
		if f.Key != (n == 0) {
			t.Errorf("frame %d: key %v", n, f.Key)
		}
		if top := f.Temporal > 0; f.Discardable != top || f.LayerSync != top {
			t.Errorf("frame %d of layer %d: discardable %v, layer sync %v", n, f.Temporal, f.Discardable, f.LayerSync)
		}
		if f.Stream == 0 || f.Stream != a[0].Stream || f.Stream == b[0].Stream {
			t.Errorf("frame %d: stream %d beside %d and %d", n, f.Stream, a[0].Stream, b[0].Stream)
		}
	}
}

func keyOnRequest(t *testing.T, newEnc NewVideoEncoder, layers int) {
	enc := newEnc.must(t, codec.VideoEncoderConfig{Width: 160, Height: 90, TemporalLayers: layers})
	// Other scenes at 20 and 40 tempt an encoder into a key frame of its own.
	for n := range 60 {
		f, err := enc.Encode(Scene{Seed: uint32(n / 20)}.Frame(t, 160, 90, n), time.Duration(n)*frameTime, n == 33)
		if errors.Is(err, codec.ErrDropped) && n != 0 && n != 33 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := n == 0 || n == 33; f.Key != want {
			t.Errorf("frame %d: key %v", n, f.Key)
		}
		f.Release()
	}
}

func obeysBitrate(t *testing.T, newEnc NewVideoEncoder, layers int) {
	const seconds = 3
	enc := newEnc.must(t, codec.VideoEncoderConfig{Width: 320, Height: 180, BitrateBps: 300_000, TemporalLayers: layers})
	pictures := Scene{}.Frames(t, 320, 180, 30*seconds)
	n := 0
	for _, bps := range []int{300_000, 150_000, 500_000, 200_000} {
		if err := enc.SetBitrate(bps); err != nil {
			t.Fatal(err)
		}
		bits := 0
		for i := range pictures {
			f, err := enc.Encode(pictures[i], time.Duration(n)*frameTime, false)
			n++
			if errors.Is(err, codec.ErrDropped) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Key && n > 1 {
				t.Errorf("a new bitrate made frame %d a key frame", n-1)
			}
			if i >= 30 { // rate control has a second to follow
				bits += 8 * len(f.Data)
			}
			f.Release()
		}
		got := bits / (seconds - 1)
		t.Logf("asked for %d b/s, got %d", bps, got)
		if got < bps*75/100 || got > bps*120/100 {
			t.Errorf("asked for %d b/s, got %d", bps, got)
		}
	}
}

func keepsQuality(t *testing.T, newEnc NewVideoEncoder, newDec NewVideoDecoder, layers int) {
	pictures := Scene{}.Frames(t, 320, 180, 45)
	enc, dec := newEnc.must(t, codec.VideoEncoderConfig{Width: 320, Height: 180, BitrateBps: 600_000, TemporalLayers: layers}), newDec.must(t)
	sum, coded := 0.0, 0
	for _, f := range Encode(t, enc, pictures) {
		if err := dec.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
		db, _ := psnr(picture(t, dec), pictures[f.PTS/frameTime])
		sum += db
		coded++
	}
	mean := sum / float64(coded)
	t.Logf("%.1f dB over %d of %d pictures", mean, coded, len(pictures))
	if mean < 38 || coded < len(pictures)*9/10 {
		t.Errorf("%.1f dB over %d of %d pictures, want 38 dB and 9 of 10", mean, coded, len(pictures))
	}
}

// dropsFrames asks for far less than the pictures need.
func dropsFrames(t *testing.T, newEnc NewVideoEncoder, newDec NewVideoDecoder, layers int) {
	pictures := Scene{}.Frames(t, 320, 180, 120)
	enc, dec := newEnc.must(t, codec.VideoEncoderConfig{Width: 320, Height: 180, BitrateBps: 20_000, TemporalLayers: layers}), newDec.must(t)
	frames := Encode(t, enc, pictures)
	if len(frames) == len(pictures) {
		t.Error("nothing was dropped at 20 kb/s")
	}
	for _, f := range frames {
		if err := dec.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
	}
}

// takesAnyTime feeds it with clocks that stand still, jump and run backwards.
func takesAnyTime(t *testing.T, newEnc NewVideoEncoder, newDec NewVideoDecoder, layers int) {
	enc, dec := newEnc.must(t, codec.VideoEncoderConfig{Width: 160, Height: 90, TemporalLayers: layers}), newDec.must(t)
	for n, pts := range []time.Duration{
		time.Hour, time.Hour, time.Hour + 1, 0, frameTime, -time.Hour, 1000 * time.Hour, 1000*time.Hour + frameTime, 1<<63 - 1, -1 << 63,
	} {
		f, err := enc.Encode(Scene{}.Frame(t, 160, 90, n), pts, false)
		if errors.Is(err, codec.ErrDropped) {
			continue
		}
		if err != nil {
			t.Fatalf("time %v: %v", pts, err)
		}
		if f.PTS != pts {
			t.Errorf("time %v came back as %v", pts, f.PTS)
		}
		if err := dec.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
		f.Release()
	}
}

func layersAlternate(t *testing.T, newEnc NewVideoEncoder) {
	enc := newEnc.must(t, codec.VideoEncoderConfig{Width: 160, Height: 90, TemporalLayers: 2, BitrateBps: 1_000_000})
	var frames []*codec.EncodedFrame
	for n := range 9 {
		f, err := enc.Encode(Scene{}.Frame(t, 160, 90, n), time.Duration(n)*frameTime, n == 5)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Release()
		frames = append(frames, f)
	}
	if got, want := layersOf(frames), []uint8{0, 1, 0, 1, 0, 0, 1, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("layers %v with a key frame at 5, want %v", got, want)
	}
}

func ignoresStrides(t *testing.T, format VideoFormat, newEnc NewVideoEncoder) {
	w, h := format.size(161, 91)
	c := codec.VideoEncoderConfig{Width: w, Height: h}
	padded := Scene{}.Frames(t, w, h, 3)
	var tight []*codec.VideoFrame
	for _, p := range padded {
		q := &codec.VideoFrame{Width: p.Width, Height: p.Height, StrideY: p.Width, StrideUV: (p.Width + 1) / 2}
		q.Y = make([]byte, q.StrideY*q.Height)
		q.U = make([]byte, q.StrideUV*((q.Height+1)/2))
		q.V = make([]byte, len(q.U))
		planes(q, p, func(a, b []byte) { copy(a, b) })
		tight = append(tight, q)
	}
	a, b := Encode(t, newEnc.must(t, c), padded), Encode(t, newEnc.must(t, c), tight)
	for n := range a {
		if string(a[n].Data) != string(b[n].Data) {
			t.Errorf("frame %d depends on what lies between the rows", n)
		}
	}
}

func refusesSettings(t *testing.T, newEnc NewVideoEncoder) {
	good := codec.VideoEncoderConfig{Width: 160, Height: 90, FPS: 30, BitrateBps: 300_000}
	for name, change := range map[string]func(*codec.VideoEncoderConfig){
		"no width":     func(c *codec.VideoEncoderConfig) { c.Width = 0 },
		"huge height":  func(c *codec.VideoEncoderConfig) { c.Height = 16384 },
		"no rate":      func(c *codec.VideoEncoderConfig) { c.FPS = 0 },
		"no bitrate":   func(c *codec.VideoEncoderConfig) { c.BitrateBps = 0 },
		"three layers": func(c *codec.VideoEncoderConfig) { c.TemporalLayers = 3 },
		"speed":        func(c *codec.VideoEncoderConfig) { c.Speed = 17 },
		"threshold":    func(c *codec.VideoEncoderConfig) { c.StaticThreshold = -1 },
	} {
		c := good
		change(&c)
		if _, err := newEnc(c); !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%s: %v, want ErrBadConfig", name, err)
		}
	}
	enc := newEnc.must(t, good)
	_, wrongSize := enc.Encode(NewFrame(t, 162, 90), 0, false)
	_, noMemory := enc.Encode(&codec.VideoFrame{Width: 160, Height: 90, StrideY: 160, StrideUV: 80}, 0, false)
	for name, err := range map[string]error{
		"wrong size": wrongSize, "no memory": noMemory, "bitrate": enc.SetBitrate(-1), "speed": enc.SetSpeed(99),
	} {
		if !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%s: %v, want ErrBadConfig", name, err)
		}
	}
	// And all of that did no harm.
	if len(Encode(t, enc, Scene{}.Frames(t, 160, 90, 2))) != 2 {
		t.Error("frames are missing after refused settings")
	}
}

// codesScreens checks that a picture that hardly changes costs hardly anything.
func codesScreens(t *testing.T, newEnc NewVideoEncoder, newDec NewVideoDecoder) {
	pictures := Scene{Still: true}.Frames(t, 320, 180, 60)
	enc, dec := newEnc.must(t, codec.VideoEncoderConfig{Width: 320, Height: 180, BitrateBps: 500_000, Screen: true}), newDec.must(t)
	bits, db := 0, 0.0
	for _, f := range Encode(t, enc, pictures) {
		if err := dec.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
		if f.PTS >= time.Second {
			bits += 8 * len(f.Data)
		}
		db, _ = psnr(picture(t, dec), pictures[f.PTS/frameTime])
	}
	t.Logf("%d b/s, %.1f dB at the end", bits, db)
	if bits > 500_000 || db < 33 {
		t.Errorf("%d b/s, %.1f dB at the end, want at most 500000 and at least 33", bits, db)
	}
}

func encoderCloses(t *testing.T, newEnc NewVideoEncoder) {
	enc := newEnc.must(t, codec.VideoEncoderConfig{Width: 64, Height: 48})
	frames := Scene{}.Frames(t, 64, 48, 1)
	Encode(t, enc, frames)
	for range 2 {
		if err := enc.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := enc.Encode(frames[0], 0, false)
	for name, err := range map[string]error{"Encode": err, "SetBitrate": enc.SetBitrate(100_000), "SetSpeed": enc.SetSpeed(8)} {
		if !errors.Is(err, codec.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

func encoderAllocatesNothing(t *testing.T, newEnc NewVideoEncoder) {
	enc := newEnc.must(t, codec.VideoEncoderConfig{Width: 160, Height: 90, TemporalLayers: 2, BitrateBps: 1_000_000})
	pictures, n := Scene{}.Frames(t, 160, 90, 10), 0
	run := func() {
		f, err := enc.Encode(pictures[n%len(pictures)], time.Duration(n)*frameTime, false)
		if err != nil {
			t.Error(err)
			return
		}
		f.Release()
		n++
	}
	run() // the key frame and its larger buffer
	if allocs := testing.AllocsPerRun(200, run); allocs >= 1 {
		t.Errorf("%v allocations per frame", allocs)
	}
	for range 3 { // the speeds at run time, with whatever they change
		if err := errors.Join(enc.SetSpeed(10), enc.SetSpeed(6), enc.SetBitrate(200_000+1000*n)); err != nil {
			t.Error(err)
		}
		run()
	}
}
