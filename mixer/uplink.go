package mixer

import (
	"math"
	"time"

	"mixdown/codec"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// What a source is asked to send: no more than its largest tile can show. The
// pixels that are not sent are neither coded nor decoded, and nobody misses
// them.
//
// Sizes come from a ladder, so that a tile that moves by a few samples changes
// nothing: each change of size costs the sender a key frame. A rung is the
// length of a picture's shorter side, since phones stand upright; a picture of
// 16:9 is 1280x720, 960x540, 640x360, 426x240, 320x180, 212x120 or 160x90.
var uplinkRungs = [...]int{90, 120, 180, 240, 360, 540, 720}

// uplinkLevel is what a source is asked for: nothing, a rung, or all it has.
type uplinkLevel uint8

const (
	// uplinkHidden: nobody sees the source.
	uplinkHidden uplinkLevel = 0
	// uplinkLeast is the lowest rung, level n the rung n-1.
	uplinkLeast uplinkLevel = 1
	// uplinkFull is more than the highest rung: any size.
	uplinkFull   = uplinkLevel(len(uplinkRungs)) + 1
	uplinkLevels = uplinkFull + 1
)

const (
	// uplinkDownAfter is how long a size must have been more than anybody shows
	// before the sender is asked for less: who speaks up again, or comes
	// back from another group, finds his pixels still there.
	uplinkDownAfter = 8 * time.Second
	// uplinkSettle: what was wanted this long before a sender goes down is not
	// gone below. When twenty join, tiles shrink in many steps: the sender
	// sees one.
	uplinkSettle = uplinkDownAfter / 2
	// uplinkEvery is the least time between two changes of one sender.
	uplinkEvery = 2 * time.Second

	// smallRung and below are sent at smallFPS: on a tile as high as a thumbnail
	// nobody tells 30 pictures from 15. From 180 up, lips are seen to move.
	smallRung = 120
	smallFPS  = 15
	// screenFPS is enough for what is read, and twice as many bits for each of it.
	screenFPS = 15
	// screenRung is the least that a screen is reduced to: letters of 10 points
	// survive two thirds of 1080 lines, and not a half.
	screenRung = 720

	// uplinkHeadroom is how much more than the curve of tiers a sender may use:
	// his picture is coded once more, and what he spoils stays spoilt.
	uplinkHeadroom = 1.25
)

// aspectChange is by how much, as a share, a picture's shape must differ from
// what it was known as. Rounding to even sizes is less than that.
const aspectChange = 0.03

// showing is one way in which a source is shown: in a tile of a canvas.
type showing struct {
	canvas layout.Canvas
	tile   layout.Rect
	// fill says that the picture covers the tile, not that it fits inside.
	fill bool
}

// whole says that the tile is all of the canvas: what is sent may be handed on
// as it is.
func (s *showing) whole() bool { return s.tile == s.canvas.Bounds() }

// large says that the tile takes half of the canvas either way.
func (s *showing) large() bool { return 2*s.tile.W >= s.canvas.Width && 2*s.tile.H >= s.canvas.Height }

// size is that of the picture of a shape as it is drawn, before what does not
// fit is cut off.
func (s *showing) size(shape shape) (w, h int) {
	if !s.fill {
		fit := layout.Fit(s.tile, shape.w, shape.h)
		return fit.W, fit.H
	}
	if s.tile.W*shape.h > s.tile.H*shape.w {
		return s.tile.W, ceilDiv(s.tile.W*shape.h, shape.w)
	}
	return ceilDiv(s.tile.H*shape.w, shape.h), s.tile.H
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// shape is a picture's size, of which only the proportions count.
type shape struct{ w, h int }

// usualShape is what is assumed of a source that was not seen yet.
var usualShape = shape{16, 9}

// differs reports whether somebody would see a shape of another: rounding to
// even samples, as at each rung, is no difference.
func (s shape) differs(o shape) bool {
	a, b := s.w*o.h, o.w*s.h
	return math.Abs(float64(a-b)) > aspectChange*float64(max(a, b))
}

// uplinkWant is what the showings of a source need at one moment.
type uplinkWant struct {
	level uplinkLevel
	fps   int
	// whole: one of them is all of a canvas.
	whole bool
	// width and height of the largest picture as it is drawn.
	width, height int
}

// add makes room for one more showing.
func (w *uplinkWant) add(s showing, id codec.SourceID, of shape) {
	if s.tile.Empty() {
		return
	}
	width, height := s.size(of)
	level, fps := levelFor(min(width, height)), s.canvas.FPS
	switch {
	case id == codec.Screen:
		level, fps = max(level, levelFor(screenRung)), min(fps, screenFPS)
		if s.large() {
			level = uplinkFull
		}
	case level <= levelFor(smallRung):
		fps = min(fps, smallFPS)
	}
	if width*height > w.width*w.height {
		w.width, w.height = width, height
	}
	w.level, w.fps, w.whole = max(w.level, level), max(w.fps, fps), w.whole || s.whole()
}

// levelFor is the lowest rung that covers so many samples.
func levelFor(shorter int) uplinkLevel {
	for i, rung := range uplinkRungs {
		if shorter <= rung {
			return uplinkLevel(i) + uplinkLeast
		}
	}
	return uplinkFull
}

// target is what the sender of a source of that shape is told.
func (w *uplinkWant) target(of shape) codec.UplinkTarget {
	level, t := w.level, codec.UplinkTarget{FPS: w.fps}
	if level == uplinkHidden {
		// Who cannot pause sends the least that there is.
		t.Paused, t.FPS, level = true, smallFPS, uplinkLeast
	}
	width, height := w.width, w.height
	if level < uplinkFull {
		width, height = rungSize(uplinkRungs[level-uplinkLeast], of)
		t.Width, t.Height = width, height
	}
	bitrate := float64(video.Tier{Width: width, Height: height, FPS: t.FPS}.DefaultBitrate())
	if !w.whole { // else it may go out as it comes, to those who have room for just that
		bitrate *= uplinkHeadroom
	}
	t.BitrateBps = int(bitrate)
	return t
}

// rungSize is the size of a picture of that shape whose shorter side is the
// rung. Sizes are even, and not longer than what is decoded.
func rungSize(rung int, of shape) (w, h int) {
	const longest = 1920
	if of.w >= of.h {
		return min(rung*of.w/of.h&^1, longest), rung
	}
	return rung, min(rung*of.h/of.w&^1, longest)
}

// uplink is what one sender is asked for, and since when. It belongs to the
// control loop; time is an argument.
type uplink struct {
	sources [codec.NumSources]uplinkSource
	// changed is when the sender was last asked for another size, rate or shape.
	changed time.Duration
	ever    bool // it was
}

// uplinkSource is one of a sender's sources.
type uplinkSource struct {
	shape  shape
	level  uplinkLevel // asked for
	target codec.UplinkTarget
	told   bool // whether anything was asked for
	// wanted is, of each level, what the showings needed when they last needed
	// just that, and when that was.
	wanted [uplinkLevels]struct {
		uplinkWant
		at  time.Duration
		was bool
	}
}

// see takes note of the size of the pictures that come; 0, 0 is unknown.
func (s *uplinkSource) see(w, h int) {
	if s.shape == (shape{}) {
		s.shape = usualShape
	}
	if w > 0 && h > 0 && s.shape.differs(shape{w, h}) {
		s.shape = shape{w, h}
	}
}

// update decides what the sender is asked for from now on, and reports of which
// sources that is news. next is how long until it wants to be asked again at the
// latest, if nothing else happens; 0 is not.
func (u *uplink) update(wants [codec.NumSources]uplinkWant, now time.Duration) (news [codec.NumSources]bool, next time.Duration) {
	soon := func(d time.Duration) {
		if d > 0 && (next == 0 || d < next) {
			next = d
		}
	}
	wait := time.Duration(0)
	if u.ever {
		wait = max(0, uplinkEvery-(now-u.changed))
	}
	for id := range u.sources {
		s, want := &u.sources[id], wants[id]
		w := &s.wanted[want.level]
		w.uplinkWant, w.at, w.was = want, now, true
		if s.told && want.level < s.level {
			if left := s.needed(now); left > 0 {
				soon(left)
				continue // what is sent is more than enough
			}
			want = s.lately(now)
		}
		target := want.target(s.shape)
		switch {
		case s.told && target == s.target:
			s.level = want.level
			continue
		case s.told && s.level != uplinkHidden && wait > 0: // but nobody waits who sees nothing at all
			soon(wait)
			continue
		case s.told: // else he begins with it, which is no change
			u.changed, u.ever = now, true
		}
		s.told, s.level, s.target, news[id] = true, want.level, target, true
	}
	return news, next
}

// needed is for how much longer the present level counts as needed.
func (s *uplinkSource) needed(now time.Duration) time.Duration {
	last := s.wanted[s.level].at
	for l := s.level; l < uplinkLevels; l++ {
		if w := &s.wanted[l]; w.was {
			last = max(last, w.at)
		}
	}
	return max(0, uplinkDownAfter-(now-last))
}

// lately is the most that was needed within uplinkSettle.
func (s *uplinkSource) lately(now time.Duration) uplinkWant {
	l := s.level
	for ; l > uplinkHidden; l-- {
		if w := &s.wanted[l]; w.was && now-w.at < uplinkSettle {
			break
		}
	}
	return s.wanted[l].uplinkWant
}
