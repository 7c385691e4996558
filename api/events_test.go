package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/api/token"
	"mixdown/codec"
	"mixdown/mixer"
	"mixdown/mixer/layout"
	"mixdown/mixer/record"
	"mixdown/mixer/video"
	"mixdown/transport"
)

var update = flag.Bool("update", false, "write golden files anew")

// listen is a client of a stream.
type listen struct {
	t      *testing.T
	resp   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
	last   string // field id
}

// overTCP serves the fixture on a socket.
func overTCP(t *testing.T, f *fixture, edit ...func(*httptest.Server)) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(f)
	for _, e := range edit {
		e(srv)
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

// follow opens a stream over a real connection.
func follow(t *testing.T, url string, headers ...string) *listen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	must(t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	t.Cleanup(func() { cancel(); resp.Body.Close(); http.DefaultClient.CloseIdleConnections() })
	l := &listen{t: t, resp: resp, lines: bufio.NewScanner(resp.Body), cancel: cancel}
	l.lines.Buffer(nil, 1<<20)
	return l
}

// told is an envelope with its data unread.
type told struct {
	ID, Type, Room string
	Time           time.Time
	Seq            uint64
	Data           json.RawMessage
}

// next returns the next event; ok is false at the end of the stream.
func (l *listen) next() (e told, ok bool) {
	l.t.Helper()
	for l.lines.Scan() {
		line := l.lines.Text()
		if id, found := strings.CutPrefix(line, "id: "); found {
			l.last = id
		}
		if data, found := strings.CutPrefix(line, "data: "); found {
			d := json.NewDecoder(strings.NewReader(data))
			d.DisallowUnknownFields()
			if err := d.Decode(&e); err != nil || e.ID != l.last || e.Time.IsZero() || len(e.Data) == 0 {
				l.t.Fatalf("%v in %q with id %q", err, data, l.last)
			}
			return e, true
		}
	}
	return e, false
}

// until returns the first event of a type.
func (l *listen) until(typ string) told {
	l.t.Helper()
	var seen []string
	for {
		e, ok := l.next()
		if !ok {
			l.t.Fatalf("the stream ended (%v) before %s; came %v", l.lines.Err(), typ, seen)
		}
		if e.Type == typ {
			return e
		}
		seen = append(seen, e.Type)
	}
}

// ended fails unless the stream ends by itself, cleanly.
func (l *listen) ended() {
	l.t.Helper()
	for {
		if _, ok := l.next(); !ok {
			break
		}
	}
	if err := l.lines.Err(); err != nil {
		l.t.Errorf("the stream broke off: %v", err)
	}
}

func into[T any](t *testing.T, e told) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(e.Data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v in %s", e.Type, err, e.Data)
	}
	return v
}

func TestRoomEvents(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	f.lastPeer().up()
	l := follow(t, url+"/v1/rooms/r/events")
	h := l.resp.Header
	if l.resp.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("ETag") != "" {
		t.Fatalf("%d %v", l.resp.StatusCode, h)
	}
	first, _ := l.next()
	snap := into[RoomSnapshot](t, first)
	if first.Type != "snapshot" || first.Room != "r" || snap.Room.ID != "r" || len(snap.Participants) != 1 || snap.Participants[0].Name != "Ann" {
		t.Fatalf("%s: %+v", first.Type, snap)
	}
	// What is said of somebody is what the resource says.
	loc := f.join("/v1/rooms/r/participants?name=Bob").want(t, 201)
	path := strings.TrimPrefix(strings.Split(loc.Header.Get("Link"), ">")[0], "<")
	joined := into[Participant](t, l.until("participant.joined"))
	var p Participant
	f.do("GET", path, "").want(t, 200).json(t, &p)
	if p.ID != joined.ID || joined.Name != "Bob" || joined.CSRC != p.CSRC || joined.State != "waiting" {
		t.Errorf("joined %+v", joined)
	}
	f.lastPeer().up()
	if p := into[Participant](t, l.until("participant.updated")); p.State != "active" {
		t.Errorf("updated %+v", p)
	}
	f.do("PATCH", path, `{"group":"team"}`).want(t, 200)
	if m := into[ParticipantMoved](t, l.until("participant.moved")); m.Group != "team" || m.From != "" {
		t.Errorf("moved %+v", m)
	}
	f.do("DELETE", path, "").want(t, 204)
	if p := into[ParticipantLeft](t, l.until("participant.left")); p.ID != joined.ID || p.Reason != "kicked" || p.State != "left" {
		t.Errorf("left %+v", p)
	}
	f.do("DELETE", "/v1/rooms/r", "").want(t, 204)
	if p := into[ParticipantLeft](t, l.until("participant.left")); p.Reason != "room-closed" {
		t.Errorf("left %+v", p)
	}
	if r := into[Room](t, l.until("room.finished")); r.ID != "r" {
		t.Errorf("finished %+v", r)
	}
	l.ended()
	f.do("GET", "/v1/rooms/r/events", "").problem(t, 404, "no-such-room")
}

