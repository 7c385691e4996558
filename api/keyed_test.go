package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"mixdown/api/token"
	"mixdown/mixer"
	"mixdown/mixer/record"
)

const keySecret = "0123456789abcdef0123456789abcdef"

// keys makes tokens for tests, at a time that goes on when it is told to.
type keys struct {
	t       testing.TB
	ring    *token.Keyring
	revoked *Revocations
	unix    atomic.Int64
}

func newKeys(t testing.TB) *keys {
	t.Helper()
	k := &keys{t: t}
	k.unix.Store(1_800_000_000)
	var err error
	k.ring, err = token.NewKeyring(map[string]string{"K1": keySecret})
	must(t, err)
	k.revoked, err = NewRevocations(nil, k.now)
	must(t, err)
	return k
}

func (k *keys) now() time.Time { return time.Unix(k.unix.Load(), 0) }

func (k *keys) later(d time.Duration) { k.unix.Add(int64(d.Seconds())) }

func (k *keys) authorizer() *Keyed { return &Keyed{Keys: k.ring, Revoked: k.revoked, Now: k.now} }

func (k *keys) configure(c *Config) { c.Authorizer, c.Revoke = k.authorizer(), k.revoked.Revoke }

// make makes a token, good for five minutes unless it says otherwise.
func (k *keys) make(c token.Claims) string {
	k.t.Helper()
	c.Key = "K1"
	if c.Expires.IsZero() {
		c.Expires = k.now().Add(5 * time.Minute)
	}
	text, err := k.ring.Mint(c, k.now())
	must(k.t, err)
	return text
}

func bearer(text string) []string { return []string{"Authorization", "Bearer " + text} }

func speaker(identity string) token.Claims {
	return token.Claims{Subject: identity, Video: token.Video{RoomJoin: true, Room: "r"}}
}

func host(room string) token.Claims {
	return token.Claims{Subject: "host", Video: token.Video{RoomJoin: true, RoomAdmin: true, Room: room}}
}

// holder is a kind of token: a column of the table.
type holder struct {
	name  string
	claim *token.Claims // nil: none is sent
	inURL bool
	late  bool // it has expired
	bad   bool // another key has made it
}

func holders() []holder {
	no := false
	listener := speaker("listener")
	listener.Video.CanPublish = &no
	all := token.Claims{Subject: "root", Video: token.Video{RoomJoin: true, RoomAdmin: true, RoomCreate: true, RoomList: true, RoomRecord: true, Room: token.AnyRoom},
		Mix: token.Mix{Recordings: true, PersonalCanvas: true}}
	inRoom := func(v token.Video, m token.Mix) *token.Claims {
		v.Room = "r"
		return &token.Claims{Subject: "ann", Video: v, Mix: m}
	}
	url := func(scope string, v token.Video) holder {
		v.Room = "r"
		return holder{name: "?token= " + scope, inURL: true, claim: &token.Claims{Subject: "ann", Video: v, Mix: token.Mix{Scope: scope, Recordings: scope == token.ScopeRecordings}}}
	}
	ann, canvas := speaker("ann"), speaker("ann")
	canvas.Mix.PersonalCanvas = true
	foreign := host("other")
	foreign.Mix = token.Mix{Recordings: true, PersonalCanvas: true}
	foreign.Video.RoomRecord = true
	hr := host("r")
	return []holder{
		{name: "none"},
		{name: "forged", claim: &hr, bad: true},
		{name: "expired", claim: &hr, late: true},
		{name: "?token= host", claim: &hr, inURL: true},
		{name: "empty", claim: &token.Claims{Subject: "ann"}},
		{name: "another room's host", claim: &foreign},
		{name: "listener", claim: &listener},
		{name: "speaker", claim: &ann},
		{name: "personalCanvas", claim: &canvas},
		{name: "host", claim: &hr},
		{name: "roomRecord", claim: inRoom(token.Video{RoomRecord: true}, token.Mix{})},
		{name: "recordings", claim: inRoom(token.Video{}, token.Mix{Recordings: true})},
		{name: "roomCreate", claim: &token.Claims{Video: token.Video{RoomCreate: true}}},
		{name: "roomList", claim: &token.Claims{Video: token.Video{RoomList: true}}},
		url(token.ScopeEvents, token.Video{RoomJoin: true}),
		url(token.ScopeLive, token.Video{RoomJoin: true}),
		url(token.ScopeSnapshot, token.Video{RoomJoin: true}),
		url(token.ScopeRecordings, token.Video{}),
		{name: "all, room *", claim: &all},
	}
}

