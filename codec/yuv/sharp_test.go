package yuv

import (
	"errors"
	"fmt"
	"image"
	"math"
	"testing"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

// textPicture is what makes scaling hard: strokes of one and two samples,
// some of them slanted, black on white, in rows as text is.
func textPicture(t testing.TB, w, h int) *codec.VideoFrame {
	f := codectest.NewFrame(t, w, h)
	for _, p := range [][]byte{f.U, f.V} {
		for i := range p {
			p[i] = 128
		}
	}
	for y := range h {
		for x := range w {
			v := uint8(235)
			letter, row := uint32(x/9)*2654435761^uint32(y/16)*40503, y%16
			letter ^= letter >> 13
			if inLine := row >= 3 && row < 13 && x%9 < 7; inLine {
				stem := x%9 == int(letter%3) || letter&8 != 0 && x%9 == int(letter%3)+1
				bar := row == 3+int(letter>>4%10) || letter&16 != 0 && row == 12
				slant := letter&32 != 0 && x%9 == 6-(row-3)/2
				if stem || bar || slant {
					v = 16
				}
			}
			f.Y[y*f.StrideY+x] = v
		}
	}
	return f
}

// resample scales one plane exactly, by a kernel that reaches that many
// samples of the coarser picture to each side.
func resample(dst, src *codec.VideoFrame, reach float64, kernel func(x float64) float64) {
	axis := func(n, size int) (weights [][]float64, first []int) {
		step := float64(size) / float64(n)
		width := max(step, 1)
		for i := range n {
			centre := (float64(i)+0.5)*step - 0.5
			var w []float64
			low, sum := int(math.Ceil(centre-reach*width)), 0.0
			for k := low; float64(k) <= centre+reach*width; k++ {
				w = append(w, kernel((float64(k)-centre)/width))
				sum += w[len(w)-1]
			}
			for k := range w {
				w[k] /= sum
			}
			weights, first = append(weights, w), append(first, low)
		}
		return weights, first
	}
	plane := func(d []byte, dstride, dw, dh int, s []byte, sstride, sw, sh int) {
		wx, x0 := axis(dw, sw)
		wy, y0 := axis(dh, sh)
		row := make([]float64, sw)
		for y := range dh {
			clear(row)
			for k, w := range wy[y] {
				at := min(max(y0[y]+k, 0), sh-1) * sstride
				for x := range row {
					row[x] += w * float64(s[at+x])
				}
			}
			for x := range dw {
				sum := 0.0
				for k, w := range wx[x] {
					sum += w * row[min(max(x0[x]+k, 0), sw-1)]
				}
				d[y*dstride+x] = uint8(min(max(math.Round(sum), 0), 255))
			}
		}
	}
	cw, ch, dcw, dch := (src.Width+1)/2, (src.Height+1)/2, (dst.Width+1)/2, (dst.Height+1)/2
	plane(dst.Y, dst.StrideY, dst.Width, dst.Height, src.Y, src.StrideY, src.Width, src.Height)
	plane(dst.U, dst.StrideUV, dcw, dch, src.U, src.StrideUV, cw, ch)
	plane(dst.V, dst.StrideUV, dcw, dch, src.V, src.StrideUV, cw, ch)
}

func catmullRom(x float64) float64 {
	switch x = math.Abs(x); {
	case x < 1:
		return (1.5*x-2.5)*x*x + 1
	case x < 2:
		return ((-0.5*x+2.5)*x-4)*x + 2
	}
	return 0
}

func lanczos3(x float64) float64 {
	if x == 0 {
		return 1
	}
	if math.Abs(x) >= 3 {
		return 0
	}
	return 3 * math.Sin(math.Pi*x) * math.Sin(math.Pi*x/3) / (math.Pi * math.Pi * x * x)
}

// sharpness is the mean step between neighbouring samples: blur makes it less.
func sharpness(f *codec.VideoFrame) float64 {
	sum := 0.0
	for y := range f.Height - 1 {
		for x := range f.Width - 1 {
			at := y*f.StrideY + x
			sum += math.Abs(float64(f.Y[at+1])-float64(f.Y[at])) + math.Abs(float64(f.Y[at+f.StrideY])-float64(f.Y[at]))
		}
	}
	return sum / float64(f.Width*f.Height)
}

// TestScaleSharpIsTheReference: our arithmetic against floating point, vectors
// against plain C, rows against what lies beside them.
func TestScaleSharpIsTheReference(t *testing.T) {
	for _, s := range sizes {
		t.Run(fmt.Sprintf("%dx%d-%dx%d", s.sw, s.sh, s.dw, s.dh), func(t *testing.T) {
			src := codectest.Scene{}.Frame(t, s.sw, s.sh, 3)
			got, plain, want := codectest.NewFrame(t, s.dw, s.dh), tight(codectest.NewFrame(t, s.dw, s.dh)), codectest.NewFrame(t, s.dw, s.dh)
			untouched := guard(got)
			if err := errors.Join(ScaleSharp(got, tight(src)), scaleSharp(plain, src, 1)); err != nil {
				t.Fatal(err)
			}
			untouched(t)
			if db := PSNR(got, plain); !math.IsInf(db, 1) {
				t.Errorf("vectors give another picture, %.1f dB from plain code", db)
			}
			resample(want, src, 2, catmullRom)
			if db := PSNR(got, want); db < 55 { // less than half a step
				t.Errorf("%.1f dB from the reference, want 55", db)
			}
		})
	}
}

func TestScaleSharpKeepsFlatColours(t *testing.T) {
	for _, s := range sizes {
		for _, v := range []uint8{0, 1, 127, 254, 255} {
			src, dst := codectest.NewFrame(t, s.sw, s.sh), codectest.NewFrame(t, s.dw, s.dh)
			for _, p := range [][]byte{src.Y, src.U, src.V} {
				for i := range p {
					p[i] = v
				}
			}
			if err := ScaleSharp(dst, src); err != nil {
				t.Fatal(err)
			}
			for y := range s.dh {
				for x := range s.dw {
					if dst.Y[y*dst.StrideY+x] != v {
						t.Fatalf("%+v: a flat %d became %d", s, v, dst.Y[y*dst.StrideY+x])
					}
				}
			}
		}
	}
}

// TestScaleSharpKeepsText measures what the filter is for: text as near to that
// of Lanczos with three lobes as can be, and no blur.
func TestScaleSharpKeepsText(t *testing.T) {
	for _, s := range []struct{ sw, sh, dw, dh int }{
		{1280, 720, 1274, 716}, {1280, 720, 960, 540}, {1280, 720, 848, 476}, {1280, 720, 640, 360}, {1280, 720, 424, 238}, {640, 360, 960, 540},
	} {
		src := textPicture(t, s.sw, s.sh)
		sharp, soft, lanczos := codectest.NewFrame(t, s.dw, s.dh), codectest.NewFrame(t, s.dw, s.dh), codectest.NewFrame(t, s.dw, s.dh)
		if err := errors.Join(ScaleSharp(sharp, src), Scale(soft, src)); err != nil {
			t.Fatal(err)
		}
		resample(lanczos, src, 3, lanczos3)
		near, softNear := LumaPSNR(sharp, lanczos), LumaPSNR(soft, lanczos)
		edges, softEdges := sharpness(sharp)/sharpness(lanczos), sharpness(soft)/sharpness(lanczos)
		t.Logf("%dx%d to %dx%d: %.1f dB from Lanczos, edges %.2f of its; bilinear %.1f dB, %.2f", s.sw, s.sh, s.dw, s.dh, near, edges, softNear, softEdges)
		if near < 31 || near < softNear+7 || edges < 0.88 {
			t.Errorf("%dx%d to %dx%d: %.1f dB from Lanczos (bilinear %.1f), edges %.2f of its: want 31 dB, 7 more than bilinear, 0.88",
				s.sw, s.sh, s.dw, s.dh, near, softNear, edges)
		}
	}
	src, same := textPicture(t, 641, 361), codectest.NewFrame(t, 641, 361)
	if err := ScaleSharp(same, src); err != nil || !math.IsInf(PSNR(same, src), 1) {
		t.Errorf("1:1 is no copy: %v", err)
	}
}

func TestWindow(t *testing.T) {
	f := codectest.Scene{}.Frame(t, 51, 39, 0)
	var w codec.VideoFrame
	if err := Window(&w, f, image.Rect(11, 20, 51, 39)); err != nil {
		t.Fatal(err)
	}
	if w.Width != 41 || w.Height != 19 || &w.Y[0] != &f.Y[20*f.StrideY+10] || &w.V[0] != &f.V[10*f.StrideUV+5] {
		t.Errorf("window of %dx%d", w.Width, w.Height)
	}
	for _, r := range []image.Rectangle{{}, image.Rect(0, 0, 52, 39), image.Rect(-2, 0, 10, 10), image.Rect(10, 10, 10, 20)} {
		if err := Window(&w, f, r); !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%v: %v, want ErrBadConfig", r, err)
		}
	}
	if err := Window(&w, &codec.VideoFrame{Width: 64, Height: 64}, image.Rect(0, 0, 2, 2)); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("without planes: %v", err)
	}
}

