package mixer

import (
	"errors"
	"strings"
	"testing"

	"mixdown/mixer/layout"
)

// listen subscribes to the room as a participant does.
func listen(t *testing.T, r *Room, as ParticipantID) *Subscription {
	t.Helper()
	s, _, err := r.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	s.ListenAs(as)
	t.Cleanup(s.Close)
	return s
}

// chats returns what was written, of what is queued.
func chats(s *Subscription) (all []Chat) {
	for {
		select {
		case e := <-s.Events():
			if c, ok := e.Data.(Chat); ok {
				all = append(all, c)
			}
		default:
			return all
		}
	}
}

func TestChat(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	ann, _ := enter(t, r, "Ann")
	bob, _ := enter(t, r, "Bob")
	cyd, _ := enter(t, r, "Cyd")
	await(t, "three members", func() bool { return cyd.Info().State == StateActive })
	if err := ann.Say(t.Context(), "psst", bob.ID()); !errors.Is(err, ErrNotListening) || KindOf(err) != Conflict {
		t.Errorf("to somebody who does not listen: %v", err)
	}
	as, bs, cs, all := listen(t, r, ann.ID()), listen(t, r, bob.ID()), listen(t, r, cyd.ID()), subscribe(t, m)

	say := func(text string, to ParticipantID) {
		t.Helper()
		if err := ann.Say(t.Context(), text, to); err != nil {
			t.Fatal(err)
		}
	}
	before := r.Info().Seq
	say("hello", "")
	say("psst", bob.ID())
	hello, psst := Chat{ann.ID(), "Ann", "hello", ""}, Chat{ann.ID(), "Ann", "psst", bob.ID()}
	for _, c := range []struct {
		name string
		s    *Subscription
		want []Chat
	}{{"the author", as, []Chat{hello, psst}}, {"whom it is for", bs, []Chat{hello, psst}}, {"another", cs, []Chat{hello}}, {"who follows all rooms", all, []Chat{hello}}} {
		if got := chats(c.s); len(got) != len(c.want) || got[0] != c.want[0] || got[len(got)-1] != c.want[len(c.want)-1] {
			t.Errorf("%s was told %+v, want %+v", c.name, got, c.want)
		}
	}
	if seq := r.Info().Seq; seq != before+1 {
		t.Errorf("seq went from %d to %d: what is private has none", before, seq)
	}

	// Who comes back is not told what was for others.
	_, snap, err := r.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	again, missed, ok := r.Resume(snap.ID - 1)
	if !ok || len(missed) != 1 || missed[0].Data != hello || missed[0].Private {
		t.Errorf("missed: %+v", missed)
	}
	again.Close()

	for _, c := range []struct {
		text string
		to   ParticipantID
		kind Kind
	}{{"", "", Invalid}, {strings.Repeat("x", maxChatBytes+1), "", Invalid}, {"x", "p_nobody", NotFound}} {
		if err := ann.Say(t.Context(), c.text, c.to); KindOf(err) != c.kind {
			t.Errorf("%d bytes to %q: %v", len(c.text), c.to, err)
		}
	}
	ann.Leave(nil)
	await(t, "Ann's leave", func() bool { return len(r.Participants()) == 2 })
	if err := ann.Say(t.Context(), "still here", ""); KindOf(err) != NotFound {
		t.Errorf("who has left: %v", err)
	}
	// Private texts go through the same queues, with the same end.
	for range m.cfg.EventQueue + 1 {
		_ = cyd.Say(t.Context(), "flood", bob.ID())
	}
	for range bs.Events() { // until it is closed
	}
	if !errors.Is(bs.Err(), ErrSlow) {
		t.Error(bs.Err())
	}
}

// Whose picture a client watches, and how it is arranged, is told to who follows,
// also where no layout has changed.
func TestWatching(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	ann, _ := enter(t, r, "Ann")
	bob, _ := enter(t, r, "Bob")
	if w := ann.Watching(); w.Layout != nil {
		t.Errorf("nobody follows, and it is %+v", w.Layout)
	}
	defer ann.FollowUplink()()
	shows := func(what string, ok func(l *LayoutChange) bool) {
		t.Helper()
		await(t, what, func() bool { l := ann.Watching().Layout; return l != nil && ok(l) })
	}
	shows("the shared picture", func(l *LayoutChange) bool { return l.Group == "" && l.Participant == "" && len(l.Tiles) == 2 })

	before := ann.Watching()
	if _, err := r.SetPersonalLayout(t.Context(), ann.ID(), &layout.Spec{Mode: layout.Single}, false); err != nil {
		t.Fatal(err)
	}
	<-before.Changed
	shows("her own", func(l *LayoutChange) bool { return l.Participant == ann.ID() && len(l.Tiles) == 1 })
	if _, err := r.SetPersonalLayout(t.Context(), ann.ID(), nil, false); err != nil {
		t.Fatal(err)
	}
	shows("the shared one again", func(l *LayoutChange) bool { return l.Participant == "" && len(l.Tiles) == 2 })

	team := GroupID("team")
	if _, err := r.UpdateParticipant(t.Context(), ann.ID(), ParticipantPatch{Group: &team}); err != nil {
		t.Fatal(err)
	}
	shows("the group's", func(l *LayoutChange) bool { return l.Group == team && len(l.Tiles) == 1 })
	if _, err := r.SetPersonalLayout(t.Context(), bob.ID(), &layout.Spec{Mode: layout.Single}, false); err != nil {
		t.Fatal(err)
	}
	shows("the group's still", func(l *LayoutChange) bool { return l.Group == team && len(l.Tiles) == 1 })
}
