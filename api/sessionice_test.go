package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"mixdown/transport"
)

const fragmentType = "application/trickle-ice-sdpfrag"

// fragments of the session that the client is in, of another one, and of none.
const (
	sameFragment  = "a=ice-ufrag:theirs\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 61764 typ host\r\n"
	otherFragment = "a=ice-ufrag:newer\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
	bareFragment  = "a=candidate:1 1 udp 1 192.0.2.1 61764 typ host\r\n"
)

func patchSession(f *fixture, location, body, ifMatch string) reply {
	headers := []string{"Content-Type", fragmentType}
	if ifMatch != "" {
		headers = append(headers, "If-Match", ifMatch)
	}
	return f.do("PATCH", location, body, headers...)
}

// TestPatchSession: what a fragment and its condition come to.
func TestPatchSession(t *testing.T) {
	const tag = `"uFr4g+/x"`
	for _, c := range []struct {
		name, body, ifMatch string
		status              int
		code                string
	}{
		{"candidates", sameFragment, "", 204, ""},
		{"candidates, with the tag", sameFragment, tag, 204, ""},
		{"candidates, with any", sameFragment, "*", 204, ""},
		{"candidates, with one of two", sameFragment, `"x", ` + tag, 204, ""},
		{"candidates, stale", sameFragment, `"x"`, 412, "precondition-failed"},
		{"candidates of no session", bareFragment, "", 204, ""},
		{"candidates of no session, stale", bareFragment, `"x"`, 412, "precondition-failed"},
		{"nothing", "", "", 204, ""},
		{"restart", otherFragment, tag, 200, ""},
		{"restart, with any", otherFragment, "*", 200, ""},
		{"restart, without condition", otherFragment, "", 428, "precondition-required"},
		{"restart, stale", otherFragment, `"x"`, 412, "precondition-failed"},
		{"no fragment", "{}", tag, 400, "bad-fragment"},
		{"half a restart", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", tag, 400, "bad-fragment"},
		{"too many candidates", strings.Repeat(bareFragment, 65), tag, 400, "bad-fragment"},
		{"too long", "a=x" + strings.Repeat(" ", 64<<10), tag, 413, "too-large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, false)
			location := f.join("/v1/rooms/r/participants").want(t, 201).Header.Get("Location")
			r := patchSession(f, location, c.body, c.ifMatch)
			p := f.lastPeer()
			if c.code != "" {
				r.problem(t, c.status, c.code)
				if p.candidates+p.restarts > 0 {
					t.Error("it was carried out all the same")
				}
				return
			}
			r.want(t, c.status)
			now := tag
			if c.status == 200 {
				now = `"ours1"`
				if ct := r.Header.Get("Content-Type"); ct != fragmentType || r.text != "a=ice-ufrag:ours1\r\n" {
					t.Errorf("%q of type %q", r.text, ct)
				}
			} else if p.candidates != 1 || r.text != "" {
				t.Errorf("candidates were added %d times, the answer is %q", p.candidates, r.text)
			}
			if got := r.Header.Get("ETag"); got != now {
				t.Errorf("ETag %s, want %s", got, now)
			}
			if got := f.do("GET", location, "").want(t, 204).Header.Get("ETag"); got != now {
				t.Errorf("ETag of the session %s, want %s", got, now)
			}
			if c.status == 200 {
				// What was said of the old session comes too late.
				patchSession(f, location, sameFragment, tag).problem(t, 412, "precondition-failed")
				patchSession(f, location, sameFragment, "").problem(t, 428, "precondition-required")
				patchSession(f, location, otherFragment, now).want(t, 204)
				f.do("DELETE", location, "", "If-Match", tag).problem(t, 412, "precondition-failed")
				f.do("DELETE", location, "", "If-Match", now).want(t, 200)
			}
		})
	}
}

