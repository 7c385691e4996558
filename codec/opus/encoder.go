package opus

// #cgo pkg-config: opus
// #cgo CFLAGS: -O2 -Wall -Wextra
// #cgo noescape opus_encode
// #cgo nocallback opus_encode
// #include <stdlib.h>
// #include <string.h>
// #include "encoder.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"mixdown/codec"
)

// Limits of [EncoderConfig].
const (
	// MinBitrateBps and MaxBitrateBps bound the rates at which libopus
	// stays in hybrid mode whatever else is set.
	MinBitrateBps = 16_000
	MaxBitrateBps = 64_000
	// MinFECBitrateBps is the rate from which on libopus has room for FEC in
	// hybrid mode at any loss. At 28 kb/s and 6 to 25% loss it falls back to
	// wideband, which is SILK alone.
	MinFECBitrateBps = 32_000
)

// EncoderConfig says how to encode. The zero value is good.
type EncoderConfig struct {
	// BitrateBps is the mean rate, MinBitrateBps..MaxBitrateBps. Defaults to 32,000.
	BitrateBps int
	// Complexity is 2 (cheapest) to 10; below, libopus' notion of what FEC
	// needs is another. Defaults to 5.
	Complexity int
	// FEC puts a coarse copy of each frame into the next packet, as soon as
	// loss is expected and the rate is at least MinFECBitrateBps.
	FEC bool
	// PacketLossPercent is the loss to expect, 0..100.
	PacketLossPercent int
	// DTX sends hardly anything in silence.
	DTX bool
}

// Encoder encodes 20 ms of 48 kHz mono at a time, in hybrid mode. It implements
// [codec.AudioEncoder]. Its memory lies in C and is freed by Close; there is no
// finalizer, so an encoder that is not closed leaks 44 kB.
type Encoder struct {
	enc *C.OpusEncoder // nil when closed
	cfg EncoderConfig
}

var _ codec.AudioEncoder = (*Encoder)(nil)

// encoderBytes is the size of an encoder's state. It holds no pointers to
// itself, which is why CopyFrom may copy it.
var encoderBytes = C.size_t(C.opus_encoder_get_size(1))

// Version returns libopus' own name and version.
func Version() string { return C.GoString(C.opus_get_version_string()) }

// NewEncoder returns an encoder without history. Errors wrap
// [codec.ErrBadConfig].
func NewEncoder(c EncoderConfig) (*Encoder, error) {
	if c.BitrateBps == 0 {
		c.BitrateBps = 32_000
	}
	if c.Complexity == 0 {
		c.Complexity = 5
	}
	if err := errors.Join(
		checkRange("BitrateBps", c.BitrateBps, MinBitrateBps, MaxBitrateBps),
		checkRange("Complexity", c.Complexity, 2, 10),
		checkRange("PacketLossPercent", c.PacketLossPercent, 0, 100),
	); err != nil {
		return nil, err
	}
	e := &Encoder{enc: (*C.OpusEncoder)(C.malloc(encoderBytes)), cfg: c}
	dtx := C.int(0)
	if c.DTX {
		dtx = 1
	}
	code := C.mixdown_opus_init(e.enc, C.int(c.Complexity), dtx)
	if code == C.OPUS_OK {
		code = e.applyRate()
	}
	if code == C.OPUS_OK {
		code = C.mixdown_opus_set_loss(e.enc, C.int(c.PacketLossPercent))
	}
	if code != C.OPUS_OK {
		_ = e.Close()
		return nil, failed("make an encoder", code)
	}
	return e, nil
}

func checkRange(name string, v, low, high int) error {
	if v < low || v > high {
		return fmt.Errorf("opus: %s %d: want %d..%d: %w", name, v, low, high, codec.ErrBadConfig)
	}
	return nil
}

func failed(what string, code C.int) error {
	return fmt.Errorf("opus: %s: %s", what, C.GoString(C.opus_strerror(code)))
}

func (e *Encoder) applyRate() C.int {
	fec := C.int(0)
	if e.cfg.FEC && e.cfg.BitrateBps >= MinFECBitrateBps {
		fec = 1
	}
	return C.mixdown_opus_set_rate(e.enc, C.int(e.cfg.BitrateBps), fec)
}

// Encode implements [codec.AudioEncoder]. With a dst shorter than 1275 bytes
// the packet is squeezed to fit.
func (e *Encoder) Encode(pcm *codec.AudioFrame, dst []byte) (n int, err error) {
	if e.enc == nil {
		return 0, codec.ErrClosed
	}
	if len(dst) == 0 {
		return 0, fmt.Errorf("opus: no room for a packet: %w", codec.ErrBadConfig)
	}
	size := C.opus_encode(e.enc, (*C.opus_int16)(&pcm[0]), codec.FrameSamples, (*C.uchar)(&dst[0]), C.opus_int32(len(dst)))
	if size < 0 {
		return 0, failed("encode", C.int(size))
	}
	return int(size), nil
}

// CopyFrom implements [codec.AudioEncoder]: history and settings are src's from
// here on. It costs a copy of 44 kB, a quarter of a microsecond.
func (e *Encoder) CopyFrom(src codec.AudioEncoder) error {
	from, ok := src.(*Encoder)
	if !ok {
		return fmt.Errorf("opus: copy from a %T: want a *opus.Encoder: %w", src, codec.ErrBadConfig)
	}
	if e.enc == nil || from.enc == nil {
		return codec.ErrClosed
	}
	if e != from {
		C.memcpy(unsafe.Pointer(e.enc), unsafe.Pointer(from.enc), encoderBytes)
		e.cfg = from.cfg
	}
	return nil
}

// SetBitrate implements [codec.AudioEncoder], within MinBitrateBps..MaxBitrateBps.
// Crossing MinFECBitrateBps turns FEC on or off, where it is configured.
func (e *Encoder) SetBitrate(bps int) error {
	if e.enc == nil {
		return codec.ErrClosed
	}
	if err := checkRange("BitrateBps", bps, MinBitrateBps, MaxBitrateBps); err != nil || bps == e.cfg.BitrateBps {
		return err
	}
	e.cfg.BitrateBps = bps
	if code := e.applyRate(); code != C.OPUS_OK {
		return failed("set the bitrate", code)
	}
	return nil
}

// SetPacketLoss implements [codec.AudioEncoder].
func (e *Encoder) SetPacketLoss(percent int) error {
	if e.enc == nil {
		return codec.ErrClosed
	}
	if err := checkRange("PacketLossPercent", percent, 0, 100); err != nil || percent == e.cfg.PacketLossPercent {
		return err
	}
	e.cfg.PacketLossPercent = percent
	if code := C.mixdown_opus_set_loss(e.enc, C.int(percent)); code != C.OPUS_OK {
		return failed("set the expected loss", code)
	}
	return nil
}

// Close implements [codec.AudioEncoder].
func (e *Encoder) Close() error {
	C.free(unsafe.Pointer(e.enc))
	e.enc = nil
	return nil
}
