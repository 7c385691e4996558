// Package nal reads H.264 bitstreams as far as one must before a decoder sees
// them, in pure Go: where units begin, what they are, how large a picture they
// ask for, and whether a decoder can start there.
//
// An access unit (one picture) travels in Annex B form: each network
// abstraction layer unit follows a start code, 00 00 01 or 00 00 00 01.
//
//	for unit, rest := nal.Next(data); unit != nil; unit, rest = nal.Next(rest) {
//		switch nal.TypeOf(unit) { ... }
//	}
//
// Section numbers are those of ITU-T H.264.
package nal
