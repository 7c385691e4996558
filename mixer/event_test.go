package mixer

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/record"
)

// follow reads events until one of that type has come, and returns all of
// them. It fails on a gap.
func follow(t *testing.T, s *Subscription, until EventType) []*Event {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	var all []*Event
	for {
		select {
		case e, open := <-s.Events():
			if !open {
				t.Fatalf("the subscription ended (%v) before %s; came %v", s.Err(), until, types(all))
			}
			if n := len(all); n > 0 && e.Life == all[n-1].Life && (e.Seq != all[n-1].Seq+1 || e.ID <= all[n-1].ID) {
				t.Fatalf("seq %d, id %d after seq %d, id %d", e.Seq, e.ID, all[n-1].Seq, all[n-1].ID)
			}
			if all = append(all, e); e.Type == until {
				return all
			}
		case <-deadline.C:
			t.Fatalf("no %s within 20 s; came %v", until, types(all))
		}
	}
}

func types(events []*Event) (names []string) {
	for _, e := range events {
		names = append(names, e.Type.String())
	}
	return names
}

// last returns the data of the last event.
func last[T any](t *testing.T, events []*Event) T {
	t.Helper()
	data, ok := events[len(events)-1].Data.(T)
	if !ok {
		t.Fatalf("%s has %T", events[len(events)-1].Type, events[len(events)-1].Data)
	}
	return data
}

