package marker

import (
	"image"
	"math/bits"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/vp8"
	"mixdown/codec/yuv"
)

func TestNumbersDifferInFourBlocks(t *testing.T) {
	for n := range Numbers {
		for m := range n {
			if d := bits.OnesCount32(codeword(n) ^ codeword(m)); d < 4 {
				t.Fatalf("%d and %d differ in %d blocks: want 4", n, m, d)
			}
		}
	}
	for n := range Numbers - 1 {
		if d := bits.OnesCount32((codeword(n) ^ codeword(n+1)) >> checkBits); d != 1 {
			t.Fatalf("%d and %d differ in %d blocks of the number: want 1", n, n+1, d)
		}
	}
}

func TestNumberReadBack(t *testing.T) {
	f := codectest.NewFrame(t, 640, 360)
	for n := range Numbers {
		if err := DrawNumber(f, n); err != nil {
			t.Fatal(err)
		}
		if got, ok := ReadNumber(f, image.Rect(0, 0, 640, 360)); !ok || got != n {
			t.Fatalf("%d was read as %d, %v", n, got, ok)
		}
	}
	for _, n := range []int{-1, Numbers} {
		if DrawNumber(f, n) == nil {
			t.Errorf("%d was drawn", n)
		}
	}
}

// TestDamageGivesNoNumber: up to three blocks turned over, or blurred ones, are
// noticed.
func TestDamageGivesNoNumber(t *testing.T) {
	f := codectest.NewFrame(t, 640, 360)
	area := image.Rect(0, 0, 640, 360)
	flip := func(n, i int) {
		upper := uint8(black)
		if codeword(n)>>(blocks-1-i)&1 == 0 {
			upper = white
		}
		_ = yuv.Fill(f, even(block(area, i, 0)), upper, grey, grey)
		_ = yuv.Fill(f, even(block(area, i, 1)), white+black-upper, grey, grey)
	}
	for n := 0; n < Numbers; n += 211 {
		for i := range blocks {
			for j := range i {
				for k := range j + 1 {
					_ = DrawNumber(f, n)
					flip(n, i)
					flip(n, j)
					flip(n, k) // j again: two in all
					if got, ok := ReadNumber(f, area); ok {
						t.Fatalf("%d with blocks %d, %d, %d turned over was read as %d", n, i, j, k, got)
					}
				}
			}
		}
		_ = DrawNumber(f, n)
		_ = yuv.Fill(f, even(block(area, n%blocks, 0)), grey, grey, grey)
		_ = yuv.Fill(f, even(block(area, n%blocks, 1)), grey, grey, grey)
		if got, ok := ReadNumber(f, area); ok {
			t.Fatalf("%d with a grey block was read as %d", n, got)
		}
	}
}

func TestPicturesWithoutNumber(t *testing.T) {
	for n := range 30 {
		f := codectest.Scene{Seed: uint32(n)}.Frame(t, 640, 360, n)
		for _, area := range []image.Rectangle{
			image.Rect(0, 0, 640, 360), image.Rect(0, 0, 320, 180), image.Rect(600, 300, 700, 400), image.Rect(0, 0, 16, 9), image.Rect(5, 5, 5, 5), {},
		} {
			if got, ok := ReadNumber(f, area); ok {
				t.Errorf("scene %d, %v: read %d", n, area, got)
			}
		}
	}
}

// TestNumberSurvives: a clip of numbered pictures is coded as a sender does,
// scaled into a tile of a crowded grid, and the canvas coded again. Whatever is
// read is right, and nearly everything can be read.
func TestNumberSurvives(t *testing.T) {
	const frames = 20
	in := codectest.Scene{}.Frames(t, 640, 360, frames)
	back := codectest.Scene{Seed: 3}.Frames(t, 1280, 720, frames)
	for _, tile := range []image.Rectangle{image.Rect(430, 242, 850, 478), image.Rect(240, 12, 418, 112)} {
		sender := newCoder(t, 640, 360, 500_000)
		server := newCoder(t, 1280, 720, 1_500_000)
		read := 0
		for n, f := range in {
			if err := DrawNumber(f, 500+n); err != nil {
				t.Fatal(err)
			}
			small := codectest.NewFrame(t, tile.Dx(), tile.Dy())
			if !sender.through(t, f, small, n) {
				continue
			}
			if err := yuv.Blit(back[n], tile.Min.X, tile.Min.Y, small); err != nil {
				t.Fatal(err)
			}
			out := codectest.NewFrame(t, 1280, 720)
			if !server.through(t, back[n], out, n) {
				continue
			}
			got, ok := ReadNumber(out, tile)
			if ok && got != 500+n {
				t.Errorf("tile %v: picture %d was read as %d", tile, 500+n, got)
			}
			if ok {
				read++
			}
		}
		if read < frames*9/10 {
			t.Errorf("tile %v: %d of %d pictures could be read", tile, read, frames)
		}
	}
}

type coder struct {
	enc *vp8.Encoder
	dec *vp8.Decoder
}

func newCoder(t *testing.T, w, h, bps int) coder {
	t.Helper()
	enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: w, Height: h, FPS: 30, BitrateBps: bps})
	if err != nil {
		t.Fatal(err)
	}
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		enc.Close()
		dec.Close()
	})
	return coder{enc, dec}
}

// through codes src and leaves it, scaled, in dst. false: the encoder dropped it.
func (c coder) through(t *testing.T, src, dst *codec.VideoFrame, n int) bool {
	t.Helper()
	f, err := c.enc.Encode(src, time.Duration(n)*time.Second/30, false)
	if err != nil {
		return false
	}
	defer f.Release()
	if err := c.dec.Decode(f.Data); err != nil {
		t.Fatal(err)
	}
	if err := c.dec.Picture(dst); err != nil {
		t.Fatal(err)
	}
	return true
}
