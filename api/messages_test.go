package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer"
	"mixdown/mixer/layout"
	"mixdown/transport"
)

// fakeChannel is a data channel whose client reads when it is told to.
type fakeChannel struct {
	t        testing.TB
	received chan []byte
	writable chan struct{}
	done     chan struct{}
	sent     chan string

	mu   sync.Mutex
	full bool
}

func newFakeChannel(t testing.TB) *fakeChannel {
	return &fakeChannel{t: t, received: make(chan []byte), writable: make(chan struct{}, 1), done: make(chan struct{}), sent: make(chan string, 4096)}
}

func (c *fakeChannel) Send(m []byte) error {
	if len(m) > transport.MaxMessage {
		c.t.Errorf("a message has %d bytes", len(m))
		return transport.ErrMessageSize
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		return transport.ErrChannelFull
	}
	c.sent <- string(m)
	return nil
}

func (c *fakeChannel) stall(full bool) {
	c.mu.Lock()
	c.full = full
	c.mu.Unlock()
	if !full {
		c.writable <- struct{}{}
	}
}

func (c *fakeChannel) Writable() <-chan struct{} { return c.writable }
func (c *fakeChannel) Received() <-chan []byte   { return c.received }
func (c *fakeChannel) Done() <-chan struct{}     { return c.done }

// next returns the next event.
func (c *fakeChannel) next() (e told) {
	c.t.Helper()
	select {
	case m := <-c.sent:
		if err := json.Unmarshal([]byte(m), &e); err != nil {
			c.t.Fatalf("%v in %q", err, m)
		}
	case <-time.After(20 * time.Second):
		c.t.Fatal("nothing more is told")
	}
	return e
}

// shows returns the first layout that is as it should be.
func (c *fakeChannel) shows(ok func(LayoutChanged) bool) {
	c.t.Helper()
	for !ok(into[LayoutChanged](c.t.(*testing.T), c.until("layout.changed"))) {
	}
}

func (c *fakeChannel) until(typ string) told {
	c.t.Helper()
	for {
		e := c.next()
		if e.Type == typ {
			return e
		}
	}
}

// serveFake has a session served on a fake channel for the length of the test.
func serveFake(t testing.TB, f *fixture, location string) *fakeChannel {
	t.Helper()
	x, err := f.sessions.find(strings.TrimPrefix(location, "/v1/sessions/"))
	must(t, err)
	c := newFakeChannel(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		x.serve(x, c)
	}()
	t.Cleanup(func() {
		close(c.done)
		<-served
	})
	return c
}

