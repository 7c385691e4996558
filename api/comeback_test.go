package api

import (
	"strings"
	"sync"
	"testing"

	"mixdown/transport"
)

func secretOf(r reply) string {
	return strings.TrimPrefix(r.Header.Get("Location"), "/v1/sessions/")
}

func memberOf(r reply) string {
	return strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<")
}

// TestReplaces: who comes back with the secret of the last session is the same
// participant, and the old session says so.
func TestReplaces(t *testing.T) {
	f := newFixture(t, false)
	var before, after Participant
	first := f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	f.lastPeer().up()
	eventually(t, "the participant to be active", func() bool {
		f.do("GET", memberOf(first), "").want(t, 200).json(t, &before)
		return before.State == "active"
	})
	f.do("PATCH", memberOf(first), `{"send":{"audio":{"muted":true}}}`).want(t, 200)
	old := f.lastPeer()
	second := f.join("/v1/rooms/r/participants?maxWidth=640&replaces="+secretOf(first)).want(t, 201)
	if memberOf(second) != memberOf(first) || secretOf(second) == secretOf(first) {
		t.Errorf("it is %s, was %s", memberOf(second), memberOf(first))
	}
	if first := memberOf(first); !strings.HasPrefix(first, "/v1/rooms/r/participants/p_") {
		t.Errorf("the participant is %q", first)
	}
	f.do("GET", first.Header.Get("Location"), "").problem(t, 410, "replaced")
	f.do("DELETE", first.Header.Get("Location"), "").problem(t, 410, "replaced")
	patchSession(f, first.Header.Get("Location"), sameFragment, "*").problem(t, 410, "replaced")
	f.do("GET", second.Header.Get("Location"), "").want(t, 204)
	// Its connection was closed before the answer went out, and nobody missed it.
	old.once.Do(func() { t.Error("the old connection was not closed") })
	old.up()
	f.do("GET", memberOf(first), "").want(t, 200).json(t, &after)
	if after.State != "reconnecting" {
		t.Errorf("it is %s", after.State)
	}
	f.lastPeer().up()
	eventually(t, "the participant to be active", func() bool {
		f.do("GET", memberOf(first), "").want(t, 200).json(t, &after)
		return after.State == "active"
	})
	if after.CSRC != before.CSRC || after.Name != "Ann" || !after.Send.Audio.Muted ||
		after.Receive.Limits == nil || after.Receive.Limits.MaxWidth != 640 {
		t.Errorf("it is %+v, was %+v", after, before)
	}
	var list List[Participant]
	f.do("GET", "/v1/rooms/r/participants", "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 {
		t.Errorf("%d participants", len(list.Items))
	}
	// The secret opens nothing any more, and the new one can be replaced in turn.
	f.join("/v1/rooms/r/participants?replaces="+secretOf(first)).problem(t, 410, "replaced")
	third := f.join("/v1/rooms/r/participants?name=Ann+on+the+train&replaces="+secretOf(second)).want(t, 201)
	f.lastPeer().up()
	f.do("DELETE", memberOf(third), "").want(t, 204)
	f.do("GET", third.Header.Get("Location"), "").problem(t, 410, "kicked")
	f.join("/v1/rooms/r/participants?replaces="+secretOf(third)).problem(t, 410, "kicked")
	if live, half := f.sessions.counts(); live != 0 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones are left", live, half)
	}
	if log := f.log.String(); strings.Contains(log, secretOf(first)) || strings.Contains(log, secretOf(second)) {
		t.Error("a secret is in the log")
	}
}

// TestReplacesNothing: when the last session ended by itself, who comes back is
// somebody new.
func TestReplacesNothing(t *testing.T) {
	f := newFixture(t, false)
	lost := f.join("/v1/rooms/r/participants").want(t, 201)
	f.lastPeer().end(transport.ErrVanished)
	left := f.join("/v1/rooms/r/participants").want(t, 201)
	f.do("DELETE", left.Header.Get("Location"), "").want(t, 200)
	for _, secret := range []string{secretOf(lost), secretOf(left), strings.Repeat("A", 22)} {
		r := f.join("/v1/rooms/r/participants?replaces="+secret).want(t, 201)
		if memberOf(r) == memberOf(lost) || memberOf(r) == memberOf(left) {
			t.Errorf("it is %s again", memberOf(r))
		}
	}
}

