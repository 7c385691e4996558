package video

import (
	"math"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// cornerMask says how much of each sample of a tile's upper left corner lies
// outside a circle of that radius: 0 none, 255 all. Mirrored, it serves the
// other three.
type cornerMask struct {
	radius int // of luma samples, even; 0 before the mask is made
	luma   []uint8
	chroma []uint8 // radius/2 squared
}

// cornerRadius is a little rounder for larger tiles, even.
func cornerRadius(tile layout.Rect) int {
	return min(max(min(tile.W, tile.H)/20, 2), 16) &^ 1
}

// roundCorners paints the backdrop over the four corners of tile. It is done
// here rather than by four blends because a corner is some twenty samples,
// less than what a call into C costs to set up.
func (c *Compositor) roundCorners(dst *codec.VideoFrame, tile layout.Rect) {
	radius := cornerRadius(tile)
	if radius < 2 || tile.W < 2*radius || tile.H < 2*radius {
		return
	}
	for len(c.corner) <= radius/2 {
		c.corner = append(c.corner, cornerMask{})
	}
	m := &c.corner[radius/2]
	if m.radius == 0 {
		*m = newCornerMask(radius)
	}
	paintCorners(dst.Y, dst.StrideY, tile.X, tile.Y, tile.W, tile.H, m.luma, radius, backdrop.y)
	paintCorners(dst.U, dst.StrideUV, tile.X/2, tile.Y/2, tile.W/2, tile.H/2, m.chroma, radius/2, backdrop.u)
	paintCorners(dst.V, dst.StrideUV, tile.X/2, tile.Y/2, tile.W/2, tile.H/2, m.chroma, radius/2, backdrop.v)
}

func paintCorners(plane []byte, stride, x, y, w, h int, mask []uint8, r int, c uint8) {
	for row := range r {
		top := plane[(y+row)*stride+x:][:w]
		bottom := plane[(y+h-1-row)*stride+x:][:w]
		for i, a := range mask[row*r : (row+1)*r] {
			if a == 0 {
				break // the circle has begun
			}
			top[i], top[w-1-i] = mix(top[i], c, a), mix(top[w-1-i], c, a)
			bottom[i], bottom[w-1-i] = mix(bottom[i], c, a), mix(bottom[w-1-i], c, a)
		}
	}
}

// mix returns a/255 of over and the rest of under.
func mix(under, over, a uint8) uint8 {
	return uint8((int(under)*(255-int(a)) + int(over)*int(a) + 127) / 255)
}

func newCornerMask(radius int) cornerMask {
	m := cornerMask{radius: radius, luma: make([]uint8, radius*radius), chroma: make([]uint8, radius*radius/4)}
	for i := range m.luma {
		m.luma[i] = outside(i%radius, i/radius, float64(radius))
	}
	half := radius / 2
	for i := range m.chroma {
		m.chroma[i] = outside(i%half, i/half, float64(half))
	}
	return m
}

// outside is how much of the sample at x, y lies further than r from (r, r),
// taken at 64 points.
func outside(x, y int, r float64) uint8 {
	const n = 8
	out := 0
	for i := range n * n {
		px, py := float64(x)+(float64(i%n)+0.5)/n, float64(y)+(float64(i/n)+0.5)/n
		if math.Hypot(r-px, r-py) > r {
			out++
		}
	}
	return uint8(out * 255 / (n * n))
}
