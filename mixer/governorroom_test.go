package mixer

import (
	"errors"
	"slices"
	"testing"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

func TestWhoRests(t *testing.T) {
	// Five cameras, a screen, and somebody who sends nothing.
	people := func(spoke ...int64) (items []shownItem) {
		for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
			item := layout.Item{ID: name, Owner: name, Video: i < 5}
			if i < len(spoke) {
				item.Spoke = spoke[i]
			}
			items = append(items, shownItem{Item: item})
		}
		return append(items, shownItem{Item: layout.Item{ID: "f/screen", Owner: "f", Video: true, Screen: true}})
	}
	for _, c := range []struct {
		name     string
		level    Level
		items    []shownItem
		pins     []string
		dominant ParticipantID
		want     []string
	}{
		{"not yet", LevelLowTop, people(), nil, "", nil},
		{"nobody has spoken: who came first stays", LevelFewTiles, people(), nil, "", []string{"d", "e"}},
		{"half of the rest", LevelHalfTiles, people(), nil, "", []string{"e"}},
		{"who spoke lately stays", LevelFewTiles, people(0, 1, 9, 8, 7), nil, "", []string{"a", "b"}},
		{"the least active first", LevelHalfTiles, people(0, 1, 9, 8, 7), nil, "", []string{"a"}},
		{"who speaks stays", LevelFewTiles, people(0, 1, 9, 8, 7), nil, "a", []string{"b", "e"}},
		{"pinned ones stay", LevelFewTiles, people(), []string{"e"}, "", []string{"d"}},
		{"three are always seen", LevelFewTiles, people()[:3], nil, "", nil},
		{"nobody", LevelFewTiles, nil, nil, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			rest(c.items, &layout.Spec{Pins: c.pins}, c.dominant, c.level)
			var got []string
			for _, item := range c.items {
				if item.rests {
					got = append(got, item.ID)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// force puts the Governor on a level, and waits until the room has seen it.
func force(t *testing.T, r *Room, level Level) {
	t.Helper()
	g := r.cfg.governor
	g.reason.Store(uint32(StrainQueue))
	g.level.Store(uint32(level))
	if err := r.do(t.Context(), "test", func() error { r.govern(); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestRoomFollowsTheGovernor(t *testing.T) {
	m := newManager(t)
	events := subscribe(t, m)
	r := newTestRoom(t, m, RoomConfig{})
	var people []*Participant
	for i := range alwaysShown + 2 {
		p, _ := enter(t, r, string(rune('a'+i)))
		defer speak(t, p, 0, 80, 90, 200)()
		people = append(people, p)
	}
	shown := func() (n int) {
		for _, tile := range r.main.shared().scene.Load().Tiles {
			if tile.Source != nil {
				n++
			}
		}
		return n
	}
	await(t, "all pictures", func() bool { return shown() == len(people) })

	force(t, r, LevelLowTop)
	if n := shown(); n != len(people) {
		t.Errorf("%d of %d are shown at %v", n, len(people), LevelLowTop)
	}
	force(t, r, LevelFewTiles)
	if n, tiles := shown(), len(r.Layout().Tiles); n != alwaysShown || tiles != len(people) {
		t.Errorf("%d of %d tiles have pictures, want %d of %d", n, tiles, alwaysShown, len(people))
	}
	await(t, "no decoding of the others", func() bool {
		resting := 0
		for _, p := range people {
			if p.source.pictures[codec.Camera].Stats().Hidden > 3 {
				resting++
			}
		}
		return resting == len(people)-alwaysShown
	})
	if err := r.do(t.Context(), "test", func() error {
		if tier := r.mostTier(r.main.shared()); tier != 1 {
			t.Errorf("tier %d is the largest, want the second", tier)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// A recording takes the top tier anyway.
	if _, err := r.StartRecording(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.do(t.Context(), "test", func() error {
		if tier := r.mostTier(r.main.shared()); tier != 0 {
			t.Errorf("tier %d is the largest beside a recording, want the first", tier)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	force(t, r, LevelNormal)
	await(t, "all pictures again", func() bool { return shown() == len(people) })

	var told []OverloadChange
	for _, e := range end(t, m, events) {
		if e.Type == EventOverload {
			told = append(told, e.Data.(OverloadChange))
		}
	}
	want := []OverloadChange{{LevelLowTop, StrainQueue}, {LevelFewTiles, StrainQueue}, {LevelNormal, StrainQueue}}
	if !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestJoinIsPriced(t *testing.T) {
	m := newManager(t)
	g := testGovernor(0.4)
	m.cfg.governor = g // before there are rooms
	r := newTestRoom(t, m, RoomConfig{ID: "small"})
	join := func(r *Room, req JoinRequest) (*Participant, error) { return r.Join(t.Context(), req) }

	if _, err := join(r, JoinRequest{}); err != nil {
		t.Fatalf("the first: %v", err)
	}
	first := g.Stats().Claimed
	if _, err := join(r, JoinRequest{}); err != nil {
		t.Fatalf("the second: %v", err)
	}
	if second := g.Stats().Claimed - first; second <= 0 || second > first/2 {
		t.Errorf("the second costs %v, the first, who starts drawing and encoding, %v", second, first)
	}
	before := g.Stats().Claimed
	if _, err := join(r, JoinRequest{Role: RoleViewer}); err != nil {
		t.Fatalf("a viewer: %v", err)
	}
	if viewer := g.Stats().Claimed - before; viewer > 0.01 {
		t.Errorf("a viewer of the tier that runs costs %v", viewer)
	}
	n := 3
	var err error
	for ; err == nil; n++ {
		_, err = join(r, JoinRequest{})
	}
	var o *Overload
	if KindOf(err) != Unavailable || !errors.As(err, &o) || o.Needed <= 0 || o.Left >= o.Needed || o.Left < 0 {
		t.Fatalf("refused with %v", err)
	}
	if n > 30 {
		t.Errorf("%d got in", n)
	}
	if r.Info().Participants != n-1 {
		t.Errorf("%d are in the room, %d were let in", r.Info().Participants, n-1)
	}
	// Nobody waits for the first of another room.
	other := newTestRoom(t, m, RoomConfig{ID: "other"})
	if _, err := join(other, JoinRequest{}); err == nil {
		t.Error("the first of another room was let in")
	}
}

// Who was there a moment ago is let in again.
func TestReturningIsNotRefused(t *testing.T) {
	m := newManager(t)
	g := testGovernor(1)
	m.cfg.governor = g
	r := newTestRoom(t, m, RoomConfig{})
	p, err := r.Join(t.Context(), JoinRequest{Identity: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Join(t.Context(), JoinRequest{Identity: "berta"}); err != nil {
		t.Fatal(err)
	}
	p.Attach(nowhere{}, all, all)
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	await(t, "anna", func() bool { return p.Info().State == StateActive })
	g.uses(0.95)
	if _, err := r.Join(t.Context(), JoinRequest{Identity: "anna"}); err == nil {
		t.Error("who is there twice is no newcomer")
	}
	p.Feedback(codec.Feedback{Link: codec.LinkLost})
	await(t, "her loss", func() bool { return p.Info().State == StateReconnecting })
	if _, err := r.Join(t.Context(), JoinRequest{Identity: "anna"}); err != nil {
		t.Errorf("refused: %v", err)
	}
	if _, err := r.Join(t.Context(), JoinRequest{Identity: "clara"}); err == nil {
		t.Error("a third was let in")
	}
}

// Canvases beside the shared one are admitted at their price.
func TestCanvasesAreAdmitted(t *testing.T) {
	m := newManager(t)
	g := testGovernor(1)
	m.cfg.governor = g
	r := newTestRoom(t, m, RoomConfig{})
	for _, name := range []string{"a", "b"} {
		p, err := r.Join(t.Context(), JoinRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		p.Attach(nowhere{}, all, all)
		p.Feedback(codec.Feedback{Link: codec.LinkUp})
		await(t, "pictures", func() bool { return p.watching.Load() != nil })
	}
	p := r.Participants()[0].ID
	single := &layout.Spec{Mode: layout.Single}
	info, err := r.SetPersonalLayout(t.Context(), p, single, true)
	if err != nil || info.Cost.Encodes != 1 || info.Cost.Cores < 0.05 || info.Cost.Cores > 0.5 {
		t.Errorf("a dry run: %+v, %v", info.Cost, err)
	}
	price := info.Cost.Cores

	before := g.Stats().Claimed
	if _, err := r.SetPersonalLayout(t.Context(), p, single, false); err != nil {
		t.Fatal(err)
	}
	if claimed := g.Stats().Claimed - before; !near(claimed, price) {
		t.Errorf("it is admitted at %v, and was priced %v", claimed, price)
	}
	if _, err := r.SetPersonalLayout(t.Context(), p, &layout.Spec{Mode: layout.Speaker}, false); err != nil || g.Stats().Claimed > before+1.1*price {
		t.Errorf("another layout on the same canvas is priced again, %v", err)
	}

	g.uses(0.78)
	refused := func(what string, err error) {
		t.Helper()
		var o *Overload
		if KindOf(err) != Unavailable || !errors.As(err, &o) || o.Needed <= 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	other := r.Participants()[1].ID
	_, err = r.SetPersonalLayout(t.Context(), other, single, false)
	refused("another canvas", err)
	group := GroupID("apart")
	_, err = r.UpdateParticipant(t.Context(), other, ParticipantPatch{Group: &group})
	refused("a group", err)
	_, err = r.SetLayout(t.Context(), "", layout.Spec{HideSelf: true})
	refused("a canvas for everybody", err)
	if spec := r.Layout().Spec; spec.HideSelf {
		t.Error("the refused layout holds")
	}
	if _, err := r.SetLayout(t.Context(), "", layout.Spec{Mode: layout.Speaker}); err != nil {
		t.Errorf("a layout that costs nothing: %v", err)
	}
}
