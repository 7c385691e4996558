// Package qr draws QR codes (ISO/IEC 18004), so that a phone can take over a link
// that nobody would type.
//
//	code, err := qr.Encode("https://192.0.2.7:8443/r/standup#token=...")
//	fmt.Print(code)
//
// There is one mode (bytes) and one level of correction (L, 7%): a screen has
// neither stains nor creases, and the fewer modules there are, the larger they
// are shown.
package qr

import (
	"errors"
	"slices"
	"strings"
)

// ErrTooLong says that a text is longer than [MaxLength].
var ErrTooLong = errors.New("qr: the text is longer than 858 bytes")

// MaxLength is the longest text, in bytes: what the largest size holds that still
// fits on a screen as a terminal draws it (version 20, 97 modules wide).
const MaxLength = 858

// size is one of the versions, by table 9 of the standard, for level L.
type size struct {
	total  int // codewords in all
	blocks int
	check  int // codewords for correction in each block
}

// sizes[0] is version 1.
var sizes = [...]size{
	{26, 1, 7}, {44, 1, 10}, {70, 1, 15}, {100, 1, 20}, {134, 1, 26},
	{172, 2, 18}, {196, 2, 20}, {242, 2, 24}, {292, 2, 30}, {346, 4, 18},
	{404, 4, 20}, {466, 4, 24}, {532, 4, 26}, {581, 4, 30}, {655, 6, 22},
	{733, 6, 24}, {815, 6, 28}, {901, 6, 30}, {991, 7, 28}, {1085, 8, 28},
}

func (s size) data() int { return s.total - s.blocks*s.check }

// alignments[0] is where version 2 has its small squares, by annex E; version 1 has
// none.
var alignments = [...][]int{
	{6, 18}, {6, 22}, {6, 26}, {6, 30}, {6, 34}, {6, 22, 38}, {6, 24, 42}, {6, 26, 46}, {6, 28, 50}, {6, 30, 54},
	{6, 32, 58}, {6, 34, 62}, {6, 26, 46, 66}, {6, 26, 48, 70}, {6, 26, 50, 74}, {6, 30, 54, 78}, {6, 30, 56, 82}, {6, 30, 58, 86}, {6, 34, 62, 90},
}

// Code is a QR code.
type Code struct {
	width   int
	dark    []bool // row by row
	fixed   []bool // what is not data
	version int
}

// Encode returns the smallest code for a text.
func Encode(text string) (*Code, error) {
	version := 0
	for i, s := range sizes {
		if len(text) <= s.data()-overhead(i+1) {
			version = i + 1
			break
		}
	}
	if version == 0 {
		return nil, ErrTooLong
	}
	c := &Code{version: version, width: 17 + 4*version}
	c.dark, c.fixed = make([]bool, c.width*c.width), make([]bool, c.width*c.width)
	c.patterns()
	c.place(codewords(text, version))
	best, least := 0, -1
	for mask := range masks {
		c.apply(mask)
		if p := c.penalty(); least < 0 || p < least {
			best, least = mask, p
		}
		c.apply(mask) // and off again
	}
	c.apply(best)
	return c, nil
}

// overhead is what mode, length and end take, in bytes.
func overhead(version int) int {
	if version < 10 {
		return 2
	}
	return 3
}

// codewords are the text with its corrections, interleaved (section 7.6).
func codewords(text string, version int) []byte {
	s := sizes[version-1]
	var bits bitWriter
	bits.put(0b0100, 4) // bytes
	if version < 10 {
		bits.put(len(text), 8)
	} else {
		bits.put(len(text), 16)
	}
	for _, b := range []byte(text) {
		bits.put(int(b), 8)
	}
	bits.put(0, 4)
	data := bits.bytes
	for pad := byte(0xec); len(data) < s.data(); pad ^= 0xec ^ 0x11 {
		data = append(data, pad)
	}
	// The last blocks are one longer where it does not come out even.
	var blocks, checks [][]byte
	short := s.data() / s.blocks
	longer := s.data() % s.blocks
	for i := range s.blocks {
		n := short
		if i >= s.blocks-longer {
			n++
		}
		blocks, checks = append(blocks, data[:n]), append(checks, remainder(data[:n], s.check))
		data = data[n:]
	}
	var all []byte
	for i := range short + 1 {
		for _, b := range blocks {
			if i < len(b) {
				all = append(all, b[i])
			}
		}
	}
	for i := range s.check {
		for _, c := range checks {
			all = append(all, c[i])
		}
	}
	return all
}

