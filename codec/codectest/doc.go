// Package codectest is what every codec must pass: a suite for video coders, a
// suite for audio coders, and the deterministic pictures and speech-like
// sounds they are fed with. A codec package calls the suites from its own
// tests:
//
//	func TestDecoder(t *testing.T) { codectest.VideoDecoder(t, format, newDecoder, newEncoder) }
//	func TestEncoder(t *testing.T) { codectest.VideoEncoder(t, format, newEncoder, newDecoder) }
//	func TestCodec(t *testing.T)   { codectest.AudioCodec(t, newEncoder, newDecoder) }
//
// A new codec passes when these do; what is special to it, its own tests add.
package codectest
