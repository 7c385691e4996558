package bench

import (
	"errors"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/mixer/layout"
)

// A clip of a picture that stands still is stillUnits long: encoders take a second
// or two until it is sharp. From then on the last stillTail units can come again
// and again without a key frame, since our encoder's frames are coded
// independently of each other's probabilities (error resilience); a sender that
// began anew would make the picture coarse, and so move, each few seconds.
const stillUnits, stillTail = 150, 30

// still makes such a clip of the first picture of another one.
func still(c *clip.Clip, to layout.Canvas) (out *clip.Clip, err error) {
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dec.Close()) }()
	if err := dec.Decode(c.Units[0].Data); err != nil {
		return nil, err
	}
	picture, err := codec.NewVideoPool(int64(codec.VideoFrameBytes(to.Width, to.Height))).Get(to.Width, to.Height)
	if err != nil {
		return nil, err
	}
	defer picture.Release()
	if err := dec.Picture(picture); err != nil {
		return nil, err
	}
	return film(to, stillUnits, func(int, int) (*codec.VideoFrame, error) { return picture, nil })
}
