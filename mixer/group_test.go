package mixer

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
	"mixdown/mixer/layout"
)

// hears reports, for each tone, whether it is in the last half second that the
// client was sent.
func hears(c *client, tones []float64) []bool {
	const span = codec.SampleRate / 2
	heard := make([]bool, len(tones))
	last := locked(c, func() []int16 { return slices.Clone(c.mu.pcm[max(0, len(c.mu.pcm)-span):]) })
	if len(last) < span {
		return heard
	}
	loudest := -100.0
	for _, hz := range tones {
		loudest = max(loudest, audiotest.TonePower(last, hz))
	}
	// What is not there lies at the coding noise, 30 dB and more below.
	for i, hz := range tones {
		heard[i] = loudest > -60 && audiotest.TonePower(last, hz) > loudest-15
	}
	return heard
}

func TestGroupsAreApart(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	tones := []float64{440, 770, 1310, 2090}
	var ps []*Participant
	var cs []*client
	for i, hz := range tones {
		p, c := enter(t, r, fmt.Sprint("tone ", i))
		defer speak(t, p, hz, byte(60+40*i), 90, 200)()
		ps, cs = append(ps, p), append(cs, c)
	}
	update := func(p *Participant, patch ParticipantPatch) {
		t.Helper()
		if _, err := r.UpdateParticipant(t.Context(), p.ID(), patch); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, want ...[]bool) {
		t.Helper()
		for i, c := range cs {
			await(t, fmt.Sprintf("%s: client %d hears %v", what, i, want[i]), func() bool { return slices.Equal(hears(c, tones), want[i]) })
		}
	}
	x, o := true, false
	expect("one program", []bool{o, x, x, x}, []bool{x, o, x, x}, []bool{x, x, o, x}, []bool{x, x, x, o})

	team := GroupID("team")
	streams := locked(cs[3], func() int { return len(cs[3].mu.streams) })
	update(ps[2], ParticipantPatch{Group: &team})
	update(ps[3], ParticipantPatch{Group: &team})
	expect("a breakout", []bool{o, x, o, o}, []bool{x, o, o, o}, []bool{o, o, o, x}, []bool{o, o, x, o})
	await(t, "the group's own picture", func() bool {
		return locked(cs[3], func() bool { return len(cs[3].mu.streams) > streams })
	})
	if tiles := r.Layout().Tiles; len(tiles) != 2 || tiles[0].Participant != ps[0].ID() || tiles[1].Participant != ps[1].ID() {
		t.Errorf("the main layout shows %+v, want the two who are left", tiles)
	}
	if info := ps[3].Info(); info.Group != team {
		t.Errorf("he is in group %q, want %q", info.Group, team)
	}

	update(ps[0], ParticipantPatch{AlsoTo: &[]GroupID{team}})
	expect("a whisper", []bool{o, x, o, o}, []bool{x, o, o, o}, []bool{x, o, o, x}, []bool{x, o, x, o})
	update(ps[0], ParticipantPatch{AlsoTo: &[]GroupID{}})

	home := GroupID("")
	update(ps[2], ParticipantPatch{Group: &home})
	update(ps[3], ParticipantPatch{Group: &home})
	expect("back again", []bool{o, x, x, x}, []bool{x, o, x, x}, []bool{x, x, o, x}, []bool{x, x, x, o})
	await(t, "the end of the group", func() bool { return len(r.snap.Load().views) == 1 })

	before := m.Stats()
	if after := m.Stats(); after.Mix.Encodes < before.Mix.Encodes || after.Canvas.Drawn < before.Canvas.Drawn {
		t.Error("counters went back when the group ended")
	}
}

func TestBadGroupsAreNamed(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, _ := enter(t, r, "one")
	refuse := func(patch ParticipantPatch, kind Kind, field string) {
		t.Helper()
		_, err := r.UpdateParticipant(t.Context(), p.ID(), patch)
		var e *Error
		if !errors.As(err, &e) || e.Kind != kind || e.Field != field {
			t.Errorf("%v, want %v of %q", err, kind, field)
		}
	}
	bad := GroupID("../x")
	refuse(ParticipantPatch{Group: &bad}, Invalid, "/group")
	refuse(ParticipantPatch{AlsoTo: &[]GroupID{"nobody"}}, Invalid, "/alsoTo/0")
	for i := range maxGroups {
		q, _ := enter(t, r, "more")
		g := GroupID(fmt.Sprint("g", i))
		if _, err := r.UpdateParticipant(t.Context(), q.ID(), ParticipantPatch{Group: &g}); err != nil {
			t.Fatal(err)
		}
	}
	more := GroupID("more")
	refuse(ParticipantPatch{Group: &more}, Exhausted, "")
}

// Who whispers into a group is not heard in another one that comes to bear its
// name.
func TestWhisperEndsWithItsGroup(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, _ := enter(t, r, "whispers")
	q, _ := enter(t, r, "listens")
	team, other, home := GroupID("team"), GroupID("other"), GroupID("")
	update := func(p *Participant, patch ParticipantPatch) {
		t.Helper()
		if _, err := r.UpdateParticipant(t.Context(), p.ID(), patch); err != nil {
			t.Fatal(err)
		}
	}
	update(q, ParticipantPatch{Group: &team})
	update(p, ParticipantPatch{AlsoTo: &[]GroupID{team}})
	await(t, "the whisper", func() bool { views := r.snap.Load().views; return len(views) == 2 && len(views[1].guests) == 1 })
	update(q, ParticipantPatch{Group: &home})
	if also := p.Info().AlsoTo; len(also) != 0 {
		t.Errorf("he is still heard in %q", also)
	}
	update(q, ParticipantPatch{Group: &team})
	if guests := r.snap.Load().views[1].guests; len(guests) != 0 {
		t.Error("he is heard in a group that he was not asked into")
	}
	// Two groups at once, of which one goes on.
	o, _ := enter(t, r, "another")
	update(o, ParticipantPatch{Group: &other})
	update(p, ParticipantPatch{AlsoTo: &[]GroupID{team, other}})
	o.Leave(nil)
	await(t, "the end of one", func() bool { return slices.Equal(p.Info().AlsoTo, []GroupID{team}) })
}

