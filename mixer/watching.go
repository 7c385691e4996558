package mixer

// Watching is the picture that a participant's client is sent, by what it shows
// where; immutable. With it the client can paint over the picture, its own camera
// without delay for one.
type Watching struct {
	// Layout is how the picture is arranged, and whose it is; nil where the client
	// is sent no picture, or none is told of yet.
	Layout *LayoutChange
	// Changed is closed when there is another one.
	Changed <-chan struct{}

	told    *LayoutInfo // what Layout was made of
	changed chan struct{}
}

func newWatching(told *LayoutInfo, whose LayoutChange) *Watching {
	w := &Watching{told: told, changed: make(chan struct{})}
	if told != nil {
		whose.LayoutInfo = *told
		w.Layout = &whose
	}
	w.Changed = w.changed
	return w
}

// Watching returns what the client watches now, as fresh as EventLayoutChanged
// is, while somebody follows the participant ([Participant.FollowUplink]). It does not
// block.
func (p *Participant) Watching() *Watching {
	if w := p.watched.Load(); w != nil {
		return w
	}
	p.watched.CompareAndSwap(nil, newWatching(nil, LayoutChange{}))
	return p.watched.Load()
}

// tellWatching finds out whose picture has become another one. Control loop only,
// once the layouts are told.
func (r *Room) tellWatching() {
	for _, p := range r.participants {
		if p.asked.followers.Load() == 0 {
			continue
		}
		var told *LayoutInfo
		var whose LayoutChange
		if p.subscription != nil {
			g := r.programOf(p)
			c := g.canvasOf(p)
			told, whose.Group = c.told, g.group
			if c.owner != nil {
				whose.Participant = c.owner.id
			}
		}
		if old := p.Watching(); old.told != told {
			p.watched.Store(newWatching(told, whose))
			close(old.changed)
		}
	}
}
