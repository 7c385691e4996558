package video

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"testing"
	"testing/iotest"

	"mixdown/codec"
)

// picturePNG and pictureJPEG encode a picture of four coloured quarters.
func picturePNG(t testing.TB, w, h int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, quarters(w, h)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pictureJPEG(t testing.TB, w, h int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, quarters(w, h), &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var quarterColours = [4]color.NRGBA{{200, 40, 40, 255}, {40, 200, 40, 255}, {40, 40, 200, 255}, {0, 0, 0, 0}}

func quarters(w, h int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetNRGBA(x, y, quarterColours[2*(2*y/h)+2*x/w])
		}
	}
	return img
}

func TestDecodeImage(t *testing.T) {
	for name, encode := range map[string]func(testing.TB, int, int) []byte{"PNG": picturePNG, "JPEG": pictureJPEG} {
		for _, c := range []struct{ w, h, coverW, coverH, wantW, wantH int }{
			{64, 48, 0, 0, 64, 48}, {65, 47, 0, 0, 65, 47}, {1, 1, 320, 180, 1, 1}, {640, 360, 320, 180, 320, 180},
			{640, 480, 320, 180, 320, 240}, {400, 800, 100, 100, 100, 200}, {801, 333, 100, 100, 241, 100}, {200, 100, 100, 300, 200, 100},
		} {
			pool := codec.NewVideoPool(int64(codec.VideoFrameBytes(c.wantW, c.wantH))) // and no more
			f, err := DecodeImage(bytes.NewReader(encode(t, c.w, c.h)), pool, c.coverW, c.coverH)
			if err != nil {
				t.Errorf("%s of %dx%d: %v", name, c.w, c.h, err)
				continue
			}
			if f.Width != c.wantW || f.Height != c.wantH {
				t.Errorf("%s of %dx%d to cover %dx%d: %dx%d, want %dx%d", name, c.w, c.h, c.coverW, c.coverH, f.Width, f.Height, c.wantW, c.wantH)
			}
			for i, q := range quarterColours {
				want := colourOf(q.R, q.G, q.B)
				if q.A == 0 {
					want = backdrop
					if name == "JPEG" {
						want = colourOf(0, 0, 0)
					}
				}
				if c.w < 10 {
					continue
				}
				got := samplesAt(f, f.Width/4+i%2*f.Width/2, f.Height/4+i/2*f.Height/2)
				for k, v := range want.yuv() {
					if d := int(got[k]) - int(v); d < -4 || d > 4 {
						t.Errorf("%s of %dx%d, quarter %d: %v, want %v", name, c.w, c.h, i, got, want.yuv())
						break
					}
				}
			}
			f.Release()
		}
	}
}

// withOrientation puts an Exif segment with that entry into a JPEG file, behind
// another segment and another entry.
func withOrientation(file []byte, order binary.AppendByteOrder, orientation uint16) []byte {
	mark := "MM"
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		mark = "II"
	}
	tiff := order.AppendUint32(order.AppendUint16([]byte(mark), 42), 8)
	tiff = order.AppendUint16(tiff, 2) // entries
	for _, e := range [][2]uint16{{0x0100, 640}, {0x0112, orientation}} {
		tiff = order.AppendUint32(order.AppendUint16(order.AppendUint16(tiff, e[0]), 3), 1)
		tiff = order.AppendUint16(order.AppendUint16(tiff, e[1]), 0)
	}
	out := append([]byte{0xff, 0xd8}, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(2+6+len(tiff)))
	out = append(append(out, "Exif\x00\x00"...), tiff...)
	return append(out, file[2:]...)
}

// TestDecodeImageTurns: pictures of phones stand upright, by the definition of
// the eight orientations: what is at the first row and column.
func TestDecodeImageTurns(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	file := pictureJPEG(t, 64, 32)
	// Which quarter of the file is seen at the upper left and the upper right.
	for orientation, want := range map[uint16][2]int{
		0: {0, 1}, 1: {0, 1}, 2: {1, 0}, 3: {3, 2}, 4: {2, 3}, 5: {0, 2}, 6: {2, 0}, 7: {3, 1}, 8: {1, 3}, 9: {0, 1},
	} {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			f, err := DecodeImage(bytes.NewReader(withOrientation(file, order, orientation)), pool, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if lies := f.Width < f.Height; lies != (orientation >= 5 && orientation <= 8) {
				t.Errorf("orientation %d: %dx%d", orientation, f.Width, f.Height)
			}
			for i, x := range []int{f.Width / 4, f.Width * 3 / 4} {
				q := quarterColours[want[i]]
				tone, got := colourOf(q.R, q.G, q.B), samplesAt(f, x, f.Height/4)
				if d := int(got[0]) - int(tone.y); d < -6 || d > 6 {
					t.Errorf("orientation %d, place %d: %v, want %v", orientation, i, got, tone.yuv())
				}
			}
			f.Release()
		}
	}
}

// bomb is a PNG header that claims a size, and nothing behind it.
func bomb(w, h uint32) []byte {
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(chunk, w), h)
	chunk = append(chunk, 8, 6, 0, 0, 0)
	data := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(data, chunk...), crc32.ChecksumIEEE(chunk))
}

func TestDecodeImageRefuses(t *testing.T) {
	pool := codec.NewVideoPool(1 << 20)
	whole := picturePNG(t, 64, 48)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":          {nil, codec.ErrCorrupt},
		"another format":   {[]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), codec.ErrCorrupt},
		"half a PNG":       {whole[:len(whole)/2], codec.ErrCorrupt},
		"half a JPEG":      {pictureJPEG(t, 64, 48)[:300], codec.ErrCorrupt},
		"a wide claim":     {bomb(MaxImageSide+1, 1), codec.ErrTooLarge},
		"a large claim":    {bomb(4000, 4000), codec.ErrTooLarge},
		"an empty claim":   {bomb(0, 16), codec.ErrCorrupt},
		"a monstrous one":  {bomb(1<<31-1, 1<<31-1), codec.ErrCorrupt},
		"too many bytes":   {append(whole, make([]byte, MaxImageBytes)...), codec.ErrTooLarge},
		"more than budget": {picturePNG(t, 1200, 1200), codec.ErrBudget},
	} {
		f, err := DecodeImage(bytes.NewReader(c.data), pool, 0, 0)
		if !errors.Is(err, c.want) || f != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := DecodeImage(iotest.ErrReader(io.ErrClosedPipe), pool, 0, 0); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader that fails: %v", err)
	}
}

func FuzzDecodeImage(f *testing.F) {
	f.Add(picturePNG(f, 9, 7), 4, 4)
	f.Add(pictureJPEG(f, 17, 9), 8, 3)
	f.Add(withOrientation(pictureJPEG(f, 5, 9), binary.LittleEndian, 6), 8, 8)
	f.Add(bomb(100, 100), 0, 0)
	pool := codec.NewVideoPool(64 << 20)
	f.Fuzz(func(t *testing.T, data []byte, width, height int) {
		p, err := DecodeImage(bytes.NewReader(data), pool, width, height)
		if (err == nil) != (p != nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if err != nil {
			return
		}
		defer p.Release()
		if p.Width < 1 || p.Height < 1 || p.Width*p.Height > MaxImagePixels {
			t.Errorf("%dx%d", p.Width, p.Height)
		}
	})
}