func TestPatchSessionRefused(t *testing.T) {
	f := newFixture(t, false)
	r := f.join("/v1/rooms/r/participants").want(t, 201)
	location, participant := r.Header.Get("Location"), strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<")
	if got := r.Header.Get("Accept-Patch"); got != fragmentType+", "+patchType {
		t.Errorf("Accept-Patch: %q", got)
	}
	wrong := f.do("PATCH", location, "{}", "Content-Type", "application/json")
	wrong.problem(t, 415, "unsupported-media-type")
	if got := wrong.Header.Get("Accept-Patch"); got != fragmentType+", "+patchType {
		t.Errorf("Accept-Patch: %q", got)
	}
	patchSession(f, location, sameFragment, "").want(t, 204)
	peer := f.lastPeer()
	peer.failing(transport.ErrTooManyRestarts)
	late := patchSession(f, location, otherFragment, "*")
	late.problem(t, 429, "too-many-restarts")
	if late.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	peer.failing(transport.ErrOldFragment)
	patchSession(f, location, sameFragment, "").problem(t, 412, "precondition-failed")
	peer.failing(transport.ErrClosed)
	patchSession(f, location, sameFragment, "").problem(t, 410, "vanished")
	patchSession(f, location, otherFragment, "*").problem(t, 410, "vanished")
	f.do("DELETE", participant, "").want(t, 204)
	patchSession(f, location, sameFragment, "*").problem(t, 410, "kicked")
	patchSession(f, "/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA", sameFragment, "*").problem(t, 404, "no-such-session")
}

// TestSignallingMethods: every address of signalling answers every method as RFC
// 9725 and the WHEP draft have it: what is not asked for here is refused, and
// nobody is sent elsewhere, or told that his Accept does not suit.
func TestSignallingMethods(t *testing.T) {
	f := newFixture(t, false)
	session := f.join("/whip/r").want(t, 201).Header.Get("Location")
	for _, c := range []struct {
		path     string
		statuses map[string]int
		header   string // of OPTIONS
		value    string
		allow    string
	}{
		{"/v1/rooms/r/participants", map[string]int{"OPTIONS": 200, "GET": 200, "HEAD": 200, "PUT": 405, "PATCH": 422, "DELETE": 405},
			"Accept-Post", "application/sdp", "GET, HEAD, POST, PATCH, OPTIONS"},
		{"/whip/r", map[string]int{"OPTIONS": 200, "GET": 204, "HEAD": 204, "PUT": 405, "PATCH": 405, "DELETE": 405},
			"Accept-Post", "application/sdp", "GET, HEAD, POST, OPTIONS"},
		{"/whep/r", map[string]int{"OPTIONS": 200, "GET": 204, "HEAD": 200, "PUT": 405, "PATCH": 405, "DELETE": 405},
			"Accept-Post", "application/sdp", "GET, HEAD, POST, OPTIONS"},
		{session, map[string]int{"OPTIONS": 200, "GET": 204, "HEAD": 204, "POST": 405, "PUT": 405, "PATCH": 204},
			"Accept-Patch", fragmentType + ", " + patchType, "GET, HEAD, PATCH, DELETE, OPTIONS"},
		{session + "/", map[string]int{"OPTIONS": 404, "GET": 404, "PATCH": 404, "DELETE": 404}, "", "", ""},
		{"/whip/r/", map[string]int{"OPTIONS": 404, "GET": 404, "POST": 404}, "", "", ""},
		{"/whip", map[string]int{"POST": 404}, "", "", ""},
		{"/whep/%2e%2e/r", map[string]int{"POST": 404}, "", "", ""},
	} {
		for method, want := range c.statuses {
			r := f.do(method, c.path, "", "Accept", "image/png;q=0.1", "Accept-Language", "tlh")
			if r.StatusCode != want {
				t.Errorf("%s %s: %d, want %d", method, c.path, r.StatusCode, want)
			}
			if want == 405 && r.Header.Get("Allow") != c.allow {
				t.Errorf("%s %s: Allow is %q, want %q", method, c.path, r.Header.Get("Allow"), c.allow)
			}
			if method == "OPTIONS" && c.header != "" && (r.Header.Get(c.header) != c.value || r.text != "") {
				t.Errorf("OPTIONS %s: %s is %q, want %q", c.path, c.header, r.Header.Get(c.header), c.value)
			}
		}
	}
}

