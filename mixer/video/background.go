package video

import (
	"math"

	"mixdown/codec"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// backLook is all that a background's samples depend on.
type backLook struct {
	colour colour
	image  uint64 // counts the images there were; 0 is none
}

// backdropState is the present scene's background.
type backdropState struct {
	look   backLook
	of     *codec.VideoFrame // the image as it was given, retained
	image  *codec.VideoFrame // as large as the canvas; nil for none
	images uint64
	patch  cornerPatch // of the colour
}

// setBackground makes b what shows where no tile is.
func (c *Compositor) setBackground(b Background) {
	s := &c.back
	tone := backdrop
	if b.HasColour {
		tone = colourOf(b.Colour[0], b.Colour[1], b.Colour[2])
	}
	if s.look.colour != tone {
		s.look.colour = tone
		s.patch.fill(tone)
	}
	if s.of == b.Image {
		return
	}
	if s.of != nil {
		s.of.Release()
	}
	if s.image != nil {
		s.image.Release()
	}
	s.of, s.image, s.look.image = nil, nil, 0
	if b.Image == nil {
		return
	}
	s.of = b.Image.Retain()
	image, err := c.frames.Get(c.canvas.Width, c.canvas.Height)
	if err == nil {
		if err = cover(image, s.of); err != nil {
			image.Release()
		}
	}
	if err != nil { // the colour will do
		c.noMemory.Add(1)
		return
	}
	s.images++
	s.image, s.look.image = image, s.images
}

// cover scales the middle of src, cropped to dst's shape, to all of dst.
func cover(dst, src *codec.VideoFrame) error {
	var part codec.VideoFrame
	window(&part, src, layout.Fill(layout.Rect{W: dst.Width, H: dst.Height}, src.Width, src.Height))
	return yuv.ScaleSharp(dst, &part)
}

// paintBackground draws what shows of the background in d.
func (c *Compositor) paintBackground(dst *codec.VideoFrame, d layout.Rect) error {
	if c.back.image == nil {
		return fill(dst, d, c.back.look.colour)
	}
	window(&c.view, c.back.image, d)
	return yuv.Blit(dst, d.X, d.Y, &c.view)
}

// avatarDisc is somebody's picture, cut to a disc. It is made in the tick that
// first shows it, a millisecond or less.
type avatarDisc struct {
	of   *codec.VideoFrame // retained, so that nobody else gets its address
	size int
	disc *yuv.Overlay // nil if it could not be made
	// wanted is the tick of the last scene that shows it.
	wanted uint64
}

// dropAvatars forgets those that were last wanted before that tick.
func (c *Compositor) dropAvatars(tick uint64) {
	kept := c.avatars[:0]
	for _, a := range c.avatars {
		if a.wanted >= tick {
			kept = append(kept, a)
		} else {
			a.of.Release()
		}
	}
	clear(c.avatars[len(kept):])
	c.avatars = kept
}

// avatarOf returns picture as the placeholder of tile shows it, or nil where
// there is no room.
func (c *Compositor) avatarOf(picture *codec.VideoFrame, tile layout.Rect) *yuv.Overlay {
	key, ok := avatarKey("", 0, tile)
	if !ok {
		return nil
	}
	for i := range c.avatars {
		if a := &c.avatars[i]; a.of == picture && a.size == key.size {
			a.wanted = c.ticks
			return a.disc
		}
	}
	disc, err := newDisc(picture, key.size)
	if err != nil {
		c.noMemory.Add(1)
	}
	c.avatars = append(c.avatars, avatarDisc{picture.Retain(), key.size, disc, c.ticks})
	return disc
}

// newDisc cuts the largest disc out of a picture's middle.
func newDisc(picture *codec.VideoFrame, size int) (*yuv.Overlay, error) {
	o, err := yuv.NewOverlay(size, size)
	if err != nil {
		return nil, err
	}
	into := codec.VideoFrame{Width: size, Height: size, Y: o.Y, U: o.U, V: o.V, StrideY: o.StrideY, StrideUV: o.StrideUV}
	if err := cover(&into, picture); err != nil {
		return nil, err
	}
	r := float64(size) / 2
	for y := range size {
		for x := range size {
			inside := r + 0.5 - math.Hypot(float64(x)+0.5-r, float64(y)+0.5-r)
			o.A[y*o.StrideY+x] = uint8(255 * min(max(inside, 0), 1))
		}
	}
	return o, nil
}