func subscribe(t *testing.T, m *Manager) *Subscription {
	t.Helper()
	s, _, err := m.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Everything that happens in a room's life is told, in order, with what it is
// about.
func TestEventsOfALife(t *testing.T) {
	m := newManager(t)
	s := subscribe(t, m)
	r := newTestRoom(t, m, RoomConfig{Name: "n"})
	if info := last[RoomInfo](t, follow(t, s, EventRoomStarted)); info.ID != "test" || info.Name != "n" || info.Life != r.life {
		t.Errorf("started: %+v", info)
	}

	p, _ := enter(t, r, "Ann")
	if info := last[ParticipantInfo](t, follow(t, s, EventParticipantJoined)); info.ID != p.id || info.Name != "Ann" || info.State != StateWaiting {
		t.Errorf("joined: %+v", info)
	}
	if info := last[ParticipantInfo](t, follow(t, s, EventParticipantUpdated)); info.State != StateActive || !info.Sends.Audio {
		t.Errorf("updated: %+v", info)
	}
	if l := last[LayoutChange](t, follow(t, s, EventLayoutChanged)); l.Group != "" || len(l.Tiles) != 1 || l.Tiles[0].Participant != p.id {
		t.Errorf("layout: %+v", l)
	}

	patch := func(patch ParticipantPatch) {
		t.Helper()
		if _, err := r.UpdateParticipant(t.Context(), p.id, patch); err != nil {
			t.Fatal(err)
		}
	}
	same, name, yes, team := "Ann", "Bea", true, GroupID("team")
	patch(ParticipantPatch{Name: &same}) // says nothing new
	patch(ParticipantPatch{Name: &name, Muted: &yes})
	events := follow(t, s, EventParticipantUpdated)
	if info := last[ParticipantInfo](t, events); len(events) != 1 || info.Name != "Bea" || !info.Muted {
		t.Errorf("%v: %+v", types(events), info)
	}
	patch(ParticipantPatch{Group: &team})
	if moved := last[ParticipantMoved](t, follow(t, s, EventParticipantMoved)); moved.From != "" || moved.Group != team {
		t.Errorf("moved: %+v", moved)
	}

	rec, err := r.StartRecording(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := last[record.Recording](t, follow(t, s, EventRecordingStarted)); got.ID != rec.ID || got.State != record.Starting || got.RoomID != r.life {
		t.Errorf("recording started: %+v", got)
	}
	recorder, err := m.cfg.Recordings.Recorder(rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := recorder.Pause(); err != nil {
		t.Fatal(err)
	}
	if got := last[record.Recording](t, follow(t, s, EventRecordingPaused)); got.State != record.Paused {
		t.Errorf("recording paused: %+v", got)
	}
	if err := recorder.Resume(); err != nil {
		t.Fatal(err)
	}
	follow(t, s, EventRecordingResumed)

	gone := errors.New("gone")
	if err := r.Remove(t.Context(), p.id, gone); err != nil {
		t.Fatal(err)
	}
	left := last[ParticipantLeft](t, follow(t, s, EventParticipantLeft))
	if left.ID != p.id || left.State != StateLeft || !errors.Is(left.Reason, gone) || left.Stayed <= 0 {
		t.Errorf("left: %+v", left)
	}
	// The last one has left, so the recording ends: well, unless not even
	// silence came into it.
	ended := slices.DeleteFunc(end(t, m, s), func(e *Event) bool {
		return e.Type != EventRecordingStopped && e.Type != EventRecordingFailed
	})
	if len(ended) != 1 || !last[record.Recording](t, ended).State.Final() {
		t.Errorf("end of the recording: %v", types(ended))
	}
	if n := m.EventStats(); n.Raised[EventParticipantJoined] != 1 || n.Raised[EventRoomFinished] != 1 || n.Subscribers != 1 || n.Dropped != 0 {
		t.Errorf("%+v", n)
	}
}

// end deletes the room and returns what was told until it was gone.
func end(t *testing.T, m *Manager, s *Subscription) []*Event {
	t.Helper()
	if err := m.DeleteRoom(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	return follow(t, s, EventRoomFinished)
}

// Who is there when a room is deleted is told to have left, before the end.
func TestEventsOfAnEnd(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	s, snap, err := r.Subscribe()
	if err != nil || snap.Room.ID != "test" || snap.Room.Seq != 1 || len(snap.Programs) != 1 {
		t.Fatalf("%+v, %v", snap, err)
	}
	enter(t, r, "a")
	enter(t, r, "b")
	events := end(t, m, s)
	left := 0
	for _, e := range events {
		if e.Type == EventParticipantLeft {
			left++
			if why := e.Data.(ParticipantLeft).Reason; !errors.Is(why, ErrRoomEnded) {
				t.Errorf("left because of %v", why)
			}
		}
	}
	if left != 2 {
		t.Errorf("%d left: %v", left, types(events))
	}
	if _, open := <-s.Events(); open || s.Err() != nil {
		t.Errorf("the subscription goes on after the room: %v", s.Err())
	}
	s.Close()
	if _, _, err := r.Subscribe(); KindOf(err) != Gone {
		t.Errorf("subscribing to an ended room: %v", err)
	}
	if _, _, ok := r.Resume(events[0].ID); ok {
		t.Error("resumed after the end of the room")
	}
	// The next life begins anew, and has nothing to do with the last.
	again := newTestRoom(t, m, RoomConfig{})
	if _, _, ok := again.Resume(events[0].ID); ok {
		t.Error("resumed in another life")
	}
	if again.Info().Seq != 1 {
		t.Errorf("seq %d", again.Info().Seq)
	}
}

// Whoever subscribes while people come and go gets each of them exactly once:
// in the snapshot or as an event.
func TestSnapshotAndEventsMakeAWhole(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{MaxParticipants: 100})
	var coming sync.WaitGroup
	const each = 40
	for range 3 {
		coming.Go(func() {
			for i := range each {
				p, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer})
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					p.Leave(nil)
				}
			}
		})
	}
	for range 4 {
		coming.Go(func() {
			for range 20 {
				s, snap, err := r.Subscribe()
				if err != nil {
					t.Error(err)
					return
				}
				present := map[ParticipantID]bool{}
				for _, p := range snap.Participants {
					present[p.ID] = true
				}
				if len(present) != snap.Room.Participants {
					t.Errorf("%d in the snapshot, %d by the room", len(present), snap.Room.Participants)
				}
				seq, id := snap.Room.Seq, snap.ID
				for range 10 {
					select {
					case e := <-s.Events():
						if e.Seq != seq+1 || e.ID != id+1 {
							t.Errorf("seq %d, id %d after seq %d, id %d", e.Seq, e.ID, seq, id)
						}
						seq, id = e.Seq, e.ID
						check(t, present, e)
					case <-time.After(10 * time.Millisecond): // it may have become quiet
					}
				}
				s.Close()
				// What was missed since then comes first when he returns.
				if back, missed, ok := r.Resume(id); ok {
					for _, e := range missed {
						check(t, present, e)
					}
					back.Close()
				}
			}
		})
	}
	// All rooms: the counts of the snapshot are those that the events go on from.
	coming.Go(func() {
		for range 20 {
			s, snap, err := m.Subscribe()
			if err != nil || len(snap.Rooms) != 1 {
				t.Error(err, snap)
				return
			}
			select {
			case e := <-s.Events():
				if e.Seq != snap.Rooms[0].Seq+1 {
					t.Errorf("seq %d after a snapshot with %d", e.Seq, snap.Rooms[0].Seq)
				}
			case <-time.After(time.Millisecond):
			}
			s.Close()
		}
	})
	coming.Wait()
	if n := m.EventStats(); n.Subscribers != 0 {
		t.Errorf("%d subscribers are left", n.Subscribers)
	}
}

