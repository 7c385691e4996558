package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// describedBy is the path of the participant that a join made.
func describedBy(r reply) string {
	return strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<")
}

// impatient lets a test change layouts as often as it likes.
func impatient(c *Config) { c.LayoutsPerSecond = 1000 }

// three joins three participants and returns their paths and ids.
func (f *fixture) three(t *testing.T, room string) (paths, ids []string) {
	for _, name := range []string{"Ann", "Bob", "Cem"} {
		path := describedBy(f.join("/v1/rooms/"+room+"/participants?name="+name).want(t, 201))
		f.lastPeer().up()
		paths, ids = append(paths, path), append(ids, path[strings.LastIndex(path, "/")+1:])
	}
	eventually(t, "all are shown", func() bool {
		var l Layout
		f.do("GET", "/v1/rooms/"+room+"/layout", "").want(t, 200).json(t, &l)
		return len(l.Shown) == 3
	})
	return paths, ids
}

func shownIDs(l Layout) (ids []string) {
	for _, t := range l.Shown {
		ids = append(ids, t.Participant)
	}
	return ids
}

func TestLayout(t *testing.T) {
	f := newFixture(t, false, impatient)
	_, ids := f.three(t, "r")
	const path = "/v1/rooms/r/layout"
	var l Layout
	first := f.do("GET", path, "").want(t, 200)
	first.json(t, &l)
	if l.Mode != "grid" || !l.Labels || !l.Border || !l.Marks || l.Fit != "fit" || l.Cost == nil || l.Canvas.Width != 1280 || l.Epoch == 0 {
		t.Errorf("a new room's is %s", first.text)
	}
	if !strings.Contains(first.text, `"tiles":[],"order":[],"pins":[]`) {
		t.Errorf("lists are lists: %s", first.text)
	}
	epoch := l.Epoch

	f.do("PATCH", path, fmt.Sprintf(`{"mode":"speaker","pins":[%q],"labels":false}`, ids[1]), "Content-Type", "application/merge-patch+json").want(t, 200).json(t, &l)
	if l.Mode != "speaker" || l.Labels || !l.Border || l.Epoch <= epoch || len(l.Shown) != 3 || l.Shown[0].Participant != ids[1] || l.Shown[0].Width <= l.Shown[1].Width {
		t.Errorf("a speaker's layout is %+v", l)
	}
	f.do("PATCH", path, `{"fit":"fill","background":"#102030"}`).want(t, 200).json(t, &l)
	if l.Mode != "speaker" || l.Fit != "fill" || l.Background != "#102030" || len(l.Pins) != 1 {
		t.Errorf("patched: %+v", l)
	}
	// What was read can be written, and changes nothing.
	now := f.do("GET", path, "").want(t, 200)
	var again Layout
	f.do("PUT", path, now.text).want(t, 200).json(t, &again)
	if again.Epoch != l.Epoch || !slices.Equal(shownIDs(again), shownIDs(l)) {
		t.Errorf("%+v came of %+v", again, l)
	}
	// What a PUT leaves out gets its default.
	f.do("PUT", path, fmt.Sprintf(`{"order":[%q],"limit":2}`, ids[2])).want(t, 200).json(t, &l)
	if l.Mode != "grid" || !l.Labels || l.Fit != "fit" || l.Background != "" || !slices.Equal(shownIDs(l), []string{ids[2], ids[0]}) {
		t.Errorf("put: %+v, wants the third and the first of %v", l, ids)
	}
	custom := fmt.Sprintf(`{"mode":"custom","tiles":[{"w":1,"h":1,"show":"participant:%s","fill":false},{"x":0.5,"y":0.5,"w":0.25,"h":0.25,"z":3,"show":"rank:1"}]}`, ids[2])
	f.do("PUT", path, custom).want(t, 200).json(t, &l)
	if len(l.Shown) != 2 || l.Shown[0] != (Tile{Participant: ids[2], Source: "camera", Name: "Cem", Width: 1280, Height: 720}) ||
		l.Shown[1].Z != 3 || l.Shown[1].X != 640 || l.Shown[1].Width != 320 {
		t.Errorf("custom: %+v", l)
	}
	if len(l.Tiles) != 2 || *l.Tiles[0].Fill || l.Tiles[1].Fill != nil || l.Tiles[1].Z != 3 {
		t.Errorf("what was asked for comes back: %+v", l.Tiles)
	}
	// A group has its own.
	var p Participant
	f.do("PATCH", "/v1/rooms/r/participants/"+ids[0], `{"group":"team"}`).want(t, 200).json(t, &p)
	f.do("PUT", path+"?group=team", `{"mode":"single"}`).want(t, 200).json(t, &l)
	if l.Mode != "single" || !slices.Equal(shownIDs(l), ids[:1]) {
		t.Errorf("the group's: %+v", l)
	}
	f.do("GET", path, "").want(t, 200).json(t, &l)
	if l.Mode != "custom" {
		t.Errorf("the main one is %q now", l.Mode)
	}
	f.do("PUT", path+"?group=none", `{}`).problem(t, 404, "no-such-group")
}