// probe asks the real Authorizer and then lets nobody in.
type probe struct {
	*Keyed
	grant Grant
	err   error
}

var errProbed = &Problem{Type: "/docs#probed", Title: "That was a test", Status: http.StatusTeapot, Code: "probed"}

func (p *probe) Authorize(r *http.Request, g Grant) (Identity, error) {
	p.grant = g
	_, p.err = p.Keyed.Authorize(r, g)
	return Identity{}, errProbed
}

// recordedInR has every recording, all of them of room r.
type recordedInR struct {
	Recordings
	asked *atomic.Int64
}

func (f recordedInR) Get(id string) (record.Recording, error) {
	f.asked.Add(1)
	return record.Recording{ID: id, Room: "r"}, nil
}

const whoMay = "testdata/who-may.md"

// Who may do what: every route that there is, asked with every kind of token. The
// table is in testdata, to be read; -update writes it. What must be so whatever
// the table says is checked beside it.
func TestWhoMay(t *testing.T) {
	k := newKeys(t)
	p := &probe{Keyed: k.authorizer()}
	var looked atomic.Int64
	f := newFixture(t, false, func(c *Config) {
		c.Authorizer = p
		c.Recordings = recordedInR{c.Recordings, &looked}
	})
	room, _, err := f.rooms.EnsureRoom(t.Context(), mixer.RoomConfig{ID: "r"})
	must(t, err)
	ann, err := room.Join(t.Context(), mixer.JoinRequest{Identity: "ann"})
	must(t, err)

	all := holders()
	lines, may := []string{}, map[string]bool{}
	must(t, chi.Walk(f.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if slices.Contains(open, method+" "+route) {
			return nil
		}
		path := strings.NewReplacer("{room}", "r", "{id}", string(ann.ID()), "{secret}", "s").Replace(route)
		line := "| " + method + " " + route + " |"
		for _, h := range all {
			answer := ask(t, f, k, p, h, method, path)
			line += " " + answer + " |"
			may[h.name] = may[h.name] || answer == "yes" && p.grant.Action != Public && p.grant.Action != UseSession
			checkAllowed(t, method+" "+route, h, p.grant, answer)
		}
		lines = append(lines, line)
		return nil
	}))
	for i, h := range all {
		if may[h.name] != (i > 4) { // those before are good for nothing
			t.Errorf("%s is good for something: %v", h.name, may[h.name])
		}
	}
	slices.Sort(lines)
	table := "# Who may do what\n\nEvery route, asked with every kind of token; made by `go test ./api -run TestWhoMay -update` and compared in each run.\n" +
		"Tokens are for the room that is asked for, and of the participant whom it is about, unless they say otherwise.\n" +
		"A session's secret, in the path, is all that its routes need. What answers 401 and 403 does so whether the room exists or not.\n\n| |"
	for _, h := range all {
		table += " " + h.name + " |"
	}
	table += "\n|---|" + strings.Repeat("---|", len(all)) + "\n" + strings.Join(lines, "\n") + "\n"
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(whoMay, []byte(table), 0o644))
	}
	want, err := os.ReadFile(whoMay)
	must(t, err)
	if string(want) != table {
		t.Errorf("%s is not what is so now; -update writes it. Lines that differ:\n%s", whoMay, differing(string(want), table))
	}
}

