//go:build !nodlopen

package h264

// #cgo noescape mixdown_h264_encode
// #cgo nocallback mixdown_h264_encode
// #include "openh264.h"
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
	// The speeds, which are libvpx's, are matched by three complexities.
	maxSpeed               = 16
	fastSpeed, mediumSpeed = 8, 4
	defaultSpeed           = fastSpeed

	minBitrateBps, maxBitrateBps = 10_000, 100_000_000
	// maxSide and maxArea are what the library takes: 36,864 macroblocks.
	maxSide, maxArea = 4096, 36_864 * 256
	// maxRate is as fast as the library's rate control believes pictures to come.
	maxRate = 60
	// maxGap bounds the time between two frames as rate control sees it.
	maxGap = 200 * time.Millisecond
	// sharpShare is the share of its bits below which a picture at rest counts as
	// sharp: there was no more to be coded. (The library does not tell how coarsely
	// it did.)
	sharpShare = 0.25
)

// Encoder implements [codec.VideoEncoder]. Its memory lies in C and is freed by
// Close; there is no finalizer.
type Encoder struct {
	cfg    codec.VideoEncoderConfig
	enc    *C.mixdown_h264_encoder // nil when closed
	stream codec.StreamID

	started, baseOnly bool
	rests             bool // the next picture has stood still or will
	lastPTS           time.Duration
	clock             time.Duration // rate control's: it only grows
}

var _ codec.VideoEncoder = (*Encoder)(nil)

// NewEncoder returns an encoder whose first frame will be a key frame. Sizes are
// even, up to 4096 and 36,864 macroblocks. Errors wrap [codec.ErrBadConfig].
//
// Every frame is of layer 0, whatever TemporalLayers asks for, and StaticThreshold
// and Screen mean nothing.
func (l *Library) NewEncoder(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) {
	if c.TemporalLayers == 0 {
		c.TemporalLayers = 1
	}
	if c.Speed == 0 {
		c.Speed = defaultSpeed
	}
	if err := errors.Join(
		checkRange("Width", c.Width, 16, maxSide),
		checkRange("Height", c.Height, 16, maxSide),
		checkRange("FPS", c.FPS, 1, 120),
		checkRange("BitrateBps", c.BitrateBps, minBitrateBps, maxBitrateBps),
		checkRange("TemporalLayers", c.TemporalLayers, 1, 2),
		checkRange("Speed", c.Speed, 1, maxSpeed),
		checkRange("StaticThreshold", c.StaticThreshold, 0, 1<<20),
	); err != nil {
		return nil, err
	}
	if c.Width%2 != 0 || c.Height%2 != 0 || c.Width*c.Height > maxArea {
		return nil, fmt.Errorf("h264: %dx%d: want even sizes and at most %d samples: %w", c.Width, c.Height, maxArea, codec.ErrBadConfig)
	}
	e := &Encoder{cfg: c, stream: codec.NewStreamID()}
	var code C.int
	e.enc = C.mixdown_h264_encoder_new(l.lib, C.mixdown_h264_settings{
		width: C.int(c.Width), height: C.int(c.Height), bitrate: C.int(c.BitrateBps),
		complexity: complexity(c.Speed), fps: C.float(e.rate()),
	}, &code)
	if e.enc == nil {
		return nil, failed(fmt.Sprintf("make an encoder of %dx%d", c.Width, c.Height), code)
	}
	return e, nil
}

func checkRange(name string, v, low, high int) error {
	if v < low || v > high {
		return fmt.Errorf("h264: %s %d: want %d..%d: %w", name, v, low, high, codec.ErrBadConfig)
	}
	return nil
}

func failed(what string, code C.int) error {
	return fmt.Errorf("h264: %s: OpenH264's error %d", what, int(code))
}

func complexity(speed int) C.int {
	switch {
	case speed >= fastSpeed:
		return 0
	case speed >= mediumSpeed:
		return 1
	}
	return 2
}

// rate is how many pictures come in a second, for rate control.
func (e *Encoder) rate() float64 {
	fps := float64(min(e.cfg.FPS, maxRate))
	if e.baseOnly {
		fps = max(1, fps/2)
	}
	return fps
}