// bitWriter collects bits, the highest first.
type bitWriter struct {
	bytes []byte
	n     int
}

func (w *bitWriter) put(v, bits int) {
	for i := bits - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

// times multiplies in GF(256) modulo x^8+x^4+x^3+x^2+1.
func times(a, b byte) (p byte) {
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		high := a & 0x80
		a <<= 1
		if high != 0 {
			a ^= 0x1d
		}
	}
	return p
}

// remainder is a block's Reed-Solomon correction: what is left of it divided by the
// product of (x - 2^i) for i below n.
func remainder(block []byte, n int) []byte {
	divisor := make([]byte, n) // without the leading 1, highest power first
	divisor[n-1] = 1
	root := byte(1)
	for range n {
		for j := range divisor {
			divisor[j] = times(divisor[j], root)
			if j+1 < n {
				divisor[j] ^= divisor[j+1]
			}
		}
		root = times(root, 2)
	}
	rest := make([]byte, n)
	for _, b := range block {
		factor := b ^ rest[0]
		copy(rest, rest[1:])
		rest[n-1] = 0
		for j := range rest {
			rest[j] ^= times(divisor[j], factor)
		}
	}
	return rest
}

func (c *Code) at(x, y int) bool { return c.dark[y*c.width+x] }

// fix sets a module that is no data.
func (c *Code) fix(x, y int, dark bool) {
	if x >= 0 && y >= 0 && x < c.width && y < c.width {
		c.dark[y*c.width+x], c.fixed[y*c.width+x] = dark, true
	}
}

// square draws rings around a point: dark where the distance is in rings.
func (c *Code) square(x, y, radius int, rings ...int) {
	for dy := -radius; dy <= radius; dy++ {
		for dx := -radius; dx <= radius; dx++ {
			c.fix(x+dx, y+dy, slices.Contains(rings, max(dx, -dx, dy, -dy)))
		}
	}
}

// patterns draws what every code of this version has, and reserves room for the
// rest.
func (c *Code) patterns() {
	far := c.width - 1
	for i := range c.width {
		c.fix(6, i, i%2 == 0)
		c.fix(i, 6, i%2 == 0)
	}
	for _, corner := range [][2]int{{3, 3}, {far - 3, 3}, {3, far - 3}} {
		c.square(corner[0], corner[1], 4, 0, 1, 3)
	}
	if c.version > 1 {
		at := alignments[c.version-2]
		last := len(at) - 1
		for i, x := range at {
			for j, y := range at {
				if !(i == 0 && j == 0 || i == 0 && j == last || i == last && j == 0) {
					c.square(x, y, 2, 0, 2)
				}
			}
		}
	}
	c.format(0)
	if c.version >= 7 {
		bits := c.version<<12 | check(c.version, 12, 0x1f25)
		for i := range 18 {
			c.fix(i/3, far-10+i%3, bits>>i&1 != 0)
			c.fix(far-10+i%3, i/3, bits>>i&1 != 0)
		}
	}
}

// check is the remainder of v, shifted, by a polynomial of that degree.
func check(v, degree, polynomial int) int {
	v <<= degree
	for i := 17; i >= degree; i-- {
		if v>>i&1 != 0 {
			v ^= polynomial << (i - degree)
		}
	}
	return v
}

// format says level and mask, twice (section 7.9).
func (c *Code) format(mask int) {
	const levelL = 0b01
	v := levelL<<3 | mask
	bits := (v<<10 | check(v, 10, 0x537)) ^ 0x5412
	far := c.width - 1
	for i := range 15 {
		dark := bits>>i&1 != 0
		switch { // around the upper left corner
		case i < 6:
			c.fix(8, i, dark)
		case i < 8:
			c.fix(8, i+1, dark)
		case i == 8:
			c.fix(7, 8, dark)
		default:
			c.fix(14-i, 8, dark)
		}
		if i < 8 { // along the two others
			c.fix(far-i, 8, dark)
		} else {
			c.fix(8, far-14+i, dark)
		}
	}
	c.fix(8, far-7, true)
}

