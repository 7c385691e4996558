package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mixdown/mixer"
)

// named is an Authorizer that believes what a header says.
type named struct {
	closed mixer.RoomID // which nobody may moderate
}

func (n named) Authorize(r *http.Request, g Grant) (Identity, error) {
	if g.Action == AdminRoom && g.Room == n.closed {
		return Identity{}, byKind[mixer.Permission].problem("")
	}
	who := r.Header.Get("X-Who")
	return Identity{
		Subject: who, MayCreate: true,
		Moderator: who == "moderator", Audience: who == "audience", Hidden: who == "hidden",
	}, nil
}

func participant(t *testing.T, f *fixture, path string) (p Participant) {
	t.Helper()
	f.do("GET", path, "").want(t, 200).json(t, &p)
	return p
}

// connected waits until a participant's connection is known to be up.
func connected(t *testing.T, f *fixture, joined reply) (path string) {
	t.Helper()
	f.lastPeer().up()
	path = memberOf(joined)
	eventually(t, "the participant to be active", func() bool { return participant(t, f, path).State == "active" })
	return path
}

// TestMoveToAnotherRoom: the session, its connection and its streams go on.
func TestMoveToAnotherRoom(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.do("PUT", "/v1/rooms/b", "{}").want(t, 201)
	base := overTCP(t, f)
	first := f.join("/v1/rooms/a/participants?name=Ann").want(t, 201)
	path := connected(t, f, first)
	was := participant(t, f, path)
	channel := serveFake(t, f, first.Header.Get("Location"))
	channel.until("snapshot")
	sse := follow(t, base+first.Header.Get("Location")+"/events")
	sse.until("snapshot")
	socket := openSocket(t, base+first.Header.Get("Location")+"/events")
	socket.until("snapshot")
	before := sse.last

	var moved Participant
	f.do("PATCH", path, `{"room":"b"}`).want(t, 200).json(t, &moved)
	if moved.Room != "b" || moved.ID != was.ID || moved.CSRC != was.CSRC || moved.Name != "Ann" || moved.State != "active" {
		t.Errorf("it is %+v, was %+v", moved, was)
	}
	f.do("GET", path, "").problem(t, 404, "no-such-participant")
	there := strings.Replace(path, "/rooms/a/", "/rooms/b/", 1)
	participant(t, f, there)
	f.do("GET", first.Header.Get("Location"), "").want(t, 204)
	for name, e := range map[string]told{
		"data channel": channel.until("snapshot"), "SSE": sse.until("snapshot"), "WebSocket": socket.until("snapshot"),
	} {
		snap := into[RoomSnapshot](t, e)
		if e.Room != "b" || snap.Room.ID != "b" || len(snap.Participants) != 1 || snap.Participants[0].ID != was.ID {
			t.Errorf("%s: the snapshot is of %+v", name, snap)
		}
	}
	// The end of the room that was left is no news to it, and what is said reaches the other.
	f.do("DELETE", "/v1/rooms/a", "").want(t, 204)
	f.do("PATCH", there, `{"name":"Anne"}`).want(t, 200)
	for name, e := range map[string]told{
		"data channel": channel.until("participant.updated"), "SSE": sse.until("participant.updated"), "WebSocket": socket.until("participant.updated"),
	} {
		for into[Participant](t, e).Name != "Anne" {
			switch name {
			case "SSE":
				e = sse.until("participant.updated")
			case "WebSocket":
				e = socket.until("participant.updated")
			default:
				e = channel.until("participant.updated")
			}
		}
	}
	f.do("POST", first.Header.Get("Location")+"/chat", `{"text":"here"}`).want(t, 204)
	if e := channel.until("chat"); e.Room != "b" {
		t.Errorf("said in %s", e.Room)
	}
	// Who goes on after an event of the old room gets a snapshot of the new one.
	again := follow(t, base+first.Header.Get("Location")+"/events", "Last-Event-ID", before)
	if e, ok := again.next(); !ok || e.Type != "snapshot" || e.Room != "b" {
		t.Errorf("it goes on with %s of %s", e.Type, e.Room)
	}
	// And who comes back by the room where it was let in, or by that where it is, is the same.
	for _, room := range []string{"a", "b"} {
		back := f.join("/v1/rooms/"+room+"/participants?replaces="+secretOf(first)).want(t, 201)
		if memberOf(back) != there {
			t.Errorf("by %s it is %s", room, memberOf(back))
		}
		f.lastPeer().up()
		first = back
	}
	if log := f.log.String(); strings.Contains(log, secretOf(first)) {
		t.Error("a secret is in the log")
	}
}

