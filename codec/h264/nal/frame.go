package nal

// maxUnits bounds the units of one picture: a slice for each row of macroblocks
// of 1920x1088 is 68.
const maxUnits = 256

// Frame is what is known of one coded picture without decoding it.
type Frame struct {
	// Key says that a decoder can start here: the slices are IDR, and the
	// sequence parameter set comes with them.
	Key bool
	// Discardable says that no later picture refers to this one.
	Discardable bool
	// Set is the sequence parameter set; zero unless Key.
	Set SequenceSet
}

// ParseFrame reads one picture in Annex B form and checks what a decoder should
// not have to: that it has slices, the first of them first and all of one kind,
// that parameter sets change the size only where a picture begins anew
// (CVE-2025-27091 was a size that changed before any other), and that nothing is
// in it that a stream of one layer has not. Errors wrap [codec.ErrCorrupt].
func ParseFrame(data []byte) (Frame, error) {
	var f Frame
	slices, units := 0, 0
	kind := Type(0)
	f.Discardable = true
	for unit, rest := Next(data); unit != nil; unit, rest = Next(rest) {
		if units++; units > maxUnits {
			return Frame{}, corrupt("more than %d units", maxUnits)
		}
		t := TypeOf(unit)
		switch {
		case unit[0]&0x80 != 0:
			return Frame{}, corrupt("forbidden_zero_bit is set")
		case !t.Known():
			return Frame{}, corrupt("unit of type %d", t)
		case t == SPS:
			set, err := ParseSPS(unit)
			switch {
			case err != nil:
				return Frame{}, err
			case slices > 0:
				return Frame{}, corrupt("parameter set behind a slice")
			case f.Set.Width != 0 && (set.CodedWidth != f.Set.CodedWidth || set.CodedHeight != f.Set.CodedHeight):
				return Frame{}, corrupt("two sizes in one picture")
			}
			f.Set = set
		case t == PPS && slices > 0:
			return Frame{}, corrupt("parameter set behind a slice")
		case t == Slice || t == IDR:
			switch {
			case slices == 0 && !FirstSlice(unit):
				return Frame{}, corrupt("first slice is missing")
			case slices > 0 && t != kind:
				return Frame{}, corrupt("slices of two kinds")
			}
			slices++
			kind = t
			f.Discardable = f.Discardable && RefIDC(unit) == 0
		}
	}
	switch {
	case slices == 0:
		return Frame{}, corrupt("no slice of a picture")
	case f.Set.Width != 0 && kind != IDR:
		return Frame{}, corrupt("parameter set without a key frame")
	}
	f.Key = f.Set.Width != 0
	return f, nil
}
