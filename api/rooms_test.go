package api

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRoomLife(t *testing.T) {
	f := newFixture(t, false)
	r := f.do("POST", "/v1/rooms/standup", `{"name":"회의","canvas":{"width":640,"height":360},"tiers":["640x360@30","320x180@15"],"emptyTimeout":90.5}`).want(t, 201)
	if got := r.Header.Get("Location"); got != "/v1/rooms/standup" {
		t.Errorf("Location %q", got)
	}
	var room Room
	r.json(t, &room)
	if room.ID != "standup" || room.Name != "회의" || room.Canvas != (Canvas{640, 360, 30}) || room.MaxParticipants != 50 ||
		room.EmptyTimeout != 90.5 || len(room.Tiers) != 2 || room.Tiers[1] != "320x180@15" || !strings.HasPrefix(room.RoomID, "R_") ||
		room.Status == nil || time.Since(room.CreatedAt) > time.Minute {
		t.Errorf("got %s", r.text)
	}
	f.do("POST", "/v1/rooms/standup", "{}").problem(t, 409, "room-exists")

	got := f.do("GET", "/v1/rooms/standup", "").want(t, 200)
	if got.text != r.text || got.Header.Get("ETag") != r.Header.Get("ETag") {
		t.Errorf("GET differs from POST: %s", got.text)
	}
	if head := f.do("HEAD", "/v1/rooms/standup", "").want(t, 200); head.Header.Get("ETag") != got.Header.Get("ETag") {
		t.Error("HEAD has another ETag")
	}

	f.do("DELETE", "/v1/rooms/standup", "").want(t, 204)
	f.do("GET", "/v1/rooms/standup", "").problem(t, 404, "no-such-room")
	f.do("DELETE", "/v1/rooms/standup", "").problem(t, 404, "no-such-room")
}

func TestRoomPut(t *testing.T) {
	f := newFixture(t, false)
	f.do("PUT", "/v1/rooms/r", `{"locked":true,"metadata":"m"}`).want(t, 201)
	var room Room
	f.do("PUT", "/v1/rooms/r", `{"name":"n"}`).want(t, 200).json(t, &room)
	if room.Locked || room.Metadata != "" || room.Name != "n" || room.MaxParticipants != 50 {
		t.Errorf("PUT kept what it does not name: %+v", room)
	}
	f.do("PUT", "/v1/rooms/r", "", "If-None-Match", "*").problem(t, 412, "precondition-failed")
	f.do("PUT", "/v1/rooms/new", "", "If-Match", "*").problem(t, 412, "precondition-failed")
	f.do("PUT", "/v1/rooms/new", "", "If-None-Match", "*").want(t, 201)
}

// What was read can be sent back, by PUT and by PATCH, also when the status
// has moved on.
func TestRoomRoundTrip(t *testing.T) {
	f := newFixture(t, false)
	body := f.do("PUT", "/v1/rooms/r", `{"canvas":{"width":320,"height":180,"fps":15},"locked":false}`).want(t, 201)
	f.join("/v1/rooms/r/participants").want(t, 201)
	f.do("PUT", "/v1/rooms/r", body.text).want(t, 200)
	f.do("PATCH", "/v1/rooms/r", body.text, "Content-Type", "application/merge-patch+json").want(t, 200)
	moved := strings.Replace(body.text, `"locked":false`, `"locked":true`, 1)
	var room Room
	f.do("PUT", "/v1/rooms/r", moved).want(t, 200).json(t, &room)
	if !room.Locked || room.Canvas.Width != 320 || room.Status.Participants != 1 {
		t.Errorf("got %+v", room)
	}
	for name, change := range map[string][2]string{
		"#/id":     {`"id":"r"`, `"id":"other"`},
		"#/roomId": {`"roomId":"R_`, `"roomId":"S_`},
		"#/canvas": {`"width":320`, `"width":640`},
		"#/tiers":  {`"tiers":["`, `"tiers":["160x90@5","`},
	} {
		p := f.do("PUT", "/v1/rooms/r", strings.Replace(body.text, change[0], change[1], 1)).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Pointer != name {
			t.Errorf("%s: got %+v", name, p.Errors)
		}
	}
}

