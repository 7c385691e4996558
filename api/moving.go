package api

import (
	"context"
	"errors"
	"slices"

	"mixdown/mixer"
)

// A session outlives its participant's moves: it goes on in another room, by the
// same connection and the same secret. Its streams of events then begin anew in
// themselves, with a snapshot of that room.

// place is where a session's participant is.
type place struct {
	participant *mixer.Participant
	// since is the id of an event: up to it a stream of this session's told of
	// another room.
	since uint64
	// moved is closed when this is not its place any more.
	moved chan struct{}
}

func (s *session) place() place {
	s.speaks.RLock()
	defer s.speaks.RUnlock()
	return s.at
}

// now is the participant for whom the session speaks now.
func (s *session) now() *mixer.Participant { return s.place().participant }

// ID is the participant's, in whatever room.
func (s *session) ID() mixer.ParticipantID { return s.now().ID() }

// Room is the one in which the participant is.
func (s *session) Room() *mixer.Room { return s.now().Room() }

// moveTo has the session speak for what its participant is in another room. When
// it returns, nothing of its connection is under way to the old one.
func (s *session) moveTo(m mixer.Moved) {
	s.speaks.Lock()
	defer s.speaks.Unlock()
	close(s.at.moved)
	s.at = place{participant: m.Participant, since: m.Since, moved: make(chan struct{})}
}

// feed is what the session's own streams tell.
func (s *session) feed() feed {
	at := s.place()
	f := feedOf(at.participant.Room())
	f.ended, f.participant, f.moved, f.again = s.done, at.participant, at.moved, s.feed
	resume := f.resume
	f.resume = func(after uint64) (*mixer.Subscription, []*mixer.Event, bool) {
		if after < at.since {
			return nil, nil, false
		}
		return resume(after)
	}
	if at.participant.Held() {
		f.hold()
	}
	return f
}

// hold makes a feed one for somebody in the waiting room: of those in the room it
// tells nothing but himself, until he is let in.
func (f *feed) hold() {
	p := f.participant
	f.admitted = p.Admitted()
	f.keepOut(func() []Participant { return []Participant{participantOf(p.Info())} })
}

// guarded reports whether to be let into a room takes more than a token, which
// whoever asks has not shown. Without keys nobody has to.
func guarded(info mixer.RoomInfo, who *Identity) bool {
	return who.claims != nil && !who.Moderator && (info.WaitingRoom || info.PIN != "")
}

// keepOut makes a feed one for somebody who was not let in, and may know of
// nobody but who known returns. Its events have an id that nobody can go on from,
// since what came before is not known to him.
func (f *feed) keepOut(known func() []Participant) {
	f.held, f.fresh = true, true
	f.resume = func(uint64) (*mixer.Subscription, []*mixer.Event, bool) { return nil, nil, false }
	begin := f.begin
	f.begin = func() (*mixer.Subscription, uint64, uint64, any, error) {
		sub, _, seq, data, err := begin()
		if whole, ok := data.(RoomSnapshot); ok {
			data = whole.forHeld(known())
		}
		return sub, 0, seq, data, err
	}
}

// forHeld is what of a snapshot somebody may know who waits to be let in: what the
// room is called, and whether it is being recorded.
func (w RoomSnapshot) forHeld(known []Participant) RoomSnapshot {
	room := w.Room
	room.Metadata, room.Layout, room.Floor = "", defaultLayout(), ""
	room.Status = &RoomStatus{}
	if w.Room.Status != nil {
		room.Status.Recording = w.Room.Status.Recording
	}
	return RoomSnapshot{
		Room: room, Participants: known,
		Layout: layoutOf(mixer.LayoutInfo{}), Groups: []GroupState{},
	}
}

// tells reports whether an event is told in the feed.
func (f *feed) tells(e *mixer.Event) bool {
	switch {
	case f.participant == nil && f.held:
		return e.Type == mixer.EventRoomFinished
	case f.participant == nil:
		return true
	case e.Type == mixer.EventLayoutChanged:
		return false // of pictures that somebody else watches; of his own it is told
	case !f.held || e.Private:
		return true
	}
	switch d := e.Data.(type) {
	case mixer.RoomInfo:
		return e.Type == mixer.EventRoomFinished
	case mixer.ParticipantInfo:
		return d.ID == f.participant.ID()
	case mixer.ParticipantLeft:
		return d.ID == f.participant.ID()
	}
	return false
}

// elsewhere reports whether what the feed tells of is over for its listener, who
// is to be told of something else instead.
func (f *feed) elsewhere() bool {
	for _, over := range []<-chan struct{}{f.moved, f.admitted} {
		select {
		case <-over:
			return true
		default:
		}
	}
	return false
}

// tellOn is tellClient, and goes on where the listener's participant does. It
// closes the subscription.
func (s *Server) tellOn(ctx context.Context, c *listener, f *feed, sub *mixer.Subscription, at position, first []byte) ending {
	for {
		why := s.tellClient(c, f, sub, at, first)
		sub.Close()
		if why != away {
			return why
		}
		small := f.small
		*f = f.again()
		f.fresh, f.small = true, small
		var err error
		if sub, at, first, err = s.opening(ctx, *f, 0, false); err != nil {
			return ended // that room has ended, too
		}
	}
}

// moveParticipant takes somebody to another room, who keeps his session.
func (s *Server) moveParticipant(ctx context.Context, room *mixer.Room, id mixer.ParticipantID, to mixer.RoomID) (mixer.ParticipantInfo, error) {
	for {
		x := s.sessions.of(id)
		if x == nil {
			return mixer.ParticipantInfo{}, noParticipant.problem("")
		}
		info, err := s.moveSession(ctx, x, room, to)
		if err != errReplaced { // else another one has the participant now
			return info, err
		}
	}
}

// errReplaced says that a session has lost its participant to another one.
var errReplaced = errors.New("the session was replaced")

// moveSession takes a session's participant to another room.
func (s *Server) moveSession(ctx context.Context, x *session, room *mixer.Room, to mixer.RoomID) (mixer.ParticipantInfo, error) {
	// Not while the client comes back by another session, which belongs to the
	// participant as it was.
	x.handing.Lock()
	defer x.handing.Unlock()
	if s.sessions.of(x.ID()) != x {
		return mixer.ParticipantInfo{}, errReplaced
	}
	if x.Room() != room {
		return mixer.ParticipantInfo{}, noParticipant.problem("")
	}
	return s.rooms.Move(ctx, room, x.ID(), to, x.moveTo)
}

// of returns a participant's session; nil when it has none.
func (s *sessions) of(id mixer.ParticipantID) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.participant[id]
}

// in returns the sessions of those who are in a room and meet a condition.
func (s *sessions) in(room mixer.RoomID, meets func(*session) bool) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*session
	for _, x := range s.mu.participant {
		if x.Room().Info().ID == room && meets(x) {
			found = append(found, x)
		}
	}
	slices.SortFunc(found, func(a, b *session) int { return slices.Compare([]byte(a.ID()), []byte(b.ID())) })
	return found
}
