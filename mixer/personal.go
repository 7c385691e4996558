package mixer

import (
	"context"
	"fmt"
	"slices"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// maxPersonal is how many canvases of their own the members of a room have at
// most. Each is drawn and encoded for one person alone.
const maxPersonal = 64

// ErrTooManyCanvases refuses one more canvas.
var ErrTooManyCanvases = fmt.Errorf("the room has %d personal layouts already", maxPersonal)

// PersonalLayout returns what the participant's own canvas shows where, or
// NotFound when he watches the one that all share.
func (r *Room) PersonalLayout(id ParticipantID) (LayoutInfo, error) {
	const op = "layout.get"
	p, err := r.find(op, id)
	if err != nil {
		return LayoutInfo{}, err
	}
	for _, v := range r.snap.Load().views {
		for _, c := range v.canvases {
			if c.owner == p && c.info.Load() != nil {
				return c.layoutInfo(), nil
			}
		}
	}
	return LayoutInfo{}, &Error{Op: op, Kind: NotFound, Room: r.Info().ID, Participant: id, Err: ErrNoCanvas}
}

// SetPersonalLayout gives the participant a canvas of his own that looks as spec
// says, at its full price, or, with nil, takes it away. It returns what that
// canvas shows (nothing, when it was taken away or the participant is not
// connected yet). A dry run changes nothing and says what it would show and
// cost. Exhausted/ErrTooManyCanvases; an [Overload].
func (r *Room) SetPersonalLayout(ctx context.Context, id ParticipantID, spec *layout.Spec, dryRun bool) (LayoutInfo, error) {
	const op = "participant.layout"
	var looks *style
	if spec != nil {
		own, err := newStyle(op, &r.cfg, r.Info().Canvas, *spec)
		if err != nil {
			return LayoutInfo{}, err
		}
		looks = &own
	}
	var info LayoutInfo
	err := r.do(ctx, op, func() error {
		p, err := r.find(op, id)
		if err != nil {
			return err
		}
		if spec != nil && r.programOf(p).canvasOf(p).owner != p && r.personalCanvases() >= maxPersonal {
			return &Error{Op: op, Kind: Exhausted, Room: r.room.ID, Participant: id, Err: ErrTooManyCanvases}
		}
		if dryRun {
			info = r.tryLayout(p, spec)
			return nil
		}
		if spec != nil && p.style == nil {
			if err := r.admitCanvas(op, p); err != nil {
				return err
			}
		}
		p.style = looks
		return nil
	})
	if err != nil || dryRun || spec == nil {
		return info, err
	}
	if info, err = r.PersonalLayout(id); err != nil {
		info = LayoutInfo{Spec: *spec} // he has no picture yet
	}
	return info, nil
}

// tryLayout says what p's own canvas would show and cost.
func (r *Room) tryLayout(p *Participant, spec *layout.Spec) LayoutInfo {
	g := r.programOf(p)
	shared := g.shared()
	if spec == nil {
		return LayoutInfo{Spec: shared.spec, Canvas: shared.size}
	}
	trial := &canvas{owner: p, size: shared.size, style: style{spec: *spec}}
	info := LayoutInfo{Spec: *spec, Canvas: shared.size, Cost: LayoutCost{Encodes: 1, Cores: r.canvasPrice(p).Cores()}}
	for _, v := range r.snap.Load().views {
		if v.prog != g {
			continue
		}
		items := v.items(trial, codec.Now())
		for _, placed := range v.solve(trial, items).Tiles {
			if placed.Item >= 0 {
				item := &items[placed.Item]
				info.Tiles = append(info.Tiles, LayoutTile{
					Participant: item.p.id, Source: item.source, Rect: placed.Rect, Z: placed.Z, Fill: placed.Fill, Name: item.p.facts.Load().name,
				})
			}
		}
	}
	return info
}

func (r *Room) personalCanvases() (n int) {
	for _, g := range r.programs {
		n += len(g.canvases) - 1
	}
	return n
}

// personalStyle is how p's own canvas in g is to look; ok is false when he is to
// have none.
func (g *program) personalStyle(p *Participant) (looks style, ok bool) {
	f := p.facts.Load()
	shared := g.shared().style
	switch {
	case !p.inMix || f.group != g.group || p.subscription == nil:
		return looks, false
	case p.style != nil:
		return *p.style, true
	}
	// Everybody sees the others: a picture each, for those who are in it.
	return shared, shared.spec.HideSelf && p.source != nil && f.sends.Camera && !f.audience
}

// provideCanvases makes canvases for those who want their own, and ends those
// that nobody wants. Control loop only.
func (r *Room) provideCanvases(g *program) {
	for _, c := range g.canvases[1:] {
		if _, wanted := g.personalStyle(c.owner); !wanted || !slices.Contains(r.participants, c.owner) {
			r.retire(g, c)
		}
	}
	for _, p := range r.participants {
		looks, wanted := g.personalStyle(p)
		if !wanted {
			continue
		}
		own := g.canvasOf(p)
		if own.owner != p {
			if r.personalCanvases() >= maxPersonal {
				continue // he watches the shared one
			}
			var err error
			if own, err = newCanvas(r.cfg, r.room, p, r.frames, g.log); err != nil {
				g.log.Error("a participant's own canvas", "participant", p.id, "error", err)
				continue
			}
			g.canvases = append(slices.Clone(g.canvases), own)
			r.rewatch(p)
		}
		own.style = looks
	}
}

// retire ends a personal canvas: the snapshot that is published next is the
// first without it.
func (r *Room) retire(g *program, c *canvas) {
	g.canvases = slices.DeleteFunc(slices.Clone(g.canvases), func(o *canvas) bool { return o == c })
	if c.owner.subscription != nil && c.owner.facts.Load().group == g.group {
		r.rewatch(c.owner)
	}
	r.past.Lock()
	c.counted = true
	r.past.stats.add(c.stats())
	r.past.Unlock()
	r.leaving.Go(c.close)
}

// rewatch sends p the canvas that is now his.
func (r *Room) rewatch(p *Participant) {
	p.unwatch()
	r.show(p)
}
