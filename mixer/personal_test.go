package mixer

import (
	"errors"
	"slices"
	"testing"

	"mixdown/mixer/layout"
)

// sees says which of the colours of red, blue and green the client is shown.
func sees(c *client) string {
	return locked(c, func() string {
		switch _, u, v := c.mu.colour[0], c.mu.colour[1], c.mu.colour[2]; {
		case v > 200:
			return "red"
		case u > 200:
			return "blue"
		case u < 90 && v < 90:
			return "green"
		}
		return "nothing"
	})
}

func TestPersonalCanvases(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	ann, a := enter(t, r, "Ann")
	bob, b := enter(t, r, "Bob")
	cyd, c := enter(t, r, "Cyd")
	defer speak(t, ann, 440, 80, 90, 240)()
	defer speak(t, bob, 770, 40, 240, 110)()
	defer speak(t, cyd, 1310, 140, 50, 40)()
	awaitSees := func(what string, want ...string) {
		t.Helper()
		for i, client := range []*client{a, b, c} {
			await(t, what+": client sees "+want[i], func() bool { return sees(client) == want[i] })
		}
	}
	// The middle of the left half lies between the tiles of three.
	awaitSees("a grid", "nothing", "nothing", "nothing")

	single := layout.Spec{Mode: layout.Single, Pins: []string{string(bob.ID())}}
	trial, err := r.SetPersonalLayout(t.Context(), cyd.ID(), &single, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(trial.Tiles) != 1 || trial.Tiles[0].Participant != bob.ID() || trial.Cost.Encodes != 1 || trial.Cost.Cores <= 0 {
		t.Errorf("a dry run says %+v, want Bob's tile and a price", trial)
	}
	if _, err := r.PersonalLayout(cyd.ID()); !errors.Is(err, ErrNoCanvas) {
		t.Errorf("after a dry run there is a canvas: %v", err)
	}
	info, err := r.SetPersonalLayout(t.Context(), cyd.ID(), &single, false)
	if err != nil || len(info.Tiles) != 1 || info.Tiles[0].Rect != info.Canvas.Bounds() {
		t.Errorf("his own layout is %+v, %v", info, err)
	}
	awaitSees("a personal layout", "nothing", "nothing", "blue")
	if n := len(r.snap.Load().views[0].canvases); n != 2 {
		t.Errorf("%d canvases, want the shared one and one more", n)
	}

	// The room's own layout is another matter.
	if _, err := r.SetLayout(t.Context(), "", layout.Spec{Mode: layout.Single, Pins: []string{string(cyd.ID())}}); err != nil {
		t.Fatal(err)
	}
	awaitSees("one alone for all but one", "green", "green", "blue")
	if got := r.Info().Layout.Mode; got != layout.Single {
		t.Errorf("the room says that its layout is %q", got)
	}

	// Everybody but oneself.
	if _, err := r.SetLayout(t.Context(), "", layout.Spec{HideSelf: true}); err != nil {
		t.Fatal(err)
	}
	awaitSees("everybody but oneself", "blue", "red", "blue")
	for _, p := range []*Participant{ann, bob} {
		own, err := r.PersonalLayout(p.ID())
		if err != nil || len(own.Tiles) != 2 || slices.ContainsFunc(own.Tiles, func(t LayoutTile) bool { return t.Participant == p.ID() }) {
			t.Errorf("%s: %+v, %v", p.ID(), own, err)
		}
	}
	if _, err := r.SetPersonalLayout(t.Context(), cyd.ID(), nil, false); err != nil {
		t.Fatal(err)
	}
	awaitSees("without a layout of his own", "blue", "red", "red")

	// What was paid for before is not forgotten when a canvas goes.
	before := m.Stats().Canvas.Drawn
	if _, err := r.SetLayout(t.Context(), "", layout.Spec{}); err != nil {
		t.Fatal(err)
	}
	awaitSees("a grid again", "nothing", "nothing", "nothing")
	if after := m.Stats().Canvas.Drawn; after < before {
		t.Errorf("%d canvases drawn, and later %d", before, after)
	}
	if n := len(r.snap.Load().views[0].canvases); n != 1 {
		t.Errorf("%d canvases, want the shared one alone", n)
	}
}

// A personal canvas goes with its owner: to another group, and out of the room.
func TestPersonalCanvasFollowsItsOwner(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	ann, _ := enter(t, r, "Ann")
	bob, _ := enter(t, r, "Bob")
	canvases := func() (n []int) {
		for _, v := range r.snap.Load().views {
			n = append(n, len(v.canvases))
		}
		return n
	}
	if _, err := r.SetPersonalLayout(t.Context(), bob.ID(), &layout.Spec{Mode: layout.Speaker}, false); err != nil {
		t.Fatal(err)
	}
	await(t, "a canvas of his own", func() bool { return slices.Equal(canvases(), []int{2}) })
	team := GroupID("team")
	if _, err := r.UpdateParticipant(t.Context(), bob.ID(), ParticipantPatch{Group: &team}); err != nil {
		t.Fatal(err)
	}
	await(t, "it moves", func() bool { return slices.Equal(canvases(), []int{1, 2}) })
	bob.Leave(nil)
	await(t, "it goes", func() bool { return slices.Equal(canvases(), []int{1}) })
	if _, err := r.PersonalLayout(ann.ID()); !errors.Is(err, ErrNoCanvas) {
		t.Errorf("she has a canvas: %v", err)
	}
}

func TestLayoutIsRefused(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	ann, _ := enter(t, r, "Ann")
	bad := layout.Spec{Mode: "mosaic"}
	for what, err := range map[string]error{
		"the room's":   second(r.SetLayout(t.Context(), "", bad)),
		"one's own":    second(r.SetPersonalLayout(t.Context(), ann.ID(), &bad, false)),
		"a trial":      second(r.SetPersonalLayout(t.Context(), ann.ID(), &bad, true)),
		"a new room's": second(m.CreateRoom(t.Context(), RoomConfig{ID: "other", Layout: bad})),
	} {
		var e *Error
		if !errors.As(err, &e) || e.Kind != Invalid || len(layout.Faults(e.Err)) == 0 {
			t.Errorf("%s layout: %v, want Invalid with the field", what, err)
		}
	}
	if err := second(r.SetLayout(t.Context(), "nobody", layout.Spec{})); !errors.Is(err, ErrNoGroup) {
		t.Errorf("a layout for nobody: %v", err)
	}
	if err := second(r.SetPersonalLayout(t.Context(), "p_x", &layout.Spec{}, false)); !errors.Is(err, ErrNoParticipant) {
		t.Errorf("a layout for somebody who is not there: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
