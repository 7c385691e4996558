// Package audio is everything between decoded sound and coded sound: it turns
// each sender's packets into an even flow of 20 ms frames, decides who is
// heard, adds them up, and codes what each listener gets.
//
//	packets -> Playout -> Gate -> Bus (exact sum) -+-> Limiter -> shared encoder   -> all who are silent
//	                                               +-> minus own -> Limiter -> own -> each who is heard
//
// [Playout] is the jitter buffer of one sender. A reader pushes packets as they
// come; the tick pulls 20 ms, always. [Mix] is the audio half of one program: a
// [Mix.Tick] each 20 ms pulls from every member, opens and closes their gates,
// and leaves for every listener one coded frame.
//
// # Why most listeners share one encode
//
// Coding is what mixing costs. Somebody whose voice is not in the sum hears
// exactly the sum, so all of them hear one [Mix.Shared] frame. Only those whose
// gate is not closed must have their own voice taken out, and at most
// [MixConfig.MaxOpen] gates are open. A listener who begins to speak moves from
// the shared encoder to his own without a seam, because his own begins as a
// copy of the shared one, state and limiter included, before either codes that
// tick: to his decoder nothing happened. The way back cannot be exact, so it
// waits until his voice has been out of the sum for three ticks and the mix is
// quiet, or for half a second, by which time the two encoders agree but for
// coding noise.
//
// # Purity
//
// Nothing here has a goroutine, a clock, a logger or I/O. Time is an argument:
// `now` is any monotonic clock, the same for [Playout.Push], [Playout.Pull] and
// [Mix.Tick]; `pts` is the room's tick counter. Each object belongs to one
// goroutine, with one exception: [Playout.Push] may be called by another
// goroutine than the rest. A tick allocates nothing once it is running.
//
// # Levels
//
// Loudness is in dBov as RFC 6464 has it: 0 is the loudest that fits, 127 means
// -127 dBov, digital silence.
package audio
