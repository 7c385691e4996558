package mixer

import (
	"context"
	"errors"
	"slices"
	"time"

	"mixdown/codec"
	"mixdown/mixer/video"
)

// Reasons to refuse a move, or why somebody has left.
var (
	// ErrMoved is the reason of those who leave because they go on in another room.
	ErrMoved        = errors.New("moved to another room")
	ErrSameRoom     = errors.New("the participant is in that room already")
	ErrNotConnected = errors.New("the participant is not connected yet")
)

// Moved is what becomes of a participant in its new room.
type Moved struct {
	*Participant
	// Since is the id of the last event before it was there: those up to it tell
	// of its old room, as far as they concern it.
	Since uint64
}

// Move takes a participant to another room, without renegotiation: its client
// keeps its connection, and is sent the sound and the picture of that room from
// then on. ID, identity, name, avatar and what was set of its sound stay; so does
// the CSRC, unless somebody there has it. Its group and its own layout stay
// behind. It is asked there whether there is room, but not for a PIN, nor whether
// the room is locked: whoever moves people knows what they do. Who waited to be
// admitted is.
//
// A room has its participants for itself, and so the new one is another
// Participant. handOver is called once everything of the old room has been sent:
// the connection's calls must go to the new one when it returns, and none may be
// under way to the old one. It is not called when Move fails. NotFound, Conflict
// (ErrSameRoom, ErrNotConnected, ErrRoomFull), an [Overload].
func (m *Manager) Move(ctx context.Context, from *Room, id ParticipantID, to RoomID, handOver func(Moved)) (ParticipantInfo, error) {
	const op = "participant.move"
	there, err := m.Room(to)
	if err != nil {
		return ParticipantInfo{}, err
	}
	old, err := from.find(op, id)
	if err != nil {
		return ParticipantInfo{}, err
	}
	if there == from {
		return ParticipantInfo{}, &Error{Op: op, Kind: Conflict, Room: to, Participant: id, Err: ErrSameRoom}
	}
	var takes codec.Codec // of pictures
	err = from.do(ctx, op, func() error {
		takes = old.codec
		return from.mayGo(op, old)
	})
	if err != nil {
		return ParticipantInfo{}, err
	}
	next, err := there.expect(ctx, op, old, takes)
	if err != nil {
		return ParticipantInfo{}, err
	}
	a, without, err := from.letGo(ctx, op, old)
	if err != nil { // it has left meanwhile
		next.PeerClosed(ErrMoved)
		return ParticipantInfo{}, err
	}
	// Not a moment of the old room's sound may come after the new one's.
	from.heard.wait(without)
	next.inherit(old, a, from.epoch)
	handOver(Moved{Participant: next, Since: m.events.latest()})
	close(old.handed)
	// What the connection has said of itself until then.
	next.link.CompareAndSwap(uint32(codec.LinkSame), old.link.Load())
	if c := old.closed.Load(); c != nil {
		next.closed.CompareAndSwap(nil, c)
	}
	err = there.do(context.WithoutCancel(ctx), op, func() error {
		there.follow(next)
		return nil
	})
	return next.Info(), err
}

// expect adds the one who old will be to the room.
func (r *Room) expect(ctx context.Context, op string, old *Participant, takes codec.Codec) (*Participant, error) {
	f := *old.facts.Load()
	p := &Participant{
		room: r, id: old.id, identity: old.identity, kind: old.kind, role: old.role, csrc: old.csrc,
		joined: time.Now(), codec: takes, hidden: old.hidden, admitted: make(chan struct{}),
	}
	f.state, f.group, f.alsoTo, f.held, f.echo, f.tier = StateWaiting, "", nil, false, false, video.Tier{}
	p.facts.Store(&f)
	if old.source != nil {
		var err error
		if p.source, err = r.newSource(p); err != nil {
			return nil, &Error{Op: op, Kind: Internal, Room: r.Info().ID, Err: err}
		}
	}
	err := r.do(ctx, op, func() error {
		fail := func(kind Kind, err error) error {
			return &Error{Op: op, Kind: kind, Room: r.room.ID, Participant: p.id, Err: err}
		}
		switch {
		case r.draining():
			return fail(Unavailable, ErrDraining)
		case len(r.participants) >= r.room.MaxParticipants:
			return fail(Conflict, ErrRoomFull)
		case slices.ContainsFunc(r.participants, func(o *Participant) bool { return o.id == p.id }):
			return fail(Conflict, ErrSameRoom) // it is just coming
		}
		if err := r.admit(op, p); err != nil {
			return err
		}
		if f.suppress {
			if err := r.provideSuppressor(p); err != nil {
				return fail(Unavailable, err)
			}
		}
		if r.hasCSRC(p.csrc) {
			p.csrc = r.newCSRC()
		}
		r.participants = append(r.participants, p)
		r.log.Info("participant comes from another room", "participant", p.id, "identity", p.identity)
		return nil
	})
	if err != nil && p.source != nil {
		p.source.close()
	}
	return p, err
}

