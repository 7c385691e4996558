package video

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// maxCanvases is how many pictures of a canvas exist at most: one being drawn,
// one that is encoded, one that waits in a mailbox, one for a slow tier.
const maxCanvases = 4

// ErrCanvasBusy says that all of the canvas' buffers are still being read:
// encoding is far behind. The tick is lost; the next may succeed.
var ErrCanvasBusy = errors.New("all canvas buffers are in use")

// Compositor draws scenes. It keeps a few buffers and, for each, what was
// last drawn on it, so that only what changed since is drawn: the rectangles
// in which a tile differs, with whatever lies over and under it there. It holds
// a reference to each picture it shows until the Draw in which it changes, or
// Close. Draw and Close must not be called at the same time.
type Compositor struct {
	canvas   layout.Canvas
	frames   *codec.VideoPool
	labeller *Labeller

	buffers []*canvasBuffer
	ticks   uint64
	last    *canvasBuffer // the one published last
	epoch   uint64
	back    backdropState
	tiles   []tileState // of the present scene and tick
	before  []tileState // of the last scene, kept for its memory
	avatars []avatarDisc

	damage []layout.Rect // of the present tick
	masks  []cornerMask  // made when needed
	under  [4]cornerPatch
	border cornerPatch // the border's colour
	spare  scaledPicture

	// Windows into other pictures: the part of the canvas being drawn, where
	// scaling writes to, and what it reads.
	clip, view, part codec.VideoFrame

	drawn, unchanged, tilesDrawn, scaled, busy, noMemory atomic.Uint64
	drawTime, buffered                                   atomic.Int64
}

// canvasBuffer is one picture of the canvas and what is on it.
type canvasBuffer struct {
	frame *codec.VideoFrame
	used  uint64 // tick of the last use
	valid bool   // back and on say what is drawn
	back  backLook
	on    []look
}

// CompositorStats counts since the Compositor was made.
type CompositorStats struct {
	// Drawn is canvases published, Unchanged those of them that looked like
	// the one before.
	Drawn, Unchanged uint64
	// Tiles is tiles drawn, in whole or in part, Scaled those whose picture had
	// another size than was wanted.
	Tiles, Scaled uint64
	// Busy is ticks lost to ErrCanvasBusy.
	Busy uint64
	// NoMemory is backgrounds and avatars left out for want of memory.
	NoMemory uint64
	// Buffers is how many pictures of the canvas exist.
	Buffers int
	// Time is spent in Draw.
	Time time.Duration
}

// NewCompositor returns a compositor for a canvas. A nil labeller means no
// text and no marks. It starts no goroutine.
func NewCompositor(canvas layout.Canvas, frames *codec.VideoPool, labeller *Labeller) (*Compositor, error) {
	if err := canvas.Validate(); err != nil {
		return nil, fmt.Errorf("compositor: canvas: %w: %w", err, codec.ErrBadConfig)
	}
	if frames == nil {
		return nil, fmt.Errorf("compositor: frames must be set: %w", codec.ErrBadConfig)
	}
	c := &Compositor{canvas: canvas, frames: frames, labeller: labeller}
	c.border.fill(speakerTone)
	return c, nil
}

// Canvas returns what the compositor was made for.
func (c *Compositor) Canvas() layout.Canvas { return c.canvas }

// Draw draws scene as it is at now (on [codec.Now]'s clock) and returns a
// canvas with that pts (on the room's clock), retained for the caller, and
// whether it looks different from the one before: unchanged, both are the same
// to the last sample. It blocks for as long as drawing takes (a millisecond at
// 720p when everything moves), so it belongs on the worker pool.
// [ErrCanvasBusy], [codec.ErrBudget].
func (c *Compositor) Draw(scene *Scene, now, pts time.Duration) (canvas *codec.VideoFrame, changed bool, err error) {
	start := codec.Now()
	b, err := c.buffer()
	if err != nil {
		c.busy.Add(1)
		return nil, false, err
	}
	c.ticks++
	c.observe(scene, now)
	c.differences(c.last)
	changed = len(c.damage) > 0
	if b != c.last {
		c.differences(b)
	}
	b.valid = false
	for _, d := range c.damage {
		if err := c.paint(b.frame, d, len(c.tiles)); err != nil {
			return nil, false, fmt.Errorf("compositor: %w", err)
		}
	}
	c.shown(b)
	b.frame.PTS = pts
	c.drawn.Add(1)
	if !changed {
		c.unchanged.Add(1)
	}
	c.drawTime.Add(int64(codec.Now() - start))
	return b.frame.Retain(), changed, nil
}

// buffer returns a buffer that nobody reads: the one used last if it can be,
// since on it the least has to be drawn.
func (c *Compositor) buffer() (*canvasBuffer, error) {
	var best *canvasBuffer
	for _, b := range c.buffers {
		if !b.frame.Shared() && (best == nil || b.used > best.used) {
			best = b
		}
	}
	if best != nil {
		return best, nil
	}
	if len(c.buffers) == maxCanvases {
		return nil, ErrCanvasBusy
	}
	frame, err := c.frames.Get(c.canvas.Width, c.canvas.Height)
	if err != nil {
		return nil, err
	}
	b := &canvasBuffer{frame: frame}
	c.buffers = append(c.buffers, b)
	c.buffered.Add(1)
	return b, nil
}

// shown notes what is on b now.
func (c *Compositor) shown(b *canvasBuffer) {
	b.on = b.on[:0]
	for i := range c.tiles {
		b.on = append(b.on, c.tiles[i].look)
	}
	b.back, b.valid, b.used = c.back.look, true, c.ticks
	c.last = b
}

// Stats returns a snapshot; any goroutine may ask.
func (c *Compositor) Stats() CompositorStats {
	return CompositorStats{
		Drawn: c.drawn.Load(), Unchanged: c.unchanged.Load(),
		Tiles: c.tilesDrawn.Load(), Scaled: c.scaled.Load(), Busy: c.busy.Load(), NoMemory: c.noMemory.Load(),
		Buffers: int(c.buffered.Load()), Time: time.Duration(c.drawTime.Load()),
	}
}

// Close gives all pictures back; canvases still read go back when their readers
// release them. Twice is fine.
func (c *Compositor) Close() error {
	for _, b := range c.buffers {
		b.frame.Release()
	}
	c.buffers, c.last = nil, nil
	c.buffered.Store(0)
	for i := range c.tiles {
		c.tiles[i].let()
	}
	c.tiles, c.before = nil, nil
	c.setBackground(Background{})
	c.dropAvatars(c.ticks + 1)
	c.spare.let()
	return nil
}
