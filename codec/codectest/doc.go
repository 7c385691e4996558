// Package codectest is what every codec must pass: a suite for video coders, a
// suite for audio coders, and the deterministic pictures and speech-like
// sounds they are fed with. A codec package calls the suites from its own
// tests:
//
//	func TestConformance(t *testing.T) {
//		codectest.Video(t, codectest.VideoCodec{NewEncoder: ..., NewDecoder: ...})
//	}
package codectest