func TestAllEvents(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	f.do("PUT", "/v1/rooms/a", "").want(t, 201)
	l := follow(t, url+"/v1/events")
	first, _ := l.next()
	if snap := into[RoomsSnapshot](t, first); first.Room != "" || first.Seq != 0 || len(snap.Rooms) != 1 || snap.Rooms[0].ID != "a" || snap.Seqs["a"] != 1 {
		t.Fatalf("%+v", snap)
	}
	f.do("PUT", "/v1/rooms/b", "").want(t, 201)
	if e := l.until("room.started"); e.Room != "b" || e.Seq != 1 || into[Room](t, e).ID != "b" {
		t.Errorf("started %+v", e)
	}
	f.join("/whep/a").want(t, 201)
	if e := l.until("participant.joined"); e.Room != "a" || e.Seq != 2 {
		t.Errorf("joined %+v", e)
	}
}

func TestSessionEvents(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	r := f.join("/whep/r?name=Me").want(t, 201)
	session := r.Header.Get("Location")
	f.lastPeer().up()
	f.join("/whep/other").want(t, 201)
	l := follow(t, url+session+"/events")
	first, _ := l.next()
	if snap := into[RoomSnapshot](t, first); first.Room != "r" || len(snap.Participants) != 1 {
		t.Fatalf("%+v", snap)
	}
	other := f.join("/whep/r").want(t, 201)
	if e := l.until("participant.joined"); e.Room != "r" {
		t.Errorf("joined %+v", e)
	}
	// Who is removed is told so, and the stream ends with the session.
	me := strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<")
	f.do("DELETE", me, "").want(t, 204)
	if p := into[ParticipantLeft](t, l.until("participant.left")); p.Name != "Me" || p.Reason != "kicked" {
		t.Errorf("left %+v", p)
	}
	l.ended()
	f.do("GET", session+"/events", "").problem(t, 410, "kicked")
	f.do("GET", "/v1/sessions/guess/events", "").problem(t, 404, "no-such-session")

	// The same when it leaves.
	session = other.Header.Get("Location")
	l = follow(t, url+session+"/events")
	l.next()
	f.do("DELETE", session, "").want(t, 200)
	l.ended()
	if s := f.log.String(); strings.Contains(s, strings.TrimPrefix(session, "/v1/sessions/")) {
		t.Error("the log has the secret")
	}
}

