package nal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"mixdown/codec"
	"mixdown/codec/h264/h264test"
	"mixdown/codec/h264/nal"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNext(t *testing.T) {
	for _, tc := range []struct {
		name, stream string
		want         []string
	}{
		{"both start codes", "00000001670102" + "00000168ff" + "0000000165aa", []string{"670102", "68ff", "65aa"}},
		{"zeros behind", "0000016701000000" + "0000016502", []string{"6701", "6502"}},
		{"zeros inside", "000001670000030100" + "00000165", []string{"6700000301", "65"}},
		{"empty units", "000001000001000001" + "65", []string{"65"}},
		{"before the first", "aabb" + "00000165", []string{"65"}},
		{"none", "650000", nil},
		{"nothing in it", "000001", nil},
		{"nothing", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for unit, rest := nal.Next(unhex(t, tc.stream)); unit != nil; unit, rest = nal.Next(rest) {
				got = append(got, hex.EncodeToString(unit))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestParseSPS reads parameter sets that x264 made.
func TestParseSPS(t *testing.T) {
	for _, tc := range []struct {
		name, unit string
		want       nal.SequenceSet
		bad        bool
	}{
		{"baseline", "6742c01fd9005005bb0110000003001000000303c0f18324", nal.SequenceSet{
			Profile: 66, Constraints: 0xc0, Level: 31, Width: 1280, Height: 720, CodedWidth: 1280, CodedHeight: 720}, false},
		// As decoders read it, who look for what is put in from the first byte on.
		{"zeros in the head", "6742000003d9005005bb0110000003001000000303c0f18324", nal.SequenceSet{
			Profile: 66, Width: 1280, Height: 720, CodedWidth: 1280, CodedHeight: 720}, false},
		{"main, cropped", "674d4028eca03c0113f2e022000003000200000300781e30632c", nal.SequenceSet{
			Profile: 77, Constraints: 0x40, Level: 40, Width: 1920, Height: 1080, CodedWidth: 1920, CodedHeight: 1088}, false},
		{"high, cropped twice", "6764001eacd940a42fe224c044000003000400000300f03c58b658", nal.SequenceSet{
			Profile: 100, Level: 30, Width: 642, Height: 362, CodedWidth: 656, CodedHeight: 368}, false},
		{"high with matrices", "6764001eacd940a03db0110000030001000003003c0f162d96", nal.SequenceSet{
			Profile: 100, Level: 30, Width: 640, Height: 480, CodedWidth: 640, CodedHeight: 480}, false},
		{"4:2:2", "677a001ebcd940a03db0110000030001000003003c0f162d96", nal.SequenceSet{}, true},
		{"interlaced", "6764001eacd940a07b6022000003000200000300783e28532c", nal.SequenceSet{}, true},
		{"cut off", "6742c01fd900", nal.SequenceSet{}, true},
		{"a slice", "6542c01fd9005005bb01", nal.SequenceSet{}, true},
		{"nothing", "67", nal.SequenceSet{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := nal.ParseSPS(unhex(t, tc.unit))
			if got != tc.want || (err != nil) != tc.bad || err != nil && !errors.Is(err, codec.ErrCorrupt) {
				t.Errorf("%+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
	for _, s := range [][2]int{{16, 16}, {160, 90}, {1280, 720}, {1920, 1080}, {16382, 16382}} {
		got, err := nal.ParseSPS(h264test.SPS(s[0], s[1]))
		if err != nil || got.Width != s[0] || got.Height != s[1] || !got.ConstrainedBaseline() {
			t.Errorf("%v came back as %+v, %v", s, got, err)
		}
	}
}

// TestMatrices passes over scaling lists, which only the high profile has.
func TestMatrices(t *testing.T) {
	b := new(h264test.Bits).U(100, 8).U(0, 8).U(40, 8).UE(0).UE(1).UE(0).UE(0).U(0, 1).U(1, 1)
	b.U(1, 1).UE(0).UE(1).UE(16) // 8, 9, 1: then the deltas below
	for range 13 {
		b.UE(0)
	}
	b.U(0, 5)
	b.U(1, 1).UE(16)                          // 8 - 8 is 0: the list ends
	b.U(0, 1)                                 // the last
	b.UE(0).UE(2).UE(1).U(0, 1).UE(39).UE(29) // 640x480
	unit := b.U(1, 1).U(1, 1).U(0, 2).Unit(0x67)
	if got, err := nal.ParseSPS(unit); err != nil || got.Width != 640 || got.Height != 480 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseFrame(t *testing.T) {
	sps, pps := h264test.SPS(640, 360), []byte{0x68, 0xce, 0x3c, 0x80}
	idr, more := []byte{0x65, 0x88, 1}, []byte{0x65, 0x40, 1}
	slice, spare := []byte{0x41, 0x9a, 1}, []byte{0x01, 0x9a, 1}
	for _, tc := range []struct {
		name             string
		units            [][]byte
		key, discardable bool
		bad              bool
	}{
		{"key frame", [][]byte{sps, pps, idr}, true, false, false},
		{"of several slices", [][]byte{sps, pps, idr, more}, true, false, false},
		{"with everything", [][]byte{{0x09, 0xf0}, sps, pps, {0x06, 1, 0x80}, idr, {0x0c, 0xff}}, true, false, false},
		{"its sets came before", [][]byte{idr}, false, false, false},
		{"another", [][]byte{slice}, false, false, false},
		{"one that nobody refers to", [][]byte{spare}, false, true, false},
		{"sets of another picture", [][]byte{pps, slice}, false, false, false},
		{"a new size without a key frame", [][]byte{sps, pps, slice}, false, false, true},
		{"two sizes", [][]byte{sps, h264test.SPS(320, 180), pps, idr}, false, false, true},
		{"a size behind the slices", [][]byte{sps, pps, idr, sps}, false, false, true},
		{"two kinds", [][]byte{sps, pps, idr, slice}, false, false, true},
		{"the first slice is missing", [][]byte{sps, pps, more}, false, false, true},
		{"no slice", [][]byte{sps, pps}, false, false, true},
		{"partitions", [][]byte{{0x42, 0x9a, 1}}, false, false, true},
		{"extensions", [][]byte{sps, pps, {0x6e, 1, 2, 3}, idr}, false, false, true},
		{"forbidden bit", [][]byte{{0xc1, 0x9a, 1}}, false, false, true},
		{"nothing", nil, false, false, true},
		{"without end", slices.Repeat([][]byte{{0x06, 0x80}}, 1000), false, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := nal.ParseFrame(h264test.Frame(tc.units...))
			if (err != nil) != tc.bad || err != nil && (!errors.Is(err, codec.ErrCorrupt) || f != nal.Frame{}) {
				t.Fatalf("%+v, %v", f, err)
			}
			if f.Key != tc.key || f.Discardable != tc.discardable || f.Key != (f.Set.Width == 640) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestLevel(t *testing.T) {
	for _, tc := range []struct {
		level         uint8
		blocks, speed int
	}{{9, 99, 1485}, {0, 99, 1485}, {11, 396, 3000}, {31, 3600, 108_000}, {33, 5120, 216_000}, {52, 36_864, 2_073_600}, {255, 36_864, 2_073_600}} {
		if b, s := nal.Level(tc.level); b != tc.blocks || s != tc.speed {
			t.Errorf("level %d: %d, %d", tc.level, b, s)
		}
	}
	if b := nal.Blocks(1280, 720); b != 3600 {
		t.Errorf("1280x720 has %d", b)
	}
	if b := nal.Blocks(161, 90); b != 66 {
		t.Errorf("161x90 has %d", b)
	}
}

func TestParseFrameAllocatesNothing(t *testing.T) {
	data := h264test.Frame(h264test.SPS(640, 360), []byte{0x68, 0xce, 0x3c, 0x80}, bytes.Repeat([]byte{0x65, 0x88}, 500))
	if n := testing.AllocsPerRun(100, func() { _, _ = nal.ParseFrame(data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(h264test.Frame(h264test.SPS(640, 360), []byte{0x68, 0xce, 0x3c, 0x80}, []byte{0x65, 0x88, 1}))
	f.Add(h264test.Frame([]byte{0x41, 0x9a, 1}))
	for _, sps := range []string{"674d4028eca03c0113f2e022000003000200000300781e30632c", "6764001eacd940a42fe224c044000003000400000300f03c58b658"} {
		f.Add(h264test.Frame(unhex(f, sps), []byte{0x68, 0xce}, []byte{0x65, 0x88}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := nal.ParseFrame(data)
		if err != nil {
			if !errors.Is(err, codec.ErrCorrupt) || got != (nal.Frame{}) {
				t.Fatalf("%+v, %v", got, err)
			}
			return
		}
		s := got.Set
		if got.Key != (s.Width > 0) || s.Width > s.CodedWidth || s.Height > s.CodedHeight || s.CodedWidth-s.Width >= 64 || s.CodedHeight-s.Height >= 64 ||
			s.CodedWidth > 32768 || s.CodedHeight > 32768 || (s.Width > 0) != (s.Height > 0) {
			t.Fatalf("%+v", got)
		}
		// What Next says is what it holds.
		var units [][]byte
		for unit, rest := nal.Next(data); unit != nil; unit, rest = nal.Next(rest) {
			if len(unit) == 0 || unit[len(unit)-1] == 0 {
				t.Fatalf("unit %x", unit)
			}
			units = append(units, unit)
		}
		if again, err := nal.ParseFrame(h264test.Frame(units...)); err != nil || again != got {
			t.Fatalf("put together again: %+v, %v, was %+v", again, err, got)
		}
	})
}
