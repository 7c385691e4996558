package api

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"mixdown/mixer"
	"mixdown/transport"
)

func TestJoin(t *testing.T) {
	f := newFixture(t, false)
	for _, c := range []struct {
		path string
		role transport.Role
	}{
		{"/v1/rooms/r/participants", transport.RoleParticipant},
		{"/whip/r", transport.RolePublisher},
		{"/whep/r", transport.RoleViewer},
	} {
		r := f.join(c.path+"?name=Ann&maxWidth=640&maxHeight=360&maxFps=15&maxBitrate=300000&constantSize=true&video=false",
			"Content-Type", "application/SDP; charset=utf-8", "Accept", "image/png").want(t, 201)
		if r.Header.Get("Content-Type") != "application/sdp" || r.text != "v=0\r\nanswer" {
			t.Errorf("answer %q of type %q", r.text, r.Header.Get("Content-Type"))
		}
		if got := r.Header.Get("ETag"); got != `"uFr4g+/x"` {
			t.Errorf("ETag %s", got)
		}
		p := f.lastPeer()
		if p.offer.Role != c.role || p.offer.CNAME == "" || p.offer.Epoch.IsZero() {
			t.Errorf("offer %+v", p.offer)
		}
		link := r.Header.Get("Link")
		path, rest, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if rest != `; rel="describedby"` {
			t.Errorf("Link %s", link)
		}
		p.up()
		var got Participant
		f.do("GET", path, "").want(t, 200).json(t, &got)
		if got.Name != "Ann" || got.Role != c.role.String() || got.Receive.Limits == nil ||
			*got.Receive.Limits != (Limits{640, 360, 15, 300000, false, true}) {
			t.Errorf("got %+v", got)
		}
	}
	var list List[Participant]
	f.do("GET", "/v1/rooms/r/participants", "").want(t, 200).json(t, &list)
	if len(list.Items) != 3 {
		t.Errorf("%d participants", len(list.Items))
	}
}

func TestJoinFaults(t *testing.T) {
	f := newFixture(t, false)
	const path = "/v1/rooms/r/participants"
	for _, c := range []struct {
		name, query, body, contentType string
		status                         int
		code                           string
		parameters                     string
	}{
		{"no type", "", "v=0", "", 415, "unsupported-media-type", ""},
		{"JSON", "", "{}", "application/json", 415, "unsupported-media-type", ""},
		{"bad type", "", "v=0", ";;", 415, "unsupported-media-type", ""},
		{"empty", "", "", "application/sdp", 400, "bad-sdp", ""},
		{"no SDP", "", "hello", "application/sdp", 400, "bad-sdp", ""},
		{"no UTF-8", "", "v=0\xff", "application/sdp", 400, "bad-sdp", ""},
		{"too large", "", "v=0" + strings.Repeat("x", maxSDP), "application/sdp", 413, "too-large", ""},
		{"bad query", "?%zz", "v=0", "application/sdp", 400, "bad-request", ""},
		{"number", "?maxWidth=x", "v=0", "application/sdp", 422, "invalid", "[maxWidth]"},
		{"low", "?maxFps=0&maxBitrate=1", "v=0", "application/sdp", 422, "invalid", "[maxFps maxBitrate]"},
		{"video", "?video=no", "v=0", "application/sdp", 422, "invalid", "[video]"},
		{"constant size", "?constantSize=1", "v=0", "application/sdp", 422, "invalid", "[constantSize]"},
		{"unknown", "?maxwidth=640", "v=0", "application/sdp", 422, "invalid", "[maxwidth]"},
		{"twice", "?maxFps=5&maxFps=6", "v=0", "application/sdp", 422, "invalid", "[maxFps]"},
		{"long name", "?name=" + strings.Repeat("x", 257), "v=0", "application/sdp", 422, "invalid", "[name]"},
		{"broken name", "?name=%ff", "v=0", "application/sdp", 422, "invalid", "[name]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.do("POST", path+c.query, c.body, "Content-Type", c.contentType)
			p := r.problem(t, c.status, c.code)
			if c.status == 415 && r.Header.Get("Accept-Post") != "application/sdp" {
				t.Error("no Accept-Post")
			}
			if c.parameters == "" {
				return
			}
			var names []string
			for _, e := range p.Errors {
				names = append(names, e.Parameter)
			}
			if fmt.Sprint(names) != c.parameters {
				t.Errorf("got %v, want %s", names, c.parameters)
			}
		})
	}
	f.do("GET", "/v1/rooms/r", "").problem(t, 404, "no-such-room") // none of them made it

	p := f.join("/v1/rooms/-/participants").problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Parameter != "room" {
		t.Errorf("got %+v", p.Errors)
	}
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("%w: no audio", transport.ErrBadSDP), 400, "bad-sdp"},
		{transport.ErrNoUsableCodec, 422, "no-usable-codec"},
		{transport.ErrExhausted, 503, "overloaded"},
		{transport.ErrClosed, 503, "draining"},
		{os.ErrPermission, 500, "internal"},
	} {
		f.failAccept(c.err)
		r := f.join(path)
		got := r.problem(t, c.status, c.code)
		if c.status == 503 && r.Header.Get("Retry-After") == "" {
			t.Errorf("%s has no Retry-After", c.code)
		}
		if c.status == 500 && got.Detail != "" {
			t.Errorf("500 tells %q", got.Detail)
		}
	}
	if live, half := f.sessions.counts(); live != 0 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones are left", live, half)
	}
	if strings.Contains(f.log.String(), os.ErrPermission.Error()) == false {
		t.Error("the internal failure is not in the log")
	}
}