func TestReplacesRefused(t *testing.T) {
	f := newFixture(t, false)
	first := f.join("/v1/rooms/r/participants").want(t, 201)
	peer := f.lastPeer()
	peer.up()
	secret := secretOf(first)
	for name, c := range map[string]struct {
		path, code string
		status     int
	}{
		"another room":  {"/v1/rooms/other/participants?replaces=" + secret, "invalid", 422},
		"another role":  {"/whep/r?replaces=" + secret, "invalid", 422},
		"no secret":     {"/v1/rooms/r/participants?replaces=", "invalid", 422},
		"a participant": {"/v1/rooms/r/participants?replaces=p_ABCDEFGHIJKLM", "invalid", 422},
	} {
		t.Run(name, func(t *testing.T) {
			p := f.join(c.path).problem(t, c.status, c.code)
			if len(p.Errors) != 1 || p.Errors[0].Parameter != "replaces" {
				t.Errorf("got %+v", p)
			}
			if strings.Contains(p.Detail, secret) {
				t.Error("the secret is in the answer")
			}
		})
	}
	// An offer that leads to nothing takes nothing away.
	f.failAccept(transport.ErrNoUsableCodec)
	f.join("/v1/rooms/r/participants?replaces="+secret).problem(t, 422, "no-usable-codec")
	f.failAccept(nil)
	f.do("GET", first.Header.Get("Location"), "").want(t, 204)
	eventually(t, "the participant to be active", func() bool {
		var now Participant
		f.do("GET", memberOf(first), "").want(t, 200).json(t, &now)
		return now.State == "active"
	})
	if live, half := f.sessions.counts(); live != 1 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones", live, half)
	}
	// Who is somebody else is so with any secret.
	f.authorizer = letIn{Subject: "Eve"}
	f.join("/v1/rooms/r/participants?replaces="+secret).problem(t, 403, "forbidden")
	f.authorizer = Keyless{}
	// A room that is locked, or full, is so for others.
	f.do("PATCH", "/v1/rooms/r", `{"locked":true,"maxParticipants":1}`).want(t, 200)
	f.join("/v1/rooms/r/participants?replaces="+secret).want(t, 201)
	f.join("/v1/rooms/r/participants").problem(t, 403, "locked")
}

// TestReplacesAtOnce: of many who come back at one time, each takes the place of
// the last at most once, and one is in the room.
func TestReplacesAtOnce(t *testing.T) {
	f := newFixture(t, false, quiet)
	first := f.join("/v1/rooms/r/participants").want(t, 201)
	f.lastPeer().up()
	var mu sync.Mutex
	codes := map[int]int{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			r := f.join("/v1/rooms/r/participants?replaces=" + secretOf(first))
			mu.Lock()
			defer mu.Unlock()
			codes[r.StatusCode]++
		})
	}
	all.Wait()
	if codes[201] != 1 || codes[410] != 19 {
		t.Errorf("answers were %v", codes)
	}
	room, err := f.rooms.Room("r")
	must(t, err)
	if n := len(room.Participants()); n != 1 {
		t.Errorf("%d are in the room", n)
	}
	if live, half := f.sessions.counts(); live != 1 || half != 1 {
		t.Errorf("%d sessions and %d half-open ones", live, half)
	}
}

// TestReplacesOneWhoLeaves: ends and comebacks at one time leave nobody behind.
func TestReplacesOneWhoLeaves(t *testing.T) {
	f := newFixture(t, false, quiet)
	for range 20 {
		first := f.join("/v1/rooms/r/participants").want(t, 201)
		peer := f.lastPeer()
		peer.up()
		var all sync.WaitGroup
		all.Go(func() { f.join("/v1/rooms/r/participants?replaces=" + secretOf(first)) })
		all.Go(func() { peer.end(transport.ErrVanished) })
		all.Go(func() { f.do("DELETE", memberOf(first), "") })
		all.Wait()
		f.lastPeer().end(nil)
	}
	room, err := f.rooms.Room("r")
	must(t, err)
	eventually(t, "an empty room", func() bool { return len(room.Participants()) == 0 })
	if live, half := f.sessions.counts(); live != 0 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones are left", live, half)
	}
}
