package video

import (
	"image/color"
	"math"
)

// colour is one colour in both worlds: text is drawn in RGB, pictures are
// BT.601 limited range YUV, as VP8 decoders of browsers take it (RFC 6386
// section 9.2).
type colour struct {
	rgba    color.RGBA
	y, u, v uint8
}

// colourOf converts; the integers are BT.601's, scaled by 256.
func colourOf(r, g, b uint8) colour {
	R, G, B := int(r), int(g), int(b)
	return colour{
		rgba: color.RGBA{r, g, b, 255},
		y:    uint8((66*R+129*G+25*B+128)>>8 + 16),
		u:    uint8((-38*R-74*G+112*B+128)>>8 + 128),
		v:    uint8((112*R-94*G-18*B+128)>>8 + 128),
	}
}

// The colours of what is not picture: dark, so that faces stand out, and not
// black, so that it does not look like something missing.
var (
	backdrop = colourOf(14, 16, 20) // between tiles
	barsTone = colourOf(24, 27, 33) // beside a picture of another shape
)

// speakerTone is the border around whoever speaks: seen on faces, on walls and
// in the dark.
var speakerTone = colourOf(52, 211, 120)

// dimmed are the samples of a picture that stands still: half as bright, and
// nearly without colour.
var dimmed = func() (d struct{ luma, chroma [256]uint8 }) {
	for i := range 256 {
		d.luma[i] = uint8(16 + max(0, i-16)*9/20)
		d.chroma[i] = uint8(128 + (i-128)*3/10)
	}
	return d
}()

// numHues is how many colours people without a picture are told apart by.
const numHues = 12

// hues are the colours of placeholders: the tile, dim, and the disc on it.
var hues = func() (h [numHues]struct{ tile, disc colour }) {
	for i := range h {
		angle := float64(i) / numHues
		h[i].tile = fromHSL(angle, 0.22, 0.15)
		h[i].disc = fromHSL(angle, 0.42, 0.44)
	}
	return h
}()

// hueOf picks a colour by identity: the same person has the same one
// everywhere (FNV-1a).
func hueOf(id string) uint8 {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return uint8(h % numHues)
}

// fromHSL takes three numbers in 0..1.
func fromHSL(h, s, l float64) colour {
	channel := func(n float64) uint8 {
		k := math.Mod(n+h*12, 12)
		return uint8(math.Round(255 * (l - s*min(l, 1-l)*max(-1, min(k-3, 9-k, 1)))))
	}
	return colourOf(channel(0), channel(8), channel(4))
}
