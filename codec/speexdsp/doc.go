// Package speexdsp takes noise out of speech, by libspeexdsp.
//
// A [Suppressor] learns what is there all the time (a fan, hum, hiss) and turns
// it down wherever nobody speaks and in the bands in which he does not. It is
// for people who sit in noise and whose client does nothing about it; browsers
// suppress noise themselves, better than this, so it is an option and off by
// default. What it costs stands at [NewSuppressor].
//
// The library's automatic gain control and voice activity detection are not
// used: the first hunts for a level that the mix sets better, the second is a
// stub.
package speexdsp
