// Package h264 speaks H.264 (constrained baseline, as every hardware decoder
// does) by Cisco's OpenH264, which is loaded at run time:
//
//	lib, err := h264.Load("") // wherever the system keeps it
//	enc, err := lib.NewEncoder(codec.VideoEncoderConfig{...})
//	dec, err := lib.NewDecoder(h264.DecoderConfig{})
//
// Loaded, and not linked, because of the patents: Cisco pays for those who use
// the binary that Cisco built (https://www.openh264.org), and that one has to be
// fetched by whoever uses it. A static binary cannot load anything: then, and
// where there is no library, [Load] returns [ErrUnavailable], and everything but
// this package works on.
//
// What the encoder makes is for real time: no picture refers to a later one or
// waits for one, key frames come on request only and bring their parameter sets,
// each picture is one slice. It has one temporal layer: those of H.264 carry no
// numbers by which a receiver could tell that what was lost was of no use to
// others, so that a second one would cost quality and save nobody anything.
//
// What the decoder is given is looked at before, by package nal: it never sees a
// picture that is larger than allowed, a size that changes in the wrong place, or
// extensions that nobody asked for.
//
// Each coder works on the caller's thread alone.
package h264
