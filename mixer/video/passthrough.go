package video

import (
	"math"
	"slices"
	"time"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// Incoming is what a source receives, whether it is decoded or not.
type Incoming struct {
	// Width and Height of the picture; 0 before the first key frame.
	Width, Height int
	// BitrateBps and FPS over the last whole second or more; 0 before there was one.
	BitrateBps, FPS float64
	// Last is when the last frame came, on [codec.Now]'s clock.
	Last time.Duration
	// Codec is what it came in.
	Codec codec.Codec
	// Common says that whoever takes that codec can decode it.
	Common bool
}

// incomingWindow is how long is measured: a few groups of a sender's rate
// control, and no longer than a viewer's link bears too much.
const incomingWindow = time.Second

// incomingMeter measures Incoming. Not safe for concurrent use.
type incomingMeter struct {
	Incoming
	since         time.Duration
	frames, bytes int
}

// observe takes one frame.
func (m *incomingMeter) observe(f *codec.EncodedFrame, header codedHeader) {
	arrival := f.Arrival
	m.Last, m.Codec = arrival, f.Codec
	if header.Key {
		m.Width, m.Height, m.Common = header.Width, header.Height, header.common
	}
	if d := arrival - m.since; d >= incomingWindow || d < 0 {
		if m.frames > 0 && d > 0 {
			m.BitrateBps = float64(m.bytes) * 8 / d.Seconds()
			m.FPS = float64(m.frames) / d.Seconds()
		}
		m.since, m.frames, m.bytes = arrival, 0, 0
	}
	m.frames++
	m.bytes += len(f.Data)
}

// Incoming returns what the source receives, hidden or not. Any goroutine may
// ask.
func (s *Source) Incoming() Incoming {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.incoming.Incoming
}

// showing reports whether a compositor has had a picture that came since the
// source was last hidden, and whether the source is closed.
func (s *Source) showing() (shown, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.mu.due.shown
	return f != nil && !s.mu.needKey && f.PTS >= s.mu.freshFrom, s.mu.closed
}

// requestKeyframe asks the sender. It does not block.
func (s *Source) requestKeyframe() {
	s.mu.Lock()
	s.mu.stats.KeyframeRequests++
	s.mu.Unlock()
	s.ask()
}

// addTap makes Write hand its frames to t as well, hidden or not. The list is
// replaced, never changed: Write reads it without a lock.
func (s *Source) addTap(t *tap) { s.changeTaps(func(l []*tap) []*tap { return append(l, t) }) }

// untap ends that, twice is fine. A call of t.take may still be under way.
func (s *Source) untap(t *tap) {
	s.changeTaps(func(l []*tap) []*tap { return slices.DeleteFunc(l, func(x *tap) bool { return x == t }) })
}

func (s *Source) changeTaps(change func([]*tap) []*tap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*tap
	if old := s.taps.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if list = change(list); len(list) == 0 {
		s.taps.Store(nil)
		return
	}
	s.taps.Store(&list)
}

// PassRule is what decides whether a source's own frames may be a rendition of a
// canvas. It has no state but what is in it.
type PassRule struct {
	Tier   Tier
	Codec  codec.Codec
	Canvas layout.Canvas
	// BitrateBps is what the rendition is to take now.
	BitrateBps int
	// Tiles are the canvas's.
	Tiles []Tile
	// KeepSize says that what is sent must not change its size: somebody records,
	// or cannot bear it. Then a source must have just the rendition's.
	KeepSize bool
	// Passing says that the source is passed through already: to end that costs a
	// key frame, so a little more is put up with.
	Passing bool
}

const (
	// A sender may take more than the tier's bitrate: its rate control swings,
	// and what it sends is better than a second coding of it would be.
	passBitrate, passBitrateStay = 1.3, 1.6
	passRate, passRateStay       = 1.15, 1.3
	// passStale is how long a sender may be silent: of a still screen a picture
	// comes each second.
	passStale = 3 * time.Second
	// passShape is by how much, as a share, the shapes may differ, so that there
	// would be bars.
	passShape = 0.02
)

// Source returns the source that fills the canvas with nothing drawn over it,
// or nil.
func (p PassRule) Source() *Source {
	if len(p.Tiles) != 1 || !p.Tiles[0].Bare || p.Tiles[0].Rect != p.Canvas.Bounds() {
		return nil
	}
	s, _ := p.Tiles[0].Source.(*Source)
	return s
}

// Suits reports whether what comes in may be passed through at now.
func (p PassRule) Suits(in Incoming, now time.Duration) bool {
	bitrate, rate := passBitrate, passRate
	if p.Passing {
		bitrate, rate = passBitrateStay, passRateStay
	}
	w, h := p.Tier.sizeOf(p.Canvas.Width, p.Canvas.Height)
	shape := float64(in.Width*h) / float64(max(1, in.Height*w))
	switch {
	case in.Codec != p.Codec || !in.Common:
		return false
	case in.Width == 0 || in.FPS == 0 || now-in.Last > passStale:
		return false
	case in.Width > w || in.Height > h:
		return false // smaller is fine: enlarged here, it would be no sharper
	case math.Abs(shape-1) > passShape:
		return false
	case p.KeepSize && (in.Width != w || in.Height != h):
		return false
	}
	return in.BitrateBps <= bitrate*float64(p.BitrateBps) && in.FPS <= rate*float64(p.Tier.FPS)
}
