// Package layout turns "who is there, and what is wanted" into rectangles. It
// is pure arithmetic: no goroutine, clock, logger or I/O, and the same input
// always gives the same output.
//
// All pictures are I420, whose chroma planes have half the resolution, so
// every position and every size that comes out of this package is even: a
// picture placed at an odd position would have its colours shifted by half a
// sample.
//
// A [Spec] says what is wanted. [Solve] gives every item a seat and every seat
// a rectangle; it is handed what it gave last, since what people mind most about
// a mixed picture is that faces jump. Its documentation has the rules.
//
//	canvas := layout.Canvas{Width: 1280, Height: 720, FPS: 30}
//	spec := layout.Spec{Mode: layout.Speaker, Limit: 9}
//	plan := layout.Solve(canvas, spec, items, "p_1", nil)
//	for _, tile := range plan.Tiles { // as they are to be drawn
//		picture := layout.Fit(tile.Rect, 640, 480) // where a 4:3 camera goes in it
//	}
//	plan = layout.Solve(canvas, spec, items, "p_2", plan) // a moment later
//
// In a mode with a large tile the others lie on a strip, below it or, on a
// canvas wider than high, beside it as the mode has it. A strip is made for 5, 8
// or 16 tiles, filled from its beginning, so that nobody's tile changes with
// each who comes or goes; the large one has one size for all three.
package layout
