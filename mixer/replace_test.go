package mixer

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// TestComeback: a participant whose client comes by another connection is the
// same as before to everybody, and is heard and seen, hears and sees again.
func TestComeback(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	alice, old := enter(t, r, "Alice")
	stop := speak(t, alice, 440, 200, 90, 90)
	defer stop()
	_, bob := enter(t, r, "Bob")
	gain, muted := 3.0, true
	if _, err := r.UpdateParticipant(t.Context(), alice.ID(), ParticipantPatch{GainDB: &gain, Muted: &muted}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.SetPersonalLayout(t.Context(), alice.ID(), &layout.Spec{Mode: layout.Sidebar}, false); err != nil {
		t.Fatal(err)
	}
	tile := func() layout.Rect {
		tiles := r.Layout().Tiles
		if i := slices.IndexFunc(tiles, func(x LayoutTile) bool { return x.Participant == alice.ID() }); i >= 0 {
			return tiles[i].Rect
		}
		return layout.Rect{}
	}
	await(t, "pictures both ways", func() bool {
		return locked(old, func() bool { return old.mu.pictures > 3 }) && locked(bob, func() bool { return bob.mu.pictures > 3 })
	})
	was, place, events := alice.Info(), tile(), subscribe(t, m)
	stop()

	again := newClient(t)
	gone, err := r.Replace(t.Context(), alice.ID(), Comeback{
		Name: "Alice on the train", Limits: Limits{MaxWidth: 640}, Endpoint: again, Sends: all, Takes: all,
	})
	if err != nil || gone != Endpoint(old) {
		t.Fatalf("replaced %v, %v: want the old endpoint", gone, err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	now := alice.Info()
	if now.State != StateReconnecting || now.Tier.Width != 0 || now.Name != "Alice on the train" || now.Limits.MaxWidth != 640 {
		t.Errorf("meanwhile it is %+v", now)
	}
	if tile() != place {
		t.Errorf("the tile is %+v, was %+v", tile(), place)
	}
	heard := locked(old, func() int { return len(old.mu.pcm) })

	alice.Feedback(codec.Feedback{Link: codec.LinkUp})
	defer speak(t, alice, 770, 200, 90, 90)()
	if err := r.do(t.Context(), "test", func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	unmuted := false
	if _, err := r.UpdateParticipant(t.Context(), alice.ID(), ParticipantPatch{Muted: &unmuted}); err != nil {
		t.Fatal(err)
	}
	await(t, "sound and pictures for the new client", func() bool {
		return locked(again, func() bool {
			return again.mu.pictures > 3 && len(again.mu.pcm) > codec.SampleRate/10 && again.mu.keyRequests[codec.Camera] > 0
		})
	})
	await(t, "Bob hears her new tone", func() bool {
		return slices.Equal(hears(bob, []float64{440, 770}), []bool{false, true})
	})
	now = alice.Info()
	if now.State != StateActive || now.Tier.Width > 640 || now.ID != was.ID || now.CSRC != was.CSRC || now.GainDB != gain || !now.Joined.Equal(was.Joined) {
		t.Errorf("it is %+v, was %+v", now, was)
	}
	if own, err := r.PersonalLayout(alice.ID()); err != nil || own.Spec.Mode != layout.Sidebar {
		t.Errorf("her own layout is %+v, %v", own.Spec, err)
	}
	if tile() != place {
		t.Errorf("the tile is %+v, was %+v", tile(), place)
	}
	if n := locked(old, func() int { return len(old.mu.pcm) }); n > heard+codec.FrameSamples {
		t.Errorf("the old client was sent %d samples more", n-heard)
	}
	if n := len(r.Participants()); n != 2 {
		t.Errorf("%d are in the room", n)
	}

	alice.PeerClosed(nil)
	await(t, "the new connection is closed", func() bool { return locked(again, func() int { return again.mu.closed }) == 1 })
	if n := locked(old, func() int { return old.mu.closed }); n != 1 {
		t.Errorf("the old connection was closed %d times", n)
	}
	var states []string
	for _, e := range follow(t, events, EventParticipantLeft) {
		if e.Type == EventParticipantJoined {
			t.Errorf("there is news of %+v", e.Data)
		}
		if info, ok := e.Data.(ParticipantInfo); ok && info.ID == alice.ID() {
			states = append(states, info.State.String())
		}
	}
	if got := strings.Join(slices.Compact(states), " "); got != "reconnecting active" {
		t.Errorf("her states were %q", got)
	}
}

// TestComebackBeforeArrival: who never was connected may come by another
// connection, too.
func TestComebackBeforeArrival(t *testing.T) {
	r := newTestRoom(t, newManager(t), RoomConfig{})
	p, err := r.Join(t.Context(), JoinRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, second := newClient(t), newClient(t)
	p.Attach(first, all, all)
	if old, err := r.Replace(t.Context(), p.ID(), Comeback{Endpoint: second, Sends: all, Takes: all}); err != nil || old != Endpoint(first) {
		t.Fatalf("replaced %v, %v", old, err)
	}
	if s := p.Info().State; s != StateWaiting {
		t.Errorf("it is %v", s)
	}
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	await(t, "pictures", func() bool { return locked(second, func() bool { return second.mu.pictures > 0 }) })
}

func TestComebackRefused(t *testing.T) {
	r := newTestRoom(t, newManager(t), RoomConfig{})
	p, c := enter(t, r, "here")
	unconnected, err := r.Join(t.Context(), JoinRequest{})
	if err != nil {
		t.Fatal(err)
	}
	leaving, _ := enter(t, r, "leaving")
	for name, x := range map[string]struct {
		id   ParticipantID
		back Comeback
		kind Kind
		err  error
	}{
		"another role":    {p.ID(), Comeback{Role: RoleViewer}, Conflict, ErrNotThatRole},
		"a long name":     {p.ID(), Comeback{Name: strings.Repeat("x", maxNameBytes+1)}, Invalid, nil},
		"nobody":          {"p_nobody", Comeback{}, NotFound, ErrNoParticipant},
		"never connected": {unconnected.ID(), Comeback{}, NotFound, ErrNoParticipant},
	} {
		x.back.Endpoint = newClient(t)
		old, err := r.Replace(t.Context(), x.id, x.back)
		if old != nil || KindOf(err) != x.kind || x.err != nil && !errors.Is(err, x.err) {
			t.Errorf("%s: %v, %v", name, old, err)
		}
	}
	leaving.closed.Store(&closing{})
	if _, err := r.Replace(t.Context(), leaving.ID(), Comeback{Endpoint: newClient(t)}); !errors.Is(err, ErrNoParticipant) {
		t.Errorf("somebody who is leaving: %v", err)
	}
	if info := p.Info(); info.State != StateActive || locked(c, func() int { return c.mu.closed }) != 0 {
		t.Errorf("it is %+v", info)
	}
}
