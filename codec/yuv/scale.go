package yuv

// #include "scale.h"
import "C"

import (
	"fmt"

	"mixdown/codec"
)

// Scale writes src, scaled to all of dst, to dst. The filter is bilinear, after
// as many halvings as it takes to come within a factor of two, so no source
// sample is skipped. Times are not copied.
func Scale(dst, src *codec.VideoFrame) error { return scale(dst, src, C.MIXDOWN_BEST) }

func scale(dst, src *codec.VideoFrame, how int32) error {
	if err := check("destination", dst); err != nil {
		return err
	}
	if err := check("source", src); err != nil {
		return err
	}
	if C.mixdown_scale(
		ptr(src.Y), ptr(src.U), ptr(src.V), C.int(src.StrideY), C.int(src.StrideUV), C.int(src.Width), C.int(src.Height),
		ptr(dst.Y), ptr(dst.U), ptr(dst.V), C.int(dst.StrideY), C.int(dst.StrideUV), C.int(dst.Width), C.int(dst.Height),
		C.int(how)) != 0 {
		return fmt.Errorf("yuv: scale %dx%d to %dx%d: out of memory: %w", src.Width, src.Height, dst.Width, dst.Height, codec.ErrBudget)
	}
	return nil
}
