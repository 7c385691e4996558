package yuv

// #cgo LDFLAGS: -lm
// #cgo noescape mixdown_scale_sharp
// #cgo nocallback mixdown_scale_sharp
// #include "sharp.h"
import "C"

import (
	"fmt"
	"image"

	"mixdown/codec"
)

// ScaleSharp is like [Scale] for pictures of text: several times the work, no
// stem of a letter lost or blurred, and equal sizes are copied. Times are not
// copied.
func ScaleSharp(dst, src *codec.VideoFrame) error { return scaleSharp(dst, src, 0) }

func scaleSharp(dst, src *codec.VideoFrame, plain C.int) error {
	if err := check("destination", dst); err != nil {
		return err
	}
	if err := check("source", src); err != nil {
		return err
	}
	if dst.Width == src.Width && dst.Height == src.Height {
		return Blit(dst, 0, 0, src)
	}
	sw, sh, dw, dh := src.Width, src.Height, dst.Width, dst.Height
	cw, ch, dcw, dch := (sw+1)/2, (sh+1)/2, (dw+1)/2, (dh+1)/2
	if !sharpPlane(src.Y, src.StrideY, sw, sh, dst.Y, dst.StrideY, dw, dh, plain) ||
		!sharpPlane(src.U, src.StrideUV, cw, ch, dst.U, dst.StrideUV, dcw, dch, plain) ||
		!sharpPlane(src.V, src.StrideUV, cw, ch, dst.V, dst.StrideUV, dcw, dch, plain) {
		return fmt.Errorf("yuv: scale %dx%d to %dx%d: out of memory: %w", sw, sh, dw, dh, codec.ErrBudget)
	}
	return nil
}

func sharpPlane(src []byte, sstride, sw, sh int, dst []byte, dstride, dw, dh int, plain C.int) bool {
	return C.mixdown_scale_sharp(ptr(src), C.int(sstride), C.int(sw), C.int(sh), ptr(dst), C.int(dstride), C.int(dw), C.int(dh), plain) == 0
}

// Window makes w the part r of f: it shares f's planes, has no reference of its
// own, and is to be forgotten before f is released. r's corner is rounded down
// to even, and r lies inside f; otherwise the error is [codec.ErrBadConfig].
func Window(w, f *codec.VideoFrame, r image.Rectangle) error {
	r.Min.X, r.Min.Y = r.Min.X&^1, r.Min.Y&^1
	if r.Empty() || !r.In(image.Rect(0, 0, f.Width, f.Height)) {
		return fmt.Errorf("yuv: window %v of %dx%d: %w", r, f.Width, f.Height, codec.ErrBadConfig)
	}
	if err := check("picture", f); err != nil {
		return err
	}
	y, uv := r.Min.Y*f.StrideY+r.Min.X, r.Min.Y/2*f.StrideUV+r.Min.X/2
	w.Width, w.Height, w.StrideY, w.StrideUV = r.Dx(), r.Dy(), f.StrideY, f.StrideUV
	w.Y, w.U, w.V = f.Y[y:], f.U[uv:], f.V[uv:]
	return nil
}
