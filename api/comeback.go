package api

import (
	"context"
	"regexp"

	"mixdown/mixer"
	"mixdown/transport"
)

// A client that comes back proves by the secret of its last session (?replaces=),
// or by the identity in its token, that it is who it was, and so it is: the same
// participant to everybody. The old session is over at once.

// secretPattern is what newSecret makes.
var secretPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)

// replaced returns the session that a client wants to take the place of, or nil
// when that has ended by itself, or is not known any more: then the client joins
// as anybody does. Who was removed, or was replaced by somebody else already, is
// told so.
func (s *sessions) replaced(secret string) (*session, error) {
	key := keyOf(secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.mu.live[key]; x != nil {
		return x, nil
	}
	if why, ok := s.mu.gone[key]; ok && why != vanished && why != drained {
		return nil, why.problem("")
	}
	return nil, nil
}

// comingBack returns who is in the session of a secret, if that is in the room.
func (s *sessions) comingBack(secret string, room mixer.RoomID) (Identity, bool) {
	if !secretPattern.MatchString(secret) {
		return Identity{}, false
	}
	key := keyOf(secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.mu.live[key]
	if x == nil || x.room != room {
		return Identity{}, false
	}
	who := x.who
	who.MayCreate = false
	return who, true
}

// same returns the session of who is in a room with the identity, and in the role,
// that a client joins with; nil when nobody is, or the client has no identity. In
// another role it is another participant, as when one sends by WHIP and watches by
// WHEP.
func (s *sessions) same(room mixer.RoomID, req mixer.JoinRequest) *session {
	if req.Identity == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.mu.participant {
		if info := x.now().Info(); info.Identity == req.Identity && info.Role == req.Role && x.Room().Info().ID == room {
			return x
		}
	}
	return nil
}

// takeOver puts x in the place of old, whose participant it has: what old's
// connection says from here on counts no more. It fails when old is over.
func (s *sessions) takeOver(old, x *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !old.reason.CompareAndSwap(nil, &replaced) {
		return old.reason.Load().problem("")
	}
	if old.ended { // the client has left
		return noSession.problem("")
	}
	old.silent.Store(true)
	x.silent.Store(false)
	s.finish(old)
	s.mu.participant[x.ID()] = x
	return nil
}

// comeBack connects the participant of a session anew. The address was reserved,
// and is given back when this fails. When it returns a session, nothing comes from
// the old connection any more.
func (s *Server) comeBack(ctx context.Context, old *session, room mixer.RoomID, who Identity, req mixer.JoinRequest, offer, address string) (*session, transport.Answer, error) {
	p, in := old.now(), old.Room()
	info := p.Info()
	var fault error
	switch {
	case room != old.room && room != in.Info().ID:
		fault = invalid("", Fault{Parameter: "replaces", Detail: "want a session of this room"})
	case req.Role != info.Role:
		fault = invalid("", Fault{Parameter: "replaces", Detail: "want a session of a " + req.Role.String() + ": it is that of a " + info.Role.String()})
	case req.Identity != info.Identity:
		fault = byKind[mixer.Permission].problem("replaces: the session is somebody else's")
	}
	if fault != nil {
		s.sessions.cancel(address)
		return nil, transport.Answer{}, fault
	}
	x := s.sessions.make(p, old.room, address, who)
	x.silent.Store(true)
	x.trace = traceOf(ctx)
	negotiated := x.trace.step("negotiate")
	peer, answer, err := s.accept(ctx, transport.Offer{
		SDP: offer, Role: roles[req.Role], Epoch: in.Epoch(), CNAME: in.Info().Life, Handler: x,
	})
	negotiated(err)
	if err != nil {
		x.trace.end(err)
		s.sessions.end(x, nil)
		return nil, transport.Answer{}, err
	}
	// x first, as nobody can have heard of it: from takeOver on it may be moved.
	x.handing.Lock()
	defer x.handing.Unlock()
	old.handing.Lock()
	defer old.handing.Unlock()
	if old.now() != p {
		_ = peer.Close() // ends x, which nobody has heard of
		return nil, transport.Answer{}, byKind[mixer.Unavailable].problem("it is being moved to another room")
	}
	if err := s.sessions.takeOver(old, x); err != nil {
		_ = peer.Close() // ends x, which nobody has heard of
		return nil, transport.Answer{}, err
	}
	x.connection = peer
	sends, takes := agreed(req, who.Mute, answer)
	x.trace.joined(p.ID(), sends, takes)
	was, err := in.Replace(ctx, p.ID(), mixer.Comeback{
		Role: req.Role, Name: req.Name, Limits: req.Limits, Codec: req.Codec, Endpoint: peer, Sends: sends, Takes: takes,
	})
	if err != nil { // he is leaving, or is to: nobody speaks for him any more
		_ = peer.Close() // ends x
		p.Leave(err)
		return nil, transport.Answer{}, err
	}
	p.LimitSound(answer.MaxAudioBps, answer.AudioFEC)
	if err := was.Close(); err != nil {
		s.log.Warn("closing a connection that was replaced", "participant", p.ID(), "error", err)
	}
	return x, answer, nil
}
