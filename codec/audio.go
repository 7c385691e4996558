package codec

import "time"

// The one format of decoded sound.
const (
	// SampleRate is in Hz.
	SampleRate = 48000
	// FrameDuration is one audio tick.
	FrameDuration = 20 * time.Millisecond
	// FrameSamples is the samples of one tick.
	FrameSamples = SampleRate / 50
	// MaxPacketSamples is the longest Opus packet, 120 ms (RFC 6716 section 2.1.4).
	MaxPacketSamples = SampleRate * 120 / 1000
)

// AudioFrame is 20 ms of sound: 48 kHz, mono, signed 16 bit.
type AudioFrame [FrameSamples]int16

// Silence is the level of no sound at all, in -dBov (RFC 6464).
const Silence = 127