// Encode implements [codec.VideoEncoder]. A request for a key frame that rate
// control dropped has to be repeated.
func (e *Encoder) Encode(src *codec.VideoFrame, pts time.Duration, forceKey bool) (*codec.EncodedFrame, error) {
	if e.enc == nil {
		return nil, codec.ErrClosed
	}
	if src.Width != e.cfg.Width || src.Height != e.cfg.Height {
		return nil, fmt.Errorf("h264: picture of %dx%d for an encoder of %dx%d: %w", src.Width, src.Height, e.cfg.Width, e.cfg.Height, codec.ErrBadConfig)
	}
	if err := yuv.Check(src); err != nil {
		return nil, err
	}
	e.advance(pts)
	rests := e.rests
	e.rests = false
	key := C.int(0)
	if forceKey && e.started { // the first is one anyway
		key = 1
	}
	code := C.mixdown_h264_encode(e.enc,
		(*C.uint8_t)(&src.Y[0]), (*C.uint8_t)(&src.U[0]), (*C.uint8_t)(&src.V[0]), C.int(src.StrideY), C.int(src.StrideUV),
		C.int64_t(e.clock.Milliseconds()), key)
	if code != 0 {
		return nil, failed("encode", code)
	}
	parts := int(e.enc.parts)
	if parts == 0 {
		return nil, codec.ErrDropped
	}
	e.started = true
	size := 0
	for i := range parts {
		size += int(e.enc.size[i])
	}
	f := codec.NewEncodedFrame(size)
	for i := range parts {
		f.Data = append(f.Data, unsafe.Slice((*byte)(e.enc.data[i]), int(e.enc.size[i]))...)
	}
	f.Codec, f.Stream, f.PTS = codec.H264, e.stream, pts
	f.Key = e.enc.key != 0
	f.Sharp = rests && !f.Key && float64(size)*8 < sharpShare*float64(e.cfg.BitrateBps)/e.rate()
	f.Width, f.Height = e.cfg.Width, e.cfg.Height
	return f, nil
}

// advance moves rate control's clock, which must grow: where pts does not, a
// nominal step is assumed.
func (e *Encoder) advance(pts time.Duration) {
	step := pts - e.lastPTS
	if step <= 0 || !e.started && e.clock == 0 {
		step = time.Second / time.Duration(e.cfg.FPS)
	}
	e.lastPTS = pts
	e.clock += min(step, maxGap)
}

// SetBitrate implements [codec.VideoEncoder].
func (e *Encoder) SetBitrate(bps int) error {
	if e.enc == nil {
		return codec.ErrClosed
	}
	if err := checkRange("BitrateBps", bps, minBitrateBps, maxBitrateBps); err != nil || bps == e.cfg.BitrateBps {
		return err
	}
	e.cfg.BitrateBps = bps
	if code := C.mixdown_h264_set_bitrate(e.enc, C.int(bps)); code != 0 {
		return failed("set the bitrate", code)
	}
	return nil
}

// SetSpeed implements [codec.VideoEncoder]; 0 is the default.
func (e *Encoder) SetSpeed(speed int) error {
	if e.enc == nil {
		return codec.ErrClosed
	}
	if speed == 0 {
		speed = defaultSpeed
	}
	if err := checkRange("Speed", speed, 1, maxSpeed); err != nil {
		return err
	}
	was := complexity(e.cfg.Speed)
	e.cfg.Speed = speed
	if complexity(speed) == was {
		return nil
	}
	if code := C.mixdown_h264_set_complexity(e.enc, complexity(speed)); code != 0 {
		return failed("set the speed", code)
	}
	return nil
}

// SetBaseLayerOnly implements [codec.VideoEncoder]: all frames are of layer 0
// anyway, but fewer come.
func (e *Encoder) SetBaseLayerOnly(on bool) error {
	if e.enc == nil {
		return codec.ErrClosed
	}
	if on == e.baseOnly {
		return nil
	}
	e.baseOnly = on
	if code := C.mixdown_h264_set_rate(e.enc, C.float(e.rate())); code != 0 {
		return failed("set the rate", code)
	}
	return nil
}

// StartPattern implements [codec.VideoEncoder].
func (e *Encoder) StartPattern() { e.rests = true }

// Close implements [codec.VideoEncoder].
func (e *Encoder) Close() error {
	C.mixdown_h264_encoder_free(e.enc)
	e.enc = nil
	return nil
}