// ask sends one request and returns "yes", or the status of the refusal.
func ask(t *testing.T, f *fixture, k *keys, p *probe, h holder, method, path string) string {
	t.Helper()
	var headers []string
	if h.claim != nil {
		c := *h.claim
		text := k.make(c)
		switch {
		case h.bad:
			text = text[:len(text)-8] + "AAAAAAAA"
		case h.late:
			k.later(time.Hour)
			defer k.later(-time.Hour)
		}
		if h.inURL {
			path += "?token=" + text
		} else {
			headers = bearer(text)
		}
	}
	p.grant, p.err = Grant{}, errors.New("never asked")
	f.do(method, path, "", headers...).want(t, http.StatusTeapot)
	if p.err == nil {
		return "yes"
	}
	var refusal *Problem
	if !errors.As(p.err, &refusal) {
		t.Fatalf("%s %s, %s: %v", method, path, h.name, p.err)
	}
	return fmt.Sprint(refusal.Status)
}

// checkAllowed checks what no route may do otherwise.
func checkAllowed(t *testing.T, route string, h holder, g Grant, answer string) {
	t.Helper()
	free := g.Action == Public || g.Action == UseSession
	if free {
		if answer != "yes" {
			t.Errorf("%s, %s: %s", route, h.name, answer)
		}
		return
	}
	unknown := h.claim == nil || h.bad || h.late || h.inURL && h.claim.Mix.Scope == ""
	switch {
	case unknown != (answer == "401"):
		t.Errorf("%s, %s: %s", route, h.name, answer)
	case h.name == "empty" && answer != "403":
		t.Errorf("%s lets a token in that grants nothing", route)
	case strings.Contains(route, "{room}") && h.claim != nil && h.claim.Video.Room == "other" && answer != "403":
		t.Errorf("%s lets in whom another room's host has sent", route)
	case !unknown && h.inURL && answer == "yes" && (g.Scope != h.claim.Mix.Scope || !strings.HasPrefix(route, "GET ") && !strings.HasPrefix(route, "HEAD ")):
		t.Errorf("%s takes a token in the URL of %s", route, h.claim.Mix.Scope)
	}
}

func differing(want, got string) string {
	old, now := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for _, l := range old {
		if !slices.Contains(now, l) {
			fmt.Fprintln(&b, "-", l)
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			fmt.Fprintln(&b, "+", l)
		}
	}
	return b.String()
}

// Who is not known learns nothing: the answers are alike to the byte whether what
// is asked for exists or not, and nothing is looked up for them.
func TestUnknownLearnNothing(t *testing.T) {
	k := newKeys(t)
	var looked atomic.Int64
	f := newFixture(t, false, k.configure, func(c *Config) { c.Recordings = recordedInR{c.Recordings, &looked} })
	room, _, err := f.rooms.EnsureRoom(t.Context(), mixer.RoomConfig{ID: "here"})
	must(t, err)
	ann, err := room.Join(t.Context(), mixer.JoinRequest{Identity: "ann"})
	must(t, err)
	forged := k.make(host("here"))
	forged = forged[:len(forged)-8] + "AAAAAAAA"
	elsewhere := k.make(host("r"))
	must(t, chi.Walk(f.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if !strings.Contains(route, "{room}") && !strings.Contains(route, "/recordings/") {
			return nil
		}
		here := strings.NewReplacer("{room}", "here", "{id}", string(ann.ID())).Replace(route)
		gone := strings.NewReplacer("{room}", "gone", "{id}", "p_0000000000000").Replace(route)
		for _, c := range []struct {
			name    string
			headers []string
			status  int
		}{
			{"nothing", nil, 401},
			{"a forged token", bearer(forged), 401},
			{"another room's host", bearer(elsewhere), 403},
		} {
			if c.status == 403 && strings.Contains(route, "/recordings/") {
				continue // the store of this test says that all are of r
			}
			a, b := f.do(method, here, "", c.headers...), f.do(method, gone, "", c.headers...)
			if a.StatusCode < 400 { // public
				continue
			}
			a.Header.Del("X-Request-Id")
			b.Header.Del("X-Request-Id")
			if a.StatusCode != c.status || a.StatusCode != b.StatusCode || a.text != b.text || fmt.Sprint(a.Header) != fmt.Sprint(b.Header) {
				t.Errorf("%s %s with %s: %d %s %v, but %d %s %v of what is not there", method, route, c.name, a.StatusCode, a.text, a.Header, b.StatusCode, b.text, b.Header)
			}
			if a.StatusCode == 401 && !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s %s: WWW-Authenticate %q", method, route, a.Header.Get("WWW-Authenticate"))
			}
		}
		return nil
	}))
	if n := looked.Load(); n != 0 {
		t.Errorf("%d recordings were looked up for nobody", n)
	}
}

