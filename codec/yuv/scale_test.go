package yuv

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

// sizes are the ratios that a call meets: grids of camera pictures, tiers,
// portrait phones, odd sizes, small and large factors.
var sizes = []struct{ sw, sh, dw, dh int }{
	{640, 360, 426, 240}, {640, 360, 424, 238}, {640, 360, 320, 180}, {640, 360, 640, 360},
	{1280, 720, 640, 360}, {1280, 720, 426, 240}, {1280, 720, 180, 102}, {1920, 1080, 160, 90},
	{320, 180, 426, 240}, {640, 360, 1280, 720}, {176, 144, 1280, 720}, {480, 640, 180, 240},
	{641, 361, 425, 239}, {639, 359, 427, 241}, {1281, 721, 427, 241}, {853, 481, 201, 113},
	{640, 480, 64, 48}, {64, 48, 100, 75}, {40, 30, 31, 23}, {16, 16, 426, 240}, {1, 1, 33, 35}, {3, 5, 2, 2}, {640, 360, 28, 16},
	{640, 360, 600, 100}, {640, 360, 100, 340},
}

// reference is the scaler's definition in floating point: 2x2 means while the
// picture is more than twice too large, then bilinear between sample centres.
func reference(dst, src *codec.VideoFrame) {
	halvings := 0
	for src.Width > 2*dst.Width<<halvings && src.Height > 2*dst.Height<<halvings {
		halvings++
	}
	plane := func(d []byte, dstride, dw, dh int, s []byte, sstride, sw, sh int) {
		w, h := sw, sh
		level := make([]float64, w*h)
		for y := range h {
			for x := range w {
				level[y*w+x] = float64(s[y*sstride+x])
			}
		}
		for range halvings {
			hw, hh := (w+1)/2, (h+1)/2
			next := make([]float64, hw*hh)
			for y := range hh {
				for x := range hw {
					x0, x1, y0, y1 := 2*x, min(2*x+1, w-1), 2*y, min(2*y+1, h-1)
					next[y*hw+x] = (level[y0*w+x0] + level[y0*w+x1] + level[y1*w+x0] + level[y1*w+x1]) / 4
				}
			}
			level, w, h = next, hw, hh
		}
		at := func(i, n, src, size int) (int, int, float64) {
			p := (float64(i)+0.5)*float64(src)/float64(n<<halvings) - 0.5
			p = min(max(p, 0), float64(size-1))
			return int(p), min(int(p)+1, size-1), p - math.Floor(p)
		}
		for y := range dh {
			y0, y1, fy := at(y, dh, sh, h)
			for x := range dw {
				x0, x1, fx := at(x, dw, sw, w)
				top := level[y0*w+x0]*(1-fx) + level[y0*w+x1]*fx
				bottom := level[y1*w+x0]*(1-fx) + level[y1*w+x1]*fx
				d[y*dstride+x] = uint8(top*(1-fy) + bottom*fy + 0.5)
			}
		}
	}
	scw, sch, dcw, dch := (src.Width+1)/2, (src.Height+1)/2, (dst.Width+1)/2, (dst.Height+1)/2
	plane(dst.Y, dst.StrideY, dst.Width, dst.Height, src.Y, src.StrideY, src.Width, src.Height)
	plane(dst.U, dst.StrideUV, dcw, dch, src.U, src.StrideUV, scw, sch)
	plane(dst.V, dst.StrideUV, dcw, dch, src.V, src.StrideUV, scw, sch)
}

func TestScaleIsTheReference(t *testing.T) {
	for _, s := range sizes {
		t.Run(fmt.Sprintf("%dx%d-%dx%d", s.sw, s.sh, s.dw, s.dh), func(t *testing.T) {
			src := codectest.Scene{}.Frame(t, s.sw, s.sh, 3)
			got, want, lib := codectest.NewFrame(t, s.dw, s.dh), codectest.NewFrame(t, s.dw, s.dh), codectest.NewFrame(t, s.dw, s.dh)
			guardGot := guard(got)
			if err := Scale(got, src); err != nil {
				t.Fatal(err)
			}
			guardGot(t)
			if err := scale(lib, src, 1); err != nil {
				t.Fatal(err)
			}
			reference(want, src)
			db, dbLib := PSNR(got, want), PSNR(lib, want)
			t.Logf("to reference: %.1f dB, libyuv %.1f dB", db, dbLib)
			// Where libyuv does the work its box filter or its cheaper
			// rounding differs from the reference; ours has 7 bit weights.
			if floor := min(48, dbLib-0.5); db < floor {
				t.Errorf("%.1f dB from the reference, want %.1f", db, floor)
			}
		})
	}
}

