package video

import (
	"bytes"
	"image/jpeg"
	"testing"

	"mixdown/codec"
)

// TestEncodeJPEG: black, white and colours come out as what they are, not as
// television has them.
func TestEncodeJPEG(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	for _, c := range []struct {
		name    string
		in      colour
		r, g, b int
	}{
		{"black", colour{y: 16, u: 128, v: 128}, 0, 0, 0},
		{"white", colour{y: 235, u: 128, v: 128}, 255, 255, 255},
		{"below black", colour{y: 0, u: 128, v: 128}, 0, 0, 0},
		{"red", colourOf(255, 0, 0), 255, 0, 0},
		{"green", colourOf(0, 128, 0), 0, 128, 0},
		{"blue", colourOf(0, 0, 255), 0, 0, 255},
		{"grey", colourOf(90, 90, 90), 90, 90, 90},
	} {
		f := newFrame(t, pool, 66, 34, c.in) // no multiple of a block
		file, err := EncodeJPEG(f)
		f.Release()
		if err != nil {
			t.Fatal(err)
		}
		img, err := jpeg.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if b := img.Bounds(); b.Dx() != 66 || b.Dy() != 34 {
			t.Errorf("%s: %v", c.name, b)
		}
		r, g, b, _ := img.At(40, 20).RGBA()
		for i, d := range []int{int(r>>8) - c.r, int(g>>8) - c.g, int(b>>8) - c.b} {
			if d < -4 || d > 4 {
				t.Errorf("%s: sample %d is off by %d", c.name, i, d)
			}
		}
	}
}

func BenchmarkEncodeJPEG(b *testing.B) {
	f := newFrame(b, codec.NewVideoPool(testBudget), 1280, 720, colour{y: 90, u: 100, v: 160})
	defer f.Release()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeJPEG(f); err != nil {
			b.Fatal(err)
		}
	}
}
