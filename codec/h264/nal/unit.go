package nal

import "bytes"

// Type is a unit's nal_unit_type (table 7-1).
type Type uint8

// The types that a stream of one layer has, and those by which RFC 6184 packs
// units into packets.
const (
	Slice       Type = 1 // of a picture that refers to others
	IDR         Type = 5 // slice of a picture from which a decoder can start
	SEI         Type = 6
	SPS         Type = 7
	PPS         Type = 8
	AUD         Type = 9
	EndSequence Type = 10
	EndStream   Type = 11
	Filler      Type = 12

	STAPA Type = 24 // several units in one packet (RFC 6184 section 5.7.1)
	FUA   Type = 28 // a part of a unit (RFC 6184 section 5.8)
)

// Known reports whether units of that type belong to a stream of one layer. The
// rest (partitions, scalable and multiview extensions) nobody sends in real
// time, and decoders have had more faults in than in all of this.
func (t Type) Known() bool {
	switch t {
	case Slice, IDR, SEI, SPS, PPS, AUD, EndSequence, EndStream, Filler:
		return true
	}
	return false
}

// TypeOf returns the type of a unit, which must not be empty.
func TypeOf(unit []byte) Type { return Type(unit[0] & 0x1f) }

// RefIDC returns a unit's nal_ref_idc: 0 says that no picture refers to it.
func RefIDC(unit []byte) uint8 { return unit[0] >> 5 & 3 }

// FirstSlice reports whether a slice is the first of its picture: its
// first_mb_in_slice is 0, which is a single bit 1 (section 7.3.3).
func FirstSlice(unit []byte) bool {
	return len(unit) > 1 && (TypeOf(unit) == Slice || TypeOf(unit) == IDR) && unit[1]&0x80 != 0
}

var startCode = []byte{0, 0, 1}

// Find returns where the first unit at or behind from begins and ends in an Annex
// B stream, without its start code; search on from end. Units that are empty are
// passed over. start is -1 when there is none.
func Find(stream []byte, from int) (start, end int) {
	for {
		at := bytes.Index(stream[from:], startCode)
		if at < 0 {
			return -1, len(stream)
		}
		start = from + at + len(startCode)
		end = len(stream)
		if n := bytes.Index(stream[start:], startCode); n >= 0 {
			end = start + n
		}
		from = end
		// Zeros behind a unit are none of it: the longer start code's first byte,
		// and trailing_zero_8bits (section B.1). A unit never ends with one.
		for end > start && stream[end-1] == 0 {
			end--
		}
		if end > start {
			return start, end
		}
	}
}

// Next returns the first unit of an Annex B stream, without its start code, and
// what follows it. unit is nil when there is none. Both share stream's memory.
func Next(stream []byte) (unit, rest []byte) {
	start, end := Find(stream, 0)
	if start < 0 {
		return nil, nil
	}
	return stream[start:end], stream[end:]
}