// A recording that is not there is as one of another room.
func TestRecordingsOfOthers(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	c := host("r")
	c.Mix.Recordings = true
	f.do("GET", "/v1/recordings/rec_0000000000000", "", bearer(k.make(c))...).problem(t, 403, "forbidden")
	c.Video.Room = token.AnyRoom
	f.do("GET", "/v1/recordings/rec_0000000000000", "", bearer(k.make(c))...).problem(t, 404, "no-such-recording")
}

// A token in a URL is gone behind the step: no handler takes it for a parameter
// that it does not know, and the log has none.
func TestTokenInURL(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	f.join("/v1/rooms/r/participants", bearer(k.make(speaker("ann")))...).want(t, 201)
	c := speaker("ann")
	c.Mix.Scope = token.ScopeEvents
	text := k.make(c)
	f.do("HEAD", "/v1/rooms/r/events?token="+text, "").want(t, 200)
	f.do("HEAD", "/v1/rooms/r/events?lastEventId=x&token="+text, "").want(t, 200)
	f.do("HEAD", "/v1/rooms/r/events?tokens=x&token="+text, "").want(t, 422)
	f.do("HEAD", "/v1/rooms/r/events?%zz&token="+text, "").want(t, 400)
	f.do("HEAD", "/v1/rooms/r/live.ogg?token="+text, "").want(t, 403)
	f.do("POST", "/v1/rooms/r/tokens?token="+text, "").want(t, 403)
	if log := f.log.String(); strings.Contains(log, text) || strings.Contains(log, text[:40]) {
		t.Error("the log has a token")
	}
}

// participantOfJoin is who came in.
func (f *fixture) participantOfJoin(t *testing.T, r reply, headers ...string) Participant {
	t.Helper()
	var p Participant
	path := strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<")
	f.do("GET", path, "", headers...).want(t, 200).json(t, &p)
	return p
}

func TestKeyedJoin(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	no := false
	moderator := bearer(k.make(host("r")))
	for _, c := range []struct {
		name string
		edit func(*token.Claims)
		path string
		role string // "" is refused
	}{
		{"speaker", func(*token.Claims) {}, "/v1/rooms/r/participants", "participant"},
		{"speaker publishes", func(*token.Claims) {}, "/whip/r", "publisher"},
		{"speaker views", func(*token.Claims) {}, "/whep/r", "viewer"},
		{"listener", func(c *token.Claims) { c.Video.CanPublish = &no }, "/v1/rooms/r/participants", "viewer"},
		{"listener publishes", func(c *token.Claims) { c.Video.CanPublish = &no }, "/whip/r", ""},
		{"camera", func(c *token.Claims) { c.Video.CanSubscribe = &no }, "/v1/rooms/r/participants", "publisher"},
		{"camera views", func(c *token.Claims) { c.Video.CanSubscribe = &no }, "/whep/r", ""},
		{"neither", func(c *token.Claims) { c.Video.CanPublish, c.Video.CanSubscribe = &no, &no }, "/v1/rooms/r/participants", ""},
		{"another room", func(c *token.Claims) { c.Video.Room = "other" }, "/v1/rooms/r/participants", ""},
		{"no room", func(c *token.Claims) { c.Video.Room = "" }, "/v1/rooms/r/participants", ""},
		{"room of another case", func(c *token.Claims) { c.Video.Room = "R" }, "/v1/rooms/r/participants", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := speaker("u-" + strings.ReplaceAll(c.name, " ", "-"))
			claims.Name = "Ann\u202e"
			c.edit(&claims)
			r := f.join(c.path+"?name=Bob", bearer(k.make(claims))...)
			if c.role == "" {
				r.problem(t, 403, "forbidden")
				return
			}
			p := f.participantOfJoin(t, r.want(t, 201), moderator...)
			if p.Role != c.role || p.Identity != claims.Subject || p.Name != "Ann" {
				t.Errorf("%+v", p)
			}
		})
	}
}

