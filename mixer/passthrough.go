package mixer

import (
	"slices"
	"time"

	"mixdown/codec"
	"mixdown/mixer/video"
)

// passThrough hands a source's own frames on to those who watch a canvas, where
// they would see nothing else: then it is neither drawn nor coded. It reports
// whether the canvas has begun or ceased to need pictures, so that sources have
// to be aimed anew. Control loop only.
//
// Who records has the picture coded, unless what comes in is of just the size
// at which it would be: each change of size begins another file. The same holds
// for clients that cannot bear one, and for outlets.
func (r *Room) passThrough(c *canvas) (changed bool) {
	now, scene := codec.Now(), c.scene.Load()
	for _, rendition := range *c.all.Load() {
		rule := video.PassRule{
			Tier: rendition.Tier(), Codec: rendition.Codec(), Canvas: c.size, Tiles: scene.Tiles, BitrateBps: rendition.Bitrate(),
			KeepSize: r.keepsSize(rendition), Passing: rendition.Passing(),
		}
		src := rule.Source()
		if src != nil && (!rendition.Watched() || !rule.Suits(src.Incoming(), now)) {
			src = nil
		}
		var w, h int
		if rule.KeepSize {
			w, h = rendition.Tier().SizeOn(c.size)
		}
		rendition.KeepSize(w, h)
		rendition.SetPassthrough(src)
	}
	draws := c.draws()
	changed = draws != c.drew
	c.drew = draws
	return changed
}

// keepsSize reports whether somebody takes the rendition who needs its size to
// stay what it is.
func (r *Room) keepsSize(rendition *video.Rendition) bool {
	if r.recording != nil && rendition == r.main.shared().top() || r.outletsOn(rendition) > 0 {
		return true
	}
	return slices.ContainsFunc(r.participants, func(p *Participant) bool {
		return p.facts.Load().limits.ConstantSize && p.watching.Load() == rendition
	})
}

// draws reports whether anybody needs the canvas drawn. Any goroutine may ask.
func (c *canvas) draws() bool {
	return c.photos.draws(codec.Now()) || slices.ContainsFunc(*c.all.Load(), (*video.Rendition).Encodes)
}

// passing is what a canvas needs to know of its room to pass sources through.
type passing struct {
	epoch time.Duration // of the room's PTS, on the process's clock
	wake  func()        // the control loop
}