func TestLayoutConditions(t *testing.T) {
	f := newFixture(t, false, impatient)
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	const path = "/v1/rooms/r/layout"
	tag := f.do("GET", path, "").want(t, 200).Header.Get("ETag")
	f.do("GET", path, "", "If-None-Match", tag).want(t, 304)
	f.do("PATCH", path, `{"mode":"single"}`, "If-Match", tag).want(t, 200)
	f.do("PATCH", path, `{"mode":"grid"}`, "If-Match", tag).problem(t, 412, "precondition-failed")
	f.do("PUT", path, `{}`, "If-None-Match", "*").problem(t, 412, "precondition-failed")
}

func TestLayoutFaults(t *testing.T) {
	f := newFixture(t, false, impatient)
	paths, _ := f.three(t, "r")
	for body, pointers := range map[string][]string{
		`{"mode":"mosaic"}`:                    {"#/mode"},
		`{"colour":"#000000"}`:                 {"#/colour"},
		`{"limit":50}`:                         {"#/limit"},
		`{"limit":1.5}`:                        {"#/limit"},
		`{"fit":"stretch"}`:                    {"#/fit"},
		`{"background":"red"}`:                 {"#/background"},
		`{"backgroundImage":"../secret.png"}`:  {"#/backgroundImage"},
		`{"backgroundImage":"notes.txt"}`:      {"#/backgroundImage"},
		`{"pins":["a","b","a"]}`:               {"#/pins/2"},
		`{"order":[""]}`:                       {"#/order/0"},
		`{"order":[7]}`:                        {"#/order/0"},
		`{"mode":"custom"}`:                    {"#/tiles"},
		`{"tiles":[{"w":1,"h":1,"show":"x"}]}`: {"#/tiles"},
		`{"mode":"custom","tiles":[{"w":1,"h":1,"show":"rank:0"},{"x":0.5,"w":0.6,"h":1,"show":"screen"}]}`: {"#/tiles/0/show", "#/tiles/1/x"},
		`{"mode":"custom","tiles":[{"w":1,"h":1,"show":"screen","width":3}]}`:                               {"#/tiles/0/width"},
		`{"mode":"custom","tiles":[{"h":1,"show":"screen"}]}`:                                               {"#/tiles/0"},
		`{"canvas":{"width":640}}`: {"#/canvas"},
	} {
		for _, target := range []string{"/v1/rooms/r/layout", paths[0] + "/layout"} {
			if strings.Contains(body, "canvas") && target != "/v1/rooms/r/layout" {
				continue // of a picture that is not there yet it says nothing
			}
			p := f.do("PUT", target, body).problem(t, 422, "invalid")
			var got []string
			for _, fault := range p.Errors {
				got = append(got, fault.Pointer)
			}
			if !slices.Equal(got, pointers) {
				t.Errorf("PUT %s %s: %+v", target, body, p.Errors)
			}
		}
	}
	f.do("PATCH", "/v1/rooms/r/layout", `{"colour":null}`).problem(t, 422, "invalid")
	f.do("POST", "/v1/rooms/r/layout", `{}`).problem(t, 405, "method-not-allowed")
	var l Layout
	f.do("GET", "/v1/rooms/r/layout", "").want(t, 200).json(t, &l)
	if l.Mode != "grid" || len(l.Pins) != 0 {
		t.Errorf("what is refused changes nothing: %+v", l)
	}
}