// mayGo says whether p can be moved. Control loop only.
func (r *Room) mayGo(op string, p *Participant) error {
	switch {
	case !slices.Contains(r.participants, p), p.closed.Load() != nil:
		return &Error{Op: op, Kind: NotFound, Room: r.room.ID, Participant: p.id, Err: ErrNoParticipant}
	case p.endpoint.Load() == nil:
		return &Error{Op: op, Kind: Conflict, Room: r.room.ID, Participant: p.id, Err: ErrNotConnected}
	}
	return nil
}

// letGo takes p out of the room, but keeps its connection, which it returns. The
// caller waits until the audio loop has come to without, and closes p.handed once
// the connection speaks for p no more.
func (r *Room) letGo(ctx context.Context, op string, p *Participant) (a *attachment, without uint64, err error) {
	err = r.do(ctx, op, func() error {
		if err := r.mayGo(op, p); err != nil {
			return err
		}
		a, p.handed = p.endpoint.Load(), make(chan struct{})
		p.endpoint.Store(&attachment{Endpoint: nowhere{}, sends: a.sends, takes: a.takes})
		if p.inMix {
			without = r.snap.Load().seq + 1
		}
		r.remove(p, ErrMoved)
		return nil
	})
	return a, without, err
}

// inherit gives p the connection of old, and what was learned of it. p is not in
// the room's mix yet.
func (p *Participant) inherit(old *Participant, a *attachment, epoch time.Duration) {
	e := a.Endpoint
	if r, ok := e.(*rebased); ok { // it was moved before
		e, epoch = r.Endpoint, r.epoch
	}
	if by := p.room.epoch - epoch; by != 0 {
		e = &rebased{Endpoint: e, epoch: epoch, by: by}
	}
	p.face, p.asked.limits = old.face, old.asked.limits
	p.rtt.Store(old.rtt.Load())
	p.loss.Store(old.loss.Load())
	p.soundLoss.loss.Store(old.soundLoss.loss.Load())
	p.soundLoss.at.Store(old.soundLoss.at.Load())
	p.soundLoss.most.Store(old.soundLoss.most.Load())
	p.soundLoss.take.Store(old.soundLoss.take.Load())
	old.view.said.Lock()
	said := old.view.said.path
	old.view.said.Unlock()
	p.view.said.Lock()
	p.view.said.path = said
	p.view.said.Unlock()
	if !p.endpoint.CompareAndSwap(nil, &attachment{Endpoint: e, sends: a.sends, takes: a.takes}) {
		// He was taken out of the new room meanwhile, or it has ended: as in Attach.
		_ = e.Close()
	}
}

// rebased is a connection that was made in another room, and sends by that room's
// clock. What it is lent is copied with the time that it has there: a frame is
// shared by all who are sent it, and never changed. It costs a copy, of memory that
// is pooled, for those who were moved and nobody else.
type rebased struct {
	Endpoint
	epoch time.Duration // of that room
	by    time.Duration // what this room's PTS are earlier by
}

// WriteAudio lends the connection a copy.
func (e *rebased) WriteAudio(f *codec.EncodedFrame) {
	c := e.copy(f)
	e.Endpoint.WriteAudio(c)
	c.Release()
}

// WriteVideo lends the connection a copy.
func (e *rebased) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	c := e.copy(f)
	verdict := e.Endpoint.WriteVideo(c)
	c.Release()
	return verdict
}

func (e *rebased) copy(f *codec.EncodedFrame) *codec.EncodedFrame {
	c := codec.NewEncodedFrame(len(f.Data))
	c.Codec, c.Stream, c.PTS = f.Codec, f.Stream, f.PTS+e.by
	c.DTX, c.Key, c.Discardable, c.Temporal, c.LayerSync, c.Sharp = f.DTX, f.Key, f.Discardable, f.Temporal, f.LayerSync, f.Sharp
	c.Width, c.Height = f.Width, f.Height
	c.Data = append(c.Data, f.Data...)
	c.Heard = append(c.Heard[:0], f.Heard...)
	return c
}

// Traffic is the connection's own.
func (e *rebased) Traffic() codec.Traffic { return trafficOf(e.Endpoint) }

// latest is the id of the last event of the process.
func (h *eventHub) latest() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.last
}
