package mixer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxChatBytes bounds a text: 2000 characters of four bytes each.
const maxChatBytes = 8000

// ErrNotListening refuses a text for one participant whose client follows no
// events: it would be lost, and nobody would know.
var ErrNotListening = errors.New("the participant's client follows no events")

// Chat is the data of EventChat. It is text from a client; whoever shows it takes
// it for nothing else.
type Chat struct {
	From ParticipantID
	// Name is what the author was called then.
	Name string
	Text string
	// To is whom it is for besides its author; "" is everybody.
	To ParticipantID
}

// Say tells everybody in the room, or only to, what the participant has
// written. What is for everybody is an event like others. What is for one is told
// to him and to the author, as far as their subscriptions say who listens
// (Subscription.ListenAs), and kept nowhere. Invalid names the faulty field;
// NotFound/ErrNoParticipant; Conflict/ErrNotListening.
func (p *Participant) Say(ctx context.Context, text string, to ParticipantID) error {
	const op = "chat"
	r := p.room
	fail := func(kind Kind, field string, err error) error {
		return &Error{Op: op, Kind: kind, Room: r.Info().ID, Participant: p.id, Field: field, Err: err}
	}
	if n := len(text); n == 0 || n > maxChatBytes {
		return fail(Invalid, "/text", fmt.Errorf("%d bytes: want 1..%d", n, maxChatBytes))
	}
	return r.do(ctx, op, func() error {
		present := func(id ParticipantID) bool {
			return slices.ContainsFunc(r.participants, func(o *Participant) bool { return o.id == id })
		}
		if !present(p.id) || to != "" && !present(to) {
			return fail(NotFound, "/to", ErrNoParticipant)
		}
		if p.facts.Load().held {
			return fail(Permission, "", ErrHeld)
		}
		said := Chat{From: p.id, Name: p.facts.Load().name, Text: text, To: to}
		if to == "" {
			r.raise(EventChat, said)
			return nil
		}
		e := &Event{Type: EventChat, Time: time.Now(), Room: r.room.ID, Life: r.life, Seq: r.tidings.seq, Data: said, Private: true}
		if !r.tidings.hub.whisper(e, to, p.id) {
			return fail(Conflict, "/to", ErrNotListening)
		}
		return nil
	})
}

// whisper tells an event to the subscriptions of two participants and keeps it
// nowhere; false, and nobody is told, when the first has none.
func (h *eventHub) whisper(e *Event, to, from ParticipantID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.mu.lives[e.Life]
	if of == nil {
		return false
	}
	var told []*Subscription
	heard := false
	for s := range of.subs {
		if s.listener == to || s.listener == from {
			told = append(told, s)
			heard = heard || s.listener == to
		}
	}
	if !heard {
		return false
	}
	e.ID = h.mu.last
	h.mu.stats.Raised[e.Type]++
	for _, s := range told {
		h.put(s, e)
	}
	return true
}

// ListenAs says whose subscription it is, from now on: it gets what is for that
// participant alone as well.
func (s *Subscription) ListenAs(id ParticipantID) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.listener = id
}
