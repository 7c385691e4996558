package video

import (
	"image"
	"image/color"
	"math"

	"golang.org/x/image/vector"

	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// labelKey says all that a rendered text depends on.
type labelKey struct {
	kind     labelKind
	text     string // as it was sent
	size     int    // pixels: of nameLabel an em, of the others the diameter
	maxWidth int    // pixels, of nameLabel
	hue      uint8  // of avatar
}

type labelKind uint8

const (
	nameLabel labelKind = iota // white on a dark translucent pill
	avatar                     // initials on a coloured disc
	muteMark                   // a crossed microphone
	weakMark                   // one bar of signal
	lostMark                   // no signal
)

// Text below these sizes is a smear.
const (
	minLabelTileHeight = 60
	minLabelTileWidth  = 80
)

// nameKey returns how name is written on a tile; ok is false where the tile is
// too small or there is nothing to write.
func nameKey(name string, tile layout.Rect) (key labelKey, ok bool) {
	if name == "" || tile.W < minLabelTileWidth || tile.H < minLabelTileHeight {
		return key, false
	}
	size := min(max(min(tile.W, tile.H)/15, 11), 30)
	return labelKey{kind: nameLabel, text: name, size: size, maxWidth: tile.W - 2*labelMargin(tile)}, true
}

// avatarKey returns the disc for a tile without a picture.
func avatarKey(name string, hue uint8, tile layout.Rect) (key labelKey, ok bool) {
	d := min(tile.W, tile.H) * 9 / 20 &^ 1
	if d < 16 {
		return key, false
	}
	return labelKey{kind: avatar, text: name, size: d, hue: hue}, true
}

// labelMargin is how far the pill stays from the tile's edges, even.
func labelMargin(tile layout.Rect) int { return max(2, min(tile.W/30, tile.H/30, 16)) &^ 1 }

// The colours of text. The pill is dark enough for white text on a white
// wall, and lets through enough to not look pasted on.
var (
	inkColour  = color.White
	pillColour = color.NRGBA{0, 0, 0, 150}
)

// render draws what key says. Without fonts a name gives nil and an avatar its
// bare disc.
func (t *typesetter) render(key labelKey) (*yuv.Overlay, error) {
	switch key.kind {
	case nameLabel:
		return t.renderName(key)
	case avatar:
		return t.renderAvatar(key)
	}
	return renderMark(key.kind, key.size)
}

func (t *typesetter) renderName(key labelKey) (*yuv.Overlay, error) {
	text := CleanName(key.text)
	if text == "" || t.fonts == nil {
		return nil, nil
	}
	padding := key.size / 2
	l := t.shape(text, key.size, key.maxWidth-2*padding)
	w, h := evenUp(min(l.width+2*padding, key.maxWidth)), evenUp(key.size*8/5)
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	fillRound(img, float32(h)/4, pillColour)
	t.draw(img, l, padding, baseline(h, key.size), inkColour)
	return overlayOf(img)
}

func (t *typesetter) renderAvatar(key labelKey) (*yuv.Overlay, error) {
	d := key.size
	img := image.NewRGBA(image.Rect(0, 0, d, d))
	fillRound(img, float32(d)/2, hues[key.hue%numHues].disc.rgba)
	if t.fonts != nil {
		size := d * 2 / 5
		l := t.shape(Initials(key.text), size, d)
		t.draw(img, l, (d-l.width)/2, baseline(d, size), inkColour)
	}
	return overlayOf(img)
}

// baseline centres the capitals, 0.72 em high in nearly every font, in a box.
func baseline(height, size int) int {
	return int(math.Round(float64(height)/2 + 0.36*float64(size)))
}

func evenUp(n int) int { return (n + 1) &^ 1 }

// fillRound fills img with a colour, its corners rounded.
func fillRound(img *image.RGBA, radius float32, c color.Color) {
	const k = 0.5522848 // a quarter circle as one cubic
	w, h := float32(img.Bounds().Dx()), float32(img.Bounds().Dy())
	r := min(radius, w/2, h/2)
	z := vector.NewRasterizer(img.Bounds().Dx(), img.Bounds().Dy())
	z.MoveTo(r, 0)
	z.LineTo(w-r, 0)
	z.CubeTo(w-r+k*r, 0, w, r-k*r, w, r)
	z.LineTo(w, h-r)
	z.CubeTo(w, h-r+k*r, w-r+k*r, h, w-r, h)
	z.LineTo(r, h)
	z.CubeTo(r-k*r, h, 0, h-r+k*r, 0, h-r)
	z.LineTo(0, r)
	z.CubeTo(0, r-k*r, r-k*r, 0, r, 0)
	z.ClosePath()
	z.Draw(img, img.Bounds(), image.NewUniform(c), image.Point{})
}

// overlayOf converts a drawing of even size to I420 with alpha. The chroma of
// two by two samples is weighted by how much each of them covers.
func overlayOf(img *image.RGBA) (*yuv.Overlay, error) {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	o, err := yuv.NewOverlay(w, h)
	if err != nil {
		return nil, err
	}
	for y := 0; y < h; y += 2 {
		for x := 0; x < w; x += 2 {
			var r, g, b, a int // premultiplied, of four samples
			for i := range 4 {
				sx, sy := x+i&1, y+i>>1
				p := img.Pix[img.PixOffset(sx, sy):][:4:4]
				r, g, b, a = r+int(p[0]), g+int(p[1]), b+int(p[2]), a+int(p[3])
				at := sy*o.StrideY + sx
				if o.A[at] = p[3]; p[3] > 0 {
					o.Y[at] = colourOf(straight(int(p[0]), int(p[3])), straight(int(p[1]), int(p[3])), straight(int(p[2]), int(p[3]))).y
				}
			}
			if a > 0 {
				c := colourOf(straight(r, a), straight(g, a), straight(b, a))
				at := y/2*o.StrideUV + x/2
				o.U[at], o.V[at] = c.u, c.v
			}
		}
	}
	return o, nil
}

// straight undoes premultiplication.
func straight(c, a int) uint8 { return uint8(min(255, (c*255+a/2)/a)) }
