package mixer

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// arrive joins as req says, and connects.
func arrive(t *testing.T, r *Room, req JoinRequest) (*Participant, *client) {
	t.Helper()
	p, err := r.Join(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	p.Attach(c, all, all)
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	return p, c
}

// settled lets the control loop look at what the flags say.
func settled(t *testing.T, r *Room) {
	t.Helper()
	for range 2 {
		if err := r.do(t.Context(), "test", func() error { r.sweep(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

func patched(t *testing.T, r *Room, p *Participant, patch ParticipantPatch) ParticipantInfo {
	t.Helper()
	info, err := r.UpdateParticipant(t.Context(), p.ID(), patch)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func tileOwners(l LayoutInfo) (ids []ParticipantID) {
	for _, tile := range l.Tiles {
		ids = append(ids, tile.Participant)
	}
	return ids
}

// TestWaitingRoom: who waits to be let in neither hears nor is heard, sees nor is
// seen, and may say nothing.
func TestWaitingRoom(t *testing.T) {
	r := newTestRoom(t, newManager(t), RoomConfig{WaitingRoom: true})
	host, his := arrive(t, r, JoinRequest{Name: "host", Moderator: true})
	defer speak(t, host, 440, 200, 90, 90)()
	guest, hers := arrive(t, r, JoinRequest{Name: "guest"})
	defer speak(t, guest, 770, 100, 90, 90)()
	settled(t, r)
	if info := host.Info(); info.Held || info.State != StateActive {
		t.Errorf("the host is %+v", info)
	}
	await(t, "the host sees himself", func() bool { return locked(his, func() bool { return his.mu.pictures > 5 }) })
	info := guest.Info()
	if !info.Held || info.State != StateWaiting || info.Tier.Width != 0 || !guest.Held() {
		t.Errorf("the guest is %+v", info)
	}
	if n := locked(hers, func() int { return len(hers.mu.pcm) + hers.mu.pictures }); n != 0 {
		t.Errorf("the guest was sent %d samples and pictures", n)
	}
	if got := tileOwners(r.Layout()); !slices.Equal(got, []ParticipantID{host.ID()}) {
		t.Errorf("tiles of %v", got)
	}
	if err := guest.Say(t.Context(), "hello", ""); !errors.Is(err, ErrHeld) {
		t.Errorf("saying something: %v", err)
	}
	if held := r.Info().Held; held != 1 {
		t.Errorf("%d wait", held)
	}
	select {
	case <-guest.Admitted():
		t.Error("admitted already")
	default:
	}

	if info = patched(t, r, guest, ParticipantPatch{Admit: true}); info.Held || info.State != StateActive {
		t.Errorf("let in it is %+v", info)
	}
	<-guest.Admitted()
	tones := []float64{440, 770}
	await(t, "they hear each other", func() bool {
		return slices.Equal(hears(his, tones), []bool{false, true}) && slices.Equal(hears(hers, tones), []bool{true, false})
	})
	patched(t, r, guest, ParticipantPatch{Admit: true}) // twice is fine

	other, _ := arrive(t, r, JoinRequest{Name: "other"})
	open := false
	if _, err := r.Update(t.Context(), RoomPatch{WaitingRoom: &open}); err != nil {
		t.Fatal(err)
	}
	settled(t, r)
	if info := other.Info(); info.Held || info.State != StateActive {
		t.Errorf("without a waiting room it is %+v", info)
	}
}

func TestPIN(t *testing.T) {
	r := newTestRoom(t, newManager(t), RoomConfig{PIN: "4711"})
	for name, x := range map[string]struct {
		req JoinRequest
		in  bool
	}{
		"none":      {JoinRequest{}, false},
		"wrong":     {JoinRequest{PIN: "4712"}, false},
		"longer":    {JoinRequest{PIN: "47110"}, false},
		"right":     {JoinRequest{PIN: "4711"}, true},
		"moderator": {JoinRequest{Moderator: true}, true},
	} {
		_, err := r.Join(t.Context(), x.req)
		if (err == nil) != x.in || err != nil && (!errors.Is(err, ErrPIN) || KindOf(err) != Permission) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []PIN{"123", "12345678901234567", "abcd", "****", "１２３４"} {
		if _, err := r.Update(t.Context(), RoomPatch{PIN: &bad}); KindOf(err) != Invalid {
			t.Errorf("%q: %v", string(bad), err)
		}
	}
	none := PIN("")
	if _, err := r.Update(t.Context(), RoomPatch{PIN: &none}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Join(t.Context(), JoinRequest{PIN: "0000"}); err != nil {
		t.Errorf("without a PIN: %v", err)
	}
	var log strings.Builder
	secret := PIN("4711")
	slog.New(slog.NewTextHandler(&log, nil)).Info("room", "pin", secret)
	if text := log.String() + fmt.Sprintf("%v %s %+v %#v", secret, secret, RoomConfig{PIN: secret}, secret); strings.Contains(text, "4711") {
		t.Errorf("the PIN is in %q", text)
	}
}

func TestModeratorsPassLocks(t *testing.T) {
	r := newTestRoom(t, newManager(t), RoomConfig{Locked: true, MutedOnJoin: true})
	if _, err := r.Join(t.Context(), JoinRequest{}); !errors.Is(err, ErrRoomLocked) {
		t.Errorf("a guest: %v", err)
	}
	host, err := r.Join(t.Context(), JoinRequest{Moderator: true})
	if err != nil || host.Info().Muted {
		t.Errorf("a moderator: %v", err)
	}
}

// TestMuting: by default, all at once, and all but some.
func TestMuting(t *testing.T) {
	r := newTestRoom(t, newManager(t), RoomConfig{MutedOnJoin: true})
	a, _ := enter(t, r, "a")
	viewer, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Info().Muted || viewer.Info().Muted {
		t.Error("who joins is muted, unless there is nothing to be muted")
	}
	b, _ := enter(t, r, "b")
	for _, x := range []struct {
		muted  bool
		but    []ParticipantID
		ma, mb bool
	}{
		{false, nil, false, false},
		{true, []ParticipantID{a.ID()}, false, true},
		{true, nil, true, true},
		{false, []ParticipantID{b.ID()}, false, true},
	} {
		infos, err := r.MuteAll(t.Context(), x.muted, x.but...)
		if err != nil || len(infos) != 3 || a.Info().Muted != x.ma || b.Info().Muted != x.mb || viewer.Info().Muted {
			t.Errorf("%+v: %+v, %v", x, infos, err)
		}
	}
}

// TestMuteSelf: who may take back that somebody is muted, and who is told.
func TestMuteSelf(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{MutedOnJoin: true})
	p, _ := enter(t, r, "p")
	settled(t, r)
	events := subscribe(t, m)
	change := func(muted, moderator bool, want error) {
		t.Helper()
		was := p.Info().Muted
		if err := p.MuteSelf(t.Context(), muted, moderator); !errors.Is(err, want) {
			t.Errorf("muted %v: %v, want %v", muted, err, want)
		}
		if now := p.Info().Muted; now != (was && want != nil || want == nil && muted) {
			t.Errorf("it was %v and is %v", was, now)
		}
	}
	change(false, false, nil) // by joining
	change(false, false, nil)
	yes, no := true, false
	patched(t, r, p, ParticipantPatch{Muted: &yes})
	change(false, false, nil) // by a moderator
	if _, err := r.Update(t.Context(), RoomPatch{NoSelfUnmute: &yes}); err != nil {
		t.Fatal(err)
	}
	change(false, false, nil) // nothing to take back
	change(true, false, nil)
	change(true, false, nil)
	change(false, false, ErrStaysMuted)
	if err := p.MuteSelf(t.Context(), false, false); KindOf(err) != Permission {
		t.Errorf("%v: %v", KindOf(err), err)
	}
	change(false, true, nil)
	if _, err := r.MuteAll(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	change(false, false, ErrStaysMuted)
	if _, err := r.Update(t.Context(), RoomPatch{NoSelfUnmute: &no}); err != nil {
		t.Fatal(err)
	}
	change(false, false, nil)

	viewer, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	if err := viewer.MuteSelf(t.Context(), true, false); KindOf(err) != Conflict || !errors.Is(err, ErrNotThatRole) {
		t.Errorf("a viewer: %v", err)
	}
	p.Leave(nil)
	told := []bool{true} // as it came
	for _, e := range follow(t, events, EventParticipantLeft) {
		if d, is := e.Data.(ParticipantInfo); is && e.Type == EventParticipantUpdated && d.ID == p.ID() {
			told = append(told, d.Muted)
		}
	}
	// Other news of it may have come between.
	if told = slices.Compact(told); !slices.Equal(told, []bool{true, false, true, false, true, false, true, false}) {
		t.Errorf("told were %v", told)
	}
	if err := p.MuteSelf(t.Context(), true, false); KindOf(err) != NotFound {
		t.Errorf("who has left: %v", err)
	}
}

// TestAudience: who is made a viewer has no tile and no voice, and both again when
// it is a participant again.
func TestAudience(t *testing.T) {
	r := newTestRoom(t, newManager(t), RoomConfig{})
	p, _ := enter(t, r, "p")
	defer speak(t, p, 440, 200, 90, 90)()
	_, c := enter(t, r, "c")
	tones := []float64{440, 770}
	await(t, "heard", func() bool { return hears(c, tones)[0] })
	for _, audience := range []bool{true, false} {
		if info := patched(t, r, p, ParticipantPatch{Audience: &audience}); info.Audience != audience {
			t.Errorf("it is %+v", info)
		}
		if has := slices.Contains(tileOwners(r.Layout()), p.ID()); has == audience {
			t.Errorf("audience %v: a tile is %v", audience, has)
		}
		await(t, fmt.Sprint("audience ", audience), func() bool { return hears(c, tones)[0] != audience })
	}
	viewer, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	no := false
	if _, err := r.UpdateParticipant(t.Context(), viewer.ID(), ParticipantPatch{Audience: &no}); !errors.Is(err, ErrNotThatRole) {
		t.Errorf("who cannot send: %v", err)
	}
}

// TestHidden: nobody is told of who is hidden, who hears all the same and never is
// heard.
func TestHidden(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	events := subscribe(t, m)
	hidden, c := arrive(t, r, JoinRequest{Name: "hidden", Hidden: true})
	defer speak(t, hidden, 770, 200, 90, 90)()
	p, his := enter(t, r, "p")
	defer speak(t, p, 440, 100, 90, 90)()
	tones := []float64{440, 770}
	await(t, "the hidden one hears and sees", func() bool {
		return hears(c, tones)[0] && locked(c, func() bool { return c.mu.pictures > 0 })
	})
	if hears(his, tones)[1] || slices.Contains(tileOwners(r.Layout()), hidden.ID()) {
		t.Error("who is hidden is heard or seen")
	}
	no := false
	if _, err := r.UpdateParticipant(t.Context(), hidden.ID(), ParticipantPatch{Audience: &no}); !errors.Is(err, ErrHidden) {
		t.Errorf("a voice: %v", err)
	}
	if list := r.Participants(); len(list) != 1 || list[0].ID != p.ID() {
		t.Errorf("listed are %+v", list)
	}
	if list := r.Hidden(); len(list) != 1 || list[0].ID != hidden.ID() || !list[0].Hidden {
		t.Errorf("hidden are %+v", list)
	}
	if info := r.Info(); info.Hidden != 1 || info.Participants != 2 {
		t.Errorf("the room is %+v", info)
	}
	sub, snap, err := r.Subscribe()
	if err != nil || len(snap.Participants) != 1 {
		t.Errorf("the snapshot has %+v, %v", snap.Participants, err)
	}
	sub.Close()
	hidden.Leave(nil)
	await(t, "it is gone", func() bool { return len(r.Hidden()) == 0 })
	p.Leave(nil)
	for _, e := range follow(t, events, EventParticipantLeft) {
		switch d := e.Data.(type) {
		case ParticipantInfo:
			if d.ID == hidden.ID() {
				t.Errorf("there is news of it: %v", e.Type)
			}
		case ParticipantLeft:
			if d.ID != p.ID() {
				t.Error("it is told that it left")
			}
		}
	}
}

// TestFloor: who was given the floor is shown as the speaker, whoever speaks, for
// as long as there is a tile.
func TestFloor(t *testing.T) {
	r := newTestRoom(t, newManager(t), RoomConfig{Layout: layout.Spec{Mode: layout.Single}})
	a, _ := enter(t, r, "a")
	b, _ := enter(t, r, "b")
	settled(t, r)
	give := func(id ParticipantID) error {
		_, err := r.Update(t.Context(), RoomPatch{Floor: &id})
		return err
	}
	for _, p := range []*Participant{a, b, a} {
		if err := give(p.ID()); err != nil {
			t.Fatal(err)
		}
		if got := tileOwners(r.Layout()); !slices.Equal(got, []ParticipantID{p.ID()}) || r.Info().Floor != p.ID() {
			t.Errorf("the floor is %v's: shown are %v", p.ID(), got)
		}
	}
	viewer, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []ParticipantID{"p_nobody", viewer.ID()} {
		if err := give(id); KindOf(err) != Invalid || r.Info().Floor != a.ID() {
			t.Errorf("given to %v: %v", id, err)
		}
	}
	yes := true
	patched(t, r, a, ParticipantPatch{Audience: &yes})
	if f := r.Info().Floor; f != "" {
		t.Errorf("a viewer has the floor: %v", f)
	}
	if err := give(b.ID()); err != nil {
		t.Fatal(err)
	}
	team := GroupID("team")
	patched(t, r, b, ParticipantPatch{Group: &team})
	if f := r.Info().Floor; f != "" {
		t.Errorf("somebody in a group has the floor: %v", f)
	}
}
