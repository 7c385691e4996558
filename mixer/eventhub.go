package mixer

import (
	"errors"
	"sync"
)

// ErrSlow is why a Subscription ended whose queue was full.
var ErrSlow = errors.New("events were not read fast enough")

// eventHub tells events to those who want to know, and keeps the last ones for
// those who come back. Its lock is a leaf, held for a few memory accesses per
// subscriber and never while anybody waits.
//
// What a room's state is and what was told of it change together, under that
// lock. So a snapshot that is taken under it, and the events from then on, make
// a whole: nothing is missing and nothing comes twice.
type eventHub struct {
	mu struct {
		sync.Mutex
		last   uint64
		ring   []*Event // event id is at id % len
		lives  map[string]*lifeEvents
		all    map[*Subscription]struct{}
		closed bool
		stats  EventStats
	}
	queue int
}

// lifeEvents is what the hub knows of one life of a room.
type lifeEvents struct {
	began uint64 // id of its first event
	subs  map[*Subscription]struct{}
}

// EventStats counts events and who is told of them.
type EventStats struct {
	// Subscribers is how many there are now.
	Subscribers int
	// Dropped is subscriptions that ended because their queue was full: the
	// reader was too slow.
	Dropped uint64
	// Raised is events by type.
	Raised [NumEventTypes]uint64
}

func newEventHub(history, queue int) *eventHub {
	h := &eventHub{queue: queue}
	h.mu.ring = make([]*Event, history)
	h.mu.lives = make(map[string]*lifeEvents)
	h.mu.all = make(map[*Subscription]struct{})
	return h
}

// Subscription is a bounded queue of events. When its reader is so slow that
// the queue fills up, the subscription ends: he comes back with the id of the
// last event that he has seen, and is told what he has missed, or gets a
// snapshot.
type Subscription struct {
	hub    *eventHub
	life   string // "" is all rooms
	events chan *Event

	// Guarded by hub.mu.
	err      error
	listener ParticipantID // whose it is; "" is nobody's
}

// Events gives the events from the beginning of the subscription on, in order.
// It is closed when the subscription ends, after what was queued by then.
func (s *Subscription) Events() <-chan *Event { return s.events }

// Err says why Events was closed: ErrSlow, or nil when there will be no more
// events.
func (s *Subscription) Err() error {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.err
}

// Close ends the subscription. Twice is fine.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.end(s, nil)
}

// add numbers the events of one life of a room and tells them. store, which
// must not block, makes their outcome visible.
func (h *eventHub) add(life string, events []*Event, store func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	store()
	of := h.mu.lives[life]
	for _, e := range events {
		h.mu.last++
		e.ID = h.mu.last
		h.mu.ring[e.ID%uint64(len(h.mu.ring))] = e
		h.mu.stats.Raised[e.Type]++
		if of == nil { // the first event of a room
			of = &lifeEvents{began: e.ID, subs: make(map[*Subscription]struct{})}
			h.mu.lives[life] = of
		}
		for s := range of.subs {
			h.put(s, e)
		}
		for s := range h.mu.all {
			h.put(s, e)
		}
		if e.Type == EventRoomFinished {
			for s := range of.subs {
				h.end(s, nil)
			}
			delete(h.mu.lives, life)
		}
	}
}

// put queues an event, or ends the subscription. The caller holds mu.
func (h *eventHub) put(s *Subscription, e *Event) {
	select {
	case s.events <- e:
	default:
		h.mu.stats.Dropped++
		h.end(s, ErrSlow)
	}
}

// end takes a subscription out, once. The caller holds mu.
func (h *eventHub) end(s *Subscription, why error) {
	set := h.subscribers(s.life)
	if _, there := set[s]; !there {
		return
	}
	delete(set, s)
	s.err = why
	close(s.events)
	h.mu.stats.Subscribers--
}

// subscribers of one life of a room, or of all rooms; nil of a life that has
// ended. The caller holds mu.
func (h *eventHub) subscribers(life string) map[*Subscription]struct{} {
	if life == "" {
		return h.mu.all
	}
	if of := h.mu.lives[life]; of != nil {
		return of.subs
	}
	return nil
}

// subscribe begins a subscription; snapshot, which must not block, reads the
// state that it continues, which is that after the event of the id returned.
// nil when the room has ended or the hub is closed.
func (h *eventHub) subscribe(life string, snapshot func()) (*Subscription, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.insert(life)
	if s != nil {
		snapshot()
	}
	return s, h.mu.last
}

// insert makes a subscription. The caller holds mu.
func (h *eventHub) insert(life string) *Subscription {
	set := h.subscribers(life)
	if set == nil || h.mu.closed {
		return nil
	}
	s := &Subscription{hub: h, life: life, events: make(chan *Event, h.queue)}
	set[s] = struct{}{}
	h.mu.stats.Subscribers++
	return s
}

