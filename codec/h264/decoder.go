//go:build !nodlopen

package h264

// #cgo noescape mixdown_h264_decode
// #cgo nocallback mixdown_h264_decode
// #include "openh264.h"
import "C"

import (
	"fmt"
	"image"
	"unsafe"

	"mixdown/codec"
	"mixdown/codec/h264/nal"
	"mixdown/codec/yuv"
)

// Decoder implements [codec.VideoDecoder] for progressive 4:2:0 of 8 bit, up to
// the high profile. Its memory lies in C and is freed by Close; there is no
// finalizer.
type Decoder struct {
	lib     *Library
	cfg     DecoderConfig
	dec     *C.mixdown_h264_decoder // nil when closed
	needKey bool
	fresh   bool // dec has decoded nothing yet
	// Of all parameter sets that dec was given: whichever a picture refers to, it has
	// the size that whoever polices what is decoded knows of.
	codedWidth, codedHeight int
}

var _ codec.VideoDecoder = (*Decoder)(nil)

// NewDecoder returns a decoder that waits for a key frame. See
// [Library.DecoderFault]. Errors wrap [codec.ErrBadConfig].
func (l *Library) NewDecoder(c DecoderConfig) (codec.VideoDecoder, error) {
	if c.MaxWidth == 0 {
		c.MaxWidth = 1920
	}
	if c.MaxHeight == 0 {
		c.MaxHeight = 1088
	}
	if c.MaxWidth < 0 || c.MaxHeight < 0 {
		return nil, fmt.Errorf("h264: largest picture %dx%d: want positive, or 0 for 1920x1088: %w", c.MaxWidth, c.MaxHeight, codec.ErrBadConfig)
	}
	d := &Decoder{lib: l, cfg: c, needKey: true}
	if err := d.open(); err != nil {
		return nil, err
	}
	return d, nil
}

// open makes the library's decoder anew.
func (d *Decoder) open() error {
	var code C.int
	dec := C.mixdown_h264_decoder_new(d.lib.lib, &code)
	if dec == nil {
		return failed("make a decoder", code)
	}
	C.mixdown_h264_decoder_free(d.dec)
	d.dec, d.fresh = dec, true
	return nil
}

func (d *Decoder) decode(data []byte) C.int {
	return C.mixdown_h264_decode(d.dec, (*C.uint8_t)(&data[0]), C.int(len(data)))
}

// Decode implements [codec.VideoDecoder]. A frame that is refused without having
// been given to the library (too large, malformed, before a key frame) leaves the
// latest picture in place; one that fails inside leaves none until the next key
// frame. After [codec.ErrCorrupt] only a key frame is taken.
func (d *Decoder) Decode(data []byte) error {
	if d.dec == nil {
		return codec.ErrClosed
	}
	f, err := nal.ParseFrame(data)
	if err != nil {
		d.needKey = true
		return err
	}
	if f.Key && !d.fits(f.Set.CodedWidth, f.Set.CodedHeight) {
		// What follows would refer to this frame.
		d.needKey = true
		return fmt.Errorf("h264: picture of %dx%d, at most %dx%d: %w", f.Set.Width, f.Set.Height, d.cfg.MaxWidth, d.cfg.MaxHeight, codec.ErrTooLarge)
	}
	if d.needKey && !f.Key {
		return codec.ErrNeedKey
	}
	if f.Key && (f.Set.CodedWidth != d.codedWidth || f.Set.CodedHeight != d.codedHeight) {
		if !d.fresh {
			if err := d.open(); err != nil {
				return err
			}
		}
		d.codedWidth, d.codedHeight = f.Set.CodedWidth, f.Set.CodedHeight
	}
	code := d.decode(data)
	if code != 0 && f.Key && !d.fresh {
		// What damaged frames before it left behind may be why.
		if err := d.open(); err != nil {
			return err
		}
		code = d.decode(data)
	}
	d.fresh, d.needKey = false, code != 0
	if code != 0 {
		d.dec.y = nil
		return fmt.Errorf("h264: frame of %d bytes: OpenH264's state %#x: %w", len(data), uint(code), codec.ErrCorrupt)
	}
	return nil
}

func (d *Decoder) fits(width, height int) bool {
	return width <= d.cfg.MaxWidth && height <= d.cfg.MaxHeight || width <= d.cfg.MaxHeight && height <= d.cfg.MaxWidth
}

// Size implements [codec.VideoDecoder].
func (d *Decoder) Size() (width, height int) {
	if d.dec == nil || d.dec.y == nil {
		return 0, 0
	}
	return int(d.dec.width), int(d.dec.height)
}

// Picture implements [codec.VideoDecoder]. It scales from the library's own
// picture straight to dst.
func (d *Decoder) Picture(dst *codec.VideoFrame) error { return d.View(dst, codec.View{}) }

// View implements [codec.VideoDecoder].
func (d *Decoder) View(dst *codec.VideoFrame, v codec.View) error {
	if d.dec == nil {
		return codec.ErrClosed
	}
	p := d.dec
	if p.y == nil {
		return codec.ErrNoPicture
	}
	width, height := int(p.width), int(p.height)
	src := codec.VideoFrame{Width: width, Height: height, StrideY: int(p.stride_y), StrideUV: int(p.stride_uv)}
	src.Y = plane(p.y, src.StrideY, width, height)
	src.U = plane(p.u, src.StrideUV, (width+1)/2, (height+1)/2)
	src.V = plane(p.v, src.StrideUV, (width+1)/2, (height+1)/2)
	if v.Width != 0 && v.Height != 0 {
		if err := yuv.Window(&src, &src, image.Rect(v.X, v.Y, v.X+v.Width, v.Y+v.Height)); err != nil {
			return err
		}
	}
	if v.Sharp {
		return yuv.ScaleSharp(dst, &src)
	}
	return yuv.Scale(dst, &src)
}

// plane makes the library's memory a slice that ends with the last row's last
// sample.
func plane(p *C.uint8_t, stride, width, height int) []byte {
	return unsafe.Slice((*byte)(p), stride*(height-1)+width)
}

// Close implements [codec.VideoDecoder].
func (d *Decoder) Close() error {
	C.mixdown_h264_decoder_free(d.dec)
	d.dec = nil
	return nil
}
