package bench

import (
	"errors"
	"image"
	"time"

	"mixdown/cmd/mixdown/internal/bench/marker"
	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/mixer/layout"
)

// sighting is one number that appeared in a tile.
type sighting struct {
	number  int
	arrival time.Duration
	capture codec.NTPTime // the server's own instant of the canvas
}

// tiles is where on a canvas whose picture is.
type tiles struct {
	canvas layout.Canvas
	by     map[string]layout.Rect // by name
}

// numbers decodes the pictures that a client kept and returns, for each of the
// named tiles, the numbers that appeared there. What cannot be read is counted
// in unread, and then it is unknown when the next one appeared. source is the
// size of the pictures that were sent.
func numbers(pictures []seenPicture, where tiles, names []string, source layout.Canvas) (views map[string][]sighting, unread int, err error) {
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{MaxWidth: layout.MaxSide, MaxHeight: layout.MaxSide})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, dec.Close()) }()
	pool := codec.NewVideoPool(1 << 30)
	views = make(map[string][]sighting)
	last := make(map[string]int)
	const unknown = -1
	for _, name := range names {
		last[name] = unknown
	}
	for _, p := range pictures {
		if err := dec.Decode(p.data); err != nil {
			// Before the first key frame, or after a loss: nothing to be seen.
			for _, name := range names {
				last[name] = unknown
			}
			continue
		}
		w, h := dec.Size()
		picture, err := pool.Get(w, h)
		if err != nil {
			return nil, unread, err
		}
		if err := dec.Picture(picture); err != nil {
			picture.Release()
			return nil, unread, err
		}
		for _, name := range names {
			tile, ok := where.by[name]
			if !ok {
				continue
			}
			n, ok := marker.ReadNumber(picture, onPicture(layout.Fit(tile, source.Width, source.Height), where.canvas, w, h))
			if !ok {
				unread++
				last[name] = unknown
				continue
			}
			if before := last[name]; before != unknown && before != n {
				views[name] = append(views[name], sighting{n, p.arrival, p.capture})
			}
			last[name] = n
		}
		picture.Release()
	}
	return views, unread, nil
}

// onPicture maps a rectangle of the canvas to a picture of it, which may be
// smaller.
func onPicture(r layout.Rect, canvas layout.Canvas, w, h int) image.Rectangle {
	return image.Rect(r.X*w/canvas.Width, r.Y*h/canvas.Height, (r.X+r.W)*w/canvas.Width, (r.Y+r.H)*h/canvas.Height)
}