// A session's own stream tells its client what to send: what is asked now, after
// whatever the stream begins with, and then what changes. Nobody else's does.
func TestUplinkEvents(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	session := f.join("/v1/rooms/r/participants").want(t, 201).Header.Get("Location")
	f.lastPeer().up()
	l := follow(t, url+session+"/events")
	public := follow(t, url+"/v1/rooms/r/events")
	for _, own := range []*listen{l, public} {
		if e, _ := own.next(); e.Type != "snapshot" {
			t.Fatalf("it begins with %s", e.Type)
		}
	}
	first := l.until("uplink")
	full := Uplink{Source: "camera", Width: 1280, Height: 720, FPS: 30, Bitrate: 1_500_000}
	if u := into[Uplink](t, first); u != full || first.Room != "r" {
		t.Errorf("one alone is asked for %+v in %+v", u, first)
	}
	// Who comes back is told again, though nothing is new.
	again := follow(t, url+session+"/events", "Last-Event-ID", first.ID)
	if e := again.until("uplink"); into[Uplink](t, e) != full {
		t.Errorf("again: %+v", e)
	}
	// What changes is told at once. (Going down would take eight seconds.)
	f.do("PUT", "/v1/rooms/big", `{"canvas":{"width":320,"height":180,"fps":30},"tiers":["320x180@30"]}`).want(t, 201)
	other := f.join("/v1/rooms/big/participants").want(t, 201).Header.Get("Location")
	peer := f.lastPeer()
	mine := follow(t, url+other+"/events")
	mine.next()
	peer.up()
	if u := into[Uplink](t, mine.until("uplink")); u.Height != 180 {
		t.Errorf("asked for %+v, of a canvas of 320x180", u)
	}
	// A viewer has nothing to send.
	viewer := f.join("/whep/r").want(t, 201)
	f.lastPeer().up()
	v := follow(t, url+viewer.Header.Get("Location")+"/events")
	v.next()
	link := strings.TrimPrefix(strings.Split(viewer.Header.Get("Link"), ">")[0], "<")
	f.do("PATCH", link, `{"name":"Vera"}`).want(t, 200)
	for _, others := range []*listen{v, public} {
		for {
			e, ok := others.next()
			if !ok || e.Type == "uplink" {
				t.Fatalf("%v, %s: an uplink is told to somebody else", ok, e.Type)
			}
			if e.Type == "participant.updated" && into[Participant](t, e).Name == "Vera" {
				break
			}
		}
	}
}

func TestEventsResume(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	link := strings.Split(f.join("/v1/rooms/r/participants").want(t, 201).Header.Get("Link"), ">")[0]
	rename := func(n int) {
		f.do("PATCH", strings.TrimPrefix(link, "<"), fmt.Sprintf(`{"name":"n%d"}`, n)).want(t, 200)
	}
	const path = "/v1/rooms/r/events"
	l := follow(t, url+path)
	l.next()
	start := l.last
	rename(1)
	mid := l.until("participant.updated").ID
	l.cancel()
	rename(2)
	name := func(e told) string { return into[Participant](t, e).Name }

	if e, _ := follow(t, url+path, "Last-Event-ID", mid).next(); e.Type != "participant.updated" || name(e) != "n2" {
		t.Errorf("by header: %+v", e)
	}
	if e, _ := follow(t, url+path+"?lastEventId="+start).next(); e.Type != "participant.updated" || name(e) != "n1" {
		t.Errorf("by query: %+v", e)
	}
	if e, _ := follow(t, url+path+"?lastEventId="+start, "Last-Event-ID", mid).next(); name(e) != "n2" {
		t.Errorf("the header does not win: %+v", e)
	}
	if e, _ := follow(t, url+"/v1/events", "Last-Event-ID", start).next(); e.Type != "participant.updated" || name(e) != "n1" {
		t.Errorf("in all rooms: %+v", e)
	}
	for _, other := range []string{"", "5", "x-1", f.streams.id(1 << 60), f.streams.process + "-01", f.streams.process + "-", strings.Repeat("9", 400)} {
		if e, _ := follow(t, url+path, "Last-Event-ID", other).next(); e.Type != "snapshot" {
			t.Errorf("%q: %s", other, e.Type)
		}
	}
	for n := range 1100 { // more than are kept
		rename(n)
	}
	e, _ := follow(t, url+path, "Last-Event-ID", mid).next()
	if snap := into[RoomSnapshot](t, e); e.Type != "snapshot" || snap.Participants[0].Name != "n1099" {
		t.Errorf("too long ago: %s", e.Type)
	}
	// Another life of the room.
	f.do("DELETE", "/v1/rooms/r", "").want(t, 204)
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	if e, _ := follow(t, url+path, "Last-Event-ID", e.ID).next(); e.Type != "snapshot" || len(into[RoomSnapshot](t, e).Participants) != 0 {
		t.Errorf("another life: %+v", e)
	}
}