// place puts the bits in columns of two, from the right, up and down in turns.
func (c *Code) place(words []byte) {
	n := 0
	up := true
	for right := c.width - 1; right > 0; right -= 2 {
		if right == 6 {
			right--
		}
		for i := range c.width {
			y := i
			if up {
				y = c.width - 1 - i
			}
			for _, x := range [2]int{right, right - 1} {
				if c.fixed[y*c.width+x] {
					continue
				}
				c.dark[y*c.width+x] = n < 8*len(words) && words[n/8]>>(7-n%8)&1 != 0
				n++
			}
		}
		up = !up
	}
}

// masks say which modules of data are turned over (table 10).
var masks = [8]func(x, y int) bool{
	func(x, y int) bool { return (x+y)%2 == 0 },
	func(_, y int) bool { return y%2 == 0 },
	func(x, _ int) bool { return x%3 == 0 },
	func(x, y int) bool { return (x+y)%3 == 0 },
	func(x, y int) bool { return (x/3+y/2)%2 == 0 },
	func(x, y int) bool { return x*y%2+x*y%3 == 0 },
	func(x, y int) bool { return (x*y%2+x*y%3)%2 == 0 },
	func(x, y int) bool { return ((x+y)%2+x*y%3)%2 == 0 },
}

// apply turns a mask on or off, and says which it is.
func (c *Code) apply(mask int) {
	for y := range c.width {
		for x := range c.width {
			if i := y*c.width + x; !c.fixed[i] && masks[mask](x, y) {
				c.dark[i] = !c.dark[i]
			}
		}
	}
	c.format(mask)
}

// finders are what looks like a corner and is none.
var finders = [2][11]bool{
	{true, false, true, true, true, false, true, false, false, false, false},
	{false, false, false, false, true, false, true, true, true, false, true},
}

// penalty says how hard the code is to read (section 7.8.3).
func (c *Code) penalty() (points int) {
	dark := 0
	for a := range c.width {
		for _, line := range [2]func(int) bool{func(b int) bool { return c.at(b, a) }, func(b int) bool { return c.at(a, b) }} {
			run := 1
			for b := 1; b <= c.width; b++ {
				if b < c.width && line(b) == line(b-1) {
					run++
					continue
				}
				if run >= 5 {
					points += run - 2
				}
				run = 1
			}
			for b := 0; b+11 <= c.width; b++ {
				for _, f := range finders {
					same := true
					for i := 0; i < 11 && same; i++ {
						same = line(b+i) == f[i]
					}
					if same {
						points += 40
					}
				}
			}
		}
		for b := range c.width {
			if c.at(a, b) {
				dark++
			}
			if a > 0 && b > 0 && c.at(a, b) == c.at(a-1, b) && c.at(a, b) == c.at(a, b-1) && c.at(a, b) == c.at(a-1, b-1) {
				points += 3
			}
		}
	}
	off := 20*dark/len(c.dark) - 10
	return points + 10*max(off, -off)
}

// quiet is how many light modules belong around a code. The standard wants four; phones
// do with two, and the terminal has few lines.
const quiet = 2

// String draws the code for a terminal, two rows of modules on a line: dark on
// light by escapes, whatever colours the terminal has.
func (c *Code) String() string {
	dark := func(x, y int) bool { return x >= 0 && y >= 0 && x < c.width && y < c.width && c.at(x, y) }
	var b strings.Builder
	for y := -quiet; y < c.width+quiet; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := -quiet; x < c.width+quiet; x++ {
			switch upper, lower := dark(x, y), dark(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}

// Width is the code's, in modules, without what belongs around it.
func (c *Code) Width() int { return c.width }

// Dark says what colour a module has, counted from the upper left corner.
func (c *Code) Dark(x, y int) bool { return c.at(x, y) }
