package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socket is a client of a WebSocket.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
}

// openSocket opens a WebSocket at an http:// address.
func openSocket(t *testing.T, url string, headers ...string) *socket {
	t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: h})
	must(t, err)
	conn.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{t, conn}
}

// next returns the next event, or why there is none.
func (s *socket) next() (e told, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	typ, message, err := s.conn.Read(ctx)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(message, &e); err != nil || typ != websocket.MessageText || e.Time.IsZero() || e.ID == "" {
		s.t.Fatalf("%v in %v %q", err, typ, message)
	}
	return e, nil
}

// until returns the first event of a type.
func (s *socket) until(typ string) told {
	s.t.Helper()
	var seen []string
	for {
		e, err := s.next()
		if err != nil {
			s.t.Fatalf("%v before %s; came %v", err, typ, seen)
		}
		if e.Type == typ {
			return e
		}
		seen = append(seen, e.Type)
	}
}

func (s *socket) say(message string) {
	s.t.Helper()
	must(s.t, s.conn.Write(s.t.Context(), websocket.MessageText, []byte(message)))
}

// closed fails unless the server says goodbye with that code.
func (s *socket) closed(code websocket.StatusCode) {
	s.t.Helper()
	for {
		if _, err := s.next(); err != nil {
			if got := websocket.CloseStatus(err); got != code {
				s.t.Errorf("closed with %v (%v), want %v", got, err, code)
			}
			return
		}
	}
}

func TestSocketsTellEvents(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	all, room := openSocket(t, url+"/v1/events"), openSocket(t, url+"/v1/rooms/r/events", "Origin", url)
	if snap := into[RoomsSnapshot](t, all.until("snapshot")); len(snap.Rooms) != 1 {
		t.Errorf("%+v", snap)
	}
	first := room.until("snapshot")
	f.join("/whep/r").want(t, 201)
	for _, s := range []*socket{all, room} {
		if e := s.until("participant.joined"); e.Room != "r" {
			t.Errorf("%+v", e)
		}
	}
	// Who comes back goes on where he was.
	if e, err := openSocket(t, url+"/v1/rooms/r/events?lastEventId="+first.ID).next(); err != nil || e.Type != "participant.joined" {
		t.Errorf("%+v, %v", e, err)
	}
	// Nobody in particular has nothing to say.
	room.say(`{"type":"chat","data":{"text":"hello"}}`)
	if p := into[Problem](t, room.until("error")); p.Code != "bad-request" {
		t.Errorf("%+v", p)
	}
	f.do("DELETE", "/v1/rooms/r", "").want(t, 204)
	room.until("room.finished")
	room.closed(websocket.StatusNormalClosure)
	all.until("room.finished")
	f.Drain()
	all.until("reconnect")
	all.closed(websocket.StatusServiceRestart)
}