// Streams that open while people come and go tell of each exactly once, also
// those that share a snapshot.
func TestEventsMakeAWhole(t *testing.T) {
	f := newFixture(t, false, quiet)
	url := overTCP(t, f)
	f.do("PUT", "/v1/rooms/r", `{"maxParticipants":200}`).want(t, 201)
	const people = 60
	var coming sync.WaitGroup
	coming.Go(func() {
		for range people {
			if r := f.join("/whep/r"); r.StatusCode != 201 {
				t.Errorf("join: %d", r.StatusCode)
			}
		}
	})
	defer coming.Wait()
	var streams []*listen
	for range 8 {
		streams = append(streams, follow(t, url+"/v1/rooms/r/events"))
	}
	for _, l := range streams {
		there, seq := map[string]bool{}, uint64(0)
		for len(there) < people {
			e, ok := l.next()
			if !ok {
				t.Fatal("the stream ended")
			}
			if e.Type != "snapshot" && e.Seq != seq+1 {
				t.Errorf("seq %d after %d", e.Seq, seq)
			}
			seq = e.Seq
			switch e.Type {
			case "snapshot":
				for _, p := range into[RoomSnapshot](t, e).Participants {
					there[p.ID] = true
				}
			case "participant.joined":
				p := into[Participant](t, e)
				if there[p.ID] {
					t.Errorf("%s joins twice", p.ID)
				}
				there[p.ID] = true
			}
		}
	}
}

func TestEventsEndOnDrain(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	var streams []*listen
	for _, path := range []string{"/v1/events", "/v1/rooms/r/events"} {
		l := follow(t, url+path)
		l.next()
		streams = append(streams, l)
	}
	f.Drain()
	f.Drain()
	for _, l := range streams {
		before := l.last
		e := l.until("reconnect")
		if r := into[Reconnect](t, e); r.Reason != "draining" || r.RetryAfter <= 0 || e.ID != before {
			t.Errorf("%+v: %+v", e, r)
		}
		l.ended()
	}
	f.do("GET", "/v1/events", "").problem(t, 503, "draining")
}

func TestEventsAreBounded(t *testing.T) {
	f := newFixture(t, false, func(c *Config) { c.MaxStreamsPerAddress, c.MaxStreams = 1, 2 })
	url := overTCP(t, f)
	l := follow(t, url+"/v1/events")
	l.next()
	r := f.do("GET", "/v1/events", "")
	r.problem(t, 429, "too-many-streams")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	must(t, f.streams.enter("elsewhere"))
	f.streams.perAddress = -1
	f.do("GET", "/v1/events", "").problem(t, 503, "overloaded")
	f.streams.leave("elsewhere")
	l.cancel()
	eventually(t, "the server has noticed", func() bool { return f.openStreams() == 0 })
	if n := f.streams.refused.Load(); n != 2 || len(f.streams.mu.byClient) != 0 {
		t.Errorf("%d refused, %v left", n, f.streams.mu.byClient)
	}
}

// Who has a token is counted by that as well, wherever it comes from.
func TestEventsAreBoundedPerToken(t *testing.T) {
	st := newStreams(-1, 2)
	client := func(address, subject string) []string {
		r := httptest.NewRequest("GET", "/v1/events", nil)
		r.RemoteAddr = address + ":1234"
		who := Identity{claims: &token.Claims{Key: "k", Subject: subject}}
		return streamClient(r.WithContext(context.WithValue(r.Context(), scopeKey{}, &scope{identity: who})))
	}
	must(t, st.enter(client("192.0.2.1", "ann")...))
	must(t, st.enter(client("192.0.2.2", "ann")...))
	for range 2 {
		if err := st.enter(client("192.0.2.3", "ann")...); err == nil {
			t.Fatal("a third one of Ann's was let in")
		}
	}
	must(t, st.enter(client("192.0.2.1", "bob")...))
	must(t, st.enter(client("192.0.2.4", "")...)) // an invitation is nobody's in particular
	must(t, st.enter(client("192.0.2.5", "")...))
	must(t, st.enter(client("192.0.2.6", "")...))
	st.leave(client("192.0.2.2", "ann")...)
	must(t, st.enter(client("192.0.2.3", "ann")...))
	if n := st.refused.Load(); n != 2 || st.mu.open != 6 {
		t.Errorf("%d refused, %d open", n, st.mu.open)
	}
}