func TestPersonalLayout(t *testing.T) {
	f := newFixture(t, false, impatient)
	paths, ids := f.three(t, "r")
	path := paths[0] + "/layout"
	f.do("GET", path, "").problem(t, 404, "no-such-layout")
	f.do("DELETE", path, "").problem(t, 404, "no-such-layout")
	f.do("GET", "/v1/rooms/r/participants/p_none/layout", "").problem(t, 404, "no-such-participant")
	f.do("PUT", "/v1/rooms/r/participants/p_none/layout", "{}").problem(t, 404, "no-such-participant")

	var l Layout
	f.do("PUT", path+"?dryRun=true", `{"hideSelf":true}`).want(t, 200).json(t, &l)
	if !l.HideSelf || slices.Contains(shownIDs(l), ids[0]) || len(l.Shown) != 2 || l.Cost == nil || l.Cost.Encodes != 1 {
		t.Errorf("a dry run says %+v", l)
	}
	f.do("GET", path, "").problem(t, 404, "no-such-layout")
	f.do("PUT", path+"?dryRun=perhaps", `{}`).problem(t, 422, "invalid")

	made := f.do("PUT", path, `{"hideSelf":true}`).want(t, 201)
	if loc := made.Header.Get("Location"); loc != path {
		t.Errorf("Location is %q, want %q", loc, path)
	}
	eventually(t, "it is there", func() bool {
		r := f.do("GET", path, "")
		return r.StatusCode == 200 && json.Unmarshal([]byte(r.text), &l) == nil && len(l.Shown) == 2
	})
	if !l.HideSelf || slices.Contains(shownIDs(l), ids[0]) {
		t.Errorf("its own: %+v", l)
	}
	f.do("PUT", path, fmt.Sprintf(`{"mode":"single","pins":[%q]}`, ids[2])).want(t, 200).json(t, &l)
	if !slices.Equal(shownIDs(l), ids[2:]) {
		t.Errorf("changed: %+v", l)
	}
	f.do("GET", "/v1/rooms/r/layout", "").want(t, 200).json(t, &l)
	if l.Mode != "grid" || len(l.Shown) != 3 {
		t.Errorf("the others' is %+v", l)
	}
	tag := f.do("GET", path, "").want(t, 200).Header.Get("ETag")
	f.do("GET", path, "", "If-None-Match", tag).want(t, 304)
	f.do("PUT", path, "{}", "If-Match", `"other-x"`).problem(t, 412, "precondition-failed")
	f.do("DELETE", path, "", "If-Match", tag).want(t, 204)
	f.do("GET", path, "").problem(t, 404, "no-such-layout")
}

func TestRoomLayoutAtCreation(t *testing.T) {
	f := newFixture(t, false, impatient)
	var r Room
	const body = `{"layout":{"mode":"presentation","labels":false}}`
	f.do("PUT", "/v1/rooms/r", body).want(t, 201).json(t, &r)
	if r.Layout.Mode != "presentation" || r.Layout.Labels || !r.Layout.Border {
		t.Errorf("made as %+v", r.Layout)
	}
	f.do("PUT", "/v1/rooms/r", body).want(t, 200)
	f.do("PATCH", "/v1/rooms/r", `{"name":"n"}`).want(t, 200)
	p := f.do("PATCH", "/v1/rooms/r", `{"layout":{"mode":"grid"}}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/layout" {
		t.Errorf("%+v", p.Errors)
	}
	var l Layout
	f.do("GET", "/v1/rooms/r/layout", "").want(t, 200).json(t, &l)
	if l.Mode != "presentation" || l.Labels {
		t.Errorf("its layout is %+v", l)
	}
	f.do("PUT", "/v1/rooms/r/layout", `{"mode":"single"}`).want(t, 200)
	f.do("GET", "/v1/rooms/r", "").want(t, 200).json(t, &r)
	if r.Layout.Mode != "single" {
		t.Errorf("the room says %+v", r.Layout)
	}
	p = f.do("PUT", "/v1/rooms/s", `{"layout":{"mode":"custom","tiles":[{"x":0.9,"w":0.5,"h":1,"show":"rank:1"}],"pins":["",""]}}`).problem(t, 422, "invalid")
	var got []string
	for _, fault := range p.Errors {
		got = append(got, fault.Pointer)
	}
	if want := []string{"#/layout/tiles/0/x", "#/layout/pins/0", "#/layout/pins/1"}; !slices.Equal(got, want) {
		t.Errorf("%+v", p.Errors)
	}
}

// TestLayoutsPerSecond: one layout cannot be changed without end, others can.
func TestLayoutsPerSecond(t *testing.T) {
	f := newFixture(t, false)
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	f.do("PUT", "/v1/rooms/s", "").want(t, 201)
	var refused reply
	for range 3 * layoutBurst * 2 { // of which two windows' worth may pass, should one end just now
		if r := f.do("PATCH", "/v1/rooms/r/layout", "{}"); r.StatusCode != 200 {
			refused = r
		}
	}
	if refused.Response == nil {
		t.Fatal("none was refused")
	}
	refused.problem(t, 429, "too-many-layouts")
	if refused.Header.Get("Retry-After") == "" {
		t.Error("it does not say when to come back")
	}
	f.do("GET", "/v1/rooms/r/layout", "").want(t, 200)
	f.do("PATCH", "/v1/rooms/s/layout", "{}").want(t, 200)
}
