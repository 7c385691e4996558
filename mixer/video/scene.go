package video

import (
	"time"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// PictureSource is what a tile shows; [Source] satisfies it. It is compared by
// identity, so it is to be a pointer.
type PictureSource interface {
	// Latest returns the picture for now, retained for the caller, or nil; and
	// a number, not 0, that changes with the picture. It must not block.
	Latest(now time.Duration) (*codec.VideoFrame, uint64)
}

// Scene is what a canvas shows. It is immutable: to change anything, make a
// new one with another Epoch.
//
// Its pictures ([Background.Image], [Tile.Avatar]) belong to whoever made the
// scene, who keeps a reference to each until a Draw with a later scene has
// returned, or the compositors have been closed.
type Scene struct {
	// Epoch is different for every scene that a Compositor is given.
	Epoch uint64
	// Background is what shows where no tile is.
	Background Background
	// Tiles are drawn in this order: where two overlap, the later one is on top.
	Tiles []Tile
}

// Background is what a canvas shows between its tiles. The zero value is a
// dark grey.
type Background struct {
	// Colour is R, G, B; of any use only with HasColour.
	Colour    [3]uint8
	HasColour bool
	// Image, if not nil, covers the whole canvas: it is cropped evenly to the
	// canvas' shape and scaled once. See [Scene] for who keeps it.
	Image *codec.VideoFrame
}

// Tile is one rectangle of a scene. It is comparable.
type Tile struct {
	// Rect is where, even, inside the canvas.
	Rect layout.Rect
	// Source is what; nil (an interface without a value) for somebody without
	// video. It may be closed at any time: its tile then shows the placeholder.
	Source PictureSource
	// Name is written on the tile, and its initials on the placeholder. It need not
	// be clean. Empty shows none.
	Name string
	// NoLabel leaves the name off the picture; the placeholder keeps its initials.
	NoLabel bool
	// ID picks the placeholder's colour.
	ID string
	// Avatar is shown by the placeholder instead of initials, cropped to a disc;
	// nil for none. See [Scene] for who keeps it.
	Avatar *codec.VideoFrame
	// Fill crops the picture to the tile's shape; otherwise all of it is seen,
	// between bars if need be.
	Fill bool
	// Screen is for pictures of text: they are scaled sharply, and may stand
	// still for as long as they like.
	Screen bool
	// Speaking draws a border inside the tile's edge, unless the tile is the whole
	// canvas: there it would say nothing.
	Speaking bool
	// Muted draws a crossed microphone.
	Muted bool
	// Link marks somebody whose connection is bad.
	Link Link
	// NoMarks leaves the marks of Muted and Link away. A picture that stands
	// still is dimmed all the same.
	NoMarks bool
	// Bare shows the picture and nothing else: no rounded corners, no name, no
	// border, no marks, no dimming.
	Bare bool
}

// Link says how good somebody's connection is.
type Link uint8

// What is drawn of a connection: nothing, a mark, or a mark on a dimmed picture.
const (
	LinkGood Link = iota
	LinkWeak
	LinkLost
)
