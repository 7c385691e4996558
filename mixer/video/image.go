package video

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"

	"mixdown/codec"
	"mixdown/codec/yuv"
)

// Bounds of an image file. What is inside is read only when its header keeps
// them: a file of a few hundred bytes can claim gigabytes.
const (
	MaxImageBytes  = 8 << 20
	MaxImageSide   = 4096
	MaxImagePixels = 4 << 20
)

// DecodeImage reads a PNG or JPEG file, for backgrounds and avatars. What is
// transparent shows the default background, and what a phone has left lying on
// its side is put upright. A picture more than large enough to
// cover width x height is scaled down until it just does, its aspect kept; 0, 0
// leaves it as it is. The caller owns the picture, which is from frames.
//
// It takes up to a tenth of a second and, for that long, 64 MB, so it belongs
// neither in a tick nor to be done for many at once. [codec.ErrCorrupt] for what
// is no such file, [codec.ErrTooLarge], [codec.ErrBudget], or the reader's error.
func DecodeImage(r io.Reader, frames *codec.VideoPool, width, height int) (*codec.VideoFrame, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxImageBytes+1))
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if len(data) > MaxImageBytes {
		return nil, fmt.Errorf("image: more than %d MiB: %w", MaxImageBytes>>20, codec.ErrTooLarge)
	}
	decode, decodeConfig, orientation := png.Decode, png.DecodeConfig, 1
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		decode, decodeConfig, orientation = jpeg.Decode, jpeg.DecodeConfig, jpegOrientation(data)
	default:
		return nil, fmt.Errorf("image: neither PNG nor JPEG: %w", codec.ErrCorrupt)
	}
	header, err := decodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("image: %w: %w", err, codec.ErrCorrupt)
	}
	if w, h := header.Width, header.Height; w < 1 || h < 1 || w > MaxImageSide || h > MaxImageSide || w*h > MaxImagePixels {
		return nil, fmt.Errorf("image: %dx%d: want at most %d on a side and %d pixels: %w", w, h, MaxImageSide, MaxImagePixels, codec.ErrTooLarge)
	}
	img, err := decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("image: %w: %w", err, codec.ErrCorrupt)
	}
	if img.Bounds().Dx() != header.Width || img.Bounds().Dy() != header.Height {
		return nil, fmt.Errorf("image: not as large as its header says: %w", codec.ErrCorrupt)
	}
	full, err := upright(img, orientation)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	w, h := coverSize(full.Width, full.Height, width, height)
	out, err := frames.Get(w, h)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if err := yuv.ScaleSharp(out, full); err != nil {
		out.Release()
		return nil, fmt.Errorf("image: %w", err)
	}
	return out, nil
}

// upright converts img and turns it. The picture's memory is nobody's budget: it
// is gone in a moment.
func upright(img image.Image, orientation int) (*codec.VideoFrame, error) {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	pool := codec.NewVideoPool(2 * int64(codec.VideoFrameBytes(max(w, h), max(w, h))))
	lying, err := pool.Get(w, h)
	if err != nil {
		return nil, err
	}
	convertImage(lying, img)
	if orientation == 1 {
		return lying, nil
	}
	standing, err := pool.Get(turned(orientation, w, h))
	if err != nil {
		return nil, err
	}
	turn(standing, lying, orientation)
	return standing, nil
}

// coverSize returns the size of a picture of w x h that just covers width x
// height, never larger than it is.
func coverSize(w, h, width, height int) (int, int) {
	if width <= 0 || height <= 0 || w <= width || h <= height {
		return w, h
	}
	if w*height < h*width { // taller: its width decides
		return width, max(height, (h*width+w/2)/w)
	}
	return max(width, (w*height+h/2)/h), height
}

// convertImage writes img, over the default background, to dst of the same size,
// two rows at a time: each chroma sample is the mean of its four.
func convertImage(dst *codec.VideoFrame, img image.Image) {
	w, h := dst.Width, dst.Height
	ground := image.NewUniform(backdrop.rgba)
	rows := image.NewRGBA(image.Rect(0, 0, w, 2))
	for y := 0; y < h; y += 2 {
		draw.Draw(rows, rows.Rect, ground, image.Point{}, draw.Src)
		draw.Draw(rows, rows.Rect, img, img.Bounds().Min.Add(image.Pt(0, y)), draw.Over)
		high := min(2, h-y)
		for x := 0; x < w; x += 2 {
			var r, g, b, n int
			for i := range 2 * high {
				sx := x + i&1
				if sx == w {
					continue
				}
				p := rows.Pix[i>>1*rows.Stride+4*sx:][:3:3]
				r, g, b, n = r+int(p[0]), g+int(p[1]), b+int(p[2]), n+1
				dst.Y[(y+i>>1)*dst.StrideY+sx] = colourOf(p[0], p[1], p[2]).y
			}
			c := colourOf(uint8((r+n/2)/n), uint8((g+n/2)/n), uint8((b+n/2)/n))
			at := y/2*dst.StrideUV + x/2
			dst.U[at], dst.V[at] = c.u, c.v
		}
	}
}
