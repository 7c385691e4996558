package mixer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"mixdown/codec"
	"mixdown/mixer/video"
)

// ErrNotThatRole refuses to make another role of a participant.
var ErrNotThatRole = errors.New("the participant has another role")

// Comeback is another connection of a participant who is in the room already.
type Comeback struct {
	// Role must be the participant's, since a viewer has no place in the picture.
	Role Role
	// Name replaces the participant's, unless it is empty.
	Name string
	// Limits and Codec are those of the new client, as in a JoinRequest.
	Limits Limits
	Codec  codec.Codec
	// Endpoint is the connection, and Sends and Takes what was agreed on.
	Endpoint     Endpoint
	Sends, Takes Media
}

// Replace gives a participant another connection in place of the one that it
// has: the client has come back, from another network or another page. Whatever
// is known of the participant stays: ID, CSRC, tile, group, layout, whether it is
// muted and how loud it is. What was known of the old connection is forgotten.
// Until the new one is up the participant is reconnecting.
//
// It returns the old endpoint, for the caller to close: media of the new
// connection must not come before that has been done, and what the old one says
// from here on must not reach the Participant. After an error nothing has
// changed. It is not asked whether there is room: there was.
func (r *Room) Replace(ctx context.Context, id ParticipantID, c Comeback) (old Endpoint, err error) {
	const op = "participant.replace"
	if len(c.Name) > maxNameBytes {
		return nil, &Error{Op: op, Kind: Invalid, Participant: id, Field: "/name",
			Err: fmt.Errorf("%d bytes: want at most %d", len(c.Name), maxNameBytes)}
	}
	err = r.do(ctx, op, func() error {
		p, err := r.find(op, id)
		if err != nil {
			return err
		}
		before := p.endpoint.Load()
		switch {
		case !slices.Contains(r.participants, p), p.closed.Load() != nil, before == nil:
			// It is leaving, or was never connected.
			return &Error{Op: op, Kind: NotFound, Room: r.room.ID, Participant: id, Err: ErrNoParticipant}
		case c.Role != p.role:
			return &Error{Op: op, Kind: Conflict, Room: r.room.ID, Participant: id, Err: fmt.Errorf("%w: %s", ErrNotThatRole, p.role)}
		case r.draining():
			return &Error{Op: op, Kind: Unavailable, Room: r.room.ID, Participant: id, Err: ErrDraining}
		}
		old = before.Endpoint
		r.replace(p, c)
		return nil
	})
	return old, err
}

// replace carries it out. Control loop only.
func (r *Room) replace(p *Participant, c Comeback) {
	if p.source == nil {
		c.Sends = Media{}
	}
	p.unwatch() // what is on its way to the old connection goes nowhere
	p.traffic.Add(trafficOf(p.endpoint.Load().Endpoint))
	p.endpoint.Store(&attachment{Endpoint: c.Endpoint, sends: c.Sends, takes: c.Takes})
	p.codec = Media{Codec: c.Codec}.VideoCodec()
	p.link.Store(uint32(codec.LinkSame))
	p.rtt.Store(0)
	p.loss.Store(math.Float64bits(0))
	p.soundLoss.forget()
	p.view.forget()
	p.asked.limits = [codec.NumSources]codec.UplinkTarget{} // it was told nothing
	p.change(func(f *facts) {
		f.limits, f.tier = c.Limits, video.Tier{}
		if c.Name != "" {
			f.name = c.Name
		}
		if f.state != StateWaiting {
			f.state = StateReconnecting
		}
	})
	r.log.Info("participant comes by another connection", "participant", p.id, "identity", p.identity)
}

// forget makes the next connection begin where the first one did. Control loop
// only; nothing is watched.
func (v *viewing) forget() {
	v.said.Lock()
	v.said.path = path{}
	v.said.Unlock()
	v.below.Store(0)
	v.above.Store(0)
	v.blind.Store(false)
	v.fresh.Store(false)
	v.policy, v.rungs, v.feed = nil, nil, nil
	v.paced.now, v.paced.next = 0, 0
}

// forget goes back to the lowest class.
func (c *lossClass) forget() {
	c.loss.Store(0)
	c.at.Store(0)
}