func TestJoinRefused(t *testing.T) {
	f := newFixture(t, false)
	f.do("PUT", "/v1/rooms/r", `{"maxParticipants":1}`).want(t, 201)
	f.join("/whep/r").want(t, 201)
	f.join("/whep/r").problem(t, 409, "full")
	f.do("PUT", "/v1/rooms/r", `{"locked":true}`).want(t, 200)
	f.join("/whep/r").problem(t, 403, "locked")
	f.do("GET", "/readyz", "").want(t, 200)
	f.Drain()
	r := f.join("/whep/other")
	r.problem(t, 503, "draining")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	f.do("GET", "/readyz", "").problem(t, 503, "draining")
	f.do("GET", "/livez", "").want(t, 200)
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{" Ann ", "Ann"},
		{"김철수", "김철수"},
		{"\u1100\u1161", "가"},
		{"a\nb\x00\u2028c", "abc"},
		{"\u202egnp.exe\u2066", "gnp.exe"},
		{"z" + strings.Repeat("\u0335", 100), "z" + strings.Repeat("\u0335", 4)},
		{strings.Repeat("w", 200), strings.Repeat("w", 64)},
		{"a\u200b\U000e0041b", "ab"},
	} {
		if got, fault := cleanName(c.in); got != c.want || fault != "" {
			t.Errorf("cleanName(%q) = %q, %q", c.in, got, fault)
		}
	}
}

func TestJoinEndpoints(t *testing.T) {
	f := newFixture(t, false)
	for _, path := range []string{"/v1/rooms/r/participants", "/whip/r", "/whep/r"} {
		r := f.do("OPTIONS", path, "").want(t, 200)
		if r.Header.Get("Accept-Post") != "application/sdp" {
			t.Errorf("OPTIONS %s: no Accept-Post", path)
		}
	}
	f.do("GET", "/whip/r", "").want(t, 204)
	f.do("GET", "/whep/r", "").want(t, 204)
	f.do("HEAD", "/whep/r", "").want(t, 200)
	r := f.do("PUT", "/whip/r", "")
	r.problem(t, 405, "method-not-allowed")
	if got := r.Header.Get("Allow"); got != "GET, HEAD, POST, OPTIONS" {
		t.Errorf("Allow: %s", got)
	}
}

// A page of another origin that is allowed sees the headers that it needs.
func TestCORS(t *testing.T) {
	f := newFixture(t, false, func(c *Config) { c.Origins = []string{"http://localhost:5173"} })
	r := f.do("OPTIONS", "/whip/r", "", "Origin", "http://localhost:5173", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "content-type,if-match").want(t, 200)
	if r.Header.Get("Access-Control-Allow-Origin") != "http://localhost:5173" || r.Header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight: %v", r.Header)
	}
	r = f.join("/whip/r", "Origin", "http://localhost:5173").want(t, 201)
	for _, h := range []string{"Location", "Etag", "Link", "Retry-After", "Accept-Post", "Accept-Patch"} {
		if !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), h) {
			t.Errorf("%s is not exposed", h)
		}
	}
	if r := f.do("OPTIONS", "/whip/r", "", "Origin", "http://evil.example", "Access-Control-Request-Method", "POST"); r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("a foreign origin is allowed")
	}
	f.join("/whip/r", "Origin", "http://evil.example").problem(t, 403, "foreign-page")
	// A name that was bound to this machine claims to be our own page.
	r = f.do("OPTIONS", "/whip/r", "", "Host", "evil.example:8080", "Origin", "http://evil.example:8080", "Access-Control-Request-Method", "POST")
	if r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("a rebound name is allowed")
	}
}

