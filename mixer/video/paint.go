package video

import (
	"image"

	"mixdown/codec"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// differences makes damage the places where the tiles look other than what is
// on b.
func (c *Compositor) differences(b *canvasBuffer) {
	c.damage = c.damage[:0]
	if b == nil || !b.valid || b.back != c.back.look || len(b.on) != len(c.tiles) {
		c.damaged(c.canvas.Bounds())
		return
	}
	for i := range c.tiles {
		if b.on[i].rect != c.tiles[i].rect {
			c.damaged(c.canvas.Bounds())
			return
		}
	}
	for i := range c.tiles {
		if was, is := &b.on[i], &c.tiles[i].look; *was != *is {
			c.difference(was, is)
		}
	}
}

// difference adds where two looks of one tile differ: all of it, unless only
// what is drawn over its picture does.
func (c *Compositor) difference(was, is *look) {
	bare := *was
	bare.border, bare.marks = is.border, is.marks
	if bare != *is {
		c.damaged(is.rect)
		return
	}
	if was.border != is.border {
		r, k := is.rect, borderWidth(is.rect)
		if !is.square {
			k = max(k, cornerRadius(r))
		}
		k = min(k, r.W, r.H)
		c.damaged(layout.Rect{X: r.X, Y: r.Y, W: r.W, H: k})
		c.damaged(layout.Rect{X: r.X, Y: r.Y + r.H - k, W: r.W, H: k})
		c.damaged(layout.Rect{X: r.X, Y: r.Y, W: k, H: r.H})
		c.damaged(layout.Rect{X: r.X + r.W - k, Y: r.Y, W: k, H: r.H})
	}
	for i := range is.marks {
		if a, b := was.mark(i), is.mark(i); a != b || was.marks[i] != is.marks[i] {
			c.damaged(intersect(a, is.rect))
			c.damaged(intersect(b, is.rect))
		}
	}
}

// damaged adds r, unless that is being drawn anyway.
func (c *Compositor) damaged(r layout.Rect) {
	if r.Empty() {
		return
	}
	kept := c.damage[:0]
	for i, d := range c.damage {
		if r.In(d) {
			c.damage = append(kept, c.damage[i:]...)
			return
		}
		if !d.In(r) {
			kept = append(kept, d)
		}
	}
	c.damage = append(kept, r)
}

func intersect(a, b layout.Rect) layout.Rect {
	x, y := max(a.X, b.X), max(a.Y, b.Y)
	return layout.Rect{X: x, Y: y, W: min(a.X+a.W, b.X+b.W) - x, H: min(a.Y+a.H, b.Y+b.H) - y}
}

// paint draws all that can be seen in d of the first so many tiles, from the
// bottom up, so that it does not matter what was there. What lies under a tile
// that covers d is left out but for that tile's corners.
func (c *Compositor) paint(dst *codec.VideoFrame, d layout.Rect, tiles int) error {
	lowest := tiles - 1
	for lowest >= 0 && !d.In(c.tiles[lowest].rect) {
		lowest--
	}
	if lowest < 0 {
		if err := c.paintBackground(dst, d); err != nil {
			return err
		}
	}
	for i := max(lowest, 0); i < tiles; i++ {
		t := &c.tiles[i]
		clip := intersect(d, t.rect)
		if clip.Empty() {
			continue
		}
		if i == lowest && !t.square && !c.plainUnder(t) {
			radius := cornerRadius(t.rect)
			for k := range c.under {
				if part := intersect(corner(t.rect, radius, k), d); !part.Empty() {
					if err := c.paint(dst, part, i); err != nil {
						return err
					}
				}
			}
		}
		if t.drawnAt != c.ticks {
			t.drawnAt = c.ticks
			c.tilesDrawn.Add(1)
		}
		if err := c.paintTile(dst, t, clip); err != nil {
			return err
		}
	}
	return nil
}

// plainUnder reports that t lies on nothing but a colour, which is known.
func (c *Compositor) plainUnder(t *tileState) bool { return t.alone && c.back.image == nil }

// paintTile draws what can be seen of t in clip, which lies inside it. All of
// that is drawn, so that nothing of what was there before shines through, least
// of all under something translucent; only of the corners is what lies there
// kept, and put back at the end.
func (c *Compositor) paintTile(dst *codec.VideoFrame, t *tileState, clip layout.Rect) error {
	radius := 0
	if !t.square {
		radius = cornerRadius(t.rect)
		for k := range c.under {
			square := corner(t.rect, radius, k)
			if part := intersect(square, clip); !part.Empty() && !c.plainUnder(t) {
				c.under[k].keep(dst, square, part)
			}
		}
	}
	window(&c.clip, dst, clip)
	if err := c.paintContent(dst, t, clip); err != nil {
		return err
	}
	if t.border {
		if err := c.paintBorder(dst, t.rect, clip, radius); err != nil {
			return err
		}
	}
	for i, o := range t.marks {
		if r := t.mark(i); r.Overlaps(clip) {
			if err := yuv.Blend(&c.clip, r.X-clip.X, r.Y-clip.Y, o); err != nil {
				return err
			}
		}
	}
	for k := range c.under {
		square := corner(t.rect, radius, k)
		part := intersect(square, clip)
		if part.Empty() {
			continue
		}
		patch := &c.under[k]
		if c.plainUnder(t) {
			patch = &c.back.patch
		}
		mixCorner(dst, square, part, k, c.mask(radius, 0), patch)
	}
	return nil
}

// paintContent draws the picture with its bars, or the placeholder.
func (c *Compositor) paintContent(dst *codec.VideoFrame, t *tileState, clip layout.Rect) error {
	if t.frame == nil {
		if err := fill(dst, clip, hues[t.hue].tile); err != nil || t.look.face == nil {
			return err
		}
		o := t.look.face
		x, y := t.rect.X+(t.rect.W-o.Width)/2&^1, t.rect.Y+(t.rect.H-o.Height)/2&^1
		return yuv.Blend(&c.clip, x-clip.X, y-clip.Y, o)
	}
	if err := paintBars(dst, t.rect, t.at, clip); err != nil {
		return err
	}
	if err := c.paintPicture(dst, t, clip); err != nil {
		return err
	}
	if part := intersect(t.at, clip); t.dim && !part.Empty() { // the bars are dark as they are
		dim(dst, part)
	}
	return nil
}

// paintPicture draws t's picture: as it is if it fits, else scaled, straight to
// the canvas where all of it is wanted.
func (c *Compositor) paintPicture(dst *codec.VideoFrame, t *tileState, clip layout.Rect) error {
	f := t.frame
	switch {
	case !t.at.Overlaps(clip):
		return nil
	case t.part.Empty():
	case t.at.In(clip):
		c.scaled.Add(1)
		window(&c.view, dst, t.at)
		return c.scale(&c.view, t)
	default:
		var err error
		if f, err = c.scaledOf(t); err != nil {
			return err
		}
	}
	return yuv.Blit(&c.clip, t.at.X-clip.X, t.at.Y-clip.Y, f)
}

// scale writes the wanted part of t's picture to all of dst.
func (c *Compositor) scale(dst *codec.VideoFrame, t *tileState) error {
	window(&c.part, t.frame, t.part)
	if t.sharp {
		return yuv.ScaleSharp(dst, &c.part)
	}
	return yuv.Scale(dst, &c.part)
}

// scaledPicture is a picture that had to be scaled of which only a part was
// drawn, kept because the next part is wanted soon: something moves before it.
type scaledPicture struct {
	of    look // source, version, at's size, part and sharp alone
	frame *codec.VideoFrame
}

func (s *scaledPicture) let() {
	if s.frame != nil {
		s.frame.Release()
	}
	*s = scaledPicture{}
}

// scaledOf returns t's picture as large as it is shown, lent until the next call.
func (c *Compositor) scaledOf(t *tileState) (*codec.VideoFrame, error) {
	of := look{source: t.source, version: t.version, at: layout.Rect{W: t.at.W, H: t.at.H}, part: t.part, sharp: t.sharp}
	if c.spare.frame != nil && c.spare.of == of {
		return c.spare.frame, nil
	}
	c.spare.let()
	f, err := c.frames.Get(of.at.W, of.at.H)
	if err != nil {
		return nil, err
	}
	c.scaled.Add(1)
	if err := c.scale(f, t); err != nil {
		f.Release()
		return nil, err
	}
	c.spare = scaledPicture{of, f}
	return f, nil
}

// paintBars fills what of tile is not picture.
func paintBars(dst *codec.VideoFrame, tile, picture, clip layout.Rect) error {
	right, bottom := picture.X+picture.W, picture.Y+picture.H
	for _, bar := range [...]layout.Rect{
		{X: tile.X, Y: tile.Y, W: tile.W, H: picture.Y - tile.Y},
		{X: tile.X, Y: bottom, W: tile.W, H: tile.Y + tile.H - bottom},
		{X: tile.X, Y: picture.Y, W: picture.X - tile.X, H: picture.H},
		{X: right, Y: picture.Y, W: tile.X + tile.W - right, H: picture.H},
	} {
		if bar = intersect(bar, clip); bar.Empty() {
			continue
		}
		if err := fill(dst, bar, barsTone); err != nil {
			return err
		}
	}
	return nil
}

// paintBorder draws along the inside of a tile's edge: four straight sides, and
// between them what of the corners lies outside the inner circle.
func (c *Compositor) paintBorder(dst *codec.VideoFrame, r, clip layout.Rect, radius int) error {
	w := borderWidth(r)
	for _, side := range [...]layout.Rect{
		{X: r.X + radius, Y: r.Y, W: r.W - 2*radius, H: w},
		{X: r.X + radius, Y: r.Y + r.H - w, W: r.W - 2*radius, H: w},
		{X: r.X, Y: r.Y + radius, W: w, H: r.H - 2*radius},
		{X: r.X + r.W - w, Y: r.Y + radius, W: w, H: r.H - 2*radius},
	} {
		if side = intersect(side, clip); side.Empty() {
			continue
		}
		if err := fill(dst, side, speakerTone); err != nil {
			return err
		}
	}
	for k := range 4 {
		square := corner(r, radius, k)
		if part := intersect(square, clip); !part.Empty() {
			mixCorner(dst, square, part, k, c.mask(radius, w), &c.border)
		}
	}
	return nil
}

// dim makes a part of a picture look as if the light had gone.
func dim(dst *codec.VideoFrame, r layout.Rect) {
	for y := r.Y; y < r.Y+r.H; y++ {
		for i, v := range dst.Y[y*dst.StrideY+r.X:][:r.W] {
			dst.Y[y*dst.StrideY+r.X+i] = dimmed.luma[v]
		}
	}
	w := (r.W + 1) / 2
	for y := r.Y / 2; y < (r.Y+r.H+1)/2; y++ {
		at := y*dst.StrideUV + r.X/2
		u, v := dst.U[at:][:w], dst.V[at:][:w]
		for i := range u {
			u[i], v[i] = dimmed.chroma[u[i]], dimmed.chroma[v[i]]
		}
	}
}

func fill(dst *codec.VideoFrame, r layout.Rect, c colour) error {
	return yuv.Fill(dst, image.Rect(r.X, r.Y, r.X+r.W, r.Y+r.H), c.y, c.u, c.v)
}

// window makes w the part r of f, which has at least that. It has no reference
// of its own and is used up before f is let go.
func window(w, f *codec.VideoFrame, r layout.Rect) {
	uv := r.Y/2*f.StrideUV + r.X/2
	w.Width, w.Height, w.StrideY, w.StrideUV = r.W, r.H, f.StrideY, f.StrideUV
	w.Y, w.U, w.V = f.Y[r.Y*f.StrideY+r.X:], f.U[uv:], f.V[uv:]
}