// Who is invited by name makes the room; who may go everywhere does not, unless
// his token says so.
func TestKeyedCreates(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	anywhere := speaker("ann")
	anywhere.Video.Room = token.AnyRoom
	f.join("/v1/rooms/new/participants", bearer(k.make(anywhere))...).problem(t, 404, "no-such-room")
	anywhere.Video.RoomCreate = true
	f.join("/v1/rooms/new/participants", bearer(k.make(anywhere))...).want(t, 201)
	f.join("/v1/rooms/r/participants", bearer(k.make(speaker("ann")))...).want(t, 201)

	// To make a room is not to change one.
	maker := bearer(k.make(token.Claims{Video: token.Video{RoomCreate: true}}))
	f.do("PUT", "/v1/rooms/made", `{"name":"x"}`, maker...).want(t, 201)
	f.do("PUT", "/v1/rooms/made", `{"name":"y"}`, maker...).problem(t, 403, "forbidden")
	f.do("PUT", "/v1/rooms/made", `{"name":"y"}`, bearer(k.make(func() token.Claims {
		c := host("made")
		c.Video.RoomCreate = true
		return c
	}()))...).want(t, 200)
}

func TestKeyedLimits(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	c := speaker("ann")
	c.Mix.MaxTier = "640x360@15"
	text := bearer(k.make(c))
	p := f.participantOfJoin(t, f.join("/v1/rooms/r/participants?maxWidth=1280&maxHeight=180", text...).want(t, 201), text...)
	if l := p.Receive.Limits; l == nil || l.MaxWidth != 640 || l.MaxHeight != 180 || l.MaxFPS != 15 {
		t.Errorf("limits %+v", l)
	}
}

// A session's secret brings its client back after the token has run out, and
// nobody else; a removal ends both.
func TestKeyedComesBack(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	text := bearer(k.make(speaker("ann")))
	first := f.join("/v1/rooms/r/participants", text...).want(t, 201)
	f.lastPeer().up()
	secretOf := func(r reply) string { return strings.TrimPrefix(r.Header.Get("Location"), "/v1/sessions/") }
	k.later(time.Hour)
	f.join("/v1/rooms/r/participants", text...).problem(t, 401, "unauthenticated")
	f.join("/v1/rooms/other/participants?replaces="+secretOf(first), text...).problem(t, 401, "unauthenticated")
	f.join("/v1/rooms/r/participants?replaces=0123456789012345678901", text...).problem(t, 401, "unauthenticated")
	second := f.join("/v1/rooms/r/participants?replaces="+secretOf(first), text...).want(t, 201)
	f.lastPeer().up()
	p := f.participantOfJoin(t, second, bearer(k.make(host("r")))...)
	if p.Identity != "ann" {
		t.Errorf("%+v", p)
	}
	f.join("/v1/rooms/r/participants?replaces="+secretOf(second)).want(t, 201) // without any token
}

