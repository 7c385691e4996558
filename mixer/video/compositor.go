package video

import (
	"errors"
	"fmt"
	"image"
	"slices"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// maxCanvases is how many pictures of a canvas exist at most: one being drawn,
// one that is encoded, one that waits in a mailbox, one for a slow tier.
const maxCanvases = 4

// ErrCanvasBusy says that all of the canvas' buffers are still being read:
// encoding is far behind. The tick is lost; the next may succeed.
var ErrCanvasBusy = errors.New("all canvas buffers are in use")

// Compositor draws scenes. It keeps a few buffers and, for each, what was
// last drawn on it, so that only what changed since is drawn. Draw and Close
// must not be called at the same time.
type Compositor struct {
	canvas   layout.Canvas
	frames   *codec.VideoPool
	labeller *Labeller

	buffers []*canvasBuffer
	ticks   uint64
	last    *canvasBuffer // the one published last
	epoch   uint64
	tiles   []tileState  // of the present scene and tick
	corner  []cornerMask // by radius/2, made when needed

	// view is a window into the canvas, so that scaling can write there.
	view codec.VideoFrame

	drawn, unchanged, tilesDrawn, scaled, busy atomic.Uint64
	drawTime, buffered                         atomic.Int64
}

// canvasBuffer is one picture of the canvas and what is on it.
type canvasBuffer struct {
	frame *codec.VideoFrame
	used  uint64 // tick of the last use
	valid bool   // on says what is drawn
	on    []drawnTile
}

// drawnTile is all that the looks of a tile depend on.
type drawnTile struct {
	rect    layout.Rect
	source  PictureSource // with version: which picture
	version uint64        // 0 is the placeholder
	name    *yuv.Overlay
	avatar  *yuv.Overlay
	hue     uint8
}

// tileState is a tile of the present tick.
type tileState struct {
	drawnTile
	frame  *codec.VideoFrame // retained during Draw; nil for the placeholder
	nameOf text
	faceOf text
}

// text is a tile's claim to a rendered text.
type text struct {
	key    labelKey
	wanted bool // there is something to show
	ready  bool
	asked  uint64 // the labeller's count when it was last asked; 0 never
	image  *yuv.Overlay
}

// CompositorStats counts since the Compositor was made.
type CompositorStats struct {
	// Drawn is canvases published, Unchanged those of them that looked like
	// the one before.
	Drawn, Unchanged uint64
	// Tiles is tiles drawn, Scaled those whose picture had another size than
	// was wanted.
	Tiles, Scaled uint64
	// Busy is ticks lost to ErrCanvasBusy.
	Busy uint64
	// Buffers is how many pictures of the canvas exist.
	Buffers int
	// Time is spent in Draw.
	Time time.Duration
}

// NewCompositor returns a compositor for a canvas. A nil labeller means no
// text. It starts no goroutine.
func NewCompositor(canvas layout.Canvas, frames *codec.VideoPool, labeller *Labeller) (*Compositor, error) {
	if err := canvas.Validate(); err != nil {
		return nil, fmt.Errorf("compositor: canvas: %w: %w", err, codec.ErrBadConfig)
	}
	if frames == nil {
		return nil, fmt.Errorf("compositor: frames must be set: %w", codec.ErrBadConfig)
	}
	return &Compositor{canvas: canvas, frames: frames, labeller: labeller}, nil
}

// Canvas returns what the compositor was made for.
func (c *Compositor) Canvas() layout.Canvas { return c.canvas }

// Draw draws scene as it is at now (on [codec.Now]'s clock) and returns a
// canvas with that pts (on the room's clock), retained for the caller, and
// whether it looks different from the one before. It blocks for as long as
// drawing takes (a millisecond at 720p when everything moves), so it belongs on the worker pool. [ErrCanvasBusy],
// [codec.ErrBudget].
func (c *Compositor) Draw(scene *Scene, now, pts time.Duration) (canvas *codec.VideoFrame, changed bool, err error) {
	start := codec.Now()
	b, err := c.buffer()
	if err != nil {
		c.busy.Add(1)
		return nil, false, err
	}
	c.ticks++
	c.observe(scene, now)
	defer c.forget()
	changed = c.last == nil || !c.last.valid || len(c.last.on) != len(c.tiles)
	for i := 0; i < len(c.tiles) && !changed; i++ {
		changed = c.last.on[i] != c.tiles[i].drawnTile
	}
	if err := c.update(b); err != nil {
		b.valid = false
		return nil, false, fmt.Errorf("compositor: %w", err)
	}
	b.used, c.last = c.ticks, b
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

// observe fills tiles with what scene looks like now.
func (c *Compositor) observe(scene *Scene, now time.Duration) {
	if c.ticks == 1 || scene.Epoch != c.epoch || len(scene.Tiles) != len(c.tiles) {
		c.epoch = scene.Epoch
		c.tiles = c.tiles[:0]
		for _, t := range scene.Tiles {
			c.tiles = append(c.tiles, c.newTile(t))
		}
	}
	for i := range c.tiles {
		t := &c.tiles[i]
		t.frame, t.version = nil, 0
		if t.source != nil {
			if t.frame, t.version = t.source.Latest(now); t.frame == nil {
				t.version = 0
			}
		}
		t.name = c.lookup(&t.nameOf)
		t.avatar = nil
		if t.frame == nil {
			t.avatar = c.lookup(&t.faceOf)
		}
	}
}

func (c *Compositor) newTile(t Tile) tileState {
	s := tileState{drawnTile: drawnTile{rect: t.Rect, source: t.Source, hue: hueOf(t.ID)}}
	if !t.Rect.In(c.canvas.Bounds()) {
		s.rect = layout.Rect{} // a mistake of the layout's: show nothing rather than half
	}
	if !t.NoLabel {
		s.nameOf.key, s.nameOf.wanted = nameKey(t.Name, s.rect)
	}
	s.faceOf.key, s.faceOf.wanted = avatarKey(t.Name, s.hue, s.rect)
	return s
}

// lookup returns t's picture if it is rendered by now, else nil.
func (c *Compositor) lookup(t *text) *yuv.Overlay {
	if !t.wanted || t.ready || c.labeller == nil {
		return t.image
	}
	moved := c.labeller.moved.Load()
	if t.asked != moved {
		t.asked = moved
		t.image, t.ready = c.labeller.get(t.key)
	}
	return t.image
}

// forget releases the pictures of this tick.
func (c *Compositor) forget() {
	for i := range c.tiles {
		if f := c.tiles[i].frame; f != nil {
			f.Release()
			c.tiles[i].frame = nil
		}
	}
}

// update makes b show the tiles.
func (c *Compositor) update(b *canvasBuffer) error {
	moved := !b.valid || len(b.on) != len(c.tiles)
	for i := 0; i < len(c.tiles) && !moved; i++ {
		moved = b.on[i].rect != c.tiles[i].rect
	}
	if moved {
		if err := fill(b.frame, c.canvas.Bounds(), backdrop); err != nil {
			return err
		}
		b.on = slices.Grow(b.on[:0], len(c.tiles))[:len(c.tiles)]
	}
	for i := range c.tiles {
		t := &c.tiles[i]
		if t.rect.Empty() || !moved && b.on[i] == t.drawnTile {
			continue
		}
		if err := c.drawTile(b.frame, t); err != nil {
			return err
		}
		c.tilesDrawn.Add(1)
	}
	for i := range c.tiles {
		b.on[i] = c.tiles[i].drawnTile
	}
	b.valid = true
	return nil
}

// drawTile draws all of one tile, so that nothing of what was there before
// shines through, least of all under something translucent.
func (c *Compositor) drawTile(dst *codec.VideoFrame, t *tileState) error {
	var err error
	if t.frame != nil {
		err = c.drawPicture(dst, t.rect, t.frame)
	} else {
		err = drawPlaceholder(dst, t)
	}
	if err != nil {
		return err
	}
	if t.rect != c.canvas.Bounds() {
		c.roundCorners(dst, t.rect)
	}
	if t.name == nil {
		return nil
	}
	m := labelMargin(t.rect)
	return yuv.Blend(dst, t.rect.X+m, (t.rect.Y+t.rect.H-m-t.name.Height)&^1, t.name)
}

// drawPicture puts f into tile: as it is if its Source has already fitted
// it, else scaled here (the layout has just changed).
func (c *Compositor) drawPicture(dst *codec.VideoFrame, tile layout.Rect, f *codec.VideoFrame) error {
	at := layout.Rect{X: tile.X + (tile.W-f.Width)/2&^1, Y: tile.Y + (tile.H-f.Height)/2&^1, W: f.Width, H: f.Height}
	fitted := f.Width <= tile.W && f.Height <= tile.H && (f.Width == tile.W || f.Height == tile.H)
	if !fitted {
		at = layout.Fit(tile, f.Width, f.Height)
	}
	if err := drawBars(dst, tile, at); err != nil {
		return err
	}
	if fitted {
		return yuv.Blit(dst, at.X, at.Y, f)
	}
	c.scaled.Add(1)
	c.look(dst, at)
	return yuv.Scale(&c.view, f)
}

// look makes view the part r of dst. It has no reference of its own and is
// used up before dst is published.
func (c *Compositor) look(dst *codec.VideoFrame, r layout.Rect) {
	v := &c.view
	v.Width, v.Height, v.StrideY, v.StrideUV = r.W, r.H, dst.StrideY, dst.StrideUV
	v.Y = dst.Y[r.Y*dst.StrideY+r.X:]
	uv := r.Y/2*dst.StrideUV + r.X/2
	v.U, v.V = dst.U[uv:], dst.V[uv:]
}

// drawBars fills what of tile is not picture.
func drawBars(dst *codec.VideoFrame, tile, picture layout.Rect) error {
	right, bottom := picture.X+picture.W, picture.Y+picture.H
	for _, bar := range [...]layout.Rect{
		{X: tile.X, Y: tile.Y, W: tile.W, H: picture.Y - tile.Y},
		{X: tile.X, Y: bottom, W: tile.W, H: tile.Y + tile.H - bottom},
		{X: tile.X, Y: picture.Y, W: picture.X - tile.X, H: picture.H},
		{X: right, Y: picture.Y, W: tile.X + tile.W - right, H: picture.H},
	} {
		if bar.Empty() {
			continue
		}
		if err := fill(dst, bar, barsTone); err != nil {
			return err
		}
	}
	return nil
}

func drawPlaceholder(dst *codec.VideoFrame, t *tileState) error {
	if err := fill(dst, t.rect, hues[t.hue].tile); err != nil || t.avatar == nil {
		return err
	}
	x := t.rect.X + (t.rect.W-t.avatar.Width)/2
	y := t.rect.Y + (t.rect.H-t.avatar.Height)/2
	return yuv.Blend(dst, x&^1, y&^1, t.avatar)
}

func fill(dst *codec.VideoFrame, r layout.Rect, c colour) error {
	return yuv.Fill(dst, image.Rect(r.X, r.Y, r.X+r.W, r.Y+r.H), c.y, c.u, c.v)
}

// Stats returns a snapshot; any goroutine may ask.
func (c *Compositor) Stats() CompositorStats {
	return CompositorStats{
		Drawn: c.drawn.Load(), Unchanged: c.unchanged.Load(),
		Tiles: c.tilesDrawn.Load(), Scaled: c.scaled.Load(), Busy: c.busy.Load(),
		Buffers: int(c.buffered.Load()), Time: time.Duration(c.drawTime.Load()),
	}
}

// Close gives the buffers back; those still read go back when their readers
// release them. Twice is fine.
func (c *Compositor) Close() error {
	for _, b := range c.buffers {
		b.frame.Release()
	}
	c.buffers, c.last, c.tiles = nil, nil, nil
	c.buffered.Store(0)
	return nil
}