func (f *fixture) openStreams() int {
	f.streams.mu.Lock()
	defer f.streams.mu.Unlock()
	return f.streams.mu.open
}

func TestEventRequests(t *testing.T) {
	f := newFixture(t, false)
	p := f.do("GET", "/v1/events?since=3&lastEventId=a&lastEventId=b", "").problem(t, 422, "invalid")
	if len(p.Errors) != 2 || p.Errors[0].Parameter != "lastEventId" || p.Errors[1].Parameter != "since" {
		t.Errorf("%+v", p.Errors)
	}
	f.do("GET", "/v1/events?%zz", "").problem(t, 400, "bad-request")
	// HEAD has no end to wait for.
	if r := f.do("HEAD", "/v1/events", "").want(t, 200); r.text != "" || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%q %v", r.text, r.Header)
	}
	if n := f.openStreams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

func TestEventsHeartbeat(t *testing.T) {
	f := newFixture(t, false)
	f.streams.beat = time.Millisecond
	l := follow(t, overTCP(t, f)+"/v1/events")
	beats := 0
	for beats < 3 && l.lines.Scan() {
		if l.lines.Text() == ": " {
			beats++
		}
	}
	if beats != 3 {
		t.Errorf("%d beats, then %v", beats, l.lines.Err())
	}
}

// A client that does not read is disconnected after the write deadline, and
// counted.
func TestEventsSlowClient(t *testing.T) {
	f := newFixture(t, false, quiet)
	f.streams.write = 50 * time.Millisecond
	url := overTCP(t, f, func(s *httptest.Server) {
		s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			must(t, c.(*net.TCPConn).SetWriteBuffer(4096))
			return ctx
		}
	})
	f.do("PUT", "/v1/rooms/r", `{"maxParticipants":400}`).want(t, 201)
	for range 300 { // a snapshot of more than the socket's buffers hold
		f.join("/whep/r").want(t, 201)
	}
	// A window that is small from the start.
	dial := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			must(t, syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096))
		})
	}}
	conn, err := dial.DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "GET /v1/rooms/r/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	eventually(t, "it is disconnected", func() bool { return f.streams.stalled.Load() == 1 && f.openStreams() == 0 })
	if n := f.rooms.EventStats(); n.Subscribers != 0 {
		t.Errorf("%d subscriptions are left", n.Subscribers)
	}
}

// stuck is a client that takes the first write, and the others when told to.
type stuck struct {
	*httptest.ResponseRecorder
	writes  int
	blocked chan struct{} // closed when it blocks
	release chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	if s.writes++; s.writes == 2 {
		close(s.blocked)
		<-s.release
	}
	return s.ResponseRecorder.Write(p)
}

