package codectest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
)

// NewVideoEncoder makes the encoder under test.
type NewVideoEncoder func(codec.VideoEncoderConfig) (codec.VideoEncoder, error)

// NewVideoDecoder makes the decoder under test, with its default limits.
type NewVideoDecoder func() (codec.VideoDecoder, error)

// VideoFormat is what the tests have to know of a format.
type VideoFormat struct {
	// Even says that sizes are even.
	Even bool
	// Layers is how many temporal layers there are at most.
	Layers int
	// Resize returns a copy of a key frame that claims to be of another size, or of
	// the next larger one that there is.
	Resize func(key []byte, width, height int) []byte
}

// size rounds up to what the format can be.
func (f VideoFormat) size(w, h int) (int, int) {
	if f.Even {
		return (w + 1) &^ 1, (h + 1) &^ 1
	}
	return w, h
}

// frameTime is the time between pictures in these tests.
const frameTime = time.Second / 30

func (n NewVideoEncoder) must(t testing.TB, c codec.VideoEncoderConfig) codec.VideoEncoder {
	t.Helper()
	if c.FPS == 0 {
		c.FPS = 30
	}
	if c.BitrateBps == 0 {
		c.BitrateBps = 500_000
	}
	enc, err := n(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := enc.Close(); err != nil {
			t.Error(err)
		}
	})
	return enc
}

func (n NewVideoDecoder) must(t testing.TB) codec.VideoDecoder {
	t.Helper()
	dec, err := n()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dec.Close(); err != nil {
			t.Error(err)
		}
	})
	return dec
}

// Encode codes pictures one after the other, without those that rate control
// dropped. It fails the test on any other error. The frames are released when
// the test ends.
func Encode(t testing.TB, enc codec.VideoEncoder, pictures []*codec.VideoFrame) []*codec.EncodedFrame {
	t.Helper()
	var out []*codec.EncodedFrame
	for n, p := range pictures {
		f, err := enc.Encode(p, time.Duration(n)*frameTime, false)
		if errors.Is(err, codec.ErrDropped) {
			continue
		}
		if err != nil {
			t.Fatalf("picture %d: %v", n, err)
		}
		t.Cleanup(f.Release)
		out = append(out, f)
	}
	return out
}

// picture fetches the latest picture at its own size.
func picture(t testing.TB, dec codec.VideoDecoder) *codec.VideoFrame {
	t.Helper()
	w, h := dec.Size()
	f := NewFrame(t, w, h)
	if err := dec.Picture(f); err != nil {
		t.Fatal(err)
	}
	return f
}

// planes calls do for each pair of rows of two pictures of one size.
func planes(a, b *codec.VideoFrame, do func(a, b []byte)) {
	for y := range a.Height {
		do(a.Y[y*a.StrideY:][:a.Width], b.Y[y*b.StrideY:][:a.Width])
	}
	cw := (a.Width + 1) / 2
	for y := range (a.Height + 1) / 2 {
		do(a.U[y*a.StrideUV:][:cw], b.U[y*b.StrideUV:][:cw])
		do(a.V[y*a.StrideUV:][:cw], b.V[y*b.StrideUV:][:cw])
	}
}

// identical reports whether two pictures of one size are the same.
func identical(a, b *codec.VideoFrame) bool {
	same := true
	planes(a, b, func(a, b []byte) { same = same && bytes.Equal(a, b) })
	return same
}

// psnr is the PSNR in dB over all planes, and over each row's last sample,
// where a decoder that mistreats odd sizes shows it. (codec/yuv has a fast one,
// but its tests need this package.)
func psnr(a, b *codec.VideoFrame) (all, edge float64) {
	var sum, n, edgeSum, edgeN float64
	planes(a, b, func(a, b []byte) {
		for i := range a {
			d := float64(a[i]) - float64(b[i])
			sum, n = sum+d*d, n+1
			if i == len(a)-1 {
				edgeSum, edgeN = edgeSum+d*d, edgeN+1
			}
		}
	})
	return 10 * math.Log10(255*255*n/sum), 10 * math.Log10(255*255*edgeN/edgeSum)
}