func TestDataChannel(t *testing.T) {
	f := newFixture(t, false)
	resource := func(r reply) string { return strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<") }
	joined := f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	ann := resource(joined)
	f.lastPeer().up()
	c := serveFake(t, f, joined.Header.Get("Location"))
	first := c.next()
	if snap := into[RoomSnapshot](t, first); first.Type != "snapshot" || len(snap.Participants) != 1 || snap.Parts != 0 {
		t.Fatalf("%+v", first)
	}
	own := map[string]told{}
	for own["uplink"].ID == "" || own["layout.changed"].ID == "" {
		e := c.next()
		own[e.Type] = e
	}
	if u := into[Uplink](t, own["uplink"]); u.Height != 720 {
		t.Errorf("%+v", u)
	}
	if l := into[LayoutChanged](t, own["layout.changed"]); len(l.Shown) != 1 || l.Shown[0].Width != 1280 {
		t.Errorf("%+v", l)
	}
	bob := resource(f.join("/v1/rooms/r/participants?name=Bob").want(t, 201))
	f.lastPeer().up()
	c.until("participant.joined")
	c.shows(func(l LayoutChanged) bool { return len(l.Shown) == 2 && l.Shown[0].Width < 1280 })
	// A picture of one's own is told of, and so is its end; another's is not.
	f.do("PUT", bob+"/layout", `{"mode":"single"}`).want(t, 201)
	f.do("PUT", ann+"/layout", `{"mode":"single"}`).want(t, 201)
	c.shows(func(l LayoutChanged) bool { return strings.HasSuffix(ann, "/"+l.Participant) && len(l.Shown) == 1 })
	f.do("DELETE", ann+"/layout", "").want(t, 204)
	c.shows(func(l LayoutChanged) bool { return l.Participant == "" && len(l.Shown) == 2 })
	c.received <- []byte(`{"type":"chat","data":{"text":"안녕"}}`)
	if m := into[Chat](t, c.until("chat")); m.Text != "안녕" {
		t.Errorf("%+v", m)
	}
	// The connection itself cannot be told to end over itself.
	c.received <- []byte(`{"type":"leave"}`)
	if p := into[Problem](t, c.until("error")); p.Code != "invalid" {
		t.Errorf("%+v", p)
	}
	f.Drain()
	c.until("reconnect")
}

// Who reads nothing for long is told how everything is by then, from a snapshot
// on.
func TestDataChannelBehind(t *testing.T) {
	f := newFixture(t, false)
	ann := f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	f.lastPeer().up()
	me := strings.TrimPrefix(strings.Split(ann.Header.Get("Link"), ">")[0], "<")
	c := serveFake(t, f, ann.Header.Get("Location"))
	c.until("snapshot")
	c.stall(true)
	last := ""
	for n := 0; f.rooms.EventStats().Dropped == 0; n++ {
		last = fmt.Sprint("n", n)
		f.do("PATCH", me, `{"name":"`+last+`"}`).want(t, 200)
		if n > 2000 {
			t.Fatal("the queue has no end")
		}
	}
	c.stall(false)
	snap := into[RoomSnapshot](t, c.until("snapshot"))
	if got := snap.Participants[0].Name; got != last {
		t.Errorf("the snapshot has %q, want %q", got, last)
	}
	if f.streams.overflowed.Load() != 1 {
		t.Error("not counted")
	}
}

// However large a room is, what is told of it fits into messages, and is whole.
func TestSnapshotInParts(t *testing.T) {
	f := newFixture(t, false)
	long := strings.Repeat("\"\U0001F600", 40)
	spec := layout.Spec{}
	for i := range 100 {
		spec.Order = append(spec.Order, fmt.Sprint(strings.Repeat("o", 120), i))
		spec.Pins = append(spec.Pins, fmt.Sprint(strings.Repeat("p", 120), i))
	}
	canvas := mixer.LayoutInfo{Spec: spec}
	snap := mixer.RoomSnapshot{Room: mixer.RoomInfo{RoomConfig: mixer.RoomConfig{ID: "r", Metadata: strings.Repeat("\"", 16<<10), Layout: spec}}}
	for i := range 300 {
		id := mixer.ParticipantID(fmt.Sprint("p_", i))
		snap.Participants = append(snap.Participants, mixer.ParticipantInfo{ID: id, Name: long, Identity: long, Avatar: long})
		if i < 49 {
			canvas.Tiles = append(canvas.Tiles, mixer.LayoutTile{Participant: id, Source: codec.Screen, Name: long, Rect: layout.Rect{X: 1000, Y: 1000, W: 1000, H: 1000}})
		}
	}
	snap.Programs = []mixer.ProgramInfo{{Layout: canvas}, {Group: "g", Layout: canvas}}
	parts := roomSnapshotOf(snap).parts()
	n := 0
	for i, part := range parts {
		b, err := f.frame(1<<60, snapshotEvent, time.Now(), "r", 1<<60, part)
		must(t, err)
		messagesOf(b, func(m []byte) bool {
			if len(m) > maxMessage {
				t.Errorf("part %d has %d bytes", i, len(m))
			}
			return true
		})
		p := part.(RoomSnapshot)
		if p.Part != i || p.Parts != len(parts) || len(p.Participants) == 0 || p.Room.ID != "r" {
			t.Errorf("part %d is %d of %d with %d participants", i, p.Part, p.Parts, len(p.Participants))
		}
		for _, who := range p.Participants {
			if who.ID != fmt.Sprint("p_", n) {
				t.Errorf("%s in place of %d", who.ID, n)
			}
			n++
		}
	}
	if n != 300 || len(parts) < 10 {
		t.Errorf("%d participants in %d parts", n, len(parts))
	}
	empty := roomSnapshotOf(mixer.RoomSnapshot{}).parts()
	if len(empty) != 1 || empty[0].(RoomSnapshot).Participants == nil {
		t.Errorf("of an empty room: %+v", empty)
	}

	data := LayoutChanged{Layout: layoutOf(canvas)}
	data.shrink(maxLayout)
	b, err := f.frame(1<<60, "layout.changed", time.Now(), "r", 1<<60, data)
	must(t, err)
	if messagesOf(b, func(m []byte) bool { return len(m) <= maxMessage }); len(data.Shown) != 49 || len(b) > maxMessage+64 {
		t.Errorf("%d tiles in %d bytes", len(data.Shown), len(b))
	}
	b, err = f.frame(1, "room.finished", time.Now(), "r", 7, roomOf(snap.Room))
	must(t, err)
	messagesOf(b, func(m []byte) bool {
		small := fitting(m)
		var e told
		if err := json.Unmarshal(small, &e); err != nil || len(m) <= maxMessage || len(small) > 300 || e.Type != "room.finished" || e.Seq != 7 {
			t.Errorf("%d bytes became %s", len(m), small)
		}
		return true
	})
}

// FuzzMessages has a client say anything: it is answered by one event at most,
// which is well-formed, and the room goes on.
func FuzzMessages(f *testing.F) {
	for _, m := range []string{
		`{"type":"chat","data":{"text":"hello","to":"p_1"}}`, `{"type":"chat","data":{"text":"\u202e\ud800"}}`, `{"type":"leave"}`,
		`{"type":"chat","data":{"text":["x"],"to":{}}}`, `{"type":7,"data":[]}`, `[`, `null`, ``, "\xff", `{"type":"chat"}`,
		`{"data":{"~/":1},"type":"chat"}`, strings.Repeat(`{"data":`, 2000), `{"type":"chat","data":{"text":1e999}}`,
	} {
		f.Add([]byte(m), false)
	}
	fx := newFixture(f, false, quiet)
	location := fx.join("/v1/rooms/r/participants?name=Ann").want(f, 201).Header.Get("Location")
	fx.lastPeer().up()
	x, err := fx.sessions.find(strings.TrimPrefix(location, "/v1/sessions/"))
	must(f, err)
	feed := feedOf(x.Room())
	f.Fuzz(func(t *testing.T, message []byte, nobody bool) {
		h := hearing{s: fx.Server, x: x, f: &feed}
		if nobody {
			h.x = nil
		}
		answer, more, err := h.hear(t.Context(), message, position{1, 1})
		if err != nil || !more {
			t.Fatalf("%q: %v, %v", message, more, err)
		}
		n := 0
		messagesOf(answer, func(m []byte) bool {
			n++
			var e told
			if err := json.Unmarshal(m, &e); err != nil || e.Type != errorEvent || len(m) > maxMessage {
				t.Errorf("%q is answered by %v %q", message, err, m)
			}
			return true
		})
		if n > 1 || n == 0 && len(answer) > 0 {
			t.Errorf("%q is answered by %q", message, answer)
		}
	})
}