func TestSession(t *testing.T) {
	f := newFixture(t, false)
	loc := f.join("/v1/rooms/r/participants").want(t, 201).Header.Get("Location")
	secret := strings.TrimPrefix(loc, "/v1/sessions/")
	if len(secret) < 22 {
		t.Fatalf("session %q", loc)
	}
	r := f.do("GET", loc, "").want(t, 204)
	if r.Header.Get("ETag") != `"uFr4g+/x"` {
		t.Errorf("ETag %s", r.Header.Get("ETag"))
	}
	put := f.do("PUT", loc, "x")
	put.problem(t, 405, "method-not-allowed")
	if got := put.Header.Get("Allow"); got != "GET, HEAD, PATCH, DELETE, OPTIONS" {
		t.Errorf("Allow: %s", got)
	}
	f.do("DELETE", loc, "", "If-Match", `"other"`).problem(t, 412, "precondition-failed")
	f.do("DELETE", loc, "", "If-Match", `"uFr4g+/x"`).want(t, 200)
	f.do("DELETE", loc, "").problem(t, 404, "no-such-session")
	f.do("GET", "/v1/sessions/x", "").problem(t, 404, "no-such-session")
	if strings.Contains(f.log.String(), secret) {
		t.Error("the secret is in the log")
	}
	if !strings.Contains(f.log.String(), "/v1/sessions/{secret}") {
		t.Error("the log does not have the template")
	}
}

// Each way in which the server ends a session answers 410 and says why.
func TestSessionGone(t *testing.T) {
	f := newFixture(t, false)
	join := func() (session, participant string) {
		r := f.join("/v1/rooms/r/participants").want(t, 201)
		return r.Header.Get("Location"), strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<")
	}
	kickedSession, participant := join()
	f.do("DELETE", participant, "").want(t, 204)
	f.do("GET", kickedSession, "").problem(t, 410, "kicked")
	f.do("DELETE", kickedSession, "").problem(t, 410, "kicked")
	f.do("GET", participant, "").problem(t, 404, "no-such-participant")

	lost, _ := join()
	f.lastPeer().end(transport.ErrVanished)
	f.do("GET", lost, "").problem(t, 410, "vanished")

	bye, _ := join()
	f.lastPeer().end(nil)
	f.do("GET", bye, "").problem(t, 404, "no-such-session")

	inRoom, _ := join()
	f.do("DELETE", "/v1/rooms/r", "").want(t, 204)
	f.do("GET", inRoom, "").problem(t, 410, "room-closed")

	last, _ := join()
	f.Drain()
	f.do("GET", last, "").want(t, 204) // nobody is cut off by draining alone
	must(t, f.rooms.Close())
	f.do("GET", last, "").problem(t, 410, "drained")
	if live, half := f.sessions.counts(); live != 0 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones are left", live, half)
	}
}

// The memory of ended sessions is bounded, and the oldest goes first.
func TestGoneIsBounded(t *testing.T) {
	f := newFixture(t, false)
	room, err := f.rooms.CreateRoom(t.Context(), mixer.RoomConfig{ID: "r"})
	must(t, err)
	p, err := room.Join(t.Context(), mixer.JoinRequest{Role: mixer.RoleViewer})
	must(t, err)
	var secrets []string
	for range maxGone + 10 {
		x := &session{at: place{participant: p}, registry: f.sessions, done: make(chan struct{})}
		secrets = append(secrets, f.sessions.publish(x))
		f.sessions.end(x, transport.ErrVanished)
	}
	if n := len(f.sessions.mu.gone); n != maxGone {
		t.Errorf("%d remembered, want %d", n, maxGone)
	}
	for i, want := range map[int]int{0: 404, 9: 404, 10: 410, maxGone + 9: 410} {
		if got := f.do("GET", "/v1/sessions/"+secrets[i], "").StatusCode; got != want {
			t.Errorf("session %d: %d, want %d", i, got, want)
		}
	}
}

func TestHalfOpen(t *testing.T) {
	f := newFixture(t, false, func(c *Config) { c.MaxHalfOpen = 2 })
	f.join("/whep/r").want(t, 201)
	f.join("/whep/r").want(t, 201)
	r := f.join("/whep/r")
	r.problem(t, 429, "too-many-joins")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	f.lastPeer().up()
	f.join("/whep/r").want(t, 201)
	f.lastPeer().end(transport.ErrNeverConnected)
	f.join("/whep/r").want(t, 201)
	f.join("/whep/r").problem(t, 429, "too-many-joins")
}