// guard fills what lies between the rows and returns a check that it is untouched.
func guard(f *codec.VideoFrame) func(testing.TB) {
	each := func(do func(p *byte)) {
		cw, ch := (f.Width+1)/2, (f.Height+1)/2
		for _, p := range []struct {
			mem             []byte
			stride, w, rows int
		}{{f.Y, f.StrideY, f.Width, f.Height}, {f.U, f.StrideUV, cw, ch}, {f.V, f.StrideUV, cw, ch}} {
			for y := range p.rows {
				for x := p.w; x < p.stride; x++ {
					do(&p.mem[y*p.stride+x])
				}
			}
		}
	}
	each(func(p *byte) { *p = 0xa5 })
	return func(t testing.TB) {
		t.Helper()
		bad := 0
		each(func(p *byte) {
			if *p != 0xa5 {
				bad++
			}
		})
		if bad > 0 {
			t.Errorf("%d bytes beside the picture were written", bad)
		}
	}
}

// tight returns a copy of f without any padding, the last row included, so
// that the address sanitizer or a crash shows a read past the end.
func tight(f *codec.VideoFrame) *codec.VideoFrame {
	cw, ch := (f.Width+1)/2, (f.Height+1)/2
	c := &codec.VideoFrame{Width: f.Width, Height: f.Height, StrideY: f.Width, StrideUV: cw}
	pack := func(p []byte, stride, w, h int) []byte {
		out := make([]byte, 0, w*h)
		for y := range h {
			out = append(out, p[y*stride:y*stride+w]...)
		}
		return out
	}
	c.Y, c.U, c.V = pack(f.Y, f.StrideY, f.Width, f.Height), pack(f.U, f.StrideUV, cw, ch), pack(f.V, f.StrideUV, cw, ch)
	return c
}

func TestScaleIgnoresStrides(t *testing.T) {
	for _, s := range sizes {
		src := codectest.Scene{Seed: 5}.Frame(t, s.sw, s.sh, 1)
		a, b := codectest.NewFrame(t, s.dw, s.dh), tight(codectest.NewFrame(t, s.dw, s.dh))
		if err := errors.Join(Scale(a, src), Scale(b, tight(src))); err != nil {
			t.Fatal(err)
		}
		if db := PSNR(a, b); !math.IsInf(db, 1) {
			t.Errorf("%+v: tight planes give another picture, %.1f dB apart", s, db)
		}
	}
}

func TestScaleKeepsFlatColours(t *testing.T) {
	for _, s := range sizes {
		for _, v := range []uint8{0, 1, 127, 128, 254, 255} {
			src, dst := codectest.NewFrame(t, s.sw, s.sh), codectest.NewFrame(t, s.dw, s.dh)
			want := codectest.NewFrame(t, s.dw, s.dh)
			for _, f := range []*codec.VideoFrame{src, want} {
				for _, p := range [][]byte{f.Y, f.U, f.V} {
					for i := range p {
						p[i] = v
					}
				}
			}
			if err := Scale(dst, src); err != nil {
				t.Fatal(err)
			}
			// Two steps are 42 dB: libyuv truncates when it reduces a lot.
			if db := PSNR(dst, want); db < 42 {
				t.Errorf("%+v: a flat %d became %d", s, v, dst.Y[0])
			}
		}
	}
}

func TestScaleRefuses(t *testing.T) {
	good := codectest.NewFrame(t, 64, 64)
	for name, f := range map[string]*codec.VideoFrame{
		"empty":         {},
		"short luma":    {Width: 64, Height: 64, StrideY: 64, StrideUV: 32, Y: make([]byte, 64*64-1), U: make([]byte, 1024), V: make([]byte, 1024)},
		"short chroma":  {Width: 64, Height: 64, StrideY: 64, StrideUV: 32, Y: make([]byte, 64*64), U: make([]byte, 1023), V: make([]byte, 1024)},
		"small stride":  {Width: 64, Height: 64, StrideY: 63, StrideUV: 32, Y: make([]byte, 64*64), U: make([]byte, 1024), V: make([]byte, 1024)},
		"negative side": {Width: -64, Height: 64, StrideY: 64, StrideUV: 32, Y: make([]byte, 64*64), U: make([]byte, 1024), V: make([]byte, 1024)},
	} {
		if err := Scale(good, f); !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("source %s: %v", name, err)
		}
		if err := Scale(f, good); !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("destination %s: %v", name, err)
		}
	}
}

func TestScaleAllocatesNothing(t *testing.T) {
	src, dst := codectest.NewFrame(t, 640, 360), codectest.NewFrame(t, 426, 240)
	if n := testing.AllocsPerRun(20, func() { _ = Scale(dst, src) }); n != 0 {
		t.Errorf("%v allocations per Scale", n)
	}
}

// BenchmarkStageScale shows our kernel beside libyuv.
func BenchmarkStageScale(b *testing.B) {
	for _, s := range sizes[:12] {
		src, dst := codectest.Scene{}.Frame(b, s.sw, s.sh, 0), codectest.NewFrame(b, s.dw, s.dh)
		for how, name := range []string{"ours", "libyuv"} {
			b.Run(fmt.Sprintf("%dx%d-%dx%d/%s", s.sw, s.sh, s.dw, s.dh, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := scale(dst, src, int32(how)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