// TestSameIdentity: who joins a second time with an identity is who it was, in the
// same role; the first session says that it was replaced.
func TestSameIdentity(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	ann, bob := bearer(k.make(speaker("ann"))), bearer(k.make(speaker("bob")))
	first := f.join("/v1/rooms/r/participants", ann...).want(t, 201)
	before := f.lastPeer()
	before.up()
	other := f.join("/v1/rooms/r/participants", bob...).want(t, 201)
	f.lastPeer().up()
	watching := f.join("/whep/r", ann...).want(t, 201)
	f.lastPeer().up()
	second := f.join("/v1/rooms/r/participants", ann...).want(t, 201)
	f.lastPeer().up()
	if memberOf(second) != memberOf(first) || memberOf(watching) == memberOf(first) || memberOf(other) == memberOf(first) {
		t.Errorf("she is %s, was %s; as a viewer she is %s, and he is %s", memberOf(second), memberOf(first), memberOf(watching), memberOf(other))
	}
	before.once.Do(func() { t.Error("the old connection was not closed") })
	f.do("GET", first.Header.Get("Location"), "").problem(t, 410, "replaced")
	for _, live := range []reply{second, watching, other} {
		f.do("GET", live.Header.Get("Location"), "").want(t, 204)
	}
	// In another room she is somebody else.
	elsewhere := f.join("/v1/rooms/s/participants", bearer(k.make(token.Claims{Subject: "ann", Video: token.Video{RoomJoin: true, Room: "s"}}))...).want(t, 201)
	f.do("GET", second.Header.Get("Location"), "").want(t, 204)
	f.do("GET", elsewhere.Header.Get("Location"), "").want(t, 204)
}

func TestRevoke(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	ann, bob, guest := bearer(k.make(speaker("ann"))), bearer(k.make(speaker("bob"))), bearer(k.make(speaker("")))
	wide := speaker("ann")
	wide.Video.Room = token.AnyRoom
	everywhere := bearer(k.make(wide))
	must(t, k.revoked.Revoke("r", "ann"))
	p := f.join("/v1/rooms/r/participants", ann...).problem(t, 401, "unauthenticated")
	if !strings.Contains(p.Detail, "withdrawn") {
		t.Errorf("%+v", p)
	}
	f.do("GET", "/v1/ice-servers", "", ann...).problem(t, 401, "unauthenticated")
	f.join("/v1/rooms/r/participants", everywhere...).problem(t, 401, "unauthenticated")
	f.join("/v1/rooms/elsewhere/participants", everywhere...).problem(t, 404, "no-such-room")
	f.join("/v1/rooms/r/participants", bob...).want(t, 201)
	f.join("/v1/rooms/r/participants", guest...).want(t, 201)
	must(t, k.revoked.Revoke("r", ""))
	f.join("/v1/rooms/r/participants", guest...).problem(t, 401, "unauthenticated")
	f.join("/v1/rooms/r/participants", bob...).want(t, 201)
	k.later(time.Second)
	f.join("/v1/rooms/r/participants", bearer(k.make(speaker("ann")))...).want(t, 201)
}

// Who is removed is told no more of the room.
func TestRevokeEndsStreams(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	ann, bob := bearer(k.make(speaker("ann"))), bearer(k.make(speaker("bob")))
	f.join("/v1/rooms/r/participants", bob...).want(t, 201)
	ended := make(chan reply, 3)
	for range 2 {
		go func() { ended <- f.do("GET", "/v1/rooms/r/events", "", ann...) }()
	}
	eventually(t, "two streams", func() bool { return f.openStreams() == 2 })
	must(t, k.revoked.Revoke("r", "bob"))
	must(t, k.revoked.Revoke("other", "ann"))
	must(t, k.revoked.Revoke("r", "ann"))
	for range 2 {
		(<-ended).want(t, 200)
	}
	k.revoked.mu.Lock()
	defer k.revoked.mu.Unlock()
	if n := len(k.revoked.mu.streams); n != 0 {
		t.Errorf("%d are followed for nobody", n)
	}
}

// disk is a Bucket that remembers, and fails when it is told to.
type disk struct {
	data map[string][]byte
	err  error
}

func (d *disk) Put(key string, value []byte) error {
	if d.err == nil {
		d.data[key] = value
	}
	return d.err
}
func (d *disk) Delete(key string) error { delete(d.data, key); return d.err }
func (d *disk) Each(_ string, f func(string, []byte) error) error {
	for k, v := range d.data {
		if err := f(k, v); err != nil {
			return err
		}
	}
	return d.err
}

