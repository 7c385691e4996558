package yuv

// #include <libyuv.h>
import "C"

import (
	"fmt"
	"image"
	"math"

	"mixdown/codec"
)

// Blit copies src into dst with its top left corner at x, y (rounded down to
// even). What lies outside dst is clipped, all of it if need be.
func Blit(dst *codec.VideoFrame, x, y int, src *codec.VideoFrame) error {
	if err := check("destination", dst); err != nil {
		return err
	}
	if err := check("source", src); err != nil {
		return err
	}
	c, ok := clip(dst, x, y, src.Width, src.Height)
	if !ok {
		return nil
	}
	cw, ch := C.int((c.w+1)/2), C.int((c.h+1)/2)
	C.CopyPlane(ptr(src.Y[c.sy*src.StrideY+c.sx:]), C.int(src.StrideY),
		ptr(dst.Y[c.y*dst.StrideY+c.x:]), C.int(dst.StrideY), C.int(c.w), C.int(c.h))
	suv, duv := c.sy/2*src.StrideUV+c.sx/2, c.y/2*dst.StrideUV+c.x/2
	C.CopyPlane(ptr(src.U[suv:]), C.int(src.StrideUV), ptr(dst.U[duv:]), C.int(dst.StrideUV), cw, ch)
	C.CopyPlane(ptr(src.V[suv:]), C.int(src.StrideUV), ptr(dst.V[duv:]), C.int(dst.StrideUV), cw, ch)
	return nil
}

// clipped is the part of a picture that lies inside a destination.
type clipped struct {
	x, y   int // in the destination, even
	sx, sy int // in the source, even
	w, h   int
}

// clip places a picture of w x h at x, y of dst; ok is false when nothing of
// it is inside.
func clip(dst *codec.VideoFrame, x, y, w, h int) (c clipped, ok bool) {
	// Far outside, and safe from overflow below.
	if x >= dst.Width || y >= dst.Height || x <= -w-1 || y <= -h-1 {
		return c, false
	}
	x, y = x&^1, y&^1
	c.sx, c.sy = max(0, -x), max(0, -y)
	c.x, c.y = max(0, x), max(0, y)
	c.w = min(w-c.sx, dst.Width-c.x)
	c.h = min(h-c.sy, dst.Height-c.y)
	return c, c.w > 0 && c.h > 0
}

// Fill paints the part of r that lies inside dst in one colour (BT.601 limited
// range: black is 16, 128, 128). r.Min is rounded down to even.
func Fill(dst *codec.VideoFrame, r image.Rectangle, y, u, v uint8) error {
	if err := check("destination", dst); err != nil {
		return err
	}
	r = r.Intersect(image.Rect(0, 0, dst.Width, dst.Height))
	if r.Empty() {
		return nil
	}
	r.Min.X, r.Min.Y = r.Min.X&^1, r.Min.Y&^1
	w, h := r.Dx(), r.Dy()
	C.SetPlane(ptr(dst.Y[r.Min.Y*dst.StrideY+r.Min.X:]), C.int(dst.StrideY), C.int(w), C.int(h), C.uint32_t(y))
	uv, cw, ch := r.Min.Y/2*dst.StrideUV+r.Min.X/2, C.int((w+1)/2), C.int((h+1)/2)
	C.SetPlane(ptr(dst.U[uv:]), C.int(dst.StrideUV), cw, ch, C.uint32_t(u))
	C.SetPlane(ptr(dst.V[uv:]), C.int(dst.StrideUV), cw, ch, C.uint32_t(v))
	return nil
}

// Border paints the innermost thickness samples (rounded up to even) along the
// four sides of r, clipped to dst.
func Border(dst *codec.VideoFrame, r image.Rectangle, thickness int, y, u, v uint8) error {
	if err := check("destination", dst); err != nil {
		return err
	}
	r = r.Canon()
	t := min(max(0, thickness)+1, 2*maxSide) &^ 1
	top, left := r, r
	top.Max.Y = min(r.Max.Y, r.Min.Y+t)
	left.Max.X = min(r.Max.X, r.Min.X+t)
	bottom, right := r, r
	bottom.Min.Y = max(r.Min.Y, r.Max.Y-t)
	right.Min.X = max(r.Min.X, r.Max.X-t)
	for _, side := range [...]image.Rectangle{top, bottom, left, right} {
		if err := Fill(dst, side, y, u, v); err != nil {
			return err
		}
	}
	return nil
}

