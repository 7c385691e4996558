package api

import (
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"mixdown/api/token"
	"mixdown/mixer"
	"mixdown/mixer/video"
)

// lateBody comes only when something else has happened.
type lateBody struct {
	before func()
	io.Reader
}

// Read implements io.Reader.
func (b *lateBody) Read(p []byte) (int, error) {
	if b.before != nil {
		b.before()
		b.before = nil
	}
	return b.Reader.Read(p)
}

// late sends a request whose token is good when it begins; before happens until
// its body is there.
func (f *fixture) late(target, contentType, body string, headers []string, before func()) reply {
	req := httptest.NewRequest("POST", target, &lateBody{before, strings.NewReader(body)})
	req.Host, req.RemoteAddr = "127.0.0.1:8080", "127.0.0.1:40000"
	req.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, req)
	return reply{w.Result(), w.Body.String()}
}

// A request that was begun before its sender was removed does not bring him back,
// nor gets him a newer token.
func TestRevokedInMidRequest(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	kick := func() {
		k.later(2 * time.Second)
		must(t, k.revoked.Revoke("r", "host"))
	}
	by := func() []string { k.later(2 * time.Second); return bearer(k.make(host("r"))) }
	for name, path := range map[string]string{"join": "/v1/rooms/r/participants", "WHIP": "/whip/r", "WHEP": "/whep/r"} {
		if r := f.late(path, "application/sdp", "v=0\r\n", by(), kick); r.StatusCode != 401 {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.text)
		}
	}
	for _, body := range []string{`{"scope":"events"}`, `{"identity":"another","role":"host"}`} {
		if r := f.late("/v1/rooms/r/tokens", "application/json", body, by(), kick); r.StatusCode != 401 {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.text)
		}
	}
	if live, half := f.sessions.counts(); live != 0 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones are left", live, half)
	}
}

// Who may go everywhere but was removed from one room does not come back into it
// by a newer token for all of them, nor by another spelling of its name.
func TestRevokedInOneOfAll(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	f.do("PUT", "/v1/rooms/r", "", bearer(k.make(token.Claims{Video: token.Video{RoomCreate: true}}))...).want(t, 201)
	wide := host(token.AnyRoom)
	everywhere := bearer(k.make(wide))
	k.later(2 * time.Second)
	must(t, k.revoked.Revoke("r", "host"))
	k.later(2 * time.Second)
	f.do("GET", "/v1/rooms/r", "", everywhere...).problem(t, 401, "unauthenticated")
	f.do("GET", "/v1/rooms/%72", "", everywhere...).problem(t, 401, "unauthenticated")
	f.do("POST", "/v1/rooms/%72/tokens", "{}", everywhere...).problem(t, 401, "unauthenticated")
	f.do("POST", "/v1/rooms/*/tokens", `{"scope":"events"}`, everywhere...).problem(t, 401, "unauthenticated")
	// Others lose nothing, nor does he elsewhere.
	f.do("POST", "/v1/rooms/elsewhere/tokens", `{"scope":"events"}`, everywhere...).want(t, 201)
	wide.Subject = "another"
	f.do("POST", "/v1/rooms/*/tokens", `{"scope":"events"}`, bearer(k.make(wide))...).want(t, 201)
	f.do("POST", "/v1/rooms/*/tokens", `{"scope":"events"}`, bearer(k.make(host(token.AnyRoom)))...).want(t, 201)
}

// A bound that makes no sense is not none: the token is refused, and none is made.
func TestBadMaxTier(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	c := speaker("ann")
	c.Mix.MaxTier = "small"
	f.join("/v1/rooms/r/participants", bearer(k.make(c))...).problem(t, 401, "unauthenticated")
	p := f.do("POST", "/v1/rooms/r/tokens", `{"maxTier":"99999x1@0"}`, bearer(k.make(host("r")))...).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/maxTier" {
		t.Errorf("%+v", p.Errors)
	}
}