func TestScaleSharpAllocatesNothing(t *testing.T) {
	src, dst := codectest.NewFrame(t, 640, 360), codectest.NewFrame(t, 426, 240)
	if n := testing.AllocsPerRun(20, func() { _ = ScaleSharp(dst, src) }); n != 0 {
		t.Errorf("%v allocations per ScaleSharp", n)
	}
	if err := ScaleSharp(dst, &codec.VideoFrame{}); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("no source: %v", err)
	}
	if err := ScaleSharp(&codec.VideoFrame{}, src); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("no destination: %v", err)
	}
}

// BenchmarkScaleSharp shows its price beside the scaler for cameras.
func BenchmarkScaleSharp(b *testing.B) {
	for _, s := range []struct{ sw, sh, dw, dh int }{{1920, 1080, 1280, 720}, {1920, 1080, 960, 540}, {1280, 720, 960, 540}, {1920, 1080, 424, 238}} {
		src, dst := textPicture(b, s.sw, s.sh), codectest.NewFrame(b, s.dw, s.dh)
		for name, do := range map[string]func(dst, src *codec.VideoFrame) error{"sharp": ScaleSharp, "camera": Scale} {
			b.Run(fmt.Sprintf("%dx%d-%dx%d/%s", s.sw, s.sh, s.dw, s.dh, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := do(dst, src); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
