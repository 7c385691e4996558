//go:build !nodlopen

package h264

import (
	"testing"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/h264/h264test"
	"mixdown/codec/h264/nal"
)

// numbered is a parameter set of the encoder's, which number all 0, with another
// number for the sequence parameter set; from is where that stands, in bits
// behind the unit's first byte.
func numbered(unit []byte, from int, id uint32) []byte {
	var rbsp []byte
	for i, c := range unit[1:] {
		if c == 3 && i >= 2 && unit[i] == 0 && unit[i-1] == 0 {
			continue // put in, so that no start code is imitated
		}
		rbsp = append(rbsp, c)
	}
	bit := func(i int) uint32 { return uint32(rbsp[i/8]) >> (7 - i%8) & 1 }
	end := 8*len(rbsp) - 1
	for bit(end) == 0 {
		end--
	}
	b := new(h264test.Bits)
	for i := range end {
		if i == from { // a single bit 1, which is 0
			b.UE(id)
		} else {
			b.U(bit(i), 1)
		}
	}
	return b.Unit(unit[0])
}

// TestSizesAreThoseOfKeyFrames: a picture cannot have the size of a parameter set
// that came before with another number. Whoever polices what is decoded goes by
// the sizes that key frames bring along.
func TestSizesAreThoseOfKeyFrames(t *testing.T) {
	l := library(t)
	key := func(width, height int) []byte {
		enc, err := l.NewEncoder(codec.VideoEncoderConfig{Width: width, Height: height, FPS: 30, BitrateBps: 500_000})
		if err != nil {
			t.Fatal(err)
		}
		defer enc.Close()
		return codectest.Encode(t, enc, codectest.Scene{}.Frames(t, width, height, 1))[0].Data
	}
	large := key(640, 360)
	var renumbered, bare [][]byte
	for unit, rest := nal.Next(key(64, 64)); unit != nil; unit, rest = nal.Next(rest) {
		switch nal.TypeOf(unit) {
		case nal.SPS:
			unit = numbered(unit, 24, 1)
		case nal.PPS:
			unit = numbered(unit, 1, 1)
		}
		renumbered = append(renumbered, unit)
	}
	for unit, rest := nal.Next(large); unit != nil; unit, rest = nal.Next(rest) {
		if nal.TypeOf(unit) != nal.SPS {
			bare = append(bare, unit)
		}
	}
	dec, err := l.NewDecoder(DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for i, f := range [][]byte{large, h264test.Frame(renumbered...)} {
		if err := dec.Decode(f); err != nil {
			t.Fatalf("key frame %d: %v", i, err)
		}
	}
	if w, h := dec.Size(); w != 64 || h != 64 {
		t.Fatalf("the small one is %dx%d", w, h)
	}
	if err := dec.Decode(h264test.Frame(bare...)); err == nil {
		w, h := dec.Size()
		t.Errorf("without its parameter set a picture of %dx%d is decoded", w, h)
	}
	if err := dec.Decode(large); err != nil {
		t.Errorf("the next key frame: %v", err)
	}
}
