package mixer

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
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
