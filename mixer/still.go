package mixer

import (
	"mixdown/codec"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// avatarSide bounds the picture of somebody without a camera, which is shown on
// a disc in a tile.
const avatarSide = 512

// style is how a canvas is to look: its layout, and the picture behind the
// tiles, which was loaded with it.
type style struct {
	spec     layout.Spec
	backdrop *codec.VideoFrame // nil: none
}

// newStyle checks a layout and loads what it names. It reads a file, so it does
// not belong on the control loop. The error is of Kind Invalid or Unavailable.
func newStyle(op string, cfg *Config, c layout.Canvas, spec layout.Spec) (style, error) {
	if err := spec.Validate(); err != nil {
		return style{}, &Error{Op: op, Kind: Invalid, Err: err}
	}
	if spec.BackgroundImage == "" {
		return style{spec: spec}, nil
	}
	picture, err := loadStill(cfg, spec.BackgroundImage, c.Width, c.Height)
	if err == ErrNoMedia {
		return style{}, &Error{Op: op, Kind: Unavailable, Err: err}
	}
	if err != nil {
		return style{}, &Error{Op: op, Kind: Invalid, Err: &layout.FieldError{Pointer: "/backgroundImage", Detail: err.Error()}}
	}
	return style{spec, picture}, nil
}

// loadStill decodes a picture of the media directory, no larger than it takes
// to cover width x height. Its memory is nobody's to give back: canvases that
// show it no more may still be drawn, so it is left to the garbage collector. Of many at once one is decoded at a time, since each
// takes 64 MB for that long.
func loadStill(cfg *Config, name string, width, height int) (*codec.VideoFrame, error) {
	if cfg.Media == nil {
		return nil, ErrNoMedia
	}
	f, err := openMedia(cfg.Media, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cfg.stills.Lock()
	defer cfg.stills.Unlock()
	return video.DecodeImage(f, codec.NewVideoPool(int64(codec.VideoFrameBytes(video.MaxImageSide, video.MaxImageSide))), width, height)
}
