package layout

import (
	"errors"
	"fmt"
)

// Bounds of a canvas. VP8 could do 16383, but nothing that a conference needs
// lies between, and each doubling costs four times the CPU.
const (
	MinSide = 16
	MaxSide = 3840
	MaxFPS  = 60
)

// MaxTiles is how many tiles a grid shows at most.
const MaxTiles = 49

// Canvas is the picture on which tiles are arranged.
type Canvas struct {
	// Width and Height in luma samples: even, MinSide..MaxSide.
	Width, Height int
	// FPS is composed pictures per second, 1..MaxFPS.
	FPS int
}

// Validate reports every field that is out of range, by its JSON name and
// with what would be accepted; nil when all are fine.
func (c Canvas) Validate() error {
	return errors.Join(
		side("width", c.Width),
		side("height", c.Height),
		within("fps", c.FPS, 1, MaxFPS),
	)
}

func side(field string, v int) error {
	if v < MinSide || v > MaxSide || v%2 != 0 {
		return fmt.Errorf("%s: %d, want even, %d..%d", field, v, MinSide, MaxSide)
	}
	return nil
}

func within(field string, v, low, high int) error {
	if v < low || v > high {
		return fmt.Errorf("%s: %d, want %d..%d", field, v, low, high)
	}
	return nil
}

// String returns "1280x720@30".
func (c Canvas) String() string { return fmt.Sprintf("%dx%d@%d", c.Width, c.Height, c.FPS) }

// Bounds returns the whole canvas as a rectangle.
func (c Canvas) Bounds() Rect { return Rect{W: c.Width, H: c.Height} }

// Rect is a part of a canvas in luma samples. X and Y are its upper left
// corner.
type Rect struct{ X, Y, W, H int }

// Empty reports whether nothing is in r.
func (r Rect) Empty() bool { return r.W <= 0 || r.H <= 0 }

// In reports whether r lies wholly in outer.
func (r Rect) In(outer Rect) bool {
	return r.X >= outer.X && r.Y >= outer.Y && r.X+r.W <= outer.X+outer.W && r.Y+r.H <= outer.Y+outer.H
}

// Overlaps reports whether r and s share a sample.
func (r Rect) Overlaps(s Rect) bool {
	return !r.Empty() && !s.Empty() && r.X < s.X+s.W && s.X < r.X+r.W && r.Y < s.Y+s.H && s.Y < r.Y+r.H
}

// Area is in luma samples.
func (r Rect) Area() int { return r.W * r.H }

// even rounds down to an even number; n is not negative.
func even(n int) int { return n &^ 1 }