// VideoDecoder runs every test of a [codec.VideoDecoder]; newEnc makes what it
// is fed with.
func VideoDecoder(t *testing.T, format VideoFormat, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	for _, s := range []struct{ w, h int }{
		{16, 16}, {17, 17}, {33, 65}, {161, 91}, {90, 160}, {176, 144}, {427, 241}, {639, 359},
	} {
		w, h := format.size(s.w, s.h)
		t.Run(fmt.Sprintf("size %dx%d", w, h), func(t *testing.T) { decodesSize(t, newDec, newEnc, w, h) })
	}
	for name, test := range map[string]func(*testing.T, NewVideoDecoder, NewVideoEncoder){
		"needs a key frame first": needsKeyFirst,
		"scales the picture":      scalesPicture,
		"survives truncation":     survivesTruncation,
		"survives flipped bits":   survivesFlippedBits,
		"takes portrait":          takesPortrait,
		"closes":                  decoderCloses,
		"allocates nothing":       decoderAllocatesNothing,
	} {
		t.Run(name, func(t *testing.T) { test(t, newDec, newEnc) })
	}
	t.Run("size changes in the stream", func(t *testing.T) { resizes(t, format, newDec, newEnc) })
	t.Run("refuses gigantic pictures", func(t *testing.T) { refusesGigantic(t, format, newDec, newEnc) })
	if format.Layers > 1 {
		t.Run("layer 1 can be dropped", func(t *testing.T) { layerOneDroppable(t, newDec, newEnc) })
	}
}

func decodesSize(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder, w, h int) {
	dec := newDec.must(t)
	pictures := Scene{}.Frames(t, w, h, 8)
	for n, f := range Encode(t, newEnc.must(t, codec.VideoEncoderConfig{Width: w, Height: h, BitrateBps: 2_000_000}), pictures) {
		if err := dec.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
		if gw, gh := dec.Size(); gw != w || gh != h {
			t.Fatalf("size %dx%d, want %dx%d", gw, gh, w, h)
		}
		if all, edge := psnr(picture(t, dec), pictures[n]); all < 30 || edge < 25 {
			t.Errorf("picture %d: %.1f dB, right edge %.1f dB, want 30 and 25", n, all, edge)
		}
	}
}

func needsKeyFirst(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	dec := newDec.must(t)
	if w, h := dec.Size(); w != 0 || h != 0 {
		t.Errorf("a new decoder has a picture of %dx%d", w, h)
	}
	if err := dec.View(NewFrame(t, 64, 48), codec.View{Sharp: true}); !errors.Is(err, codec.ErrNoPicture) {
		t.Errorf("view of a new decoder: %v, want ErrNoPicture", err)
	}
	if err := dec.Picture(NewFrame(t, 64, 48)); !errors.Is(err, codec.ErrNoPicture) {
		t.Errorf("picture of a new decoder: %v, want ErrNoPicture", err)
	}
	frames := Encode(t, newEnc.must(t, codec.VideoEncoderConfig{Width: 64, Height: 48}), Scene{}.Frames(t, 64, 48, 3))
	if err := dec.Decode(frames[1].Data); !errors.Is(err, codec.ErrNeedKey) {
		t.Errorf("without a key frame: %v, want ErrNeedKey", err)
	}
	for _, f := range frames {
		if err := dec.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
	}
}

func scalesPicture(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	dec := newDec.must(t)
	f := Encode(t, newEnc.must(t, codec.VideoEncoderConfig{Width: 640, Height: 360, BitrateBps: 4_000_000}), Scene{}.Frames(t, 640, 360, 1))
	if err := dec.Decode(f[0].Data); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct{ w, h int }{{426, 240}, {320, 180}, {182, 102}, {1280, 720}, {427, 239}} {
		got := NewFrame(t, s.w, s.h)
		if err := dec.Picture(got); err != nil {
			t.Fatal(err)
		}
		// Drawn at that size the scene has other grain and boxes rounded
		// elsewhere; a shift by a few samples would be far worse.
		if all, _ := psnr(got, Scene{}.Frame(t, s.w, s.h, 0)); all < 27 {
			t.Errorf("%dx%d: %.1f dB, want 27", s.w, s.h, all)
		}
	}
	if err := dec.Picture(&codec.VideoFrame{Width: 64, Height: 64}); err == nil {
		t.Error("a destination without memory was taken")
	}
	viewsPicture(t, dec)
}