// A patch that is refused changes nothing.
func TestRefusedPatchChangesNothing(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, _ := enter(t, r, "one")
	for i := range maxGroups {
		o, _ := enter(t, r, "more")
		g := GroupID(fmt.Sprint("g", i))
		if _, err := r.UpdateParticipant(t.Context(), o.ID(), ParticipantPatch{Group: &g}); err != nil {
			t.Fatal(err)
		}
	}
	more := GroupID("more")
	_, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Name: ptr("new"), AlsoTo: &[]GroupID{"g0"}, Group: &more})
	if KindOf(err) != Exhausted {
		t.Errorf("%v, want Exhausted", err)
	}
	if info := p.Info(); len(info.AlsoTo) != 0 || info.Group != "" || info.Name != "one" {
		t.Errorf("%+v, want him as he was", info)
	}
}

// A room is recorded while everybody is in groups.
func TestRecordingGoesOnWithoutMembers(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, _ := enter(t, r, "one")
	defer speak(t, p, 440, 80, 90, 200)()
	if _, err := r.StartRecording(t.Context()); err != nil {
		t.Fatal(err)
	}
	drawn := func() uint64 { return r.main.shared().compositor.Stats().Drawn }
	await(t, "pictures", func() bool { return drawn() > 0 })
	team := GroupID("team")
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Group: &team}); err != nil {
		t.Fatal(err)
	}
	await(t, "the group's pictures", func() bool { return r.snap.Load().views[1].prog.shared().compositor.Stats().Drawn > 3 })
	before := drawn()
	await(t, "pictures of the empty room", func() bool { return drawn() > before+3 })
}

// Who moves to where he has no tile is not decoded for the one that he had.
func TestNobodyIsDecodedWithoutATile(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{MaxParticipants: 100})
	hall := GroupID("hall")
	var spec layout.Spec // who sends a picture would have a seat before those who do not
	for range layout.MaxTiles {
		p, err := r.Join(t.Context(), JoinRequest{})
		if err != nil {
			t.Fatal(err)
		}
		p.Attach(nowhere{}, all, all)
		p.Feedback(codec.Feedback{Link: codec.LinkUp})
		if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Group: &hall}); err != nil {
			t.Fatal(err)
		}
		spec.Pins = append(spec.Pins, string(p.ID()))
	}
	if _, err := r.SetLayout(t.Context(), hall, spec); err != nil {
		t.Fatal(err)
	}
	p, _ := enter(t, r, "late")
	defer speak(t, p, 440, 80, 90, 200)()
	stats := func() (uint64, uint64) {
		s := p.source.pictures[codec.Camera].Stats()
		return s.Decoded, s.Hidden
	}
	await(t, "his picture", func() bool { n, _ := stats(); return n > 0 })
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Group: &hall}); err != nil {
		t.Fatal(err)
	}
	_, before := stats()
	await(t, "an end of decoding", func() bool { _, n := stats(); return n > before+3 })
}

// Who moves, but is heard as before where he has the floor, keeps it.
func TestFloorStaysWithWhoIsStillHeard(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, _ := enter(t, r, "one")
	q, _ := enter(t, r, "two")
	o, _ := enter(t, r, "three")
	a, b := GroupID("a"), GroupID("b")
	for p, g := range map[*Participant]*GroupID{p: &a, o: &b} {
		if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Group: g}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{AlsoTo: &[]GroupID{""}}); err != nil {
		t.Fatal(err)
	}
	stop := speak(t, p, 440, 80, 90, 200)
	await(t, "the floor", func() bool { return r.main.dominant() == p.ID() })
	stop()
	s, _, err := r.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Group: &b}); err != nil {
		t.Fatal(err)
	}
	q.Leave(nil)
	for _, e := range follow(t, s, EventParticipantLeft) {
		if c, ok := e.Data.(SpeakerChange); ok && c.Group == "" {
			t.Errorf("the floor went to %q", c.Participant)
		}
	}
}

// Counters never go back, nor ahead of themselves, when rooms end.
func TestEndedRoomsAreCountedOnce(t *testing.T) {
	m := newManager(t)
	const rooms, ticks = 300, 1000
	for i := range rooms {
		r := newTestRoom(t, m, RoomConfig{ID: RoomID(fmt.Sprint("r", i))})
		r.past.Lock()
		r.past.stats.Mix.Ticks, r.past.stats.CPU.Sound = ticks, time.Second
		r.past.Unlock()
	}
	var ends sync.WaitGroup
	for i := range rooms {
		ends.Go(func() {
			if err := m.DeleteRoom(t.Context(), RoomID(fmt.Sprint("r", i))); err != nil {
				t.Error(err)
			}
		})
	}
	for len(m.Rooms()) > 0 {
		if n := m.Stats().Mix.Ticks; n != rooms*ticks {
			t.Errorf("%d ticks, want %d", n, rooms*ticks)
		}
		list, ended := m.Costs()
		for _, r := range list {
			ended.add(r.CPU)
		}
		if ended.Total().Truncate(time.Second) != rooms*time.Second { // ending costs a little
			t.Errorf("%v, want %v", ended.Total(), rooms*time.Second)
		}
	}
	ends.Wait()
}
