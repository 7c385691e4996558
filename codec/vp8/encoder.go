package vp8

// #cgo noescape mixdown_vp8_encode
// #cgo nocallback mixdown_vp8_encode
// #include "vpx.h"
import "C"

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"mixdown/codec"
	"mixdown/codec/yuv"
)

const (
	// defaultSpeed is libvpx's cpu-used, negated. On a grid of nine cameras 8
	// took 3.7 ms a picture of 1280x720; 6 took 4.1 ms for 0.1 dB more, 10 3.3
	// ms for 0.2 dB less. Beyond 10 hard pictures overshoot the bitrate.
	defaultSpeed = 8
	maxSpeed     = 16
	// Differences that count as none, in libvpx's units, about the sum of squares
	// over a macroblock: 300 is what 47 dB look like. Against 1 it costs 0.2 dB
	// where a picture has 46, and nothing where it has 40; it saves 15% of the time
	// and 11% of the bits when one of nine tiles moves, and 4 to 8% of the time
	// when all do. On screens that would leave smears behind fine print.
	cameraStatic, screenStatic = 300, 100

	minBitrateBps, maxBitrateBps = 10_000, 100_000_000

	clockRate = 90_000 // of RTP video, and of libvpx here
	// maxGap bounds the time between two frames as rate control sees it, in
	// nominal frames: a canvas that changes ten times a second has all of the
	// bitrate, but after a longer pause nothing counts as saved up, for it would
	// go out in one burst. A picture that stays on show has time to become sharp
	// (see StartPattern): with maxStillGap the first such frame took 150 ms of
	// the bitrate, with three nominal frames 270.
	maxGap, maxStillGap = 3, 2
	// sharpQuantizer, of 0..63, is the coarsest with which a picture counts as
	// sharp. On nine cameras at 1.5 Mb/s moving pictures have 30 to 40 (41 dB);
	// a still one reaches it at 44 dB, and below it a decibel costs twice as much.
	sharpQuantizer = 14
)

// Encoder implements [codec.VideoEncoder]. Its memory lies in C and is freed by
// Close; there is no finalizer.
type Encoder struct {
	cfg    codec.VideoEncoderConfig
	enc    *C.mixdown_vp8_encoder // nil when closed
	stream codec.StreamID

	// top says that the next frame is of layer 1; rests that it is not, and
	// that its picture has stood still or will; baseOnly that none ever is.
	top, rests, baseOnly bool
	// lastPTS is the frame before, ticks libvpx's clock, which only grows.
	lastPTS time.Duration
	ticks   int64
	started bool
}

var _ codec.VideoEncoder = (*Encoder)(nil)

// NewEncoder returns an encoder whose first frame will be a key frame. Odd
// sizes are taken too. Errors wrap [codec.ErrBadConfig].
func NewEncoder(c codec.VideoEncoderConfig) (*Encoder, error) {
	if c.TemporalLayers == 0 {
		c.TemporalLayers = 1
	}
	if c.Speed == 0 {
		c.Speed = defaultSpeed
	}
	if c.StaticThreshold == 0 {
		c.StaticThreshold = cameraStatic
		if c.Screen {
			c.StaticThreshold = screenStatic
		}
	}
	if err := errors.Join(
		checkRange("Width", c.Width, 16, 16383),
		checkRange("Height", c.Height, 16, 16383),
		checkRange("FPS", c.FPS, 1, 120),
		checkRange("BitrateBps", c.BitrateBps, minBitrateBps, maxBitrateBps),
		checkRange("TemporalLayers", c.TemporalLayers, 1, 2),
		checkRange("Speed", c.Speed, 1, maxSpeed),
		checkRange("StaticThreshold", c.StaticThreshold, 1, 1<<20),
	); err != nil {
		return nil, err
	}
	screen := C.int(0)
	if c.Screen {
		screen = 1
	}
	var code C.int
	enc := C.mixdown_vp8_encoder_new(C.mixdown_vp8_settings{
		width: C.int(c.Width), height: C.int(c.Height), bitrate_kbps: C.int(c.BitrateBps / 1000),
		layers: C.int(c.TemporalLayers), speed: C.int(c.Speed), screen: screen, static_threshold: C.int(c.StaticThreshold),
	}, &code)
	if enc == nil {
		return nil, failed(fmt.Sprintf("make an encoder of %dx%d", c.Width, c.Height), code)
	}
	return &Encoder{cfg: c, enc: enc, stream: codec.NewStreamID()}, nil
}

func checkRange(name string, v, low, high int) error {
	if v < low || v > high {
		return fmt.Errorf("vp8: %s %d: want %d..%d: %w", name, v, low, high, codec.ErrBadConfig)
	}
	return nil
}

