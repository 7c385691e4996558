// Package opus speaks Opus (RFC 6716): 48 kHz, mono, by libopus.
//
//   - [Decoder] turns packets into sound, with concealment and forward error
//     correction; it stands on gopkg.in/hraban/opus.v2.
//   - [Encoder] turns 20 ms ticks into packets. It is a binding of its own,
//     since a mixer needs two things that the former lacks: [Encoder.CopyFrom],
//     and an encoder that never changes its coding mode.
//   - [Duration] and [PacketMode] read a packet's head without decoding it, in
//     pure Go.
//
// # One mode
//
// Opus is two coders in one: SILK for speech, CELT for music, and both together
// (hybrid). Changing between them is audible when it happens on a frame that
// was not meant for it, which is just what switching a listener from one
// encoder to another would cause. So an [Encoder] stays in hybrid mode at every
// bitrate it accepts: it is told that it codes voice, which keeps it from
// CELT, and that the bandwidth is full, which keeps it from SILK alone.
// In-band FEC would lower the bandwidth when the rate is short; it is therefore
// used only from 32 kb/s on.
//
// Neither coder is safe for concurrent use, allocates, or blocks.
package opus
