package video

import (
	"time"

	"mixdown/codec"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// frozenAfter is how long a camera's picture may stay the same before it is
// shown as frozen. Cameras send at least one picture a second, even in the dark;
// three seconds are longer than any repair of a lossy link.
const frozenAfter = 3 * time.Second

// look is all that a tile's samples depend on. What makes no difference is
// zero, so that equal looks are equal samples and, but for chance, other looks
// are others.
type look struct {
	rect layout.Rect // empty: nothing is drawn
	// The picture: version 0 is the placeholder.
	source  PictureSource
	version uint64
	at      layout.Rect // where it is, on the canvas; the rest of rect is bars
	part    layout.Rect // what of it is scaled to at; empty: it fits as it is
	sharp   bool        // how it is scaled
	dim     bool
	// The placeholder.
	face *yuv.Overlay
	hue  uint8

	square bool // corners are not rounded
	border bool
	marks  [numMarks]*yuv.Overlay
}

// What is drawn over a tile, in this order.
const (
	markName = iota
	markLink
	markMute
	numMarks
)

// mark returns where an overlay lies on the canvas; empty without one.
func (l *look) mark(which int) layout.Rect {
	o := l.marks[which]
	if o == nil {
		return layout.Rect{}
	}
	m := labelMargin(l.rect)
	r := layout.Rect{X: l.rect.X + m, Y: l.rect.Y + m, W: o.Width, H: o.Height}
	right := l.rect.X + l.rect.W - m
	switch which {
	case markName:
		r.Y = (l.rect.Y + l.rect.H - m - o.Height) &^ 1
	case markLink:
		r.X = right - o.Width
	case markMute: // beside the link's
		r.X = right - o.Width
		if link := l.marks[markLink]; link != nil {
			r.X -= link.Width + m
		}
	}
	r.X &^= 1
	return r
}

// tileState is a tile of the present tick, and what it takes to follow it.
type tileState struct {
	look
	tile Tile

	frame *codec.VideoFrame // what the source shows, retained; nil for the placeholder
	seen  uint64            // the source's number for frame
	alike uint64            // its number for the first of equal pictures
	pts   time.Duration     // media time of frame
	moved time.Duration     // when that last changed
	alone bool              // no earlier tile lies under it
	// drawnAt is the tick in which it was last drawn.
	drawnAt uint64

	avatar                       *yuv.Overlay // of tile.Avatar
	name, face, mute, weak, lost text
}

// text is a tile's claim to a rendered text or mark.
type text struct {
	key    labelKey
	wanted bool // there is something to show
	ready  bool
	asked  uint64 // the labeller's count when it was last asked; 0 never
	image  *yuv.Overlay
}

// let releases what t holds.
func (t *tileState) let() {
	if t.frame != nil {
		t.frame.Release()
		t.frame = nil
	}
}

// observe fills tiles with what scene looks like now.
func (c *Compositor) observe(scene *Scene, now time.Duration) {
	if c.ticks == 1 || scene.Epoch != c.epoch || len(scene.Tiles) != len(c.tiles) {
		c.enter(scene)
	}
	for i := range c.tiles {
		t := &c.tiles[i]
		if t.rect.Empty() {
			continue
		}
		t.follow(now)
		c.compose(t, now)
	}
}

// enter makes the tiles of a new scene. What is known of a picture goes on: it
// is not new because it has moved, nor has it come to life.
func (c *Compositor) enter(scene *Scene) {
	c.epoch = scene.Epoch
	c.setBackground(scene.Background)
	c.before, c.tiles = c.tiles, c.before[:0]
	for i := range scene.Tiles {
		t := c.newTile(scene.Tiles, i)
		if old := c.find(t.tile.Source); old != nil && !t.rect.Empty() {
			t.seen, t.alike, t.pts, t.moved = old.seen, old.alike, old.pts, old.moved
			if old.frame != nil {
				t.frame = old.frame.Retain()
			}
		}
		c.tiles = append(c.tiles, t)
	}
	for i := range c.before {
		c.before[i].let()
	}
	clear(c.before)
	c.dropAvatars(c.ticks)
}

// find returns the tile of the last scene that shows source, or nil.
func (c *Compositor) find(source PictureSource) *tileState {
	for i := range c.before {
		if source != nil && c.before[i].tile.Source == source {
			return &c.before[i]
		}
	}
	return nil
}

func (c *Compositor) newTile(tiles []Tile, i int) tileState {
	tile := tiles[i]
	t := tileState{tile: tile, alone: true}
	t.rect = tile.Rect
	// A mistake of the layout's: show nothing rather than half. Nor is anything
	// drawn of what cannot be seen.
	if !tile.Rect.In(c.canvas.Bounds()) || c.covered(tile.Rect, tiles[i+1:]) {
		t.rect = layout.Rect{}
		return t
	}
	for _, below := range tiles[:i] {
		t.alone = t.alone && !below.Rect.Overlaps(tile.Rect)
	}
	t.square = tile.Bare || tile.Rect == c.canvas.Bounds() || cornerRadius(tile.Rect) == 0
	t.border = tile.Speaking && !tile.Bare && tile.Rect != c.canvas.Bounds()
	if tile.Avatar != nil {
		t.avatar = c.avatarOf(tile.Avatar, tile.Rect)
	}
	t.face.key, t.face.wanted = avatarKey(tile.Name, hueOf(tile.ID), tile.Rect)
	t.face.wanted = t.face.wanted && t.avatar == nil
	if tile.Bare {
		return t
	}
	if !tile.NoLabel {
		t.name.key, t.name.wanted = nameKey(tile.Name, tile.Rect)
	}
	if !tile.NoMarks {
		t.mute.key, t.mute.wanted = markKey(muteMark, tile.Rect)
		t.mute.wanted = t.mute.wanted && tile.Muted
		t.weak.key, t.weak.wanted = markKey(weakMark, tile.Rect)
		t.lost.key, t.lost.wanted = markKey(lostMark, tile.Rect)
	}
	return t
}

// covered reports whether one of the tiles above hides all of r.
func (c *Compositor) covered(r layout.Rect, above []Tile) bool {
	for _, t := range above {
		if !t.Rect.In(c.canvas.Bounds()) {
			continue
		}
		wide, high := t.Rect, t.Rect
		if k := cornerRadius(t.Rect); !t.Bare && t.Rect != c.canvas.Bounds() {
			wide.Y, wide.H = wide.Y+k, wide.H-2*k
			high.X, high.W = high.X+k, high.W-2*k
		}
		if r.In(wide) || r.In(high) {
			return true
		}
	}
	return false
}

// alikeTolerance is a difference of samples that nobody sees. It is counted from
// what was drawn last, so that small ones do not add up.
const alikeTolerance = 2

// follow fetches the source's picture. One that looks the same is not a new one:
// shared screens repeat themselves, a coded picture of what stands still
// trembles by a step or two, and sources draw anew for another canvas.
func (t *tileState) follow(now time.Duration) {
	if t.tile.Source == nil {
		return
	}
	f, number := t.tile.Source.Latest(now)
	switch {
	case f == nil:
		t.let()
		t.seen, t.alike = 0, 0
		return
	case t.frame != nil && number == t.seen:
		f.Release()
		return
	}
	if t.frame == nil || f.PTS != t.pts {
		t.pts, t.moved = f.PTS, now
	}
	if t.seen = number; t.frame != nil && yuv.Alike(t.frame, f, alikeTolerance) {
		f.Release()
		return
	}
	t.alike = number
	t.let()
	t.frame = f
}

// compose works out t's look.
func (c *Compositor) compose(t *tileState, now time.Duration) {
	gone := t.tile.Link == LinkLost
	l := look{rect: t.rect, square: t.square, border: t.border}
	if t.frame != nil {
		gone = gone || !t.tile.Screen && now-t.moved >= frozenAfter
		l.source, l.version, l.dim = t.tile.Source, t.alike, gone && !t.tile.Bare
		l.at, l.part = placePicture(&t.tile, t.frame)
		l.sharp = t.tile.Screen && !l.part.Empty()
	} else {
		l.hue = hueOf(t.tile.ID)
		if l.face = t.avatar; l.face == nil {
			l.face = c.lookup(&t.face)
		}
	}
	l.marks[markName] = c.lookup(&t.name)
	l.marks[markMute] = c.lookup(&t.mute)
	switch {
	case gone:
		l.marks[markLink] = c.lookup(&t.lost)
	case t.tile.Link == LinkWeak:
		l.marks[markLink] = c.lookup(&t.weak)
	}
	t.look = l
}

// placePicture says where in its tile f goes, and which part of it has to be
// scaled to that: none if its Source has already made it fit, which it has
// unless the layout has just changed or another canvas shows it larger.
func placePicture(t *Tile, f *codec.VideoFrame) (at, part layout.Rect) {
	r := t.Rect
	whole := layout.Rect{W: f.Width, H: f.Height}
	if t.Fill {
		if f.Width == r.W && f.Height == r.H {
			return r, layout.Rect{}
		}
		return r, layout.Fill(r, f.Width, f.Height)
	}
	if f.Width <= r.W && f.Height <= r.H && (f.Width == r.W || f.Height == r.H) {
		return layout.Rect{X: r.X + (r.W-f.Width)/2&^1, Y: r.Y + (r.H-f.Height)/2&^1, W: f.Width, H: f.Height}, layout.Rect{}
	}
	return layout.Fit(r, f.Width, f.Height), whole
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
