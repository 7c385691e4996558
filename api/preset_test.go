package api

import (
	"encoding/json"
	"strings"
	"testing"
)

func withPresets(p map[string]string) func(*Config) {
	return func(c *Config) {
		c.Presets = make(map[string]json.RawMessage)
		for name, text := range p {
			c.Presets[name] = json.RawMessage(text)
		}
	}
}

func TestPresets(t *testing.T) {
	f := newFixture(t, false, withPresets(map[string]string{
		"default": `{"maxParticipants":7,"layout":{"mode":"speaker"}}`,
		"webinar": `{"canvas":{"width":640,"height":360,"fps":15},"tiers":["640x360@15","320x180@15"],"maxParticipants":500,"locked":true,"metadata":"m","layout":{"mode":"single","labels":false}}`,
	}))
	read := func(r reply) (room Room) {
		t.Helper()
		r.json(t, &room)
		if room.Preset != "" {
			t.Errorf("the preset is none of the room's: %s", r.text)
		}
		return room
	}
	room := read(f.do("PUT", "/v1/rooms/plain", "").want(t, 201))
	if room.MaxParticipants != 7 || room.Layout.Mode != "speaker" || room.Canvas.Width != 1280 || !room.Layout.Labels {
		t.Errorf("%+v", room)
	}
	room = read(f.do("POST", "/v1/rooms/big", `{"preset":"webinar","maxParticipants":300,"canvas":{"fps":10},"tiers":["320x180@10"],"metadata":null}`).want(t, 201))
	if room.MaxParticipants != 300 || !room.Locked || room.Canvas != (Canvas{640, 360, 10}) || len(room.Tiers) != 1 ||
		room.Metadata != "" || room.Layout.Mode != "single" || room.Layout.Labels {
		t.Errorf("%+v", room)
	}
	// A room that exists: what is fixed stays, the rest is as the preset has it.
	room = read(f.do("PUT", "/v1/rooms/plain", `{"preset":"webinar"}`).want(t, 200))
	if room.MaxParticipants != 500 || !room.Locked || room.Canvas.Width != 1280 || room.Layout.Mode != "speaker" {
		t.Errorf("%+v", room)
	}
	room = read(f.do("PUT", "/v1/rooms/plain", "{}").want(t, 200))
	if room.MaxParticipants != 7 || room.Locked {
		t.Errorf("%+v", room)
	}
	// What was read can be sent back.
	f.do("PUT", "/v1/rooms/big", f.do("GET", "/v1/rooms/big", "").want(t, 200).text).want(t, 200)

	for body, at := range map[string]string{
		`{"preset":"nope"}`:             "#/preset",
		`{"preset":5}`:                  "#/preset",
		`{"preset":"webinar","x":null}`: "#/x",
	} {
		p := f.do("PUT", "/v1/rooms/new", body).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Pointer != at {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
	p := f.do("PATCH", "/v1/rooms/plain", `{"preset":"webinar"}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/preset" {
		t.Errorf("%+v", p.Errors)
	}

	// A join makes its room after the default one.
	f.do("POST", "/v1/rooms/joined/participants", "v=0", "Content-Type", "application/sdp").want(t, 201)
	if room := read(f.do("GET", "/v1/rooms/joined", "").want(t, 200)); room.MaxParticipants != 7 || room.Layout.Mode != "speaker" {
		t.Errorf("%+v", room)
	}
}

func TestBadPresets(t *testing.T) {
	f := newFixture(t, false)
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":          {`{`, "bad-json"},
		"an unknown field": {`{"maxParticipant":5}`, "#/maxParticipant: unknown"},
		"out of range":     {`{"canvas":{"width":15}}`, "#/canvas/width"},
		"the mixer's":      {`{"canvas":{"width":640,"height":360},"tiers":["1280x720@30"]}`, "#/tiers/0"},
		"a layout":         {`{"layout":{"mode":"grid","tiles":[{"w":1,"h":1,"show":"speaker"}]}}`, "#/layout"},
		"what is its own":  {`{"roomId":"R_1"}`, "#/roomId"},
	} {
		err := f.SetPresets(map[string]json.RawMessage{"p": json.RawMessage(c.text), "good": []byte("{}")})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `preset "p"`) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	err := f.SetPresets(map[string]json.RawMessage{"no name": []byte("{}"), "b": []byte("[]")})
	if err == nil || !strings.Contains(err.Error(), `"no name"`) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("%v: want every fault", err)
	}
	f.do("PUT", "/v1/rooms/r", `{"preset":"good"}`).problem(t, 422, "invalid") // none was taken
	must(t, f.SetPresets(map[string]json.RawMessage{"good": []byte("{}")}))
	f.do("PUT", "/v1/rooms/r", `{"preset":"good"}`).want(t, 201)
}
