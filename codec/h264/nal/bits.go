package nal

// bits reads a unit's payload bit by bit, without the bytes that were put in so
// that no start code is imitated (section 7.3.1). Reading past the end gives
// zeros, and bad.
type bits struct {
	data  []byte
	pos   int // next byte
	cur   byte
	left  int // bits of cur
	zeros int // bytes of 0 before pos
	bad   bool
}

func (b *bits) bit() uint32 {
	if b.left == 0 {
		if b.zeros >= 2 && b.pos < len(b.data) && b.data[b.pos] == 3 {
			b.pos++
			b.zeros = 0
		}
		if b.pos >= len(b.data) {
			b.bad = true
			return 0
		}
		b.cur, b.left = b.data[b.pos], 8
		b.pos++
		if b.cur == 0 {
			b.zeros++
		} else {
			b.zeros = 0
		}
	}
	b.left--
	return uint32(b.cur>>b.left) & 1
}

// u reads n bits, at most 32.
func (b *bits) u(n int) (v uint32) {
	for range n {
		v = v<<1 | b.bit()
	}
	return v
}

func (b *bits) flag() bool { return b.bit() == 1 }

// ue reads an unsigned Exp-Golomb code (section 9.1).
func (b *bits) ue() uint32 {
	n := 0
	for b.bit() == 0 {
		if n++; n > 31 || b.bad {
			b.bad = true
			return 0
		}
	}
	return 1<<n - 1 + b.u(n)
}

// se reads a signed one (section 9.1.1).
func (b *bits) se() int32 {
	v := b.ue()
	if v&1 == 1 {
		return int32(v/2 + 1)
	}
	return -int32(v / 2)
}