// TestSignallingCORS: a page of an origin that is allowed gets to read all that
// it needs, and may send all that it must.
func TestSignallingCORS(t *testing.T) {
	const page = "http://localhost:5173"
	f := newFixture(t, false, func(c *Config) { c.Origins = []string{page} })
	session := f.join("/whep/r", "Origin", page).want(t, 201).Header.Get("Location")
	for _, c := range []struct{ method, path, body, contentType string }{
		{"POST", "/whip/r", "v=0\r\n", "application/sdp"},
		{"POST", "/whep/r", "{}", "application/json"}, // refused: then too
		{"OPTIONS", "/whip/r", "", ""},
		{"OPTIONS", session, "", ""},
		{"GET", session, "", ""},
		{"PATCH", session, sameFragment, fragmentType},
		{"PATCH", session, otherFragment, fragmentType},
		{"DELETE", session, "", ""},
		{"DELETE", session, "", ""}, // 404
	} {
		r := f.do(c.method, c.path, c.body, "Content-Type", c.contentType, "Origin", page)
		exposed := r.Header.Get("Access-Control-Expose-Headers")
		for _, name := range []string{"Location", "Etag", "Link", "Retry-After", "Accept-Post", "Accept-Patch"} {
			if !strings.Contains(exposed, name) {
				t.Errorf("%s %s: %s is not exposed in %q", c.method, c.path, name, exposed)
			}
		}
		if got := r.Header.Get("Access-Control-Allow-Origin"); got != page {
			t.Errorf("%s %s: Access-Control-Allow-Origin is %q", c.method, c.path, got)
		}
	}
	for _, c := range []struct{ method, path, headers string }{
		{"POST", "/whip/r", "authorization,content-type"},
		{"PATCH", session, "authorization,content-type,if-match"},
		{"DELETE", session, "authorization"},
	} {
		r := f.do("OPTIONS", c.path, "", "Origin", page, "Access-Control-Request-Method", c.method, "Access-Control-Request-Headers", c.headers)
		if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusNoContent {
			t.Errorf("preflight of %s %s: %d", c.method, c.path, r.StatusCode)
		}
		if r.Header.Get("Access-Control-Allow-Methods") != c.method || !strings.EqualFold(strings.ReplaceAll(r.Header.Get("Access-Control-Allow-Headers"), " ", ""), c.headers) {
			t.Errorf("preflight of %s %s: %v", c.method, c.path, r.Header)
		}
	}
}

// TestSignallingSocket: what PATCH does, a message on the session's own WebSocket
// does.
func TestSignallingSocket(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	location := f.join("/v1/rooms/r/participants").want(t, 201).Header.Get("Location")
	peer := f.lastPeer()
	peer.up()
	s := openSocket(t, url+location+"/events")
	s.until("snapshot")
	say := func(fragment string) {
		t.Helper()
		body, err := json.Marshal(fragment)
		must(t, err)
		s.say(`{"type":"candidate","data":{"fragment":` + string(body) + `}}`)
	}
	say(sameFragment)
	eventually(t, "the candidate to arrive", func() bool {
		peer.mu.Lock()
		defer peer.mu.Unlock()
		return peer.candidates == 1
	})
	say(otherFragment)
	if got := into[ICEFragment](t, s.until("candidate")); got.Fragment != "a=ice-ufrag:ours1\r\n" || got.ETag != `"ours1"` {
		t.Errorf("answered %+v", got)
	}
	if got := f.do("GET", location, "").want(t, 204).Header.Get("ETag"); got != `"ours1"` {
		t.Errorf("ETag %s", got)
	}
	say("{}")
	if p := into[Problem](t, s.until("error")); p.Code != "bad-fragment" {
		t.Errorf("%+v", p)
	}
	s.say(`{"type":"candidate"}`)
	if p := into[Problem](t, s.until("error")); p.Code != "invalid" || len(p.Errors) != 1 || p.Errors[0].Pointer != "#/data" {
		t.Errorf("%+v", p)
	}
	s.say(`{"type":"candidate","data":{"fragment":7}}`)
	if p := into[Problem](t, s.until("error")); p.Code != "invalid" || len(p.Errors) != 1 || p.Errors[0].Pointer != "#/data/fragment" {
		t.Errorf("%+v", p)
	}
}