// While one write is under way the queue is bounded: then the stream ends,
// with what was queued, and the client can go on from there.
func TestEventsOverflow(t *testing.T) {
	f := newFixture(t, false, quiet)
	link := strings.Split(f.join("/whep/r").want(t, 201).Header.Get("Link"), ">")[0]
	w := &stuck{httptest.NewRecorder(), 0, make(chan struct{}), make(chan struct{})}
	req := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/rooms/r/events", nil)
	req.Host = "localhost"
	var served sync.WaitGroup
	served.Go(func() { f.ServeHTTP(w, req) })
	rename := func(n int) {
		f.do("PATCH", strings.TrimPrefix(link, "<"), fmt.Sprintf(`{"name":"n%d"}`, n)).want(t, 200)
	}
	n := 0
	for ; ; n++ { // until it sits in a write
		rename(n)
		select {
		case <-w.blocked:
		default:
			continue
		}
		break
	}
	for range 300 {
		n++
		rename(n)
	}
	close(w.release)
	served.Wait()
	if f.streams.overflowed.Load() != 1 || f.rooms.EventStats().Dropped != 1 || f.openStreams() != 0 {
		t.Errorf("overflowed %d, %+v", f.streams.overflowed.Load(), f.rooms.EventStats())
	}
	l := &listen{t: t, lines: bufio.NewScanner(w.Body)}
	l.lines.Buffer(nil, 1<<20)
	l.ended()
	id, ok := f.streams.parse(l.last)
	if !ok {
		t.Fatalf("last id %q", l.last)
	}
	room, err := f.rooms.Room("r")
	must(t, err)
	sub, missed, ok := room.Resume(id)
	if !ok || len(missed) == 0 || missed[len(missed)-1].Data.(mixer.ParticipantInfo).Name != fmt.Sprintf("n%d", n) {
		t.Fatalf("%d missed events, %v", len(missed), ok)
	}
	sub.Close()
}

// What many want is written as JSON once.
func TestEventsShareTheirBytes(t *testing.T) {
	f := newFixture(t, false)
	e := &mixer.Event{ID: 7, Type: mixer.EventSpeakerChanged, Data: mixer.SpeakerChange{}}
	a, err := f.frameOf(e)
	must(t, err)
	if b, _ := f.frameOf(e); &a[0] != &b[0] {
		t.Error("written twice")
	}
	// Another event of the same slot.
	if b, _ := f.frameOf(&mixer.Event{ID: 7 + uint64(len(f.streams.frames)), Data: mixer.RoomInfo{}}); bytes.Equal(a, b) {
		t.Error("one event for another")
	}
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	room, err := f.rooms.Room("r")
	must(t, err)
	var ats []position
	for range 2 {
		sub, at, b, err := f.opening(t.Context(), feedOf(room), 0, false)
		must(t, err)
		sub.Close()
		if !bytes.Contains(b, []byte(`"type":"snapshot"`)) {
			t.Errorf("%s", b)
		}
		ats = append(ats, at)
		f.join("/whep/r").want(t, 201)
	}
	// The second is the first's snapshot and the join since then.
	if ats[1].id <= ats[0].id || ats[1].seq <= ats[0].seq || len(f.streams.mu.snapshots) != 1 {
		t.Errorf("%+v", ats)
	}
	for i := range 3 * maxSnapshots { // bounded
		f.streams.save(fmt.Sprint(i), snapshotFrame{made: time.Now()}, time.Now())
	}
	if n := len(f.streams.mu.snapshots); n > maxSnapshots {
		t.Errorf("%d snapshots are kept", n)
	}
	f.streams.save("new", snapshotFrame{}, time.Now().Add(snapshotLife))
	if n := len(f.streams.mu.snapshots); n != 1 {
		t.Errorf("%d snapshots are kept that nobody may use", n)
	}
}

func TestEventMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	f := newFixture(t, false, func(c *Config) { c.Metrics = reg })
	f.join("/whip/r").want(t, 201)
	l := follow(t, overTCP(t, f)+"/v1/events")
	l.next()
	families, err := reg.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, fam := range families {
		for _, m := range fam.Metric {
			name := fam.GetName()
			for _, label := range m.Label {
				name += " " + label.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"mixdown_events_total participant.joined": 1, "mixdown_events_total room.started": 1, "mixdown_events_total room.finished": 0,
		"mixdown_event_subscribers": 1, "mixdown_event_streams": 1, "mixdown_event_subscribers_dropped_total": 0,
		"mixdown_event_streams_dropped_total queue": 0, "mixdown_event_streams_dropped_total write": 0, "mixdown_event_streams_refused_total": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
}

// The bytes of each type, which clients depend on.
func TestEventGolden(t *testing.T) {
	f := newFixture(t, false)
	f.streams.process = "GOLDEN"
	at := time.Date(2026, 11, 1, 12, 0, 0, 250_999_999, time.UTC)
	room := mixer.RoomInfo{
		RoomConfig: mixer.RoomConfig{ID: "standup", Name: "Daily\nü\u2028", Canvas: layout.Canvas{Width: 1280, Height: 720, FPS: 30},
			Tiers: []video.Tier{{Width: 640, Height: 360, FPS: 30}}, MaxParticipants: 50, EmptyTimeout: 5 * time.Minute},
		Life: "R_8fK2", Created: at, Seq: 3, Participants: 2, Recording: "rec_5", Cores: 0.25,
	}
	person := mixer.ParticipantInfo{
		ID: "p_7Q", Room: "standup", Identity: "u1", Name: "Ann", Kind: "webrtc", State: mixer.StateActive, Joined: at, CSRC: 99,
		Sends: mixer.Media{Audio: true, Camera: true}, Takes: mixer.Media{Audio: true, Camera: true},
		Tier: video.Tier{Width: 640, Height: 360, FPS: 30}, RTT: 20 * time.Millisecond,
	}
	canvas := mixer.LayoutInfo{Epoch: 4, Canvas: layout.Canvas{Width: 1280, Height: 720, FPS: 30},
		Tiles: []mixer.LayoutTile{{Participant: "p_7Q", Source: codec.Screen, Rect: layout.Rect{W: 1280, H: 720}, Name: "Ann"}}}
	rec := record.Recording{ID: "rec_5", Room: "standup", RoomID: "R_8fK2", State: record.Active, Started: at, Format: "webm"}
	data := [mixer.NumEventTypes]any{
		mixer.EventRoomStarted: room, mixer.EventRoomFinished: room, mixer.EventRoomUpdated: room,
		mixer.EventParticipantJoined: person, mixer.EventParticipantUpdated: person,
		mixer.EventParticipantLeft:  mixer.ParticipantLeft{ParticipantInfo: person, Reason: transport.ErrVanished, Stayed: 90 * time.Second},
		mixer.EventParticipantMoved: mixer.ParticipantMoved{ParticipantInfo: person, From: "team"},
		mixer.EventLayoutChanged:    mixer.LayoutChange{Group: "team", LayoutInfo: canvas},
		mixer.EventSpeakerChanged:   mixer.SpeakerChange{Participant: "p_7Q"},
		mixer.EventOverload:         mixer.OverloadChange{Level: mixer.LevelBaseLayer, Reason: mixer.StrainSound},
		mixer.EventStorage: mixer.StorageChange{Storage: record.Storage{Level: record.StorageLow,
			Free: 1_500_000_000, Reserve: 1 << 30, Bytes: 40 << 30, MaxBytes: 50 << 30, Count: 12}},
		mixer.EventChat:             mixer.Chat{From: "p_7Q", Name: "Ann", Text: "안녕 <b>\"", To: "p_8R"},
		mixer.EventRecordingStarted: rec, mixer.EventRecordingPaused: rec, mixer.EventRecordingResumed: rec,
		mixer.EventRecordingStopped: rec, mixer.EventRecordingFailed: rec,
	}
	var all []byte
	for typ, d := range data {
		b, err := f.frameOf(&mixer.Event{ID: uint64(typ) + 1, Type: mixer.EventType(typ), Time: at, Room: "standup", Seq: uint64(typ) + 1, Data: d})
		must(t, err)
		if bytes.Contains(b, []byte(`"data":{}`)) || bytes.Count(b, []byte("\n")) != 3 {
			t.Errorf("%s", b)
		}
		all = append(all, b...)
	}
	for _, own := range []struct {
		typ  string
		data any
	}{
		{snapshotEvent, roomSnapshotOf(mixer.RoomSnapshot{ID: 20, Room: room, Participants: []mixer.ParticipantInfo{person},
			Programs: []mixer.ProgramInfo{{Layout: canvas, Speaker: "p_7Q"}, {Group: "team", Layout: canvas}}})},
		{snapshotEvent, roomsSnapshotOf(mixer.RoomsSnapshot{ID: 20, Rooms: []mixer.RoomInfo{room}})},
		{reconnectEvent, Reconnect{draining.code, draining.retryAfter}},
		{uplinkEvent, uplinkOf(codec.Camera, codec.UplinkTarget{Width: 426, Height: 240, FPS: 30, BitrateBps: 437_500})},
		{uplinkEvent, uplinkOf(codec.Screen, codec.UplinkTarget{FPS: 15, Paused: true})},
		{errorEvent, invalid("", Fault{Pointer: "#/data/text", Detail: "0 characters"})},
	} {
		b, err := f.frame(20, own.typ, at, "standup", 3, own.data)
		must(t, err)
		all = append(all, b...)
	}
	const golden = "testdata/events.txt"
	if *update {
		must(t, os.WriteFile(golden, all, 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	got, wanted := strings.Split(string(all), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(wanted)) {
		if i >= len(got) || i >= len(wanted) || got[i] != wanted[i] {
			t.Fatalf("line %d is\n%s\nwant\n%s", i+1, strings.Join(got[i:min(i+1, len(got))], ""), strings.Join(wanted[i:min(i+1, len(wanted))], ""))
		}
	}
}

// Why somebody left is told by a word, never by an error's text.
func TestLeftBecause(t *testing.T) {
	f := newFixture(t, false)
	for want, err := range map[string]error{
		"left": nil, "kicked": errKicked, "room-closed": mixer.ErrRoomEnded, "drained": transport.ErrClosed,
		"never-connected": transport.ErrNeverConnected, "misbehaved": transport.ErrMisbehaved, "vanished": errors.New("10.0.0.1: secret"),
	} {
		if err != nil {
			err = fmt.Errorf("wrapped: %w", err)
		}
		if got := f.leftBecause(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
	f.Drain()
	if got := f.leftBecause(mixer.ErrRoomEnded); got != "drained" {
		t.Errorf("in a drain: %q", got)
	}
}

// FuzzLastEventID sends what claims to be an event's id: a stream begins
// whatever it is, or the query is refused by name.
func FuzzLastEventID(f *testing.F) {
	f.Add("", "")
	f.Add("P-1", "lastEventId=P-2")
	f.Add("P-18446744073709551616", "lastEventId=%")
	f.Add("p-1\r\nid: 4", "since=1")
	f.Add("P--1", "lastEventId=P-99&lastEventId=")
	fx := newFixture(f, false, quiet)
	fx.streams.process = "P"
	fx.do("PUT", "/v1/rooms/r", "").want(f, 201)
	gone, cancel := context.WithCancel(context.Background())
	cancel() // each stream ends after its opening
	f.Fuzz(func(t *testing.T, header, query string) {
		if n, ok := fx.streams.parse(header); ok && fx.streams.id(n) != header {
			t.Errorf("%q was read as %d", header, n)
		}
		for _, path := range []string{"/v1/events", "/v1/rooms/r/events"} {
			req := httptest.NewRequestWithContext(gone, "GET", path, nil)
			req.Host, req.URL.RawQuery = "localhost", query
			req.Header["Last-Event-Id"] = []string{header}
			w := httptest.NewRecorder()
			fx.ServeHTTP(w, req)
			r := reply{w.Result(), w.Body.String()}
			checkAnswer(t, r, header+" "+query)
			if r.StatusCode == 200 && !strings.HasPrefix(r.text, retryStream) {
				t.Errorf("%q", r.text)
			}
		}
		if n := fx.openStreams(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
}

// BenchmarkEventToStreams is one event written as JSON and framed for 500
// streams of a room.
func BenchmarkEventToStreams(b *testing.B) {
	f := newFixture(b, false, quiet)
	e := mixer.Event{Type: mixer.EventParticipantJoined, Data: mixer.ParticipantInfo{ID: "p_7Q", Name: "Ann"}}
	b.ReportAllocs()
	for b.Loop() {
		e.ID++
		next := e
		for range 500 {
			_, _ = f.frameOf(&next)
		}
	}
}
