package mixer

import (
	"sync/atomic"
	"time"

	"mixdown/codec"
)

// Uplink is what a participant's client is asked to send; immutable.
type Uplink struct {
	// Targets are what is asked of each source, where Asked says that anything
	// is: of sources that the client cannot send, nothing.
	Targets [codec.NumSources]codec.UplinkTarget
	Asked   [codec.NumSources]bool
	// Changed is closed when something else is asked.
	Changed <-chan struct{}

	changed chan struct{}
}

func newUplink() *Uplink {
	u := &Uplink{changed: make(chan struct{})}
	u.Changed = u.changed
	return u
}

// asked holds the present Uplink: readers want the latest, not each of them.
type asked struct {
	atomic.Pointer[Uplink]
	followers atomic.Int32
	// limits is what the connection was told last; the control loop's own.
	limits [codec.NumSources]codec.UplinkTarget
}

// limit is what a connection is told of a target.
func (a *asked) limit(t codec.UplinkTarget) codec.UplinkTarget {
	if a.followers.Load() > 0 {
		t.BitrateBps = 0
	}
	return t
}

func (a *asked) now() *Uplink {
	if u := a.Load(); u != nil {
		return u
	}
	a.CompareAndSwap(nil, newUplink())
	return a.Load()
}

// ask changes one source's target. Control loop only.
func (a *asked) ask(id codec.SourceID, t codec.UplinkTarget) {
	old, next := a.now(), newUplink()
	next.Targets, next.Asked = old.Targets, old.Asked
	next.Targets[id], next.Asked[id] = t, true
	a.Store(next)
	close(old.changed)
}

// Uplink returns what the client is asked to send now. It does not block.
func (p *Participant) Uplink() *Uplink { return p.asked.now() }

// FollowUplink says that the client learns what it is asked to send, and what it
// watches, until done is called. Its connection then does not bound the bitrate
// besides: a sender whose estimate is held down has no room when its tile grows,
// and a picture that needs three times the bits begins with a third of them.
func (p *Participant) FollowUplink() (done func()) {
	p.asked.followers.Add(1)
	p.room.wake()
	return func() {
		p.asked.followers.Add(-1)
		p.room.wake()
	}
}

// uplinks is what a room remembers between two looks at what is shown. It
// belongs to the control loop.
type uplinks struct {
	// next is when to look again although nothing else has happened; 0 is never.
	next time.Duration
	// of finds the wants of a tile's source, by the tile's ID; scratch.
	of map[string]*uplinkWants
}

// uplinkWants is what one participant's sources need; scratch.
type uplinkWants struct {
	p     *Participant
	wants [codec.NumSources]uplinkWant
}

// sleep is how long the control loop may sleep for the uplinks' sake.
func (u *uplinks) sleep(now, most time.Duration) time.Duration {
	if u.next == 0 {
		return most
	}
	return min(most, max(0, u.next-now))
}

const screenSuffix = "/screen"

// limitUplinks tells every sender what his tiles can show, where that has
// changed. Control loop only, once the canvases are arranged.
func (r *Room) limitUplinks(now time.Duration) {
	u := &r.uplinks
	u.next = 0
	if u.of == nil {
		u.of = make(map[string]*uplinkWants)
	}
	clear(u.of)
	for _, p := range r.participants {
		if p.inMix && p.source != nil {
			p.source.measure(&p.uplink)
			w := &uplinkWants{p: p}
			u.of[string(p.id)], u.of[string(p.id)+screenSuffix] = w, w
		}
	}
	if len(u.of) == 0 {
		return
	}
	for _, g := range r.programs {
		for _, c := range g.canvases {
			u.collect(c, now)
		}
	}
	for _, p := range r.participants {
		if w := u.of[string(p.id)]; w != nil {
			if next := p.askFor(w.wants, now); next > 0 && (u.next == 0 || now+next < u.next) {
				u.next = now + next
			}
		}
	}
}

// collect adds what a canvas shows. A tile without a picture counts where none
// comes: it is what the first one will need. Where one comes and is not drawn,
// it is not needed.
func (u *uplinks) collect(c *canvas, now time.Duration) {
	for _, t := range c.scene.Load().Tiles {
		w := u.of[t.ID]
		if w == nil {
			continue
		}
		id := codec.Camera
		if t.Screen {
			id = codec.Screen
		}
		if t.Source != nil || !w.p.source.shows(id, now) {
			w.wants[id].add(showing{canvas: c.size, tile: t.Rect, fill: t.Fill}, id, w.p.uplink.sources[id].shape)
		}
	}
}

// askFor has the client told what is wanted of it, unless it is what it was told
// last or it is too early. It returns when to look again; 0 is no matter when.
func (p *Participant) askFor(wants [codec.NumSources]uplinkWant, now time.Duration) (next time.Duration) {
	a := p.endpoint.Load()
	if a == nil {
		return 0
	}
	sends := [codec.NumSources]bool{codec.Camera: a.sends.Camera, codec.Screen: a.sends.Screen}
	for id := range wants {
		if w := &wants[id]; w.level == uplinkHidden && !p.source.shows(codec.SourceID(id), now) {
			// Nothing has come yet, and there is no tile for it. Who was told to
			// pause now would never begin, and not be known to have a picture.
			*w = unseen[id]
		}
	}
	news, next := p.uplink.update(wants, now)
	for id, isNew := range news {
		s := &p.uplink.sources[id]
		if !sends[id] || !s.told {
			continue
		}
		if isNew {
			p.source.hold(codec.SourceID(id), s.target.Paused, now)
			p.asked.ask(codec.SourceID(id), s.target)
		}
		if limit := p.asked.limit(s.target); limit != p.asked.limits[id] {
			p.asked.limits[id] = limit
			a.LimitUplink(codec.SourceID(id), limit)
		}
	}
	return next
}

// unseen is what is asked of sources that nobody knows yet: of a camera the
// least, which is enough to be known, and of a screen all, since who begins to
// share one is looked at.
var unseen = [codec.NumSources]uplinkWant{
	codec.Camera: {level: uplinkLeast, fps: smallFPS},
	codec.Screen: {level: uplinkFull, fps: screenFPS, width: 1280, height: 720},
}

// measure takes note of the sizes that come.
func (s *source) measure(u *uplink) {
	for id, picture := range s.pictures {
		u.sources[id].see(picture.Size())
	}
}

// hold notes that the client was asked to pause a source, or to go on. Control
// loop only.
func (s *source) hold(id codec.SourceID, paused bool, now time.Duration) {
	if s.held[id] && !paused {
		s.resumed[id] = now
	}
	s.held[id] = paused
}
