package video

import (
	"image"
	"image/color"
	"math"

	"golang.org/x/image/vector"

	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// minMarkSide is the smaller side of a tile below which marks would hide more
// than they tell.
const minMarkSide = 40

// markKey returns the mark of that kind for a tile; ok is false where the tile
// is too small.
func markKey(kind labelKind, tile layout.Rect) (key labelKey, ok bool) {
	side := min(tile.W, tile.H)
	if side < minMarkSide {
		return key, false
	}
	return labelKey{kind: kind, size: min(max(side/8, 14), 48) &^ 1}, true
}

// The colours of marks: a microphone that is off is red, a bad link amber.
var (
	offColour  = color.RGBA{196, 43, 52, 255}
	linkColour = color.RGBA{255, 186, 60, 255}
	darkColour = color.NRGBA{20, 22, 28, 190}
	darkInk    = color.RGBA{48, 32, 8, 255}
	faintInk   = color.NRGBA{255, 255, 255, 120}
)

// renderMark draws an icon on a disc. Every size is drawn for itself, from
// shapes, so none is blurred, and no line is thinner than a sample.
func renderMark(kind labelKind, size int) (*yuv.Overlay, error) {
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	p := pen{img: img, z: vector.NewRasterizer(size, size), unit: float32(size)}
	radius := float32(size) / 2
	switch kind {
	case muteMark:
		fillRound(img, radius, offColour)
		p.microphone(inkColour)
		p.slash(inkColour, offColour)
	case weakMark:
		fillRound(img, radius, darkColour)
		p.bars(linkColour, faintInk)
	case lostMark:
		fillRound(img, radius, linkColour)
		p.bars(darkInk, darkInk)
		p.slash(darkInk, linkColour)
	}
	return overlayOf(img)
}

// pen draws filled shapes on a square. Places are fractions of its side.
type pen struct {
	img  *image.RGBA
	z    *vector.Rasterizer
	unit float32
}

func (p *pen) begin()              { p.z.Reset(p.img.Bounds().Dx(), p.img.Bounds().Dy()) }
func (p *pen) moveTo(x, y float32) { p.z.MoveTo(x*p.unit, y*p.unit) }
func (p *pen) lineTo(x, y float32) { p.z.LineTo(x*p.unit, y*p.unit) }
func (p *pen) ink(c color.Color) {
	p.z.ClosePath()
	p.z.Draw(p.img, p.img.Bounds(), image.NewUniform(c), image.Point{})
}
func (p *pen) snap(v float32) float32 { return float32(math.Round(float64(v*p.unit))) / p.unit }

// thick returns a line's width, at least one sample and a bit.
func (p *pen) thick(w float32) float32 { return max(w, 1.25/p.unit) }

// line draws from one place to another.
func (p *pen) line(x0, y0, x1, y1, width float32, c color.Color) {
	dx, dy := float64(x1-x0), float64(y1-y0)
	k := width / 2 / float32(math.Hypot(dx, dy))
	nx, ny := -float32(dy)*k, float32(dx)*k
	p.begin()
	p.moveTo(x0+nx, y0+ny)
	p.lineTo(x1+nx, y1+ny)
	p.lineTo(x1-nx, y1-ny)
	p.lineTo(x0-nx, y0-ny)
	p.ink(c)
}

// capsule draws an upright rectangle with round ends.
func (p *pen) capsule(x0, y0, x1, y1 float32, c color.Color) {
	r, middle := float64(x1-x0)/2, float64(x0+x1)/2
	p.begin()
	const n = 32
	for i := range n {
		a := 2 * math.Pi * float64(i) / n
		y := float64(y0) + r
		if math.Sin(a) > 0 {
			y = float64(y1) - r
		}
		x := float32(middle + r*math.Cos(a))
		if y := float32(y + r*math.Sin(a)); i == 0 {
			p.moveTo(x, y)
		} else {
			p.lineTo(x, y)
		}
	}
	p.ink(c)
}

// cup draws the lower half of a ring.
func (p *pen) cup(x, y, radius, width float32, c color.Color) {
	p.begin()
	const n = 24
	for i := range 2 * (n + 1) {
		k, r := i, radius+width/2
		if i > n { // back along the inside
			k, r = 2*n+1-i, radius-width/2
		}
		a := math.Pi * float64(k) / n
		if px, py := x+r*float32(math.Cos(a)), y+r*float32(math.Sin(a)); i == 0 {
			p.moveTo(px, py)
		} else {
			p.lineTo(px, py)
		}
	}
	p.ink(c)
}

func (p *pen) microphone(c color.Color) {
	w := p.thick(0.06)
	p.capsule(0.40, 0.18, 0.60, 0.56, c)
	p.cup(0.5, 0.47, 0.18, w, c)
	p.line(0.5, 0.64, 0.5, 0.78, w, c)
	p.line(0.38, 0.78, 0.62, 0.78, w, c)
}

// bars draws the signal's three bars, the first in another colour.
func (p *pen) bars(first, others color.Color) {
	bottom := p.snap(0.72)
	for i, height := range [...]float32{0.17, 0.31, 0.45} {
		x0, x1 := p.snap(0.25+0.19*float32(i)), p.snap(0.38+0.19*float32(i))
		c := others
		if i == 0 {
			c = first
		}
		p.line((x0+x1)/2, bottom-height, (x0+x1)/2, bottom, max(x1-x0, 1/p.unit), c)
	}
}

// slash crosses out what was drawn, with a gap so that it stands off.
func (p *pen) slash(ink, ground color.Color) {
	w := p.thick(0.07)
	p.line(0.22, 0.20, 0.78, 0.80, w+2*p.thick(0.05), ground)
	p.line(0.22, 0.20, 0.78, 0.80, w, ink)
}