func TestRoomPatch(t *testing.T) {
	f := newFixture(t, false)
	f.do("PUT", "/v1/rooms/r", `{"name":"a","maxParticipants":7,"metadata":"m"}`).want(t, 201)
	var room Room
	f.do("PATCH", "/v1/rooms/r", `{"name":null,"locked":true}`).want(t, 200).json(t, &room)
	if room.Name != "" || !room.Locked || room.MaxParticipants != 7 || room.Metadata != "m" {
		t.Errorf("got %+v", room)
	}
	f.do("PATCH", "/v1/rooms/r", `{"maxParticipants":null}`).want(t, 200).json(t, &room)
	if room.MaxParticipants != 50 {
		t.Errorf("null is the default, got %d", room.MaxParticipants)
	}
	f.do("PATCH", "/v1/rooms/r", `{"canvas":null}`).want(t, 200)
	f.do("PUT", "/v1/rooms/r", `{"canvas":{"width":1280}}`).want(t, 200) // says nothing new
	f.do("PUT", "/v1/rooms/r", `{"canvas":{"width":1278}}`).problem(t, 422, "invalid")
	f.do("PATCH", "/v1/rooms/none", `{}`).problem(t, 404, "no-such-room")
}

func TestRoomFaults(t *testing.T) {
	f := newFixture(t, false)
	for _, c := range []struct {
		name, body string
		status     int
		code       string
		pointers   []string
	}{
		{"not JSON", `{"name":`, 400, "bad-json", nil},
		{"no object", `[1]`, 400, "bad-json", nil},
		{"null", `null`, 400, "bad-json", nil},
		{"two objects", `{} {}`, 400, "bad-json", nil},
		{"garbage after", `{}x`, 400, "bad-json", nil},
		{"unknown", `{"colour":"red"}`, 422, "invalid", []string{"#/colour"}},
		{"unknown null", `{"colour":null}`, 422, "invalid", []string{"#/colour"}},
		{"other case", `{"Locked":true}`, 422, "invalid", []string{"#/Locked"}},
		{"unknown inside", `{"canvas":{"depth":1}}`, 422, "invalid", []string{"#/canvas/depth"}},
		{"escaped", `{"a/b~c":1}`, 422, "invalid", []string{"#/a~1b~0c"}},
		{"wrong type", `{"name":1}`, 422, "invalid", []string{"#/name"}},
		{"object as a string", `{"name":{}}`, 422, "invalid", []string{"#/name"}},
		{"several", `{"maxParticipants":0,"locked":"yes"}`, 422, "invalid", []string{"#/locked", "#/maxParticipants"}},
		{"odd width", `{"canvas":{"width":641}}`, 422, "invalid", []string{"#/canvas/width"}},
		{"huge", `{"canvas":{"width":16382}}`, 422, "invalid", []string{"#/canvas/width"}},
		{"tier", `{"tiers":["640x360@30","big"]}`, 422, "invalid", []string{"#/tiers/1"}},
		{"tier beyond", `{"tiers":["1920x1080@30"]}`, 422, "invalid", []string{"#/tiers/0"}},
		{"timeout", `{"emptyTimeout":1e300}`, 422, "invalid", []string{"#/emptyTimeout"}},
		{"number", `{"maxParticipants":1.5}`, 422, "invalid", []string{"#/maxParticipants"}},
		{"other id", `{"id":"x"}`, 422, "invalid", []string{"#/id"}},
	} {
		for _, method := range []string{"PUT", "POST"} {
			t.Run(method+" "+c.name, func(t *testing.T) {
				p := f.do(method, "/v1/rooms/r", c.body).problem(t, c.status, c.code)
				var got []string
				for _, e := range p.Errors {
					got = append(got, e.Pointer)
					if e.Detail == "" {
						t.Errorf("no detail for %s", e.Pointer)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(c.pointers) {
					t.Errorf("pointers %v, want %v", got, c.pointers)
				}
			})
		}
	}
	f.do("PUT", "/v1/rooms/-r", "").problem(t, 422, "invalid")
	f.do("PUT", "/v1/rooms/r%2f..", "").problem(t, 422, "invalid")
	f.do("PUT", "/v1/rooms/r", `{}`, "Content-Type", "text/plain").problem(t, 415, "unsupported-media-type")
	f.do("PUT", "/v1/rooms/r", `{"metadata":"`+strings.Repeat("x", maxJSON)+`"}`).problem(t, 413, "too-large")
	f.do("PUT", "/v1/rooms/r", `{"metadata":"`+strings.Repeat("x", 16384)+`"}`, "Content-Type", "application/json; charset=utf-8").want(t, 201)
	if r := f.do("PATCH", "/v1/rooms/r", "x", "Content-Type", "text/plain"); r.Header.Get("Accept-Patch") != "application/merge-patch+json" {
		t.Error("no Accept-Patch")
	}
	faults := f.do("PUT", "/v1/rooms/r", `{`+strings.Repeat(`"a":1,`, 0)+manyFields(100)+`}`).problem(t, 422, "invalid").Errors
	if len(faults) != maxFaults {
		t.Errorf("%d faults, want %d", len(faults), maxFaults)
	}
}

func manyFields(n int) string {
	var fields []string
	for i := range n {
		fields = append(fields, fmt.Sprintf(`"f%d":0`, i))
	}
	return strings.Join(fields, ",")
}

func TestConditions(t *testing.T) {
	f := newFixture(t, false)
	tag := f.do("PUT", "/v1/rooms/r", "").want(t, 201).Header.Get("ETag")
	r := f.do("GET", "/v1/rooms/r", "", "If-None-Match", `"x", `+tag).want(t, 304)
	if r.text != "" || r.Header.Get("ETag") != tag {
		t.Errorf("304 with %q and ETag %q", r.text, r.Header.Get("ETag"))
	}
	f.do("GET", "/v1/rooms/r", "", "If-None-Match", "W/"+tag).want(t, 304)

	// Somebody joins: the document is another, what can be changed is not.
	f.join("/v1/rooms/r/participants").want(t, 201)
	now := f.do("GET", "/v1/rooms/r", "", "If-None-Match", tag).want(t, 200).Header.Get("ETag")
	if now == tag {
		t.Error("the tag is the same though the status is not")
	}
	f.do("PATCH", "/v1/rooms/r", `{"name":"n"}`, "If-Match", tag).want(t, 200)
	f.do("PATCH", "/v1/rooms/r", `{"name":"m"}`, "If-Match", tag).problem(t, 412, "precondition-failed")
	f.do("PUT", "/v1/rooms/r", `{"name":"m"}`, "If-Match", now).problem(t, 412, "precondition-failed")
	f.do("DELETE", "/v1/rooms/r", "", "If-Match", tag).problem(t, 412, "precondition-failed")
	f.do("DELETE", "/v1/rooms/r", "", "If-Match", "*").want(t, 204)
}

func TestEveryGetHasATag(t *testing.T) {
	f := newFixture(t, false)
	loc := f.join("/v1/rooms/r/participants?name=n").want(t, 201)
	participant := strings.TrimPrefix(strings.Split(loc.Header.Get("Link"), ">")[0], "<")
	for _, path := range []string{"/v1/rooms", "/v1/rooms/r", "/v1/rooms/r/layout", "/v1/rooms/r/participants", participant,
		"/v1/rooms/r/recordings", "/v1/recordings", "/v1/ice-servers", "/openapi.json", "/docs"} {
		tag := f.do("GET", path, "").want(t, 200).Header.Get("ETag")
		if tag == "" {
			t.Errorf("%s has no ETag", path)
			continue
		}
		f.do("GET", path, "", "If-None-Match", tag).want(t, 304)
	}
	f.do("GET", "/v1/ice-servers", "").want(t, 200)
	if got := f.do("GET", "/v1/ice-servers", "").text; got != "{\"iceServers\":[]}\n" {
		t.Errorf("got %q", got)
	}
}

func TestLists(t *testing.T) {
	f := newFixture(t, false)
	if got := f.do("GET", "/v1/rooms", "").text; got != "{\"items\":[],\"nextPageToken\":\"\"}\n" {
		t.Errorf("empty list is %s", got)
	}
	for i := range 7 {
		f.do("PUT", fmt.Sprintf("/v1/rooms/r%d", i), "").want(t, 201)
	}
	var seen []string
	token, pages := "", 0
	for {
		var list List[Room]
		f.do("GET", "/v1/rooms?limit=3&pageToken="+token, "").want(t, 200).json(t, &list)
		for _, r := range list.Items {
			seen = append(seen, r.ID)
		}
		pages++
		if token = list.NextPageToken; token == "" {
			break
		}
		f.do("DELETE", "/v1/rooms/"+seen[len(seen)-1], "").want(t, 204) // the token's own may go
	}
	if got := strings.Join(seen, " "); got != "r0 r1 r2 r3 r4 r5 r6" || pages != 3 {
		t.Errorf("%d pages: %s", pages, got)
	}
	p := f.do("GET", "/v1/rooms?limit=0", "").problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Parameter != "limit" {
		t.Errorf("got %+v", p.Errors)
	}
	f.do("GET", "/v1/rooms?pageToken=*", "").problem(t, 422, "invalid")
	f.do("GET", "/v1/recordings?pageToken=cmVjX3g", "").problem(t, 422, "invalid")
	f.do("GET", "/v1/rooms/none/participants", "").problem(t, 404, "no-such-room")
	f.do("GET", "/v1/rooms/none/layout", "").problem(t, 404, "no-such-room")
}
