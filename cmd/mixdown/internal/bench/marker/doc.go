// Package marker puts marks into sound and pictures that survive codecs,
// mixing and scaling, and finds them again: that is how a benchmark knows when
// what went in at one end came out at the other.
//
// A mark of sound is a short sequence of chirps, found by correlation to the
// sample. A mark of pictures is a number drawn as black and white blocks with a
// checksum: what is damaged gives no number rather than a wrong one.
package marker