// viewsPicture checks parts of a picture of 640x360.
func viewsPicture(t *testing.T, dec codec.VideoDecoder) {
	whole := picture(t, dec)
	for _, v := range []codec.View{{}, {Sharp: true}, {X: 80, Width: 480, Height: 360}, {X: 100, Y: 50, Width: 320, Height: 180, Sharp: true}, {X: 638, Y: 358, Width: 2, Height: 2}} {
		w, h := v.Width, v.Height
		if w == 0 {
			w, h = 640, 360
		}
		got := NewFrame(t, w, h)
		if err := dec.View(got, v); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
		for y := range h { // as large as the part: nothing to scale
			from := (v.Y+y)*whole.StrideY + v.X
			if !bytes.Equal(got.Y[y*got.StrideY:][:w], whole.Y[from:from+w]) {
				t.Fatalf("%+v: row %d is not that of the picture", v, y)
			}
		}
	}
	for _, v := range []codec.View{{X: -2, Width: 64, Height: 64}, {Width: 642, Height: 64}, {Y: 300, Width: 64, Height: 64}, {Width: -1, Height: 10}} {
		if err := dec.View(NewFrame(t, 64, 64), v); !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%+v: %v, want ErrBadConfig", v, err)
		}
	}
}

func resizes(t *testing.T, format VideoFormat, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	dec := newDec.must(t)
	for _, s := range []struct{ w, h int }{{320, 180}, {176, 144}, {640, 360}, {33, 17}, {320, 180}} {
		s.w, s.h = format.size(s.w, s.h)
		pictures := Scene{}.Frames(t, s.w, s.h, 4)
		for n, f := range Encode(t, newEnc.must(t, codec.VideoEncoderConfig{Width: s.w, Height: s.h, BitrateBps: 2_000_000}), pictures) {
			if err := dec.Decode(f.Data); err != nil {
				t.Fatal(err)
			}
			if all, _ := psnr(picture(t, dec), pictures[n]); all < 30 {
				t.Errorf("%dx%d picture %d: %.1f dB, want 30", s.w, s.h, n, all)
			}
		}
	}
}

// mustRecover checks what is promised after any damage: either the frame passed,
// or the decoder wants a key frame, and with one all is well again.
func mustRecover(t *testing.T, dec codec.VideoDecoder, err error, stream []*codec.EncodedFrame, want *codec.VideoFrame) {
	t.Helper()
	switch {
	case errors.Is(err, codec.ErrCorrupt) || errors.Is(err, codec.ErrTooLarge):
		if err := dec.Decode(stream[1].Data); !errors.Is(err, codec.ErrNeedKey) {
			t.Fatalf("after damage: %v, want ErrNeedKey", err)
		}
	case err != nil && !errors.Is(err, codec.ErrNeedKey):
		t.Fatalf("damage gave %v, want ErrCorrupt, ErrTooLarge, ErrNeedKey or none", err)
	}
	if err := dec.Decode(stream[0].Data); err != nil {
		t.Fatalf("key frame after damage: %v", err)
	}
	if !identical(picture(t, dec), want) {
		t.Fatal("the key frame after damage gave another picture")
	}
}

// damageable returns a small stream and the picture of its key frame.
func damageable(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) ([]*codec.EncodedFrame, *codec.VideoFrame) {
	t.Helper()
	stream := Encode(t, newEnc.must(t, codec.VideoEncoderConfig{Width: 96, Height: 64, BitrateBps: 100_000}), Scene{}.Frames(t, 96, 64, 4))
	dec := newDec.must(t)
	if err := dec.Decode(stream[0].Data); err != nil {
		t.Fatal(err)
	}
	return stream, picture(t, dec)
}

func survivesTruncation(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	stream, want := damageable(t, newDec, newEnc)
	dec := newDec.must(t)
	if err := dec.Decode(nil); !errors.Is(err, codec.ErrCorrupt) {
		t.Errorf("no bytes at all: %v, want ErrCorrupt", err)
	}
	for _, which := range []int{0, 1} {
		whole := stream[which].Data
		refused := 0
		for cut := range whole {
			if err := dec.Decode(stream[0].Data); err != nil {
				t.Fatal(err)
			}
			// A copy of its own, so that the address sanitizer sees its end.
			err := dec.Decode(append([]byte(nil), whole[:cut]...))
			if errors.Is(err, codec.ErrCorrupt) {
				refused++
			}
			mustRecover(t, dec, err, stream, want)
		}
		// The last bytes of an arithmetic code may be redundant, no more.
		if refused < len(whole)*9/10 {
			t.Errorf("only %d of %d truncations of frame %d were noticed", refused, len(whole), which)
		}
	}
}