// Who is bound makes nobody who is bound less: it could be himself.
func TestInvitationsAreBoundAsWell(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	no := false
	by := host("r")
	by.Video.CanSubscribe, by.Video.CanPublishData, by.Video.CanPublishSources = &no, &no, []string{"microphone"}
	by.Mix.MaxTier = "640x360@30"
	invite := func(by token.Claims, body string) reply {
		return f.do("POST", "/v1/rooms/r/tokens", body, bearer(k.make(by))...)
	}
	for _, body := range []string{"{}", `{"role":"host"}`, `{"maxTier":"320x180@15"}`} {
		var got Token
		invite(by, body).want(t, 201).json(t, &got)
		c, err := k.ring.Verify(got.Token, k.now())
		must(t, err)
		if c.MaySubscribe() || c.MayWrite() || c.MaySend("camera") || !c.MaySend("microphone") {
			t.Errorf("%s: %+v", body, c)
		}
		if want := by.Mix.MaxTier; body != `{"maxTier":"320x180@15"}` && c.Mix.MaxTier != want {
			t.Errorf("%s: %q, want %q", body, c.Mix.MaxTier, want)
		}
	}
	for _, tier := range []string{"1280x720@30", "320x180@60", "160x720@30"} {
		if p := invite(by, `{"maxTier":"`+tier+`"}`).problem(t, 422, "invalid"); p.Errors[0].Pointer != "#/maxTier" {
			t.Errorf("%s: %+v", tier, p.Errors)
		}
	}
	by = host("r")
	by.Mix.Role = token.Viewer
	var got Token
	invite(by, "{}").want(t, 201).json(t, &got)
	if c, err := k.ring.Verify(got.Token, k.now()); err != nil || c.MaySend("microphone") {
		t.Errorf("%+v, %v", c, err)
	}
}

// Who has a token, but was not let in, is told nothing of what goes on behind a PIN
// or a waiting room by the room's own events either.
func TestEventsOfGuardedRooms(t *testing.T) {
	k := newKeys(t)
	f := newFixture(t, false, k.configure)
	maker := host("r")
	maker.Video.RoomCreate = true
	moderator, ann := bearer(k.make(maker)), bearer(k.make(speaker("ann")))
	f.do("PUT", "/v1/rooms/r", `{"metadata":"secret"}`, moderator...).want(t, 201)
	in := f.join("/v1/rooms/r/participants?name=Host", moderator...).want(t, 201)
	f.lastPeer().up()
	base := overTCP(t, f)
	chat := func(text string) {
		f.do("POST", in.Header.Get("Location")+"/chat", `{"text":"`+text+`"}`).want(t, 204)
	}
	var outside []*listen
	for guard, open := range map[string]string{`{"waitingRoom":true}`: `{"waitingRoom":false}`, `{"pin":"4711"}`: `{"pin":""}`} {
		f.do("PATCH", "/v1/rooms/r", guard, moderator...).want(t, 200)
		chat("before")
		theirs, his := follow(t, base+"/v1/rooms/r/events", moderator...), follow(t, base+"/v1/rooms/r/events", ann...)
		if snap := into[RoomSnapshot](t, theirs.until("snapshot")); len(snap.Participants) == 0 || snap.Room.Metadata != "secret" {
			t.Errorf("%s: a moderator is told %+v", guard, snap)
		}
		if snap := into[RoomSnapshot](t, his.until("snapshot")); len(snap.Participants) != 0 || snap.Room.Metadata != "" || snap.Room.ID != "r" {
			t.Errorf("%s: he is told %+v", guard, snap)
		}
		chat("behind closed doors")
		seen := theirs.until("chat")
		again := follow(t, base+"/v1/rooms/r/events", append([]string{"Last-Event-ID", theirs.last}, ann...)...)
		if snap := into[RoomSnapshot](t, again.until("snapshot")); len(snap.Participants) != 0 {
			t.Errorf("%s: after %s he is told %+v", guard, seen.ID, snap)
		}
		outside = append(outside, his, again)
		// He joins by it all the same: PIN and waiting room are asked for then.
		socket := openSocket(t, base+"/v1/rooms/r/events", ann...)
		socket.until("snapshot")
		socket.say(`{"type":"offer","data":{"sdp":"v=0\r\n","pin":"4711","query":"name=Ann"}}`)
		a := into[AnswerMessage](t, socket.until("answer"))
		if snap := into[RoomSnapshot](t, socket.until("snapshot")); len(snap.Participants) == 0 {
			t.Errorf("%s: having joined he is told %+v", guard, snap)
		}
		f.do("DELETE", a.Session, "").want(t, 200)
		f.do("PATCH", "/v1/rooms/r", open, moderator...).want(t, 200)
		whole := follow(t, base+"/v1/rooms/r/events", ann...)
		if snap := into[RoomSnapshot](t, whole.until("snapshot")); len(snap.Participants) == 0 {
			t.Errorf("%s: without it he is told %+v", guard, snap)
		}
	}
	f.do("DELETE", "/v1/rooms/r", "", moderator...).want(t, 204)
	for _, l := range outside {
		var types []string
		for e, ok := l.next(); ok; e, ok = l.next() {
			types = append(types, e.Type)
		}
		if !slices.Equal(types, []string{"room.finished"}) {
			t.Errorf("from outside he was told of %v", types)
		}
	}
}

// bounded lets everybody do everything and see little.
type bounded struct{}

