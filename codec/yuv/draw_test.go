package yuv

import (
	"bytes"
	"errors"
	"image"
	"math"
	"testing"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

// clone returns a copy of f, padding included.
func clone(t *testing.T, f *codec.VideoFrame) *codec.VideoFrame {
	t.Helper()
	c := codectest.NewFrame(t, f.Width, f.Height)
	copy(c.Y, f.Y)
	copy(c.U, f.U)
	copy(c.V, f.V)
	return c
}

func same(a, b *codec.VideoFrame) bool {
	return bytes.Equal(a.Y, b.Y) && bytes.Equal(a.U, b.U) && bytes.Equal(a.V, b.V)
}

// positions are places inside, across every edge of, and outside a 50x38 picture.
var positions = []image.Point{
	{0, 0}, {2, 4}, {3, 5}, {-2, 0}, {0, -2}, {-3, -5}, {40, 30}, {49, 37}, {48, 36}, {50, 0}, {0, 38},
	{-16, 0}, {-17, -13}, {-18, 0}, {math.MinInt, 0}, {0, math.MaxInt}, {math.MaxInt, math.MinInt}, {-1, -1},
}

// slowBlend is Blit and Blend by definition, one sample at a time. Chroma takes
// the mean opacity of the luma samples it covers.
func slowBlend(dst *codec.VideoFrame, x, y int, src *Overlay) {
	x, y = x&^1, y&^1
	mix := func(d *byte, s, a int) { *d = byte((s*a + int(*d)*(255-a) + 255) >> 8) }
	in := func(px, py, w, h int) bool { return px >= 0 && py >= 0 && px < w && py < h }
	for sy := range src.Height {
		for sx := range src.Width {
			if in(x+sx, y+sy, dst.Width, dst.Height) {
				mix(&dst.Y[(y+sy)*dst.StrideY+x+sx], int(src.Y[sy*src.StrideY+sx]), int(src.A[sy*src.StrideY+sx]))
			}
		}
	}
	// The part that is drawn ends where either picture does.
	w, h := min(src.Width, dst.Width-x), min(src.Height, dst.Height-y)
	for sy := 0; sy < h; sy += 2 {
		for sx := 0; sx < w; sx += 2 {
			if !in(x+sx, y+sy, dst.Width, dst.Height) {
				continue
			}
			sum := 2
			for _, p := range []image.Point{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
				sum += int(src.A[min(sy+p.Y, h-1)*src.StrideY+min(sx+p.X, w-1)])
			}
			d, s := (y+sy)/2*dst.StrideUV+(x+sx)/2, sy/2*src.StrideUV+sx/2
			mix(&dst.U[d], int(src.U[s]), sum/4)
			mix(&dst.V[d], int(src.V[s]), sum/4)
		}
	}
}

func overlayOf(t *testing.T, f *codec.VideoFrame) *Overlay {
	t.Helper()
	o, err := NewOverlay(f.Width, f.Height)
	if err != nil {
		t.Fatal(err)
	}
	c := tight(f)
	o.Y, o.U, o.V = c.Y, c.U, c.V
	for i := range o.A {
		o.A[i] = 255
	}
	return o
}

func TestBlitIsAnOpaqueBlend(t *testing.T) {
	for _, size := range []image.Point{{16, 12}, {17, 13}, {1, 1}, {100, 90}, {50, 38}} {
		src := codectest.Scene{Seed: 1}.Frame(t, size.X, size.Y, 0)
		for _, p := range positions {
			got := codectest.Scene{Seed: 2}.Frame(t, 50, 38, 0)
			untouched := guard(got)
			want := clone(t, got)
			if p.X > -1000 && p.X < 1000 && p.Y > -1000 && p.Y < 1000 {
				slowBlend(want, p.X, p.Y, overlayOf(t, src))
			}
			if err := Blit(got, p.X, p.Y, src); err != nil {
				t.Fatal(err)
			}
			untouched(t)
			if !same(got, want) {
				t.Errorf("%v at %v: %.1f dB from what it should be", size, p, PSNR(got, want))
			}
		}
	}
}

func TestBlend(t *testing.T) {
	for _, size := range []image.Point{{16, 12}, {17, 13}, {1, 1}, {3, 2}, {100, 90}, {33, 31}} {
		src := overlayOf(t, codectest.Scene{Seed: 1}.Frame(t, size.X, size.Y, 0))
		for i := range src.A {
			src.A[i] = byte(i * 37)
		}
		for _, p := range positions {
			got := codectest.Scene{Seed: 2}.Frame(t, 50, 38, 0)
			untouched := guard(got)
			want := clone(t, got)
			if p.X > -1000 && p.X < 1000 && p.Y > -1000 && p.Y < 1000 {
				slowBlend(want, p.X, p.Y, src)
			}
			if err := Blend(got, p.X, p.Y, src); err != nil {
				t.Fatal(err)
			}
			untouched(t)
			// One step of rounding in the mean opacity of odd edges.
			if db := PSNR(got, want); db < 50 {
				t.Errorf("%v at %v: %.1f dB from what it should be", size, p, db)
			}
		}
	}
}

func TestFillAndBorder(t *testing.T) {
	black := func() *codec.VideoFrame {
		f := codectest.NewFrame(t, 51, 39)
		if err := Fill(f, image.Rect(-5, -5, 1000, 1000), 16, 128, 128); err != nil {
			t.Fatal(err)
		}
		return f
	}
	count := func(f *codec.VideoFrame) (luma, chroma int) {
		for y := range f.Height {
			for x := range f.Width {
				if f.Y[y*f.StrideY+x] == 200 {
					luma++
				}
				if x%2 == 0 && y%2 == 0 && f.U[y/2*f.StrideUV+x/2] == 90 && f.V[y/2*f.StrideUV+x/2] == 40 {
					chroma++
				}
			}
		}
		return luma, chroma
	}
	for _, c := range []struct {
		r            image.Rectangle
		luma, chroma int
	}{
		{image.Rect(0, 0, 51, 39), 51 * 39, 26 * 20},
		{image.Rect(10, 10, 20, 14), 40, 10},
		{image.Rect(11, 11, 20, 14), 40, 10},
		{image.Rect(-10, -10, 1, 1), 1, 1},
		{image.Rect(50, 38, 90, 90), 1, 1},
		{image.Rect(51, 39, 90, 90), 0, 0},
		{image.Rect(20, 14, 10, 10), 40, 10}, // canonical
		{image.Rectangle{}, 0, 0},
	} {
		f := black()
		untouched := guard(f)
		if err := Fill(f, c.r.Canon(), 200, 90, 40); err != nil {
			t.Fatal(err)
		}
		untouched(t)
		if luma, chroma := count(f); luma != c.luma || chroma != c.chroma {
			t.Errorf("%v painted %d luma and %d chroma samples, want %d and %d", c.r, luma, chroma, c.luma, c.chroma)
		}
	}
	f := black()
	if err := Border(f, image.Rect(4, 4, 24, 20), 2, 200, 90, 40); err != nil {
		t.Fatal(err)
	}
	if luma, chroma := count(f); luma != 20*16-16*12 || chroma != luma/4 {
		t.Errorf("border painted %d luma and %d chroma samples, want %d and %d", luma, chroma, 20*16-16*12, (20*16-16*12)/4)
	}
	if err := Border(f, image.Rect(-100, -100, 500, 500), math.MaxInt-1, 200, 90, 40); err != nil {
		t.Fatal(err)
	}
	if luma, _ := count(f); luma != 51*39 {
		t.Errorf("a very thick border painted %d of %d samples", luma, 51*39)
	}
}

func TestDrawRefuses(t *testing.T) {
	good, bad := codectest.NewFrame(t, 64, 64), &codec.VideoFrame{Width: 64, Height: 64}
	short, err := NewOverlay(64, 64)
	if err != nil {
		t.Fatal(err)
	}
	short.A = short.A[:1]
	_, tooWide := NewOverlay(maxSide+1, 2)
	for name, err := range map[string]error{
		"blit from": Blit(good, 0, 0, bad), "blit to": Blit(bad, 0, 0, good),
		"fill": Fill(bad, image.Rect(0, 0, 1, 1), 0, 0, 0), "border": Border(bad, image.Rect(0, 0, 1, 1), 1, 0, 0, 0),
		"blend": Blend(good, 0, 0, short), "blend to": Blend(bad, 0, 0, short), "overlay": tooWide,
	} {
		if !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%s: %v, want ErrBadConfig", name, err)
		}
	}
}