// What refuses a stream refuses a WebSocket, by the same Problem; and the pages of
// other sites are refused whatever an Authorizer says of them.
func TestSocketsRefused(t *testing.T) {
	f := newFixture(t, false, func(c *Config) {
		c.MaxStreamsPerAddress = 1
		c.Authorizer = everybody{}
		c.Origins = []string{"https://friend.example"}
	})
	url := overTCP(t, f)
	refused := func(path, origin string, status int) {
		t.Helper()
		_, r, err := websocket.Dial(t.Context(), url+path, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		if err == nil || r == nil || r.StatusCode != status {
			t.Errorf("%s from %s: %v, %+v", path, origin, err, r)
		}
	}
	refused("/v1/events", "https://evil.example", 403)
	refused("/v1/events", "null", 403)
	refused("/v1/rooms/none/events", url, 404)
	refused("/v1/sessions/none/events", url, 404)
	refused("/v1/events?since=1", url, 422)
	openSocket(t, url+"/v1/events", "Origin", "https://friend.example").until("snapshot")
	refused("/v1/events", url, 429)
}

// everybody may do everything.
type everybody struct{}

func (everybody) Authorize(*http.Request, Grant) (Identity, error) {
	return Identity{MayCreate: true}, nil
}

// A session's own WebSocket takes what its client has to say, and answers what
// cannot be done as a request would be.
func TestSessionSocket(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	ann := f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	f.lastPeer().up()
	bob := f.join("/v1/rooms/r/participants?name=Bob").want(t, 201)
	f.lastPeer().up()
	a, b := openSocket(t, url+ann.Header.Get("Location")+"/events"), openSocket(t, url+bob.Header.Get("Location")+"/events")
	a.until("snapshot")
	b.until("snapshot")
	a.until("uplink")
	if l := into[LayoutChanged](t, a.until("layout.changed")); len(l.Shown) == 0 || l.Participant != "" {
		t.Errorf("what is watched: %+v", l)
	}
	a.say(`{"type":"chat","data":{"text":" 안녕\n\u202eBob "}}`)
	for _, s := range []*socket{a, b} {
		if c := into[Chat](t, s.until("chat")); c.Text != "안녕 Bob" || c.Name != "Ann" || c.To != "" {
			t.Errorf("%+v", c)
		}
	}
	for message, want := range map[string]Fault{
		`{"type":"chat","data":{"text":"\u0000 "}}`:                           {Pointer: "#/data/text"},
		`{"type":"chat","data":{"texts":"x"}}`:                                {Pointer: "#/data/texts"},
		`{"type":"chat","data":{"text":7}}`:                                   {Pointer: "#/data/text"},
		`{"type":"chat","data":{"text":"` + strings.Repeat("ü", 2001) + `"}}`: {Pointer: "#/data/text"},
		`{"type":"chat","data":"x"}`:                                          {Pointer: "#/data"},
		`{"type":"shout"}`:                                                    {Pointer: "#/type"},
		`{}`:                                                                  {Pointer: "#/type"},
	} {
		a.say(message)
		if p := into[Problem](t, a.until("error")); p.Code != "invalid" || len(p.Errors) == 0 || p.Errors[0].Pointer != want.Pointer {
			t.Errorf("%.60s: %+v", message, p)
		}
	}
	for _, message := range []string{``, `x`, `[]`, `null`, `{}{}`} {
		a.say(message)
		if p := into[Problem](t, a.until("error")); !strings.HasPrefix(p.Code, "bad-json") && p.Code != "invalid" {
			t.Errorf("%s: %+v", message, p)
		}
	}
	a.say(`{"type":"leave"}`)
	a.closed(websocket.StatusNormalClosure)
	f.do("GET", ann.Header.Get("Location"), "").problem(t, 404, "no-such-session")
	if p := into[ParticipantLeft](t, b.until("participant.left")); p.Name != "Ann" || p.Reason != "left" {
		t.Errorf("%+v", p)
	}
	if s := f.log.String(); strings.Contains(s, "안녕") {
		t.Error("the log has what was written")
	}
}

// Over a session's WebSocket ICE is signalled as by PATCH.
func TestSocketSignals(t *testing.T) {
	f := newFixture(t, false)
	location := f.join("/v1/rooms/r/participants").want(t, 201).Header.Get("Location")
	peer := f.lastPeer()
	peer.up()
	s := openSocket(t, overTCP(t, f)+location+"/events")
	fragment := func(text string) string {
		b, err := json.Marshal(Message{Type: "candidate", Data: ICEFragment{Fragment: text}})
		must(t, err)
		return string(b)
	}
	s.say(fragment(bareFragment))
	s.say(fragment(otherFragment))
	if a := into[ICEFragment](t, s.until("candidate")); a.Fragment != "a=ice-ufrag:ours1\r\n" || a.ETag != `"ours1"` {
		t.Errorf("%+v", a)
	}
	peer.mu.Lock()
	if peer.candidates != 1 || peer.restarts != 1 {
		t.Errorf("%d times candidates, %d restarts", peer.candidates, peer.restarts)
	}
	peer.mu.Unlock()
	s.say(fragment("a=ice-ufrag"))
	if p := into[Problem](t, s.until("error")); p.Code != "bad-fragment" {
		t.Errorf("%+v", p)
	}
	// What concerns the connection cannot be said over it.
	c := serveFake(t, f, location)
	c.received <- []byte(fragment(bareFragment))
	if p := into[Problem](t, c.until("error")); p.Code != "invalid" || p.Errors[0].Pointer != "#/type" {
		t.Errorf("%+v", p)
	}
}

// Too long a message ends the WebSocket, silence does too.
func TestSocketsAreBounded(t *testing.T) {
	f := newFixture(t, false)
	f.streams.beat, f.streams.write = 20*time.Millisecond, time.Second
	url := overTCP(t, f)
	session := f.join("/v1/rooms/r/participants?name=Ann").want(t, 201).Header.Get("Location")
	long := openSocket(t, url+session+"/events")
	long.say(strings.Repeat("x", maxMessage+1))
	long.closed(websocket.StatusMessageTooBig)

	// Who reads answers pings; who does not is not there.
	alive := openSocket(t, url+"/v1/events")
	alive.until("snapshot")
	openSocket(t, url+"/v1/events") // never read
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go alive.conn.Read(ctx) //nolint:errcheck // it ends with the test
	for f.openStreams() != 1 || f.streams.stalled.Load() == 0 {
		if ctx.Err() != nil {
			t.Fatalf("%d streams, %d stalled", f.openStreams(), f.streams.stalled.Load())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestPost(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	session := func(name string) (location, id string) {
		r := f.join("/v1/rooms/r/participants?name="+name).want(t, 201)
		f.lastPeer().up()
		link := strings.Split(r.Header.Get("Link"), ">")[0]
		return r.Header.Get("Location"), link[strings.LastIndex(link, "/")+1:]
	}
	ann, _ := session("Ann")
	bob, bobID := session("Bob")
	cyd, _ := session("Cyd")
	f.do("POST", ann+"/chat", `{"text":"psst","to":"`+bobID+`"}`).problem(t, 409, "not-listening")
	f.do("POST", ann+"/chat", `{"text":"psst","to":"p_nobody"}`).problem(t, 404, "no-such-participant")
	f.do("POST", ann+"/chat", `{"to":"`+bobID+`"}`).problem(t, 422, "invalid")
	b, c, public := follow(t, url+bob+"/events"), follow(t, url+cyd+"/events"), follow(t, url+"/v1/rooms/r/events")
	for _, l := range []*listen{b, c, public} {
		if e, _ := l.next(); e.Type != "snapshot" {
			t.Fatal(e.Type)
		}
	}
	f.do("POST", ann+"/chat", `{"text":"psst","to":"`+bobID+`"}`).want(t, 204)
	f.do("POST", ann+"/chat", `{"text":"hello"}`).want(t, 204)
	psst := b.until("chat")
	if c := into[Chat](t, psst); c.Text != "psst" || c.To != bobID {
		t.Errorf("%+v", c)
	}
	for _, l := range []*listen{b, c, public} {
		if c := into[Chat](t, l.until("chat")); c.Text != "hello" {
			t.Errorf("%+v", c)
		}
	}
	// Nobody is told later what was for somebody else; nor is it told twice.
	if e, _ := follow(t, url+"/v1/rooms/r/events", "Last-Event-ID", psst.ID).next(); e.Type != "chat" || into[Chat](t, e).Text != "hello" {
		t.Errorf("%+v", e)
	}
	for n := 0; ; n++ {
		if r := f.do("POST", ann+"/chat", `{"text":"flood"}`); r.StatusCode != 204 {
			r.problem(t, 429, "too-many-messages")
			break
		}
		if n > 2*chatBurst {
			t.Fatal("nobody is stopped")
		}
	}
}

// What a client says while its pong is waited for does not keep that from being
// read.
func TestSocketSpeaksBeforePong(t *testing.T) {
	f := newFixture(t, false)
	f.streams.beat, f.streams.write = 20*time.Millisecond, 10*time.Second
	url := overTCP(t, f)
	var conn *websocket.Conn
	conn, _, err := websocket.Dial(t.Context(), url+"/v1/events", &websocket.DialOptions{
		OnPingReceived: func(ctx context.Context, _ []byte) bool {
			return conn.Write(ctx, websocket.MessageText, []byte("{}")) == nil // and then the pong
		},
	})
	must(t, err)
	t.Cleanup(func() { _ = conn.CloseNow() })
	s := &socket{t, conn}
	for range 3 {
		s.until("error")
	}
	if n := f.streams.stalled.Load(); n != 0 {
		t.Errorf("%d stalled", n)
	}
}