// Overlay is a picture with its own transparency, for text and logos. Planes
// are laid out as in [codec.VideoFrame]; A has the size and stride of Y.
// Colours are not premultiplied.
type Overlay struct {
	Width, Height int
	Y, U, V       []byte
	// A is the opacity of each luma sample: 0 shows what is below, 255 hides it.
	A                 []byte
	StrideY, StrideUV int
}

// NewOverlay returns a fully transparent black overlay.
func NewOverlay(width, height int) (*Overlay, error) {
	if width < 1 || height < 1 || width > maxSide || height > maxSide {
		return nil, fmt.Errorf("yuv: overlay of %dx%d: want 1..%d: %w", width, height, maxSide, codec.ErrBadConfig)
	}
	o := &Overlay{Width: width, Height: height, StrideY: width, StrideUV: (width + 1) / 2}
	o.Y = make([]byte, width*height)
	o.A = make([]byte, width*height)
	o.U = make([]byte, o.StrideUV*((height+1)/2))
	o.V = make([]byte, len(o.U))
	for i := range o.Y {
		o.Y[i] = 16
	}
	for i := range o.U {
		o.U[i], o.V[i] = 128, 128
	}
	return o, nil
}

// Blend draws src over dst with its top left corner at x, y (rounded down to
// even). What lies outside dst is clipped.
func Blend(dst *codec.VideoFrame, x, y int, src *Overlay) error {
	if err := check("destination", dst); err != nil {
		return err
	}
	if err := checkPlanes("overlay", src.Width, src.Height, src.StrideY, src.StrideUV, min(len(src.Y), len(src.A)), len(src.U), len(src.V)); err != nil {
		return err
	}
	c, ok := clip(dst, x, y, src.Width, src.Height)
	if !ok {
		return nil
	}
	sy, suv := c.sy*src.StrideY+c.sx, c.sy/2*src.StrideUV+c.sx/2
	dy, duv := c.y*dst.StrideY+c.x, c.y/2*dst.StrideUV+c.x/2
	strideY, strideUV := C.int(dst.StrideY), C.int(dst.StrideUV)
	if C.I420Blend(
		ptr(src.Y[sy:]), C.int(src.StrideY), ptr(src.U[suv:]), C.int(src.StrideUV), ptr(src.V[suv:]), C.int(src.StrideUV),
		ptr(dst.Y[dy:]), strideY, ptr(dst.U[duv:]), strideUV, ptr(dst.V[duv:]), strideUV,
		ptr(src.A[sy:]), C.int(src.StrideY),
		ptr(dst.Y[dy:]), strideY, ptr(dst.U[duv:]), strideUV, ptr(dst.V[duv:]), strideUV,
		C.int(c.w), C.int(c.h)) != 0 {
		return fmt.Errorf("yuv: blend %dx%d: out of memory: %w", c.w, c.h, codec.ErrBudget)
	}
	return nil
}

// PSNR is the peak signal-to-noise ratio between two pictures of the same size
// in dB, over the samples of all three planes. It is +Inf for equal pictures
// and 0 for pictures of different size.
func PSNR(a, b *codec.VideoFrame) float64 {
	if !sameSize(a, b) {
		return 0
	}
	w, h := a.Width, a.Height
	cw, ch := (w+1)/2, (h+1)/2
	errors := squareError(a.Y, a.StrideY, b.Y, b.StrideY, w, h) +
		squareError(a.U, a.StrideUV, b.U, b.StrideUV, cw, ch) +
		squareError(a.V, a.StrideUV, b.V, b.StrideUV, cw, ch)
	return psnr(errors, w*h+2*cw*ch)
}

// LumaPSNR is like [PSNR], of the luma plane alone.
func LumaPSNR(a, b *codec.VideoFrame) float64 {
	if !sameSize(a, b) {
		return 0
	}
	return psnr(squareError(a.Y, a.StrideY, b.Y, b.StrideY, a.Width, a.Height), a.Width*a.Height)
}

func sameSize(a, b *codec.VideoFrame) bool {
	return a.Width == b.Width && a.Height == b.Height && check("a", a) == nil && check("b", b) == nil
}

func squareError(a []byte, strideA int, b []byte, strideB, w, h int) uint64 {
	return uint64(C.ComputeSumSquareErrorPlane(ptr(a), C.int(strideA), ptr(b), C.int(strideB), C.int(w), C.int(h)))
}

func psnr(squareError uint64, samples int) float64 {
	return 10 * math.Log10(255*255*float64(samples)/float64(squareError))
}