func TestPSNR(t *testing.T) {
	a := codectest.Scene{}.Frame(t, 63, 47, 0)
	b := clone(t, a)
	if !math.IsInf(PSNR(a, b), 1) || !math.IsInf(LumaPSNR(a, b), 1) {
		t.Error("equal pictures differ")
	}
	for y := range b.Height {
		for x := range b.Width {
			b.Y[y*b.StrideY+x] ^= 1
		}
	}
	if db := LumaPSNR(a, b); math.Abs(db-48.13) > 0.01 {
		t.Errorf("one step of error everywhere is %.2f dB, want 48.13", db)
	}
	if luma, all := LumaPSNR(a, b), PSNR(a, b); all <= luma {
		t.Errorf("clean chroma did not raise %.2f dB: %.2f", luma, all)
	}
	if PSNR(a, codectest.NewFrame(t, 64, 47)) != 0 {
		t.Error("pictures of different size were compared")
	}
}

func TestDrawAllocatesNothing(t *testing.T) {
	dst, src := codectest.NewFrame(t, 640, 360), codectest.Scene{}.Frame(t, 320, 180, 0)
	label, err := NewOverlay(120, 20)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() {
		_ = Blit(dst, 10, 10, src)
		_ = Blend(dst, 10, 10, label)
		_ = Border(dst, image.Rect(0, 0, 100, 100), 2, 1, 2, 3)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBlit(b *testing.B) {
	dst, src := codectest.NewFrame(b, 1280, 720), codectest.NewFrame(b, 426, 240)
	b.ReportAllocs()
	for b.Loop() {
		if err := Blit(dst, 428, 240, src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBlendLabel(b *testing.B) {
	dst := codectest.NewFrame(b, 1280, 720)
	label, err := NewOverlay(160, 28)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := Blend(dst, 428, 452, label); err != nil {
			b.Fatal(err)
		}
	}
}
