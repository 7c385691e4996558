// Package yuv works on I420 pictures: scale, copy, fill, blend and compare. The
// work is done by libyuv and, for what it does slowly (scaling by a ratio that
// is not a power of two) or not well enough (scaling text), by kernels of our
// own, scale.c and sharp.c.
//
// A call writes to its first argument and reads the others; it keeps nothing,
// allocates nothing in Go and never blocks. Calls on different destinations may
// run at the same time. Every size and position is checked in Go before C sees
// a pointer: what lies outside the destination is clipped, and a picture
// whose planes are shorter than its size says is refused with
// [codec.ErrBadConfig].
//
// Chroma has half the resolution of luma, so positions in a picture are even:
// odd ones are rounded down. Sizes may be odd; the last chroma column and
// row then belong to the last luma column and row.
package yuv

// #cgo LDFLAGS: -lyuv
// #cgo CFLAGS: -O2 -Wall -Wextra
// #cgo noescape mixdown_scale
// #cgo nocallback mixdown_scale
// #cgo noescape CopyPlane
// #cgo nocallback CopyPlane
// #cgo noescape SetPlane
// #cgo nocallback SetPlane
// #cgo noescape I420Blend
// #cgo nocallback I420Blend
// #cgo noescape ComputeSumSquareErrorPlane
// #cgo nocallback ComputeSumSquareErrorPlane
// #include <libyuv.h>
// #include "scale.h"
import "C"

import (
	"fmt"

	"mixdown/codec"
)

// maxSide is the largest side of a picture, VP8's own (RFC 6386 section 9.1).
const maxSide = 16383

// Check says why f's planes cannot hold a picture of its size, if so; the error
// wraps [codec.ErrBadConfig]. It is for whoever passes f's planes to C.
func Check(f *codec.VideoFrame) error { return check("picture", f) }

// check says why f's planes cannot hold a picture of its size, if so.
func check(name string, f *codec.VideoFrame) error {
	return checkPlanes(name, f.Width, f.Height, f.StrideY, f.StrideUV, len(f.Y), len(f.U), len(f.V))
}

func checkPlanes(name string, width, height, strideY, strideUV, y, u, v int) error {
	if width < 1 || height < 1 || width > maxSide || height > maxSide {
		return fmt.Errorf("yuv: %s is %dx%d: want 1..%d: %w", name, width, height, maxSide, codec.ErrBadConfig)
	}
	cw, ch := (width+1)/2, (height+1)/2
	if strideY < width || strideUV < cw || strideY > 1<<20 || strideUV > 1<<20 {
		return fmt.Errorf("yuv: %s is %d wide with strides %d and %d: %w", name, width, strideY, strideUV, codec.ErrBadConfig)
	}
	if y < strideY*(height-1)+width || u < strideUV*(ch-1)+cw || v < strideUV*(ch-1)+cw {
		return fmt.Errorf("yuv: %s is %dx%d with planes of only %d, %d, %d bytes: %w", name, width, height, y, u, v, codec.ErrBadConfig)
	}
	return nil
}

// ptr is the address of p's first byte as C wants it.
func ptr(p []byte) *C.uint8_t { return (*C.uint8_t)(&p[0]) }