// Authorize implements Authorizer.
func (bounded) Authorize(*http.Request, Grant) (Identity, error) {
	return Identity{Limits: mixer.Limits{MaxWidth: 200, MaxHeight: 100, MaxFPS: 30}, MayCreate: true}, nil
}

// A token's bound holds for those as well who watch by plain HTTP.
func TestLiveIsBound(t *testing.T) {
	f := occupied(t)
	f.authorizer = bounded{}
	url := overTCP(t, f) + "/v1/rooms/r/"
	var streams []*http.Response
	for _, query := range []string{"", "?tier=320x180@15", "?tier=100x50@15"} {
		streams = append(streams, watching(t, url+"live.webm"+query))
	}
	begun := make([][]byte, len(streams))
	for i, r := range streams {
		begun[i] = readAtLeast(t, r.Body, 300)
	}
	for _, query := range []string{"", "?width=320"} {
		r := f.do("GET", "/v1/rooms/r/snapshot.jpg"+query, "").want(t, 200)
		picture, err := jpeg.DecodeConfig(strings.NewReader(r.text))
		must(t, err)
		if picture.Width > 200 || picture.Height > 100 {
			t.Errorf("%q: a snapshot of %dx%d", query, picture.Width, picture.Height)
		}
	}
	f.lastPeer().end(nil)
	for i, r := range streams {
		rest, err := io.ReadAll(r.Body)
		must(t, err)
		if info := recovered(t, append(begun[i], rest...)); info.Width != 160 || info.Height != 90 {
			t.Errorf("stream %d: %+v", i, info)
		}
	}
	k := newKeys(t)
	c := speaker("ann")
	c.Mix.MaxTier = "200x100@30"
	who, err := k.authorizer().Authorize(httptest.NewRequest("POST", "/", nil), Grant{Action: Public})
	must(t, err)
	who.claims = &c
	for _, scope := range []string{token.ScopeLive, token.ScopeSnapshot} {
		if made, err := who.urlToken("r", TokenRequest{Scope: scope}, k.now()); err != nil || made.Mix.MaxTier != c.Mix.MaxTier {
			t.Errorf("%s: %+v, %v", scope, made, err)
		}
	}
}

func TestBoundTier(t *testing.T) {
	tier := func(w, h, fps int) video.Tier { return video.Tier{Width: w, Height: h, FPS: fps} }
	tiers := []video.Tier{tier(1280, 720, 30), tier(640, 360, 30), tier(320, 180, 15)}
	limits := func(w, h, fps int) mixer.Limits { return mixer.Limits{MaxWidth: w, MaxHeight: h, MaxFPS: fps} }
	for _, c := range []struct {
		limits     mixer.Limits
		want, gets video.Tier
	}{
		{mixer.Limits{}, tier(100, 100, 7), tier(100, 100, 7)}, // the mixer's business
		{mixer.Limits{}, video.Tier{}, video.Tier{}},
		{limits(1280, 720, 30), video.Tier{}, tiers[0]},
		{limits(1280, 720, 30), tier(640, 360, 30), tiers[1]},
		{limits(1279, 720, 30), video.Tier{}, tiers[1]},
		{limits(640, 360, 30), tier(1280, 720, 30), tiers[1]},
		{limits(640, 360, 30), tier(500, 300, 30), tiers[2]},
		{limits(640, 360, 15), video.Tier{}, tiers[2]},
		{limits(16, 16, 1), video.Tier{}, tiers[2]}, // there is nothing smaller
	} {
		who := Identity{Limits: c.limits}
		if got := who.boundTier(c.want, tiers); got != c.gets {
			t.Errorf("%+v, asked for %v: %v, want %v", c.limits, c.want, got, c.gets)
		}
	}
}

// Who moderates one room and was moved to another moderates none there: a ban of
// his address is meant for him as well.
func TestMovedModeratorIsBanned(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.authorizer = named{}
	for _, room := range []string{"here", "there"} {
		f.do("PUT", "/v1/rooms/"+room, "").want(t, 201)
	}
	var sessions []string
	for range 2 {
		joined := f.join("/v1/rooms/here/participants", "X-Who", "moderator").want(t, 201)
		sessions = append(sessions, joined.Header.Get("Location"))
		if path := connected(t, f, joined); len(sessions) == 1 {
			f.do("PATCH", path, `{"room":"there"}`).want(t, 200)
		}
	}
	for _, room := range []string{"here", "there"} {
		f.do("POST", "/v1/rooms/"+room+"/bans", `{"address":"127.0.0.1"}`).want(t, 201)
	}
	f.do("GET", sessions[0], "").problem(t, 410, "kicked")
	f.do("GET", sessions[1], "").want(t, 204)
}
