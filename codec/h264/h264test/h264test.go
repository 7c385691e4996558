// Package h264test makes H.264 bitstreams for tests, bit by bit.
package h264test

import (
	"mixdown/codec/h264/nal"
)

// Bits writes a unit's payload.
type Bits struct {
	data []byte
	free int // bits of the last byte
}

// U writes the lowest n bits of v.
func (b *Bits) U(v uint32, n int) *Bits {
	for n--; n >= 0; n-- {
		if b.free == 0 {
			b.data, b.free = append(b.data, 0), 8
		}
		b.free--
		b.data[len(b.data)-1] |= byte(v>>n&1) << b.free
	}
	return b
}

// UE writes an unsigned Exp-Golomb code.
func (b *Bits) UE(v uint32) *Bits {
	n := 0
	for w := v + 1; w > 1; w >>= 1 {
		n++
	}
	return b.U(0, n).U(v+1, n+1)
}

// Unit ends the payload and returns it as a unit with that first byte, without a
// start code but with what keeps it from imitating one.
func (b *Bits) Unit(first byte) []byte {
	b.U(1, 1) // rbsp_stop_one_bit
	unit := []byte{first}
	zeros := 0
	for _, c := range b.data {
		if zeros == 2 && c <= 3 {
			unit, zeros = append(unit, 3), 0
		}
		if unit = append(unit, c); c == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return unit
}

// SPS makes a sequence parameter set of constrained baseline for pictures of
// that size, rounded up to even.
func SPS(width, height int) []byte {
	mw, mh := (width+15)/16, (height+15)/16
	b := new(Bits).U(66, 8).U(0xc0, 8).U(31, 8).UE(0).UE(0).UE(2).UE(1).U(0, 1)
	b.UE(uint32(mw-1)).UE(uint32(mh-1)).U(1, 1).U(1, 1)
	b.U(1, 1).UE(0).UE(uint32(mw*16-width) / 2).UE(0).UE(uint32(mh*16-height) / 2)
	return b.U(0, 1).Unit(0x67)
}

// Frame joins units to a picture in Annex B form.
func Frame(units ...[]byte) (data []byte) {
	for _, u := range units {
		data = append(append(data, 0, 0, 0, 1), u...)
	}
	return data
}

// Resize returns a copy of a key frame whose parameter set asks for another size.
func Resize(key []byte, width, height int) []byte {
	var units [][]byte
	for unit, rest := nal.Next(key); unit != nil; unit, rest = nal.Next(rest) {
		if nal.TypeOf(unit) == nal.SPS {
			unit = SPS(width, height)
		}
		units = append(units, unit)
	}
	return Frame(units...)
}