func TestRevocationsLast(t *testing.T) {
	k := newKeys(t)
	d := &disk{data: map[string][]byte{}}
	r, err := NewRevocations(d, k.now)
	must(t, err)
	issued := k.now().Add(-time.Minute)
	must(t, r.Revoke("r", "ann"))
	again, err := NewRevocations(d, k.now)
	must(t, err)
	if !again.revoked("r", "ann", issued) || again.revoked("r", "bob", issued) || again.revoked("r", "ann", k.now().Add(time.Second)) {
		t.Error("what was kept is not what was said")
	}
	k.later(25 * time.Hour)
	must(t, again.Revoke("r", "bob"))
	if held, _ := again.Len(); held != 1 || len(d.data) != 1 {
		t.Errorf("%d held, %d kept, of which no token can be left", held, len(d.data))
	}
	k.later(25 * time.Hour)
	if last, err := NewRevocations(d, k.now); err != nil || len(d.data) != 0 || last.revoked("r", "bob", issued) {
		t.Errorf("%v, %d kept", err, len(d.data))
	}
	d.err = errors.New("disk on fire")
	if err := r.Revoke("r", "cid"); err == nil || !r.revoked("r", "cid", k.now()) {
		t.Errorf("%v: want an error, and it to hold", err)
	}
	if _, err := NewRevocations(&disk{data: map[string][]byte{"r/x": []byte("?")}}, k.now); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestRevocationsBound(t *testing.T) {
	k := newKeys(t)
	r, err := NewRevocations(nil, k.now)
	must(t, err)
	for i := range maxRevocations {
		r.mu.at[fmt.Sprint("r/", i)] = k.now()
	}
	r.mu.at["r/7"] = k.now().Add(-time.Hour)
	must(t, r.Revoke("r", "one more"))
	held, forgotten := r.Len()
	if held != maxRevocations || forgotten != 1 || r.revoked("r", "7", k.now().Add(-2*time.Hour)) || !r.revoked("r", "one more", k.now()) {
		t.Errorf("%d held, %d forgotten", held, forgotten)
	}
}

func TestCreateToken(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	moderator := host("r")
	moderator.Expires = k.now().Add(12 * time.Hour)
	by := bearer(k.make(moderator))
	post := func(room, body string, headers []string) reply {
		return f.do("POST", "/v1/rooms/"+room+"/tokens", body, headers...)
	}
	made := func(r reply) (Token, token.Claims) {
		t.Helper()
		var got Token
		r.want(t, 201).json(t, &got)
		c, err := k.ring.Verify(got.Token, k.now())
		must(t, err)
		if !got.ExpiresAt.Equal(c.Expires) || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%+v, %v", got, r.Header)
		}
		return got, c
	}
	got, c := made(post("r", "", by))
	if c.Video.Room != "r" || !c.Video.RoomJoin || c.Video.RoomAdmin || c.Subject != "" || c.Mix.Role != token.Speaker || !c.Expires.Equal(k.now().Add(inviteLife)) {
		t.Errorf("%+v", c)
	}
	if got.Link != "/r/r#token="+got.Token {
		t.Errorf("link %q", got.Link)
	}
	f.join("/v1/rooms/r/participants", bearer(got.Token)...).want(t, 201)
	_, c = made(post("r", `{"identity":"bob","name":"Bob\u202e","role":"host","ttl":60,"maxTier":"640x360@30","personalCanvas":true}`, by))
	if c.Subject != "bob" || c.Name != "Bob" || !c.MayAdmin() || c.Mix.MaxTier != "640x360@30" || !c.Mix.PersonalCanvas || !c.Expires.Equal(k.now().Add(time.Minute)) {
		t.Errorf("%+v", c)
	}
	// Nobody gives what he does not have.
	p := post("r", `{"record":true,"recordings":true,"ttl":86400}`, by).problem(t, 422, "invalid")
	if len(p.Errors) != 3 {
		t.Errorf("%+v", p.Errors)
	}
	post("r", `{"role":"king"}`, by).problem(t, 422, "invalid")
	post("r", `{"maxtier":"x"}`, by).problem(t, 422, "invalid")
	post("r", `{"identity":"a\u0007"}`, by).problem(t, 422, "invalid")
	post("other", "", by).problem(t, 403, "forbidden")
	post("r", "", bearer(k.make(speaker("ann")))).problem(t, 403, "forbidden")
	post("*", "", by).problem(t, 403, "forbidden")
	everywhere := host(token.AnyRoom)
	post("*", "", bearer(k.make(everywhere))).problem(t, 422, "invalid")
	post("-r", "", bearer(k.make(everywhere))).problem(t, 422, "invalid")
	post("r", "", bearer(k.make(everywhere))).want(t, 201)

	// For URLs everybody makes his own, which do what he may do himself.
	ann := speaker("ann")
	ann.Expires = k.now().Add(5 * time.Minute)
	text := bearer(k.make(ann))
	got, c = made(post("r", `{"scope":"events"}`, text))
	if got.Link != "" || c.Subject != "ann" || c.Mix.Scope != "events" || !c.Video.RoomJoin || !c.Expires.Equal(ann.Expires) {
		t.Errorf("%+v %+v", got, c)
	}
	f.do("HEAD", "/v1/rooms/r/events?token="+got.Token, "").want(t, 200)
	_, c = made(post("r", `{"scope":"live"}`, by))
	if !c.Expires.Equal(k.now().Add(token.MaxURLLife)) {
		t.Errorf("%+v", c)
	}
	post("r", `{"scope":"recordings"}`, text).problem(t, 403, "forbidden")
	got, _ = made(post("*", `{"scope":"events"}`, bearer(k.make(everywhere))))
	f.do("HEAD", "/v1/events?token="+got.Token, "").want(t, 200)
	post("r", `{"scope":"live"}`, bearer(got.Token)).problem(t, 403, "forbidden")

	if log := f.log.String(); strings.Contains(log, got.Token) {
		t.Error("the log has a token")
	}
	keyless := newFixture(t, false)
	keyless.do("POST", "/v1/rooms/r/tokens", "").problem(t, 409, "no-keys")
}

