package nal

import (
	"fmt"

	"mixdown/codec"
)

// The profiles (annex A.2) that are decoded: progressive, 8 bit, 4:2:0.
const (
	ProfileBaseline = 66
	ProfileMain     = 77
	ProfileHigh     = 100
)

// maxCrop is how much of the coded picture may be cut off each way. Encoders
// round up to blocks of 16, 32 or 64; more would let a sender have large pictures
// decoded that count as small ones.
const maxCrop = 64

// SequenceSet is what a sequence parameter set says (section 7.3.2.1.1).
type SequenceSet struct {
	ID uint8
	// Profile is the profile_idc, Constraints the constraint_set flags, set 0 in
	// the highest bit, Level ten times the level.
	Profile, Constraints, Level uint8
	// Width and Height of the picture that is shown; CodedWidth and CodedHeight
	// of what is decoded for it, in whole macroblocks. At most 32768.
	Width, Height           int
	CodedWidth, CodedHeight int
}

// ConstrainedBaseline reports whether every decoder there is can decode it.
func (s *SequenceSet) ConstrainedBaseline() bool {
	return s.Profile == ProfileBaseline && s.Constraints&0x40 != 0
}

// ParseSPS reads a unit of type SPS. Errors wrap [codec.ErrCorrupt]; what this
// server does not decode (interlaced pictures, 4:2:2, ten bit) is one too.
func ParseSPS(unit []byte) (SequenceSet, error) {
	if len(unit) < 5 || TypeOf(unit) != SPS {
		return SequenceSet{}, corrupt("sequence parameter set of %d bytes", len(unit))
	}
	b := bits{data: unit, pos: 1}
	s := SequenceSet{Profile: uint8(b.u(8)), Constraints: uint8(b.u(8)), Level: uint8(b.u(8))}
	id := b.ue()
	if id > 31 {
		return SequenceSet{}, corrupt("seq_parameter_set_id %d: want 0..31", id)
	}
	s.ID = uint8(id)
	switch s.Profile {
	case ProfileBaseline, ProfileMain:
	case ProfileHigh:
		if err := b.highProfile(); err != nil {
			return SequenceSet{}, err
		}
	default:
		return SequenceSet{}, corrupt("profile %d: want 66, 77 or 100", s.Profile)
	}
	b.ue()                    // log2_max_frame_num_minus4
	switch order := b.ue(); { // pic_order_cnt_type
	case order == 0:
		b.ue()
	case order == 1:
		b.flag()
		b.se()
		b.se()
		n := b.ue()
		if n > 255 {
			return SequenceSet{}, corrupt("num_ref_frames_in_pic_order_cnt_cycle %d: want 0..255", n)
		}
		for range n {
			b.se()
		}
	case order > 2:
		return SequenceSet{}, corrupt("pic_order_cnt_type %d: want 0..2", order)
	}
	if n := b.ue(); n > 16 {
		return SequenceSet{}, corrupt("max_num_ref_frames %d: want 0..16", n)
	}
	b.flag() // gaps_in_frame_num_value_allowed_flag
	if err := s.size(&b); err != nil {
		return SequenceSet{}, err
	}
	return s, nil
}

// highProfile reads what only the high profiles have.
func (b *bits) highProfile() error {
	if format := b.ue(); format != 1 {
		return corrupt("chroma_format_idc %d: want 1, which is 4:2:0", format)
	}
	if luma, chroma := b.ue(), b.ue(); luma != 0 || chroma != 0 {
		return corrupt("samples of more than 8 bit")
	}
	b.flag() // qpprime_y_zero_transform_bypass_flag
	if b.flag() {
		for i := range 8 {
			if b.flag() {
				b.scalingList(i)
			}
		}
	}
	return nil
}

// scalingList passes over list i (section 7.3.2.1.1.1).
func (b *bits) scalingList(i int) {
	size := 16
	if i >= 6 {
		size = 64
	}
	last, next := int32(8), int32(8)
	for range size {
		if next != 0 {
			next = (last + b.se()) & 0xff
		}
		if next != 0 {
			last = next
		}
	}
}

// size reads the picture's size and what is cut off it.
func (s *SequenceSet) size(b *bits) error {
	const most = 32768 / 16
	w, h := b.ue(), b.ue()
	if w >= most || h >= most {
		return corrupt("picture of %dx%d macroblocks", w, h)
	}
	s.CodedWidth, s.CodedHeight = int(w+1)*16, int(h+1)*16
	if !b.flag() {
		return corrupt("interlaced pictures")
	}
	b.flag() // direct_8x8_inference_flag
	s.Width, s.Height = s.CodedWidth, s.CodedHeight
	if b.flag() {
		left, right, top, bottom := b.ue(), b.ue(), b.ue(), b.ue()
		for _, crop := range []uint32{left, right, top, bottom} {
			if crop > maxCrop {
				return corrupt("cropping by %d", crop)
			}
		}
		// In units of two samples, since the chroma is halved.
		cutX, cutY := 2*int(left+right), 2*int(top+bottom)
		if cutX >= maxCrop || cutY >= maxCrop || cutX >= s.Width || cutY >= s.Height {
			return corrupt("cropping %dx%d by %dx%d", s.Width, s.Height, cutX, cutY)
		}
		s.Width, s.Height = s.Width-cutX, s.Height-cutY
	}
	if b.bad {
		return corrupt("sequence parameter set is cut off")
	}
	return nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("h264: "+format+": %w", append(args, codec.ErrCorrupt)...)
}
