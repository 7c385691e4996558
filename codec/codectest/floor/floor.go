// Package floor measures what raw libvpx and libopus need for a piece of work,
// in a loop in C with the same settings and none of the project's code around
// it. "The floor" of a run is the sum of these; the ratio of what a server
// used to it can be compared between machines and days.
//
// Every function returns CPU time of its own thread, so that a busy machine
// does not count. They block until the work is done.
package floor

// #cgo pkg-config: vpx opus
// #cgo CFLAGS: -O2 -Wall -Wextra
// #include "floor.h"
import "C"

import (
	"cmp"
	"errors"
	"time"

	"mixdown/codec"
)

var errFailed = errors.New("floor: the raw codec failed")

func cpu(nanoseconds C.int64_t) (time.Duration, error) {
	if nanoseconds < 0 {
		return 0, errFailed
	}
	return time.Duration(nanoseconds), nil
}

// EncodeVP8 encodes pictures of the configured, even size. Of c it heeds Width,
// Height, FPS, BitrateBps, TemporalLayers and Speed (8 if zero).
func EncodeVP8(pictures []*codec.VideoFrame, c codec.VideoEncoderConfig) (time.Duration, error) {
	if len(pictures) == 0 || c.Width <= 0 || c.Height <= 0 || c.Width%2 != 0 || c.Height%2 != 0 || c.FPS <= 0 {
		return 0, codec.ErrBadConfig
	}
	mem := make([]byte, 0, len(pictures)*c.Width*c.Height*3/2)
	for _, p := range pictures {
		if p.Width != c.Width || p.Height != c.Height {
			return 0, codec.ErrBadConfig
		}
		for y := range p.Height {
			mem = append(mem, p.Y[y*p.StrideY:][:p.Width]...)
		}
		for _, plane := range [][]byte{p.U, p.V} {
			for y := range p.Height / 2 {
				mem = append(mem, plane[y*p.StrideUV:][:p.Width/2]...)
			}
		}
	}
	return cpu(C.floor_vp8_encode((*C.uint8_t)(&mem[0]), C.int(len(pictures)), C.int(c.Width), C.int(c.Height), C.int(c.FPS),
		C.int(c.BitrateBps/1000), C.int(c.TemporalLayers), C.int(cmp.Or(c.Speed, 8))))
}

// DecodeVP8 decodes a stream, beginning with a key frame.
func DecodeVP8(frames [][]byte) (time.Duration, error) {
	mem, sizes, err := join(frames)
	if err != nil {
		return 0, err
	}
	return cpu(C.floor_vp8_decode((*C.uint8_t)(&mem[0]), &sizes[0], C.int(len(sizes))))
}

// EncodeOpus encodes ticks one after the other.
func EncodeOpus(ticks []codec.AudioFrame, bitrateBps, complexity int) (time.Duration, error) {
	if len(ticks) == 0 {
		return 0, codec.ErrBadConfig
	}
	return cpu(C.floor_opus_encode((*C.int16_t)(&ticks[0][0]), C.int(len(ticks)), C.int(bitrateBps), C.int(complexity)))
}

// DecodeOpus decodes packets one after the other.
func DecodeOpus(packets [][]byte) (time.Duration, error) {
	mem, sizes, err := join(packets)
	if err != nil {
		return 0, err
	}
	return cpu(C.floor_opus_decode((*C.uint8_t)(&mem[0]), &sizes[0], C.int(len(sizes))))
}

// join lays packets end to end, since C may not be handed pointers to pointers.
func join(packets [][]byte) (mem []byte, sizes []C.int32_t, err error) {
	for _, p := range packets {
		mem = append(mem, p...)
		sizes = append(sizes, C.int32_t(len(p)))
	}
	if len(mem) == 0 {
		return nil, nil, codec.ErrBadConfig
	}
	return mem, sizes, nil
}
