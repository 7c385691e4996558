package video

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"

	"mixdown/codec"
)

// jpegQuality is where names under tiles are still clean.
const jpegQuality = 80

// EncodeJPEG returns f as a JPEG file (JFIF). It takes some 20 ms for a picture
// of 1280x720, so it belongs on the worker pool. It borrows f.
func EncodeJPEG(f *codec.VideoFrame) ([]byte, error) {
	img := image.NewYCbCr(image.Rect(0, 0, f.Width, f.Height), image.YCbCrSubsampleRatio420)
	expand(img.Y, img.YStride, f.Y, f.StrideY, f.Width, f.Height, &fullLuma)
	w, h := (f.Width+1)/2, (f.Height+1)/2
	expand(img.Cb, img.CStride, f.U, f.StrideUV, w, h, &fullChroma)
	expand(img.Cr, img.CStride, f.V, f.StrideUV, w, h, &fullChroma)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, fmt.Errorf("jpeg: %w", err)
	}
	return out.Bytes(), nil
}

// Pictures here use the levels of television, 16 to 235 and 16 to 240 (BT.601);
// JFIF uses all 256. Both have the same matrix.
var fullLuma, fullChroma = levels(16, 219, 0), levels(128, 224, 128)

// levels maps span levels, counted from zero, to 255 of them, counted from
// centre.
func levels(zero, span, centre int) (t [256]uint8) {
	for i := range t {
		full := math.Round(float64(i-zero) * 255 / float64(span))
		t[i] = uint8(min(max(centre+int(full), 0), 255))
	}
	return t
}

// expand copies a plane by way of a table.
func expand(dst []uint8, dstStride int, src []byte, srcStride, w, h int, table *[256]uint8) {
	for y := range h {
		to, from := dst[y*dstStride:][:w], src[y*srcStride:][:w]
		for x, v := range from {
			to[x] = table[v]
		}
	}
}

// Shown reports whether a compositor has had a picture of the source that came
// since it was last hidden. Any goroutine may ask.
func (s *Source) Shown() bool {
	shown, _ := s.showing()
	return shown
}
