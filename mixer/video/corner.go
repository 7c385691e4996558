package video

import (
	"math"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// maxRadius bounds the corners, so that what lies under them has a fixed place.
const maxRadius = 16

// cornerRadius is a little rounder for larger tiles, even; 0 for tiles that are
// nothing but corners.
func cornerRadius(tile layout.Rect) int {
	r := min(max(min(tile.W, tile.H)/20, 2), maxRadius) &^ 1
	if tile.W < 2*r || tile.H < 2*r {
		return 0
	}
	return r
}

// borderWidth is the thickness of the border around whoever speaks, even and
// never more than the radius.
func borderWidth(tile layout.Rect) int {
	return min(max(min(tile.W, tile.H)/56, 2), 8) &^ 1
}

// cornerMask says how much of each sample of a tile's upper left corner lies
// outside a circle around the corner's inner end: 0 none, 255 all. Mirrored, it
// serves the other three.
type cornerMask struct {
	radius int // of the corner in luma samples, even
	width  int // the circle is so much smaller, even: 0 for the tile's edge, else for the border's inner edge
	luma   []uint8
	chroma []uint8 // radius/2 squared
}

// mask returns the mask for a corner, made when it is first wanted.
func (c *Compositor) mask(radius, width int) *cornerMask {
	for i := range c.masks {
		if m := &c.masks[i]; m.radius == radius && m.width == width {
			return m
		}
	}
	m := cornerMask{radius: radius, width: width, luma: make([]uint8, radius*radius), chroma: make([]uint8, radius*radius/4)}
	for i := range m.luma {
		m.luma[i] = outside(i%radius, i/radius, float64(radius), float64(width))
	}
	half := radius / 2
	for i := range m.chroma {
		m.chroma[i] = outside(i%half, i/half, float64(half), float64(width)/2)
	}
	c.masks = append(c.masks, m)
	return &c.masks[len(c.masks)-1]
}

// outside is how much of the sample at x, y lies further than r-width from
// (r, r), taken at 64 points.
func outside(x, y int, r, width float64) uint8 {
	const n = 8
	out := 0
	for i := range n * n {
		px, py := float64(x)+(float64(i%n)+0.5)/n, float64(y)+(float64(i/n)+0.5)/n
		if math.Hypot(r-px, r-py) > r-width {
			out++
		}
	}
	return uint8(out * 255 / (n * n))
}

// cornerPatch is the samples of one corner, rows of maxRadius luma samples.
type cornerPatch struct {
	y    [maxRadius * maxRadius]uint8
	u, v [maxRadius * maxRadius / 4]uint8
}

func (p *cornerPatch) fill(c colour) {
	for i := range p.y {
		p.y[i] = c.y
	}
	for i := range p.u {
		p.u[i], p.v[i] = c.u, c.v
	}
}

// corner returns the square of one of a tile's four corners: 0 upper left, 1
// upper right, 2 lower left, 3 lower right.
func corner(tile layout.Rect, radius, which int) layout.Rect {
	r := layout.Rect{X: tile.X, Y: tile.Y, W: radius, H: radius}
	if which&1 != 0 {
		r.X += tile.W - radius
	}
	if which&2 != 0 {
		r.Y += tile.H - radius
	}
	return r
}

// keep copies what is in part of a corner's square now.
func (p *cornerPatch) keep(src *codec.VideoFrame, square, part layout.Rect) {
	for y := part.Y; y < part.Y+part.H; y++ {
		copy(p.y[(y-square.Y)*maxRadius+part.X-square.X:][:part.W], src.Y[y*src.StrideY+part.X:])
	}
	for y := part.Y / 2; y < (part.Y+part.H)/2; y++ {
		at, from := (y-square.Y/2)*maxRadius/2+(part.X-square.X)/2, y*src.StrideUV+part.X/2
		copy(p.u[at:][:part.W/2], src.U[from:])
		copy(p.v[at:][:part.W/2], src.V[from:])
	}
}

// mixCorner mixes p over part of a corner's square, as much of each sample as m
// says. It is done here rather than by a blend because a corner is some hundred
// samples, little more than what a call into C costs.
func mixCorner(dst *codec.VideoFrame, square, part layout.Rect, which int, m *cornerMask, p *cornerPatch) {
	x0, x1 := part.X-square.X, part.X-square.X+part.W
	y0, y1 := part.Y-square.Y, part.Y-square.Y+part.H
	mixPlane(dst.Y[square.Y*dst.StrideY+square.X:], dst.StrideY, m.luma, m.radius, which, p.y[:], maxRadius, x0, x1, y0, y1)
	uv := square.Y/2*dst.StrideUV + square.X/2
	mixPlane(dst.U[uv:], dst.StrideUV, m.chroma, m.radius/2, which, p.u[:], maxRadius/2, x0/2, x1/2, y0/2, y1/2)
	mixPlane(dst.V[uv:], dst.StrideUV, m.chroma, m.radius/2, which, p.v[:], maxRadius/2, x0/2, x1/2, y0/2, y1/2)
}

func mixPlane(plane []byte, stride int, mask []uint8, r, which int, over []uint8, overStride, x0, x1, y0, y1 int) {
	for y := y0; y < y1; y++ {
		my := y
		if which&2 != 0 {
			my = r - 1 - y
		}
		line, from := plane[y*stride:], over[y*overStride:]
		for x := x0; x < x1; x++ {
			mx := x
			if which&1 != 0 {
				mx = r - 1 - x
			}
			if a := mask[my*r+mx]; a != 0 {
				line[x] = mix(line[x], from[x], a)
			}
		}
	}
}

// mix returns a/255 of over and the rest of under.
func mix(under, over, a uint8) uint8 {
	return uint8((int(under)*(255-int(a)) + int(over)*int(a) + 127) / 255)
}