// resume begins a subscription after an event, and returns those that came
// since then. nil when they are not known any more, or never were.
func (h *eventHub) resume(life string, after uint64) (*Subscription, []*Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	size := uint64(len(h.mu.ring))
	if after > h.mu.last || h.mu.last-after > size {
		return nil, nil
	}
	if of := h.mu.lives[life]; life != "" && (of == nil || of.began > after) {
		return nil, nil // he has seen another life of the room, or none
	}
	s := h.insert(life)
	if s == nil {
		return nil, nil
	}
	var missed []*Event
	for id := after + 1; id <= h.mu.last; id++ {
		if e := h.mu.ring[id%size]; life == "" || e.Life == life {
			missed = append(missed, e)
		}
	}
	return s, missed
}

// close ends all subscriptions, and refuses new ones.
func (h *eventHub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.closed = true
	for s := range h.mu.all {
		h.end(s, nil)
	}
	for _, of := range h.mu.lives {
		for s := range of.subs {
			h.end(s, nil)
		}
	}
}

// RoomsSnapshot is all rooms at one moment.
type RoomsSnapshot struct {
	// ID is that of the last event that it contains.
	ID    uint64
	Rooms []RoomInfo // sorted by id
}

// RoomSnapshot is a room at one moment.
type RoomSnapshot struct {
	// ID is that of the last event of the process, and Room.Seq that of the
	// room, that it contains.
	ID   uint64
	Room RoomInfo
	// Participants are in the order of joining.
	Participants []ParticipantInfo
	// Programs are the room's common outputs, the main one first.
	Programs []ProgramInfo
	// Overload is how far the server has lowered what it sends.
	Overload OverloadChange
}

// ProgramInfo is a room's or a group's common output.
type ProgramInfo struct {
	// Group is "" for the main program.
	Group  GroupID
	Layout LayoutInfo
	// Speaker speaks before all others; empty when nobody does.
	Speaker ParticipantID
}

// Subscribe returns all rooms and a subscription to what happens in them from
// then on. Unavailable once the Manager is closed.
func (m *Manager) Subscribe() (*Subscription, RoomsSnapshot, error) {
	var snap RoomsSnapshot
	// The list and the events of rooms that come and go change together under
	// m.mu, as in EnsureRoom and forget.
	m.mu.Lock()
	defer m.mu.Unlock()
	s, id := m.events.subscribe("", func() {
		for _, r := range m.sorted() {
			snap.Rooms = append(snap.Rooms, r.Info())
		}
	})
	snap.ID = id
	if s == nil {
		return nil, snap, &Error{Op: "events.subscribe", Kind: Unavailable, Err: ErrDraining}
	}
	return s, snap, nil
}

// Resume goes on after the event of that id, and returns what has happened
// since then; ok is false when that is not known any more.
func (m *Manager) Resume(after uint64) (s *Subscription, missed []*Event, ok bool) {
	s, missed = m.events.resume("", after)
	return s, missed, s != nil
}

// EventStats returns what was told to whom.
func (m *Manager) EventStats() EventStats {
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	return m.events.mu.stats
}

// Subscribe returns the room and a subscription to what happens in it from then
// on, which ends with the room. Gone when it has ended.
func (r *Room) Subscribe() (*Subscription, RoomSnapshot, error) {
	var snap RoomSnapshot
	var roster []*Participant
	var views []view
	s, id := r.tidings.hub.subscribe(r.life, func() {
		snap.Room, roster, views = r.Info(), *r.roster.Load(), r.snap.Load().views
	})
	if s == nil {
		return nil, snap, &Error{Op: "events.subscribe", Kind: Gone, Room: r.Info().ID, Err: errRoomEnded}
	}
	snap.ID = id
	// Of each participant, and of the load, this may be newer than the snapshot:
	// then an event follows that says the same.
	snap.Participants = visible(roster, false)
	snap.Overload = OverloadChange{r.cfg.governor.Level(), r.cfg.governor.Reason()}
	for _, v := range views {
		// A group that begins just now has no layout yet: it is told of.
		if l := v.canvases[0].info.Load(); l != nil {
			snap.Programs = append(snap.Programs, ProgramInfo{v.prog.group, *l, v.prog.dominant()})
		}
	}
	return s, snap, nil
}

// Resume goes on after the event of that id, and returns what has happened in
// the room since then; ok is false when that is not known any more, or was
// another life of the room.
func (r *Room) Resume(after uint64) (s *Subscription, missed []*Event, ok bool) {
	s, missed = r.tidings.hub.resume(r.life, after)
	return s, missed, s != nil
}

// Room returns the room that the participant is in, or was.
func (p *Participant) Room() *Room { return p.room }