// Encode implements [codec.VideoEncoder]. A key frame restarts the pattern of
// layers: it is of layer 0, the frame after it of layer 1. A request for a key
// frame that rate control dropped has to be repeated.
func (e *Encoder) Encode(src *codec.VideoFrame, pts time.Duration, forceKey bool) (*codec.EncodedFrame, error) {
	if e.enc == nil {
		return nil, codec.ErrClosed
	}
	if src.Width != e.cfg.Width || src.Height != e.cfg.Height {
		return nil, fmt.Errorf("vp8: picture of %dx%d for an encoder of %dx%d: %w", src.Width, src.Height, e.cfg.Width, e.cfg.Height, codec.ErrBadConfig)
	}
	if err := yuv.Check(src); err != nil {
		return nil, err
	}
	forceKey = forceKey || !e.started
	layer := uint8(0)
	if e.top && !forceKey && !e.rests && !e.baseOnly {
		layer = 1
	}
	duration := e.advance(pts)
	e.rests = false
	key := C.int(0)
	if forceKey {
		key = 1
	}
	code := C.mixdown_vp8_encode(e.enc,
		(*C.uint8_t)(&src.Y[0]), (*C.uint8_t)(&src.U[0]), (*C.uint8_t)(&src.V[0]), C.int(src.StrideY), C.int(src.StrideUV),
		C.int64_t(e.ticks), C.ulong(duration), key, C.int(layer))
	if code != 0 {
		return nil, failed("encode", code)
	}
	if e.enc.data == nil {
		// A lost base frame is made up for at once, a lost one of layer 1 is not.
		e.top = false
		return nil, codec.ErrDropped
	}
	e.started = true
	e.top = e.cfg.TemporalLayers == 2 && layer == 0

	size := int(e.enc.size)
	f := codec.NewEncodedFrame(size)
	f.Data = append(f.Data, unsafe.Slice((*byte)(e.enc.data), size)...)
	f.Codec, f.Stream, f.PTS = codec.VP8, e.stream, pts
	f.Key = e.enc.key != 0
	f.Temporal, f.Discardable, f.LayerSync = layer, layer > 0, layer > 0
	f.Sharp = int(e.enc.quantizer) <= sharpQuantizer
	f.Width, f.Height = e.cfg.Width, e.cfg.Height
	return f, nil
}

// advance moves libvpx's clock to the frame at pts and returns a frame's
// nominal duration. The clock drives rate control only: it must grow, so where
// pts does not, a nominal duration is assumed.
func (e *Encoder) advance(pts time.Duration) (duration int64) {
	duration = int64(clockRate / e.cfg.FPS)
	most := maxGap * duration
	if e.rests {
		most = maxStillGap * duration
	}
	gap := min(pts-e.lastPTS, time.Second) // so that the product below fits
	e.lastPTS = pts
	if step := int64(gap) * clockRate / int64(time.Second); step > 0 {
		e.ticks += min(step, most)
	} else {
		e.ticks += duration
	}
	return duration
}

// SetBitrate implements [codec.VideoEncoder], in steps of 1 kb/s. It calls
// libvpx only when the rate really changes.
func (e *Encoder) SetBitrate(bps int) error {
	if e.enc == nil {
		return codec.ErrClosed
	}
	if err := checkRange("BitrateBps", bps, minBitrateBps, maxBitrateBps); err != nil || bps/1000 == e.cfg.BitrateBps/1000 {
		return err
	}
	e.cfg.BitrateBps = bps
	return e.setRates()
}

// setRates tells libvpx the bitrate of each layer.
func (e *Encoder) setRates() error {
	base := C.int(0)
	if e.baseOnly {
		base = 1
	}
	if code := C.mixdown_vp8_set_bitrate(e.enc, C.int(e.cfg.BitrateBps/1000), base); code != 0 {
		return failed("set the bitrate", code)
	}
	return nil
}

// SetBaseLayerOnly implements [codec.VideoEncoder]. It calls libvpx only when
// something really changes.
func (e *Encoder) SetBaseLayerOnly(on bool) error {
	if e.enc == nil {
		return codec.ErrClosed
	}
	if on == e.baseOnly || e.cfg.TemporalLayers != 2 {
		return nil
	}
	e.baseOnly = on
	return e.setRates()
}

// StartPattern implements [codec.VideoEncoder].
func (e *Encoder) StartPattern() { e.rests = true }

// SetSpeed implements [codec.VideoEncoder]; 0 is the default.
func (e *Encoder) SetSpeed(speed int) error {
	if e.enc == nil {
		return codec.ErrClosed
	}
	if speed == 0 {
		speed = defaultSpeed
	}
	if err := checkRange("Speed", speed, 1, maxSpeed); err != nil || speed == e.cfg.Speed {
		return err
	}
	e.cfg.Speed = speed
	if code := C.mixdown_vp8_set_speed(e.enc, C.int(speed)); code != 0 {
		return failed("set the speed", code)
	}
	return nil
}

// Close implements [codec.VideoEncoder].
func (e *Encoder) Close() error {
	C.mixdown_vp8_encoder_free(e.enc)
	e.enc = nil
	return nil
}