// Who may not write to the others cannot by any way.
func TestSilence(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	no := false
	c := speaker("ann")
	c.Video.CanPublishData, c.Video.CanPublishSources = &no, []string{"camera"}
	text := bearer(k.make(c))
	r := f.join("/v1/rooms/r/participants", text...).want(t, 201)
	f.do("POST", r.Header.Get("Location")+"/chat", `{"text":"hi"}`).problem(t, 403, "forbidden")
	f.lastPeer().up()
	var p Participant
	eventually(t, "its camera is taken", func() bool {
		p = f.participantOfJoin(t, r, text...)
		return p.Send.Video != nil
	})
	if p.Send.Audio.Codec != "" || p.Send.Video == nil || !slices.Equal(p.Send.Video.Sources, []string{"camera"}) {
		b, err := json.Marshal(p.Send)
		must(t, err)
		t.Errorf("sends %s", b)
	}
}

func TestForwarded(t *testing.T) {
	for _, c := range []struct {
		headers []string
		want    string
	}{
		{nil, "192.0.2.1"},
		{[]string{"203.0.113.9"}, "203.0.113.9"},
		{[]string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{[]string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		{[]string{"203.0.113.9:4711"}, "203.0.113.9"},
		{[]string{"2001:db8::1"}, "2001:db8::1"},
		{[]string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{[]string{"unknown"}, "192.0.2.1"},
		{[]string{""}, "192.0.2.1"},
	} {
		r := &http.Request{RemoteAddr: "192.0.2.1:1234", Header: http.Header{"X-Forwarded-For": c.headers}}
		if got := clientAddr(forwarded(r)).String(); got != c.want {
			t.Errorf("%q: %s, want %s", c.headers, got, c.want)
		}
	}
}
