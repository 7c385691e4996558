// Package layout turns "how many people, on what picture" into rectangles. It
// is pure arithmetic: no goroutine, clock, logger or I/O, and the same input
// always gives the same output.
//
// All pictures are I420, whose chroma planes have half the resolution, so
// every position and every size that comes out of this package is even: a
// picture placed at an odd position would have its colours shifted by half a
// sample.
//
//	canvas := layout.Canvas{Width: 1280, Height: 720, FPS: 30}
//	tiles := layout.Arrange(canvas, 9)             // nine rectangles
//	picture := layout.Fit(tiles[0], 640, 480)      // where a 4:3 camera goes in the first
package layout