// check applies an event to who is there.
func check(t *testing.T, present map[ParticipantID]bool, e *Event) {
	switch data := e.Data.(type) {
	case ParticipantInfo:
		if joined := e.Type == EventParticipantJoined; joined == present[data.ID] {
			t.Errorf("%s of one who is there: %v", e.Type, present[data.ID])
		}
		present[data.ID] = true
	case ParticipantLeft:
		if !present[data.ID] {
			t.Error("one left who was not there")
		}
		delete(present, data.ID)
	}
}

// event makes one for the hub alone.
func event(seq uint64, typ EventType) []*Event {
	return []*Event{{Type: typ, Room: "r", Life: "R_1", Seq: seq}}
}

func nothing() {}

func TestResume(t *testing.T) {
	h := newEventHub(4, 2)
	for i := range uint64(6) {
		h.add("R_1", event(i+1, EventParticipantUpdated), nothing)
	}
	h.add("R_2", []*Event{{Type: EventRoomStarted, Life: "R_2", Seq: 1}}, nothing)
	for _, c := range []struct {
		life   string
		after  uint64
		ok     bool
		missed string
	}{
		{"", 7, true, "[]"},
		{"", 5, true, "[6 7]"},
		{"", 3, true, "[4 5 6 7]"}, // just in the ring
		{"", 2, false, "[]"},
		{"", 0, false, "[]"},
		{"", 8, false, "[]"}, // never was
		{"", ^uint64(0), false, "[]"},
		{"R_1", 3, true, "[4 5 6]"},
		{"R_1", 7, true, "[]"},
		{"R_2", 7, true, "[]"},
		{"R_2", 6, false, "[]"}, // before its time
		{"R_3", 7, false, "[]"},
	} {
		s, missed := h.resume(c.life, c.after)
		ids := []uint64{}
		for _, e := range missed {
			ids = append(ids, e.ID)
		}
		if (s != nil) != c.ok || fmt.Sprint(ids) != c.missed {
			t.Errorf("%q after %d: %v, %v", c.life, c.after, s != nil, ids)
		}
		if s != nil {
			s.Close()
		}
	}
	// A ring that is not full yet.
	h = newEventHub(4, 2)
	if s, missed := h.resume("", 0); s == nil || len(missed) != 0 {
		t.Error("nothing has happened, and that cannot be resumed")
	}
	h.close()
	if s, _ := h.resume("", 0); s != nil {
		t.Error("a closed hub resumes")
	}
	if s, _ := h.subscribe("", nothing); s != nil {
		t.Error("a closed hub takes subscribers")
	}
}

// One who does not read is dropped when his queue is full, and nobody else
// notices.
func TestSlowReader(t *testing.T) {
	h := newEventHub(64, 4)
	h.add("R_1", event(1, EventRoomStarted), nothing)
	slow, _ := h.subscribe("R_1", nothing)
	everything, _ := h.subscribe("", nothing)
	for i := range uint64(10) {
		h.add("R_1", event(i+2, EventParticipantUpdated), nothing)
		<-everything.Events()
	}
	n := 0
	for range slow.Events() {
		n++
	}
	if n != 4 || !errors.Is(slow.Err(), ErrSlow) {
		t.Errorf("%d events, then %v", n, slow.Err())
	}
	slow.Close() // twice is fine
	if st := h.mu.stats; st.Dropped != 1 || st.Subscribers != 1 {
		t.Errorf("%+v", st)
	}
	h.close()
	h.close()
	if _, open := <-everything.Events(); open || everything.Err() != nil || h.mu.stats.Subscribers != 0 {
		t.Error("close has left a subscription")
	}
}

