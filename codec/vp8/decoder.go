package vp8

// #cgo pkg-config: vpx
// #cgo CFLAGS: -O2 -Wall -Wextra
// #cgo noescape mixdown_vp8_decode
// #cgo nocallback mixdown_vp8_decode
// #include "vpx.h"
import "C"

import (
	"fmt"
	"image"
	"unsafe"

	"mixdown/codec"
	"mixdown/codec/yuv"
)

// DecoderConfig says what a decoder accepts. The zero value is good.
type DecoderConfig struct {
	// MaxWidth and MaxHeight bound the picture; turned by 90 degrees, as
	// phones send it, it passes too. They default to 1920 and 1088.
	MaxWidth, MaxHeight int
}

// Decoder implements [codec.VideoDecoder]. Its memory lies in C and is freed by
// Close; there is no finalizer.
type Decoder struct {
	cfg     DecoderConfig
	dec     *C.mixdown_vp8_decoder // nil when closed
	needKey bool
}

var _ codec.VideoDecoder = (*Decoder)(nil)

// Version returns libvpx's version.
func Version() string { return C.GoString(C.vpx_codec_version_str()) }

// NewDecoder returns a decoder that waits for a key frame. Errors wrap
// [codec.ErrBadConfig].
func NewDecoder(c DecoderConfig) (*Decoder, error) {
	if c.MaxWidth == 0 {
		c.MaxWidth = 1920
	}
	if c.MaxHeight == 0 {
		c.MaxHeight = 1088
	}
	if c.MaxWidth < 0 || c.MaxHeight < 0 {
		return nil, fmt.Errorf("vp8: largest picture %dx%d: want positive, or 0 for 1920x1088: %w", c.MaxWidth, c.MaxHeight, codec.ErrBadConfig)
	}
	var code C.int
	dec := C.mixdown_vp8_decoder_new(&code)
	if dec == nil {
		return nil, failed("make a decoder", code)
	}
	return &Decoder{cfg: c, dec: dec, needKey: true}, nil
}

func failed(what string, code C.int) error {
	return fmt.Errorf("vp8: %s: %s", what, C.GoString(C.vpx_codec_err_to_string(C.vpx_codec_err_t(code))))
}

// Decode implements [codec.VideoDecoder]. A frame that is refused without
// having been given to libvpx (too large, corrupt in its head, before a key
// frame) leaves the latest picture in place; a frame that fails inside leaves
// none until the next key frame. After [codec.ErrCorrupt] only a key frame
// is taken.
func (d *Decoder) Decode(data []byte) error {
	if d.dec == nil {
		return codec.ErrClosed
	}
	h, err := ParseHeader(data)
	if err != nil {
		d.needKey = true
		return err
	}
	if h.Key && !d.fits(h.Width, h.Height) {
		// What follows would refer to this frame.
		d.needKey = true
		return fmt.Errorf("vp8: picture of %dx%d, at most %dx%d: %w", h.Width, h.Height, d.cfg.MaxWidth, d.cfg.MaxHeight, codec.ErrTooLarge)
	}
	if d.needKey && !h.Key {
		return codec.ErrNeedKey
	}
	code := C.mixdown_vp8_decode(d.dec, (*C.uint8_t)(&data[0]), C.uint(len(data)))
	d.needKey = code != 0
	if code != 0 {
		return corrupt("frame of %d bytes: %s", len(data), C.GoString(C.vpx_codec_err_to_string(C.vpx_codec_err_t(code))))
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

// Picture implements [codec.VideoDecoder]. It scales from libvpx's own picture
// straight to dst. A frame that is not to be shown (never sent in real time)
// hides the one before.
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

// plane makes libvpx's memory a slice that ends with the last row's last sample.
func plane(p *C.uint8_t, stride, width, height int) []byte {
	return unsafe.Slice((*byte)(p), stride*(height-1)+width)
}

// Close implements [codec.VideoDecoder].
func (d *Decoder) Close() error {
	C.mixdown_vp8_decoder_free(d.dec)
	d.dec = nil
	return nil
}
