package video

import "time"

// A canvas that looks as it did a tick ago need not be coded: who has it, has
// it. But the last frame before it came to rest was made in a hurry, the next
// viewer and a recording need something to go on, and a loss that nobody
// noticed has to heal. So a canvas at rest is coded ten times a second until it
// is sharp, which takes about a second, and then once a second. Those frames
// are all of the base layer: one of the upper layer would be forgotten with
// the next.
//
// A lone camera of 15 or 10 pictures a second is not at rest between two of
// them: then exactly its pictures are coded.
const (
	sharpenEvery = 100 * time.Millisecond
	// sharpenMost frames are coded for sharpness when the encoder never says that
	// it is reached: what is so hard to code gains little from more.
	sharpenMost = 15
	// stillEvery is the pause between two frames of a canvas at rest.
	stillEvery = time.Second
)

// stillness decides which canvases are coded. Not safe for concurrent use.
type stillness struct {
	dirty     bool          // the canvas has changed since the last one that was taken
	sharp     bool          // what was coded last needs no more
	sharpened int           // frames coded since the last change
	taken     bool          // last means something
	last      time.Duration // PTS of the last canvas that was taken
	keyed     bool          // key means something
	key       time.Duration // PTS of the last key frame
}

// take decides about the canvas of that PTS. keyWanted says that somebody waits
// for a key frame. base says that the frame is to be of the base layer.
func (s *stillness) take(pts time.Duration, keyWanted bool) (take, base bool) {
	rested := s.sharpened > 0
	gap := pts - s.last
	switch {
	case s.dirty || !s.taken || gap < 0:
		s.dirty, s.sharp, s.sharpened = false, false, 0
		take, base = true, rested
	case keyWanted && (!s.keyed || pts-s.key >= keyWindow):
		take, base = true, true
	case !s.sharp && s.sharpened < sharpenMost && gap >= sharpenEvery-tickSlack, gap >= stillEvery-tickSlack:
		s.sharpened++
		take, base = true, true
	}
	if take {
		s.taken, s.last = true, pts
	}
	return take, base
}

// coded tells what became of a canvas that was taken.
func (s *stillness) coded(pts time.Duration, key, sharp bool) {
	if key {
		// A key frame is as coarse as a first frame is.
		s.keyed, s.key, s.sharpened = true, pts, 0
	}
	s.sharp = sharp && !s.dirty
}

// lost says that a canvas that was taken was not coded: the next one is, be it
// the same.
func (s *stillness) lost() { s.dirty = true }