// TestPerAddress: an address has as many clients as it may, whatever becomes of
// those that are refused, and others are not concerned.
func TestPerAddress(t *testing.T) {
	f := newFixture(t, false, func(c *Config) { c.MaxPerAddress = 2 })
	f.do("PUT", "/v1/rooms/locked", `{"locked":true}`).want(t, 201)
	for range 3 {
		f.join("/whep/locked").want(t, 403)
	}
	f.failAccept(transport.ErrExhausted)
	for range 3 {
		f.join("/whep/r").want(t, 503)
	}
	f.failAccept(nil)
	first := f.join("/whep/r").want(t, 201)
	f.lastPeer().up()
	f.join("/whep/r").want(t, 201)
	f.join("/whep/r").problem(t, 429, "too-many-joins")
	f.do("DELETE", first.Header.Get("Location"), "").want(t, 200)
	f.do("DELETE", first.Header.Get("Location"), "").want(t, 404)
	f.join("/whep/r").want(t, 201)
	f.join("/whep/r").problem(t, 429, "too-many-joins")
	f.lastPeer().end(transport.ErrVanished)
	f.join("/whep/r").want(t, 201)
	f.join("/whep/r").problem(t, 429, "too-many-joins")
}

func TestJoinRate(t *testing.T) {
	f := newFixture(t, false, func(c *Config) { c.JoinsPerSecond = 5 })
	codes := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			r := f.join("/whep/r")
			mu.Lock()
			defer mu.Unlock()
			codes[r.StatusCode]++
			if r.StatusCode == http.StatusTooManyRequests && r.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
	all.Wait()
	if codes[429] == 0 || codes[201] == 0 || codes[201]+codes[429] != 40 {
		t.Errorf("got %v", codes)
	}
}

func TestParticipants(t *testing.T) {
	f := newFixture(t, false)
	r := f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	path := strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<")
	body := f.do("GET", path, "").want(t, 200)
	f.do("PATCH", path, body.text).want(t, 200)
	var p Participant
	f.do("PATCH", path, `{"name":"Bob\u202e","send":{"audio":{"muted":true,"gain":-6}}}`,
		"Content-Type", "application/merge-patch+json", "If-Match", body.Header.Get("ETag")).want(t, 200).json(t, &p)
	if p.Name != "Bob" || !p.Send.Audio.Muted || p.Send.Audio.Gain != -6 {
		t.Errorf("got %+v", p)
	}
	f.do("PATCH", path, `{"send":{"audio":{"muted":false}}}`).want(t, 200).json(t, &p)
	if p.Name != "Bob" || p.Send.Audio.Muted || p.Send.Audio.Gain != -6 {
		t.Errorf("got %+v", p)
	}
	f.do("PATCH", path, `{"group":"team","alsoTo":[""]}`).want(t, 200).json(t, &p)
	if p.Group != "team" || !slices.Equal(p.AlsoTo, []string{""}) || p.Name != "Bob" {
		t.Errorf("got %+v", p)
	}
	f.do("GET", "/v1/rooms/r/layout?group=team", "").want(t, 200)
	f.do("PATCH", path, `{"group":null,"alsoTo":null}`).want(t, 200).json(t, &p)
	if p.Group != "" || len(p.AlsoTo) != 0 {
		t.Errorf("got %+v", p)
	}
	f.do("GET", "/v1/rooms/r/layout?group=team", "").problem(t, 404, "no-such-group")
	f.do("PATCH", path, `{}`, "If-Match", body.Header.Get("ETag")).problem(t, 412, "precondition-failed")
	for body, pointer := range map[string]string{
		`{"send":{"audio":{"gain":99}}}`:              "#/send/audio/gain",
		`{"send":{"audio":{"pan":1}}}`:                "#/send/audio/pan",
		`{"role":"publisher"}`:                        "#/role",
		`{"csrc":7}`:                                  "#/csrc",
		`{"group":"a/b"}`:                             "#/group",
		`{"alsoTo":["", "nobody"]}`:                   "#/alsoTo/1",
		`{"room":"other","name":"x"}`:                 "#/room",
		`{"name":"` + strings.Repeat("é", 200) + `"}`: "#/name",
	} {
		got := f.do("PATCH", path, body).problem(t, 422, "invalid")
		if len(got.Errors) != 1 || got.Errors[0].Pointer != pointer {
			t.Errorf("%s: got %+v", body, got.Errors)
		}
	}
	f.do("PATCH", "/v1/rooms/r/participants/p_none", "{}").problem(t, 404, "no-such-participant")
	f.do("DELETE", "/v1/rooms/r/participants/p_none", "").problem(t, 404, "no-such-participant")
}