func survivesFlippedBits(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	stream, want := damageable(t, newDec, newEnc)
	dec := newDec.must(t)
	for _, which := range []int{0, 1} {
		whole := stream[which].Data
		for bit := range min(len(whole), 200) * 8 {
			if err := dec.Decode(stream[0].Data); err != nil {
				t.Fatal(err)
			}
			bad := bytes.Clone(whole)
			bad[bit/8] ^= 1 << (bit % 8)
			err := dec.Decode(bad)
			if err == nil {
				if w, h := dec.Size(); w > 0 {
					_ = dec.Picture(NewFrame(t, 32, 32))
				} else if h != 0 {
					t.Fatal("half a size")
				}
			}
			mustRecover(t, dec, err, stream, want)
		}
	}
}

func refusesGigantic(t *testing.T, format VideoFormat, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	stream, want := damageable(t, newDec, newEnc)
	dec := newDec.must(t)
	if err := dec.Decode(stream[0].Data); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct{ w, h int }{{16383, 16383}, {1921, 1080}, {1920, 1089}, {1089, 1920}, {16383, 1}} {
		err := dec.Decode(format.Resize(stream[0].Data, s.w, s.h))
		if !errors.Is(err, codec.ErrTooLarge) {
			t.Errorf("%dx%d: %v, want ErrTooLarge", s.w, s.h, err)
		}
		mustRecover(t, dec, err, stream, want)
	}
}

func takesPortrait(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	dec := newDec.must(t)
	p := NewFrame(t, 1088, 1920)
	f := Encode(t, newEnc.must(t, codec.VideoEncoderConfig{Width: 1088, Height: 1920}), []*codec.VideoFrame{p})
	if err := dec.Decode(f[0].Data); err != nil {
		t.Errorf("1088x1920: %v", err)
	}
}

func layerOneDroppable(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	enc := newEnc.must(t, codec.VideoEncoderConfig{Width: 320, Height: 180, BitrateBps: 400_000, TemporalLayers: 2})
	frames := Encode(t, enc, Scene{}.Frames(t, 320, 180, 60))
	whole, base, some := newDec.must(t), newDec.must(t), newDec.must(t)
	layerOne := 0
	for n, f := range frames {
		if err := whole.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
		want := picture(t, whole)
		if f.Temporal > 0 {
			layerOne++
			if layerOne%3 == 0 {
				continue
			}
		}
		if err := some.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
		if !identical(picture(t, some), want) {
			t.Fatalf("frame %d differs when some of layer 1 was dropped", n)
		}
		if f.Temporal > 0 {
			continue
		}
		if err := base.Decode(f.Data); err != nil {
			t.Fatal(err)
		}
		if !identical(picture(t, base), want) {
			t.Fatalf("frame %d differs when all of layer 1 was dropped", n)
		}
	}
	if layerOne < len(frames)/3 {
		t.Errorf("%d of %d frames are of layer 1", layerOne, len(frames))
	}
}

func decoderCloses(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	frames := Encode(t, newEnc.must(t, codec.VideoEncoderConfig{Width: 64, Height: 48}), Scene{}.Frames(t, 64, 48, 1))
	dec := newDec.must(t)
	if err := dec.Decode(frames[0].Data); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := dec.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, err := range map[string]error{
		"Decode": dec.Decode(frames[0].Data), "Picture": dec.Picture(NewFrame(t, 64, 48)), "View": dec.View(NewFrame(t, 64, 48), codec.View{}),
	} {
		if !errors.Is(err, codec.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	if w, h := dec.Size(); w != 0 || h != 0 {
		t.Error("a closed decoder has a picture")
	}
}

func decoderAllocatesNothing(t *testing.T, newDec NewVideoDecoder, newEnc NewVideoEncoder) {
	frames := Encode(t, newEnc.must(t, codec.VideoEncoderConfig{Width: 320, Height: 180}), Scene{}.Frames(t, 320, 180, 30))
	dec, dst, n := newDec.must(t), NewFrame(t, 212, 120), 0
	if allocs := testing.AllocsPerRun(len(frames)-1, func() {
		if err := errors.Join(dec.Decode(frames[n].Data), dec.Picture(dst)); err != nil {
			t.Error(err)
		}
		n++
	}); allocs != 0 {
		t.Errorf("%v allocations per picture", allocs)
	}
}

// layersOf lists the temporal layers of frames.
func layersOf(frames []*codec.EncodedFrame) (layers []uint8) {
	for _, f := range frames {
		layers = append(layers, f.Temporal)
	}
	return slices.Clip(layers)
}
