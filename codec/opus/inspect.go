package opus

import "mixdown/codec"

// What can be told of a packet without decoding it. SILK's frames, which are in
// speech's every packet, begin with their flags (RFC 6716 section 4.2.3): one
// bit a SILK frame for voice activity, then one that says whether the packet
// carries FEC (LBRR) for the one before; they are coded at even odds, hence
// plain to see. In stereo the same follows for the side channel.

// HasFEC says that the packet carries forward error correction for the one
// before it, which [Decoder.DecodeFEC] would decode.
func HasFEC(packet []byte) bool {
	flags, frames := silkFlags(packet)
	if frames == 0 {
		return false
	}
	mid := flags >> (7 - frames) & 1
	if packet[0]&4 == 0 {
		return mid == 1
	}
	return mid|flags>>(6-2*frames)&1 == 1
}

// Silent says that the sender's encoder found no voice in the packet, or sent
// nothing but the mark of a pause (DTX). False when the packet does not tell.
func Silent(packet []byte) bool {
	if len(packet) == 1 || len(packet) == 2 && packet[0]&3 == 0 {
		return true
	}
	flags, frames := silkFlags(packet)
	return frames > 0 && packet[0]&3 == 0 && flags>>(8-frames) == 0
}

// silkFlags returns the first byte of the first frame and how many SILK frames
// per channel that is; 0 when there are none.
func silkFlags(packet []byte) (flags byte, frames int) {
	if mode, err := PacketMode(packet); err != nil || mode == CELT {
		return 0, 0
	}
	frames = max(frameSamples(packet[0])/(codec.SampleRate/50), 1)
	at := 1
	switch packet[0] & 3 {
	case 2:
		size, n := frameSize(packet[1:])
		if n == 0 || size == 0 {
			return 0, 0
		}
		at += n
	case 3:
		return 0, 0 // nobody sends speech so, and nothing is lost but a hint
	}
	if at >= len(packet) {
		return 0, 0
	}
	return packet[at], frames
}

// Duration is the function of that name.
func (d *Decoder) Duration(packet []byte) (samples int, err error) { return Duration(packet) }

// HasFEC is the function of that name.
func (d *Decoder) HasFEC(packet []byte) bool { return HasFEC(packet) }

// Silent is the function of that name.
func (d *Decoder) Silent(packet []byte) bool { return Silent(packet) }

// Plain says that the packet is one frame of 20 ms in mono and well formed: what
// our own encoder makes, and every receiver takes.
func Plain(packet []byte) bool {
	samples, err := Duration(packet)
	const stereo, code = 4, 3 // bits of the first byte (RFC 6716 section 3.1)
	return err == nil && samples == codec.FrameSamples && packet[0]&(stereo|code) == 0
}

// Plain is the function of that name.
func (d *Decoder) Plain(packet []byte) bool { return Plain(packet) }
