// Package vp8 speaks VP8 (RFC 6386) by libvpx, in real time.
//
//   - [ParseHeader] reads a frame's head in pure Go. It runs before libvpx sees
//     a frame, since a frame of ten bytes can ask for 400 MB.
//   - [Decoder] keeps the picture it decoded inside and hands it out at the size
//     at which it will be shown, so there is never a copy at full size.
//   - [Encoder] makes constant-bitrate streams without frames that refer to the
//     future, with one or two temporal layers and key frames on request only.
//
// Each coder works on the caller's thread alone: libvpx's own threads wait
// busily, so on a machine with many streams one thread each and many streams
// side by side is several times faster.
//
// # Temporal layers
//
// With two layers every other frame is of layer 1. It refers to the last frame
// of layer 0 only and updates nothing, neither a reference picture nor the
// entropy coder's state, so any of them may be dropped by anybody on the way
// without harm to what follows.
package vp8