// Layouts are told at most twice a second, and the last one always is.
func TestLayoutsAreCoalesced(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	s, _, err := r.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const people = 20
	for range people {
		p, err := r.Join(t.Context(), JoinRequest{})
		if err != nil {
			t.Fatal(err)
		}
		p.Attach(nowhere{}, all, all)
		p.Feedback(codec.Feedback{Link: codec.LinkUp})
	}
	var told []*Event
	for len(told) == 0 || len(last[LayoutChange](t, told).Tiles) < people {
		told = follow(t, s, EventLayoutChanged)
	}
	n := m.EventStats().Raised[EventLayoutChanged]
	if took := time.Since(r.created); float64(n) > took.Seconds()/layoutPeriod.Seconds()+2 {
		t.Errorf("%d layouts in %v", n, took)
	}
	if got := r.Layout(); got.Epoch != last[LayoutChange](t, told).Epoch {
		t.Errorf("told epoch %d, is %d", last[LayoutChange](t, told).Epoch, got.Epoch)
	}

	// The same by an explicit clock, in a room without a control loop.
	const first, end = time.Duration(1), 1 + 3*layoutPeriod/2
	only := &canvas{}
	q := &Room{programs: []*program{{canvases: []*canvas{only}, common: only}}}
	c, count := q.programs[0].shared(), func() int { return len(q.tidings.pending) }
	show := func(epoch uint64, now time.Duration) {
		c.info.Store(&LayoutInfo{Epoch: epoch, Tiles: make([]LayoutTile, epoch)})
		q.raiseLayouts(now)
	}
	show(0, first)
	if count() != 0 {
		t.Error("an empty canvas is news")
	}
	show(1, first)
	show(2, first+1)
	show(3, first+layoutPeriod-1)
	if count() != 1 || q.untold(first+layoutPeriod-1, time.Minute) != 1 {
		t.Errorf("%d told, sleeps for %v", count(), q.untold(first+layoutPeriod-1, time.Minute))
	}
	q.raiseLayouts(end)
	if count() != 2 || last[LayoutChange](t, q.tidings.pending).Epoch != 3 || q.untold(end, time.Minute) != time.Minute {
		t.Errorf("%d told, sleeps for %v", count(), q.untold(end, time.Minute))
	}
}

// The floor is told once, is in the snapshot, and is free when its owner goes.
func TestSpeakerChanges(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, err := r.Join(t.Context(), JoinRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := r.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r.main.floor.Store(p.csrc) // as the audio loop does, which sleeps here
	r.wake()
	if c := last[SpeakerChange](t, follow(t, s, EventSpeakerChanged)); c != (SpeakerChange{"", p.id}) {
		t.Errorf("%+v", c)
	}
	late, snap, err := r.Subscribe()
	if err != nil || snap.Programs[0].Speaker != p.id {
		t.Fatalf("%+v, %v", snap.Programs, err)
	}
	late.Close()
	p.Leave(nil)
	if c := last[SpeakerChange](t, follow(t, s, EventSpeakerChanged)); c != (SpeakerChange{}) {
		t.Errorf("%+v", c)
	}
	follow(t, s, EventParticipantLeft)
}

func TestEventTypeNames(t *testing.T) {
	seen := map[string]bool{}
	for e := range NumEventTypes + 1 {
		if name := e.String(); name == "" || seen[name] {
			t.Errorf("type %d is %q", e, name)
		} else {
			seen[name] = true
		}
	}
}

// BenchmarkEvent is what one event costs with so many subscribers, who read.
func BenchmarkEvent(b *testing.B) {
	for _, n := range []int{0, 1, 50, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := newEventHub(1024, 256)
			h.add("R_1", event(1, EventRoomStarted), nothing)
			subs := make([]*Subscription, n)
			for i := range subs {
				subs[i], _ = h.subscribe("R_1", nothing)
			}
			e := &Event{Type: EventParticipantUpdated, Life: "R_1"}
			b.ReportAllocs()
			for b.Loop() {
				h.add("R_1", []*Event{e}, nothing)
				for _, s := range subs {
					<-s.Events()
				}
			}
		})
	}
}
