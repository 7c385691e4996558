package mixer

import (
	"cmp"
	"slices"

	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

const (
	// fastSpeed is the encoders' speed from LevelFast on, libvpx's cpu-used
	// negated; 8 is usual. Of four people at 1280x720 it takes a tenth off the
	// time, and 0.1 dB. 16 takes off a third and 1.7 dB; beyond 10, pictures with
	// much in them take more bits than they were given.
	fastSpeed = 10
	// alwaysShown is how many of those who had the floor last keep their
	// pictures, those first who had it last.
	alwaysShown = 3
)

// OverloadChange is the data of EventOverload.
type OverloadChange struct {
	Level Level
	// Reason is why it was raised last.
	Reason Strain
}

// govern carries out the Governor's level, and tells of it. Control loop only.
func (r *Room) govern() {
	level := r.cfg.governor.Level()
	for _, g := range r.programs {
		for _, c := range g.canvases {
			for _, rendition := range *c.all.Load() {
				speed := 0
				if level >= LevelFast {
					speed = fastSpeed
				}
				rendition.SetSpeed(speed)
				rendition.SetBaseLayerOnly(level >= LevelBaseLayer)
			}
		}
	}
	if level != r.governed {
		r.governed = level
		r.raise(EventOverload, OverloadChange{level, r.cfg.governor.Reason()})
	}
}

// mostTier is the largest tier of canvas c that anybody may be sent now, as an
// index into its renditions. Who records, or watches by an outlet, takes the
// largest one anyway: then one more encoder would save nothing. Control loop
// only.
func (r *Room) mostTier(c *canvas) int {
	taken := r.recording != nil && c == r.main.shared() || r.outletsOn(c.top()) > 0
	if r.governed >= LevelLowTop && len(c.renditions) > 1 && !taken {
		return 1
	}
	return 0
}

// rest marks those items of a canvas whose picture is left out at the
// Governor's level, so that it need not be decoded, nor sent: their tiles stay,
// with placeholders. Never those are who are pinned, share their screen, or had
// the floor lately.
func rest(items []shownItem, spec *layout.Spec, dominant ParticipantID, level Level) {
	if level < LevelHalfTiles {
		return
	}
	var may []int
	for i := range items {
		item := &items[i]
		pinned := slices.Contains(spec.Pins, item.ID) || slices.Contains(spec.Pins, item.Owner)
		if item.Video && !item.Screen && !pinned {
			may = append(may, i)
		}
	}
	// The most active first; among those who never had the floor, who came
	// first.
	slices.SortStableFunc(may, func(a, b int) int {
		if s := compareTrue(items[a].Owner == string(dominant), items[b].Owner == string(dominant)); s != 0 {
			return s
		}
		return cmp.Compare(items[b].Spoke, items[a].Spoke)
	})
	may = may[min(alwaysShown, len(may)):]
	if level == LevelHalfTiles {
		may = may[len(may)/2:]
	}
	for _, i := range may {
		items[i].rests = true
	}
}

// compareTrue orders what is true before what is not.
func compareTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// admit asks the Governor whether p, who is about to join, may. Control loop
// only.
func (r *Room) admit(op string, p *Participant) error {
	standing := StandingNew
	if len(r.participants) == 1 {
		standing = StandingAwaited
	}
	for _, other := range r.participants {
		if p.identity != "" && other.identity == p.identity && other.facts.Load().state == StateReconnecting {
			standing = StandingReturning
		}
	}
	return r.ask(op, p, r.cfg.governor.priceJoin(r.joining(p)), standing)
}

// ask makes the Governor's refusal an Error.
func (r *Room) ask(op string, p *Participant, price Price, standing Standing) error {
	err := r.cfg.governor.Admit(price, standing)
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Kind: Unavailable, Room: r.room.ID, Err: err}
	if p != nil {
		e.Participant = p.id
	}
	return e
}

// canvasPrice is the price of a canvas for p alone. Control loop only.
func (r *Room) canvasPrice(p *Participant) Price {
	shared := r.programOf(p).shared()
	return r.cfg.governor.PriceCanvas(shared.size, shared.renditionFor(p.facts.Load().limits).Tier())
}

// admitCanvas asks whether p may have a canvas of his own. Control loop only.
func (r *Room) admitCanvas(op string, p *Participant) error {
	if r.programOf(p).canvasOf(p).owner == p {
		return nil // he has one
	}
	return r.ask(op, p, r.canvasPrice(p), StandingNew)
}

// admitOthers asks whether everybody in g may have a canvas of his own, where
// that is what a layout means. Control loop only.
func (r *Room) admitOthers(op string, g *program, spec *layout.Spec) error {
	if !spec.HideSelf || g.shared().spec.HideSelf {
		return nil
	}
	var sum Price
	for _, p := range r.participants {
		f := p.facts.Load()
		if f.group == g.group && p.source != nil && f.sends.Camera && p.subscription != nil && g.canvasOf(p).owner != p {
			price := r.canvasPrice(p)
			sum.Compose += price.Compose
			sum.Encode += price.Encode
		}
	}
	return r.ask(op, nil, sum, StandingNew)
}

// admitGroup asks whether a group may begin, with a canvas and an encoder, for
// p to be its first member. Control loop only.
func (r *Room) admitGroup(op string, p *Participant, group GroupID) error {
	if slices.ContainsFunc(r.programs, func(g *program) bool { return g.group == group }) {
		return nil
	}
	return r.ask(op, p, r.canvasPrice(p), StandingNew)
}

// joining is what p's price depends on. Who joins belongs to the main program.
func (r *Room) joining(p *Participant) joining {
	j := joining{role: p.role, noVideo: p.facts.Load().limits.NoVideo, canvas: r.room.Canvas, first: len(r.participants) == 0}
	shared := r.main.shared()
	takes := func(p *Participant) *video.Rendition {
		if p.role == RolePublisher || p.facts.Load().limits.NoVideo {
			return nil
		}
		return largestFor(shared.renditionsIn(p.codec, r), p.facts.Load().limits)
	}
	his := takes(p)
	runs := his == nil || his.Stats().Subscribers > 0
	for _, other := range r.participants {
		if other.source != nil {
			j.tiles++
		}
		// Who is still connecting has been admitted with it.
		runs = runs || takes(other) == his
	}
	if !runs {
		j.starts = his.Tier()
	}
	if shared.spec.HideSelf && his != nil && p.source != nil {
		j.own = his.Tier()
	}
	return j
}
