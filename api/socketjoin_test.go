package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// offerMessage is one that the fixture's connections take.
func offerMessage(query string) string {
	b, _ := json.Marshal(map[string]any{"type": "offer", "data": map[string]string{"sdp": "v=0\r\n", "query": query}})
	return string(b)
}

// A client needs nothing but a room's WebSocket: it joins by it, and is then told
// what is its own.
func TestJoinByWebSocket(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	c := openSocket(t, url+"/v1/rooms/r/events")
	c.until("snapshot")
	c.say(`{"type":"chat","data":{"text":"hello"}}`)
	if p := into[Problem](t, c.until("error")); p.Code != "bad-request" {
		t.Errorf("%+v", p)
	}
	for message, pointer := range map[string]string{
		`{"type":"offer"}`:                                      "#/data",
		`{"type":"offer","data":{"sdp":7}}`:                     "#/data/sdp",
		`{"type":"offer","data":{"sdp":"v=0\r\n","nme":"Ann"}}`: "#/data/nme",
	} {
		c.say(message)
		if p := into[Problem](t, c.until("error")); p.Code != "invalid" || len(p.Errors) == 0 || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", message, p)
		}
	}
	c.say(`{"type":"offer","data":{"sdp":"nonsense"}}`)
	if p := into[Problem](t, c.until("error")); p.Code != "bad-sdp" {
		t.Errorf("%+v", p)
	}
	c.say(offerMessage("nme=Ann"))
	if p := into[Problem](t, c.until("error")); p.Code != "invalid" || p.Errors[0].Parameter != "nme" {
		t.Errorf("%+v", p)
	}

	c.say(offerMessage("name=Ann"))
	a := into[AnswerMessage](t, c.until("answer"))
	if !strings.HasPrefix(a.SDP, "v=0") || !strings.HasPrefix(a.Session, "/v1/sessions/") || a.ETag == "" || a.Participant == "" {
		t.Fatalf("%+v", a)
	}
	if snap := into[RoomSnapshot](t, c.until("snapshot")); len(snap.Participants) != 1 || snap.Participants[0].ID != a.Participant || snap.Participants[0].Name != "Ann" {
		t.Errorf("%+v", snap.Participants)
	}
	f.lastPeer().up()
	var p Participant
	f.do("GET", "/v1/rooms/r/participants/"+a.Participant, "").want(t, 200).json(t, &p)
	f.do("GET", a.Session, "").want(t, 204)
	// What a session's own is for.
	c.say(`{"type":"chat","data":{"text":"hello"}}`)
	if chat := into[Chat](t, c.until("chat")); chat.From != a.Participant {
		t.Errorf("%+v", chat)
	}
	c.say(offerMessage("name=Bob")) // once is enough
	if p := into[Problem](t, c.until("error")); p.Code != "invalid" || p.Errors[0].Pointer != "#/type" {
		t.Errorf("%+v", p)
	}
	c.say(`{"type":"leave"}`)
	c.closed(websocket.StatusNormalClosure)
	f.do("GET", a.Session, "").problem(t, 404, "no-such-session")
	if strings.Contains(f.log.String(), a.Session) {
		t.Error("the session's secret is in the log")
	}
}

// The room's own rules hold, and who follows all rooms joins none.
func TestJoinByWebSocketRefused(t *testing.T) {
	f := newFixture(t, false)
	url := overTCP(t, f)
	f.do("PUT", "/v1/rooms/r", `{"locked":true}`, "Content-Type", "application/json").want(t, 201)
	c := openSocket(t, url+"/v1/rooms/r/events")
	c.until("snapshot")
	c.say(offerMessage(""))
	if p := into[Problem](t, c.until("error")); p.Code != "locked" || p.Status != 403 {
		t.Errorf("%+v", p)
	}
	all := openSocket(t, url+"/v1/events")
	all.until("snapshot")
	all.say(offerMessage(""))
	if p := into[Problem](t, all.until("error")); p.Code != "bad-request" {
		t.Errorf("%+v", p)
	}
}
