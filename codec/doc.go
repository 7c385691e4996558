// Package codec holds what every other package passes around: frames, the
// interfaces of encoders and decoders, and the small values that travel
// between a transport and a mixer.
//
// # Frames and who owns them
//
// An [EncodedFrame] is one coded unit (one Opus packet, one VP8 or H.264 picture), a
// [VideoFrame] one decoded picture. Both are reference counted, come from a
// pool, and are immutable once they have been handed to somebody else. Two
// verbs are used all over the project:
//
//   - a call that TRANSFERS a frame gives away the caller's reference; the
//     callee releases it;
//   - a call that LENDS a frame keeps the reference; the callee may read the
//     frame until it returns, and calls Retain to keep it longer.
//
// Every reference ends in exactly one Release. A Release too many is a bug and
// panics.
//
// # Time
//
// PTS is media time as a [time.Duration]. Of inbound frames it counts on the
// source's own clock (unwrapped from RTP timestamps); of outbound frames it
// counts on the room's clock, whose zero is the room's epoch. It is never read
// from the wall clock.
//
// # Sound
//
// All decoded sound is 48 kHz, mono, signed 16 bit, in ticks of 20 ms
// ([AudioFrame]).
package codec