func TestMoveIsRefused(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.do("PUT", "/v1/rooms/b", "{}").want(t, 201)
	f.do("PUT", "/v1/rooms/full", `{"maxParticipants":1}`).want(t, 201)
	f.join("/v1/rooms/full/participants").want(t, 201)
	path := connected(t, f, f.join("/v1/rooms/a/participants").want(t, 201))
	f.do("PATCH", path, `{"room":"nowhere"}`).problem(t, 404, "no-such-room")
	f.do("PATCH", path, `{"room":"full"}`).problem(t, 409, "full")
	p := f.do("PATCH", path, `{"room":"b","name":"x"}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/room" {
		t.Errorf("got %+v", p)
	}
	f.do("PATCH", path, `{"room":"a"}`).want(t, 200) // where it is
	f.authorizer = named{closed: "b"}
	f.do("PATCH", path, `{"room":"b"}`).problem(t, 403, "forbidden")
	if p := participant(t, f, path); p.Room != "a" || p.State != "active" {
		t.Errorf("it is %+v", p)
	}
}

// TestMovesAndComebacks: whatever happens at one time, one is in one room, or
// nobody in any.
func TestMovesAndComebacks(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.do("PUT", "/v1/rooms/a", "{}").want(t, 201)
	f.do("PUT", "/v1/rooms/b", "{}").want(t, 201)
	present := func() (ids []string) {
		for _, room := range []mixer.RoomID{"a", "b"} {
			r, err := f.rooms.Room(room)
			must(t, err)
			for _, p := range r.Participants() {
				ids = append(ids, string(p.ID))
			}
		}
		return ids
	}
	for i := range 20 {
		first := f.join("/v1/rooms/a/participants").want(t, 201)
		peer := f.lastPeer()
		path := connected(t, f, first)
		var all sync.WaitGroup
		var back reply
		all.Go(func() { back = f.join("/v1/rooms/a/participants?replaces=" + secretOf(first)) })
		all.Go(func() { f.do("PATCH", path, `{"room":"b"}`) })
		if i%2 == 1 {
			all.Go(func() { peer.end(errors.New("gone")) })
		}
		all.Wait()
		f.lastPeer().end(nil)
		peer.end(nil)
		if back.StatusCode == 201 {
			f.do("DELETE", back.Header.Get("Location"), "")
		}
		f.do("DELETE", first.Header.Get("Location"), "")
		eventually(t, "empty rooms", func() bool { return len(present()) == 0 })
	}
	if live, half := f.sessions.counts(); live != 0 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones are left", live, half)
	}
}

// TestWaitingRoom: who waits is told of itself and of nothing else, until it is let in.
func TestWaitingRoom(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	f.do("PUT", "/v1/rooms/r", `{"waitingRoom":true,"name":"Board","metadata":"secret"}`).want(t, 201)
	base := overTCP(t, f)
	host := f.join("/v1/rooms/r/participants?name=Host", "X-Who", "moderator").want(t, 201)
	connected(t, f, host)
	guest := f.join("/v1/rooms/r/participants?name=Guest").want(t, 201)
	f.lastPeer().up()
	path := memberOf(guest)
	if p := participant(t, f, path); p.Admitted || p.State != "waiting" {
		t.Errorf("it is %+v", p)
	}
	channel := serveFake(t, f, guest.Header.Get("Location"))
	sse := follow(t, base+guest.Header.Get("Location")+"/events")
	for name, e := range map[string]told{"data channel": channel.until("snapshot"), "SSE": sse.until("snapshot")} {
		snap := into[RoomSnapshot](t, e)
		if snap.Room.Name != "Board" || snap.Room.Metadata != "" || len(snap.Participants) != 1 || snap.Participants[0].Name != "Guest" || snap.Participants[0].Admitted {
			t.Errorf("%s: it is told of %+v", name, snap)
		}
	}
	resume := sse.last
	f.do("PATCH", memberOf(host), `{"name":"The Host"}`).want(t, 200)
	f.do("POST", host.Header.Get("Location")+"/chat", `{"text":"behind closed doors"}`).want(t, 204)
	f.do("POST", guest.Header.Get("Location")+"/chat", `{"text":"knock"}`).problem(t, 403, "waiting-room")
	f.do("GET", "/v1/rooms/r/snapshot.jpg", "").problem(t, 403, "waiting-room")
	f.do("GET", "/v1/rooms/r/live.webm", "").problem(t, 403, "waiting-room")
	f.do("PATCH", path, `{"state":"left"}`).problem(t, 422, "invalid")
	f.do("PATCH", path, `{"name":"Guest of honour"}`).want(t, 200)
	for name, next := range map[string]func() told{
		"data channel": channel.next, "SSE": func() told { e, _ := sse.next(); return e },
	} {
		if e := next(); e.Type != "participant.updated" || into[Participant](t, e).Name != "Guest of honour" {
			t.Errorf("%s: it was told of %s %s", name, e.Type, e.Data)
		}
	}
	var room Room
	f.do("GET", "/v1/rooms/r", "").want(t, 200).json(t, &room)
	if room.Status.Waiting != 1 {
		t.Errorf("%d wait", room.Status.Waiting)
	}

	var let Participant
	f.do("PATCH", path, `{"state":"active"}`).want(t, 200).json(t, &let)
	if !let.Admitted || let.State != "active" {
		t.Errorf("it is %+v", let)
	}
	again := follow(t, base+guest.Header.Get("Location")+"/events", "Last-Event-ID", resume)
	for name, e := range map[string]told{"data channel": channel.until("snapshot"), "SSE": sse.until("snapshot"), "anew": again.until("snapshot")} {
		if snap := into[RoomSnapshot](t, e); len(snap.Participants) != 2 {
			t.Errorf("%s: let in, it is told of %+v", name, snap)
		}
	}
	f.do("PATCH", path, `{"state":"waiting"}`).problem(t, 422, "invalid")
	f.do("POST", guest.Header.Get("Location")+"/chat", `{"text":"thank you"}`).want(t, 204)
	if e := channel.until("chat"); into[Chat](t, e).Text != "thank you" {
		t.Errorf("it is told of %s", e.Data)
	}
}

func TestPINs(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	var room Room
	f.do("PUT", "/v1/rooms/r", `{"pin":"4711830619472510"}`).want(t, 201).json(t, &room)
	if room.PIN != "****" {
		t.Errorf("the PIN is shown as %q", room.PIN)
	}
	join := func(pin string, more ...string) reply {
		return f.join("/v1/rooms/r/participants", append([]string{"Room-Pin", pin}, more...)...)
	}
	f.join("/v1/rooms/r/participants").problem(t, 403, "pin")
	f.join("/v1/rooms/r/participants", "X-Who", "moderator").want(t, 201)
	f.do("GET", "/v1/rooms/r/snapshot.jpg", "").problem(t, 403, "pin")
	now := time.Now()
	f.pins.now = func() time.Time { return now }
	for range 20 { // who knows it may come as often as he likes
		first := join("4711830619472510").want(t, 201)
		f.do("DELETE", first.Header.Get("Location"), "").want(t, 200)
	}
	for i := range pinTriesPerWindow {
		join(fmt.Sprint(1000830619472510+i)).problem(t, 403, "pin")
	}
	p := join("4711830619472510")
	p.problem(t, 429, "too-many-pins")
	if after := p.Header.Get("Retry-After"); after != "61" {
		t.Errorf("Retry-After: %s", after)
	}
	f.do("GET", "/v1/rooms/r/live.webm", "", "Room-Pin", "4711830619472510").problem(t, 429, "too-many-pins")
	f.do("PUT", "/v1/rooms/s", `{"pin":"4712830619472510"}`).want(t, 201)
	f.join("/v1/rooms/s/participants", "Room-Pin", "4712830619472510").want(t, 201) // another room
	now = now.Add(pinWindow)
	join("4711830619472510").want(t, 201)

	// What is not said of it leaves it as it is.
	for body, pin := range map[string]string{`{"name":"x"}`: "4711830619472510", `{"pin":"****"}`: "4711830619472510"} {
		f.do("PATCH", "/v1/rooms/r", body).want(t, 200).json(t, &room)
		if room.PIN != "****" {
			t.Errorf("after %s the PIN is shown as %q", body, room.PIN)
		}
		join(pin).want(t, 201)
	}
	f.do("PATCH", "/v1/rooms/r", `{"pin":"abc"}`).problem(t, 422, "invalid")
	f.do("PATCH", "/v1/rooms/s", `{"pin":null}`).want(t, 200)
	f.join("/v1/rooms/s/participants").want(t, 201)
	f.do("PATCH", "/v1/rooms/s", `{"pin":"****"}`).problem(t, 422, "invalid")
	// (Shorter ones would be in some time or other.)
	for _, secret := range []string{"4711830619472510", "4712830619472510", "1000830619472510"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

// TestPINsAtOnce: many tries at one time are no more than one after the other.
func TestPINsAtOnce(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.do("PUT", "/v1/rooms/r", `{"pin":"471142"}`).want(t, 201)
	var mu sync.Mutex
	codes := map[int]int{}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			r := f.join("/v1/rooms/r/participants", "Room-Pin", fmt.Sprint(100000+i))
			mu.Lock()
			defer mu.Unlock()
			codes[r.StatusCode]++
		})
	}
	all.Wait()
	if codes[403] != pinTriesPerWindow || codes[429] != 40-pinTriesPerWindow {
		t.Errorf("answers were %v", codes)
	}
}

func TestPINTriesAreBounded(t *testing.T) {
	tries := newPinTries()
	now := time.Now()
	tries.now = func() time.Time { return now }
	for i := range maxPinKeys + 100 {
		must(t, tries.take(pinKey{fmt.Sprint(i), "r"}))
	}
	if n := len(tries.mu.byKey); n > maxPinKeys {
		t.Errorf("%d are remembered", n)
	}
	now = now.Add(pinWindow)
	must(t, tries.take(pinKey{"new", "r"}))
	if n := len(tries.mu.byKey); n > maxPinKeys {
		t.Errorf("%d are remembered", n)
	}
}

func TestMuteAll(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.do("PUT", "/v1/rooms/r", `{"mutedOnJoin":true}`).want(t, 201)
	a := memberOf(f.join("/v1/rooms/r/participants").want(t, 201))
	b := memberOf(f.join("/v1/rooms/r/participants").want(t, 201))
	muted := func() [2]bool {
		return [2]bool{participant(t, f, a).Send.Audio.Muted, participant(t, f, b).Send.Audio.Muted}
	}
	if m := muted(); m != [2]bool{true, true} {
		t.Errorf("on joining: %v", m)
	}
	const all = "/v1/rooms/r/participants"
	var list List[Participant]
	f.do("PATCH", all, `{"send":{"audio":{"muted":false}}}`).want(t, 200).json(t, &list)
	if m := muted(); m != [2]bool{} || len(list.Items) != 2 {
		t.Errorf("unmuted: %v, %+v", m, list)
	}
	f.do("PATCH", all+"?except="+a[strings.LastIndex(a, "/")+1:], `{"send":{"audio":{"muted":true}}}`).want(t, 200)
	if m := muted(); m != [2]bool{false, true} {
		t.Errorf("all but one muted: %v", m)
	}
	f.do("PATCH", all, `{}`).problem(t, 422, "invalid")
	f.do("PATCH", all, `{"send":{"audio":{"gain":1}}}`).problem(t, 422, "invalid")
	f.do("PATCH", "/v1/rooms/none/participants", `{"send":{"audio":{"muted":true}}}`).problem(t, 404, "no-such-room")
}

// TestMuteSelf: by the secret of a session its client unmutes itself, where the
// room lets it, and nothing else.
func TestMuteSelf(t *testing.T) {
	const muted, heard = `{"send":{"audio":{"muted":true}}}`, `{"send":{"audio":{"muted":false}}}`
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	set := func(x reply, body string, headers ...string) reply {
		return f.do("PATCH", x.Header.Get("Location"), body, append([]string{"Content-Type", patchType}, headers...)...)
	}
	is := func(x reply, want bool) {
		t.Helper()
		if got := participant(t, f, memberOf(x)).Send.Audio.Muted; got != want {
			t.Errorf("muted is %v", got)
		}
	}
	f.do("PUT", "/v1/rooms/r", `{"mutedOnJoin":true}`).want(t, 201)
	guest := f.join("/v1/rooms/r/participants").want(t, 201)
	connected(t, f, guest)
	channel := serveFake(t, f, guest.Header.Get("Location"))
	if snap := into[RoomSnapshot](t, channel.until("snapshot")); !snap.Room.SelfUnmute || !snap.Participants[0].Send.Audio.Muted {
		t.Errorf("the snapshot is %+v", snap)
	}
	if r := set(guest, heard).want(t, 204); r.Header.Get("ETag") == "" || r.text != "" {
		t.Errorf("answered %v %q", r.Header, r.text)
	}
	is(guest, false)
	for into[Participant](t, channel.until("participant.updated")).Send.Audio.Muted {
	}
	f.do("PATCH", memberOf(guest), muted).want(t, 200)
	set(guest, heard).want(t, 204)
	is(guest, false)

	var room Room
	f.do("PATCH", "/v1/rooms/r", `{"selfUnmute":false}`).want(t, 200).json(t, &room)
	if room.SelfUnmute {
		t.Error("the room does not forbid it")
	}
	f.do("PATCH", "/v1/rooms/r", `{"name":"x"}`).want(t, 200).json(t, &room)
	if room.SelfUnmute {
		t.Error("another field allows it again")
	}
	set(guest, muted).want(t, 204)
	set(guest, heard).problem(t, 403, "stays-muted")
	f.do("PATCH", memberOf(guest), heard).want(t, 200)
	f.do("PATCH", "/v1/rooms/r/participants", muted).want(t, 200)
	set(guest, heard).problem(t, 403, "stays-muted")
	is(guest, true)

	host := f.join("/v1/rooms/r/participants", "X-Who", "moderator").want(t, 201)
	connected(t, f, host)
	set(host, muted).want(t, 204)
	set(host, heard).want(t, 204)
	f.do("PUT", "/v1/rooms/other", `{"selfUnmute":false}`).want(t, 201)
	f.do("PATCH", memberOf(host), `{"room":"other"}`).want(t, 200)
	set(host, muted).want(t, 204)
	set(host, heard).problem(t, 403, "stays-muted") // it moderates r alone

	set(guest, muted, "If-Match", `"x"`).problem(t, 412, "precondition-failed")
	set(guest, muted, "If-Match", "*").want(t, 204)
	set(f.join("/whep/r").want(t, 201), muted).problem(t, 409, "conflict")
	f.do("DELETE", memberOf(guest), "").want(t, 204)
	set(guest, muted).problem(t, 410, "kicked")
}

// TestMuteSelfInWait: who waits to be let in has what it said of itself.
func TestMuteSelfInWait(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	f.do("PUT", "/v1/rooms/r", `{"waitingRoom":true,"mutedOnJoin":true}`).want(t, 201)
	guest := f.join("/v1/rooms/r/participants").want(t, 201)
	f.do("PATCH", guest.Header.Get("Location"), `{"send":{"audio":{"muted":false}}}`, "Content-Type", patchType).want(t, 204)
	if p := participant(t, f, memberOf(guest)); p.Admitted || p.Send.Audio.Muted {
		t.Errorf("it is %+v", p)
	}
}

func TestMuteSelfRefused(t *testing.T) {
	f := newFixture(t, false, quiet)
	session := f.join("/v1/rooms/r/participants").want(t, 201).Header.Get("Location")
	for body, pointer := range map[string]string{
		"": "#", `{}`: "#", `{"send":{}}`: "#/send", `{"send":{"audio":{}}}`: "#/send/audio",
		`{"send":{"audio":{"muted":"yes"}}}`:                     "#/send/audio/muted",
		`{"send":{"audio":{"muted":null}}}`:                      "#/send/audio/muted",
		`{"send":{"audio":{"muted":true,"gain":12}}}`:            "#/send/audio/gain",
		`{"role":"participant","send":{"audio":{"muted":true}}}`: "#/role",
	} {
		p := f.do("PATCH", session, body, "Content-Type", patchType).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
	f.do("PATCH", session, `[]`, "Content-Type", patchType).problem(t, 400, "bad-json")
	const muted = `{"send":{"audio":{"muted":true}}}`
	f.do("PATCH", session, muted).problem(t, 415, "unsupported-media-type") // application/json
	f.do("PATCH", session, muted, "Content-Type", patchType+"; charset=utf-8").want(t, 204)
	f.do("PATCH", "/v1/sessions/none", muted, "Content-Type", patchType).problem(t, 404, "no-such-session")
	refused := false
	for range 2 * chatBurst {
		refused = refused || f.do("PATCH", session, muted, "Content-Type", patchType).StatusCode == 429
	}
	if !refused {
		t.Error("others can be told of it without end")
	}
}

// TestRolesAndFloor: who is a viewer by its token or by a moderator's wish, and who
// has the floor.
func TestRolesAndFloor(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	path := connected(t, f, f.join("/v1/rooms/r/participants", "X-Who", "audience").want(t, 201))
	id := path[strings.LastIndex(path, "/")+1:]
	floor := fmt.Sprintf(`{"floor":%q}`, id)
	if p := participant(t, f, path); p.Role != "viewer" {
		t.Errorf("by its token it is a %s", p.Role)
	}
	f.do("PATCH", "/v1/rooms/r", floor).problem(t, 422, "invalid")
	f.do("PATCH", path, `{"role":"participant"}`).want(t, 200)
	var room Room
	f.do("PATCH", "/v1/rooms/r", floor).want(t, 200).json(t, &room)
	if room.Floor != id {
		t.Errorf("the floor is %q's", room.Floor)
	}
	f.do("PATCH", "/v1/rooms/r", `{"name":"x"}`).want(t, 200).json(t, &room)
	if room.Floor != id {
		t.Errorf("the floor is %q's", room.Floor)
	}
	f.do("PATCH", path, `{"role":"publisher"}`).problem(t, 422, "invalid")
	f.do("PATCH", path, `{"role":"viewer"}`).want(t, 200)
	f.do("GET", "/v1/rooms/r", "").want(t, 200).json(t, &room)
	if room.Floor != "" {
		t.Errorf("a viewer has the floor")
	}
	f.do("PUT", "/v1/rooms/new", floor).problem(t, 422, "invalid")
	viewer := memberOf(f.join("/whep/r").want(t, 201))
	f.do("PATCH", viewer, `{"role":"participant"}`).problem(t, 409, "conflict")
}

func TestHiddenParticipants(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	hidden := connected(t, f, f.join("/v1/rooms/r/participants?name=bot", "X-Who", "hidden").want(t, 201))
	f.join("/v1/rooms/r/participants").want(t, 201)
	var list List[Participant]
	f.do("GET", "/v1/rooms/r/participants", "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 || list.Items[0].Hidden {
		t.Errorf("listed are %+v", list.Items)
	}
	f.do("GET", "/v1/rooms/r/participants?hidden=true", "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 || list.Items[0].Name != "bot" || !list.Items[0].Hidden {
		t.Errorf("hidden are %+v", list.Items)
	}
	var room Room
	f.do("GET", "/v1/rooms/r", "").want(t, 200).json(t, &room)
	if room.Status.Participants != 1 || room.Status.Hidden != 1 {
		t.Errorf("the room has %+v", room.Status)
	}
	f.authorizer = named{closed: "r"}
	f.do("GET", "/v1/rooms/r/participants?hidden=true", "").problem(t, 403, "forbidden")
	f.authorizer = named{}
	f.do("DELETE", hidden, "").want(t, 204)
}

// shelf is a BanStore in memory.
type shelf struct {
	mu   sync.Mutex
	kept map[string]string
	err  error
}

func (s *shelf) Put(key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.kept[key] = string(value)
	}
	return s.err
}

func (s *shelf) Delete(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, key)
	return s.err
}

func (s *shelf) Each(prefix string, f func(string, []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, value := range s.kept {
		if strings.HasPrefix(key, prefix) {
			if err := f(key, []byte(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestKicksAndBans: who is removed has no tokens any more, and who is banned does
// not come back by another one, over a restart neither.
func TestKicksAndBans(t *testing.T) {
	store := &shelf{kept: map[string]string{}}
	var revoked []string
	f := newFixture(t, false, quiet, func(c *Config) {
		c.Bans = store
		c.Revoke = func(room mixer.RoomID, identity string) error {
			revoked = append(revoked, string(room)+" "+identity)
			return nil
		}
	})
	f.authorizer = named{}
	join := func(who string) reply { return f.join("/v1/rooms/r/participants", "X-Who", who) }
	kickee := join("kickee").want(t, 201)
	f.do("DELETE", memberOf(kickee), "").want(t, 204)
	if !slices.Equal(revoked, []string{"r kickee"}) {
		t.Errorf("ended were the tokens of %q", revoked)
	}
	join("kickee").want(t, 201) // by a new token

	rude, friend := join("rude").want(t, 201), join("friend").want(t, 201)
	path := memberOf(rude)
	var ban Ban
	answer := f.do("POST", "/v1/rooms/r/bans", fmt.Sprintf(`{"participant":%q,"reason":"noise"}`, path[strings.LastIndex(path, "/")+1:])).want(t, 201)
	answer.json(t, &ban)
	if ban.Identity != "rude" || ban.Address != "" || ban.Participant != "" || ban.Reason != "noise" || !strings.HasPrefix(ban.ID, "ban_") {
		t.Errorf("the ban is %+v", ban)
	}
	if !slices.Contains(revoked, "r rude") {
		t.Errorf("ended were the tokens of %q", revoked)
	}
	f.do("GET", rude.Header.Get("Location"), "").problem(t, 410, "kicked")
	f.do("GET", friend.Header.Get("Location"), "").want(t, 204)
	join("rude").problem(t, 403, "banned")
	f.do("GET", "/v1/rooms/r/snapshot.jpg", "", "X-Who", "rude").problem(t, 403, "banned")
	f.join("/v1/rooms/other/participants", "X-Who", "rude").want(t, 201)
	var list List[Ban]
	f.do("GET", "/v1/rooms/r/bans", "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 || list.Items[0] != ban {
		t.Errorf("listed are %+v", list.Items)
	}
	again, err := newBans(store)
	must(t, err)
	if problemOf(again.check("r", "rude", "")).Code != "banned" || again.check("r", "friend", "") != nil {
		t.Error("after a restart it is not known who is banned")
	}
	f.do("DELETE", answer.Header.Get("Location"), "").want(t, 204)
	f.do("DELETE", answer.Header.Get("Location"), "").problem(t, 404, "no-such-ban")
	join("rude").want(t, 201)
	if len(store.kept) != 0 {
		t.Errorf("kept are %v", store.kept)
	}

	// By address: everybody but who moderates.
	moderator := join("moderator").want(t, 201)
	f.do("POST", "/v1/rooms/r/bans", `{"address":"127.0.0.1"}`).want(t, 201)
	f.do("GET", friend.Header.Get("Location"), "").problem(t, 410, "kicked")
	f.do("GET", moderator.Header.Get("Location"), "").want(t, 204)
	join("stranger").problem(t, 403, "banned")
	join("moderator").want(t, 201)

	// What cannot be kept is not done.
	store.err = errors.New("disk full")
	f.do("POST", "/v1/rooms/r/bans", `{"identity":"x"}`).problem(t, 500, "internal")
	if err := f.bans.check("r", "x", ""); err != nil {
		t.Error("banned all the same")
	}
}

func TestBadBans(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	elsewhere := memberOf(f.join("/v1/rooms/other/participants", "X-Who", "x").want(t, 201))
	for body, pointer := range map[string]string{
		`{}`:                       "#",
		`{"participant":"p_none"}`: "#/participant",
		fmt.Sprintf(`{"participant":%q}`, elsewhere[strings.LastIndex(elsewhere, "/")+1:]): "#/participant",
		`{"address":"localhost"}`:                         "#/address",
		`{"address":"10.0.0.0/8"}`:                        "#/address",
		`{"address":"2001:db8::/32"}`:                     "#/address",
		`{"identity":"x","until":"2001-01-01T00:00:00Z"}`: "#/until",
		`{"identity":"` + strings.Repeat("x", 257) + `"}`: "#/identity",
		`{"identity":"x","id":"ban_mine","unknown":1}`:    "#/unknown",
	} {
		p := f.do("POST", "/v1/rooms/r/bans", body).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
	for _, room := range []string{strings.Repeat("r", 2000), "-r", "a%2Fb"} {
		if p := f.do("POST", "/v1/rooms/"+room+"/bans", `{"identity":"x"}`).problem(t, 422, "invalid"); p.Errors[0].Parameter != "room" {
			t.Errorf("%.20s: %+v", room, p.Errors)
		}
	}
	for text, key := range map[string]string{
		"203.0.113.7": "203.0.113.7", "203.0.113.7/32": "203.0.113.7", "::ffff:203.0.113.7": "203.0.113.7",
		"2001:db8::1": "2001:db8::/64", "2001:db8:0:0:1::/64": "2001:db8::/64",
	} {
		if got, err := addressKey(text); err != nil || got != key {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
}

func TestBansAreBoundedAndEnd(t *testing.T) {
	store := &shelf{kept: map[string]string{}}
	b, err := newBans(store)
	must(t, err)
	for i := range maxRoomBans {
		must(t, b.add("r", Ban{ID: fmt.Sprint("ban_", i), Identity: fmt.Sprint(i)}))
	}
	if err := b.add("r", Ban{ID: "one more"}); mixer.KindOf(err) != mixer.Exhausted {
		t.Errorf("one more: %v", err)
	}
	soon := time.Now().Add(time.Hour)
	must(t, b.add("s", Ban{ID: "ban_s", Identity: "s", Until: &soon}))
	if b.check("s", "s", "") == nil {
		t.Error("it is not banned yet")
	}
	b.forgetOver(soon)
	if b.check("s", "s", "") != nil || len(b.list("s")) != 0 {
		t.Error("it is banned still")
	}
	if _, kept := store.kept["s/ban_s"]; kept {
		t.Error("it is kept still")
	}
	over := time.Now().Add(-time.Hour)
	old, err := json.Marshal(Ban{ID: "ban_o", Identity: "o", Until: &over})
	must(t, err)
	store.kept["s/ban_o"] = string(old)
	if b, err = newBans(store); err != nil || b.check("s", "o", "") != nil || len(store.kept) != maxRoomBans {
		t.Errorf("what is over is read: %v", err)
	}
	store.kept["s/bad"] = "{"
	if _, err := newBans(store); err == nil {
		t.Error("what cannot be read is forgotten")
	}
}

// TestRecordingIsToldToAll: by the snapshot to who joins, by an event to who is there.
func TestRecordingIsToldToAll(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	f.do("PUT", "/v1/rooms/r", `{"waitingRoom":true}`).want(t, 201)
	first := f.join("/v1/rooms/r/participants", "X-Who", "moderator").want(t, 201)
	connected(t, f, first)
	channel := serveFake(t, f, first.Header.Get("Location"))
	if id := into[RoomSnapshot](t, channel.until("snapshot")).Room.Status.Recording; id != "" {
		t.Errorf("recording is %q", id)
	}
	f.do("POST", "/v1/rooms/r/recordings", "{}").want(t, 201)
	channel.until("recording.started")
	late := f.join("/v1/rooms/r/participants").want(t, 201)
	f.lastPeer().up()
	if id := into[RoomSnapshot](t, serveFake(t, f, late.Header.Get("Location")).until("snapshot")).Room.Status.Recording; id == "" {
		t.Error("who waits to be let in is not told that there is a recording")
	}
}
