package marker

import (
	"fmt"
	"image"

	"mixdown/codec"
	"mixdown/codec/yuv"
)

const (
	// Numbers is how many numbers [DrawNumber] knows: 0..Numbers-1.
	Numbers = 1 << numberBits

	numberBits = 10
	checkBits  = 8
	blocks     = numberBits + checkBits

	// Where the two rows of blocks lie, in thousandths of the picture: away
	// from the edges, which a layout may round, frame and write names on.
	left, right = 50, 950
	top, bottom = 120, 300

	white, black, grey = 235, 16, 128

	// contrast is how much lighter a white block must be than the black one
	// beneath or above it, of 219.
	contrast = 80
)

// codeword returns n's blocks, the most significant first: a Gray code, so that
// from picture to picture little changes, and its CRC, which differs in four
// places at least between any two numbers.
func codeword(n int) uint32 {
	gray := uint32(n ^ n>>1)
	return gray<<checkBits | uint32(check(gray))
}

// check is the CRC-8 of a number: x^8 + x^5 + x^3 + x^2 + x + 1 has a Hamming
// distance of 4 at up to 119 bits.
func check(gray uint32) uint8 {
	crc := gray << checkBits
	for bit := blocks - 1; bit >= checkBits; bit-- {
		if crc>>bit&1 == 1 {
			crc ^= 0x12f << (bit - checkBits)
		}
	}
	return uint8(crc)
}

// block returns where block i of row 0 or 1 is within area.
func block(area image.Rectangle, i, row int) image.Rectangle {
	x := func(i int) int {
		return area.Min.X + area.Dx()*(left*blocks+(right-left)*i)/(1000*blocks)
	}
	y := func(row int) int {
		return area.Min.Y + area.Dy()*(top*2+(bottom-top)*row)/2000
	}
	return image.Rect(x(i), y(row), x(i+1), y(row+1))
}

// DrawNumber draws n into f: a row of blocks and beneath it the same row
// inverted, across most of the upper third. The picture is changed: it must be
// the caller's own.
func DrawNumber(f *codec.VideoFrame, n int) error {
	if n < 0 || n >= Numbers {
		return fmt.Errorf("marker: number %d: want 0..%d", n, Numbers-1)
	}
	word := codeword(n)
	area := image.Rect(0, 0, f.Width, f.Height)
	for i := range blocks {
		upper, lower := uint8(white), uint8(black)
		if word>>(blocks-1-i)&1 == 0 {
			upper, lower = lower, upper
		}
		if err := yuv.Fill(f, even(block(area, i, 0)), upper, grey, grey); err != nil {
			return err
		}
		if err := yuv.Fill(f, even(block(area, i, 1)), lower, grey, grey); err != nil {
			return err
		}
	}
	return nil
}

// even moves edges to where chroma samples begin.
func even(r image.Rectangle) image.Rectangle {
	return image.Rect(r.Min.X&^1, r.Min.Y&^1, r.Max.X&^1, r.Max.Y&^1)
}

// ReadNumber reads what [DrawNumber] drew into the picture that area of f
// shows, at whatever size. ok is false when there is none, or it is damaged, or
// two of them are mixed.
func ReadNumber(f *codec.VideoFrame, area image.Rectangle) (n int, ok bool) {
	if !area.In(image.Rect(0, 0, f.Width, f.Height)) {
		return 0, false
	}
	var word uint32
	for i := range blocks {
		difference := luma(f, block(area, i, 0)) - luma(f, block(area, i, 1))
		switch {
		case difference >= contrast:
			word = word<<1 | 1
		case difference <= -contrast:
			word <<= 1
		default:
			return 0, false
		}
	}
	gray := word >> checkBits
	if check(gray) != uint8(word) {
		return 0, false
	}
	for ; gray != 0; gray >>= 1 {
		n ^= int(gray)
	}
	return n, true
}

// luma is the mean brightness of the middle of a block, where neighbours do not
// reach that scaling and coding smear into it. A block too small to have one
// gives grey, which is no answer.
func luma(f *codec.VideoFrame, r image.Rectangle) int {
	r = r.Inset(max(1, min(r.Dx(), r.Dy())/4))
	if r.Dx() < 1 || r.Dy() < 1 {
		return grey
	}
	sum := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for _, v := range f.Y[y*f.StrideY+r.Min.X : y*f.StrideY+r.Max.X] {
			sum += int(v)
		}
	}
	return sum / (r.Dx() * r.Dy())
}
