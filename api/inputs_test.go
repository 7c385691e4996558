package api

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixdown/codec"
	"mixdown/codec/ogg/oggtest"
	"mixdown/codec/opus"
)

func TestInputs(t *testing.T) {
	f := newFixture(t, false)
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	must(t, err)
	defer enc.Close()
	var packets [][]byte
	for range 500 {
		packet := make([]byte, 1275)
		n, err := enc.Encode(&codec.AudioFrame{}, packet)
		must(t, err)
		packets = append(packets, packet[:n])
	}
	must(t, os.WriteFile(filepath.Join(f.media, "silence.ogg"), oggtest.File(oggtest.Head(1, 312, 0), 0, packets...), 0o600))
	must(t, os.WriteFile(filepath.Join(f.media, "text.ogg"), []byte("not a sound"), 0o600))

	f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	const all = "/v1/rooms/r/inputs"
	r := f.do("POST", all, `{"file":"silence.ogg","gain":-6}`).want(t, 201)
	var in Input
	r.json(t, &in)
	if in.File != "silence.ogg" || in.Gain != -6 || in.CSRC == 0 || in.Duration != 9.994 || !strings.HasPrefix(in.ID, "in_") {
		t.Errorf("got %+v", in)
	}
	path := r.Header.Get("Location")
	if path != all+"/"+in.ID {
		t.Errorf("it is at %q", path)
	}
	got := f.do("GET", path, "").want(t, 200)
	f.do("GET", path, "", "If-None-Match", got.Header.Get("ETag")).want(t, 304)
	var list struct{ Items []Input }
	f.do("GET", all, "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != in.ID {
		t.Errorf("got %+v", list)
	}
	f.do("DELETE", path, "", "If-Match", `"other"`).problem(t, 412, "precondition-failed")
	f.do("DELETE", path, "").want(t, 204)
	f.do("DELETE", path, "").problem(t, 404, "no-such-input")
	f.do("GET", path, "").problem(t, 404, "no-such-input")

	for body, pointer := range map[string]string{
		`{}`:                                     "#",
		`{"file":""}`:                            "#/file",
		`{"file":"none.ogg"}`:                    "#/file",
		`{"file":"text.ogg"}`:                    "#/file",
		`{"file":"../../etc/passwd"}`:            "#/file",
		`{"file":"/etc/passwd"}`:                 "#/file",
		`{"file":"silence.ogg","gain":40}`:       "#/gain",
		`{"file":"silence.ogg","group":"x"}`:     "#/group",
		`{"file":"silence.ogg","url":"http://"}`: "#/url",
	} {
		got := f.do("POST", all, body).problem(t, 422, "invalid")
		if len(got.Errors) != 1 || got.Errors[0].Pointer != pointer {
			t.Errorf("%s: got %+v", body, got.Errors)
		}
		if strings.Contains(got.Detail, f.media) {
			t.Errorf("%s: the directory is told: %s", body, got.Detail)
		}
	}
}

func TestHowSoundIsTreated(t *testing.T) {
	f := newFixture(t, false)
	r := f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	path := strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<")
	sound := func() SendAudio {
		var p Participant
		f.do("GET", path, "").want(t, 200).json(t, &p)
		return p.Send.Audio
	}
	if a := sound(); !a.Levelling || !a.EchoGuard || a.NoiseSuppression {
		t.Errorf("at first: %+v", a)
	}
	f.do("PATCH", path, `{"send":{"audio":{"echoGuard":false}}}`).want(t, 200)
	f.do("PATCH", "/v1/rooms/r", `{"levelling":false}`).want(t, 200)
	if a := sound(); a.Levelling || a.EchoGuard {
		t.Errorf("both off: %+v", a)
	}
	// The room sets everybody to what it says, and no more than that.
	f.do("PATCH", "/v1/rooms/r", `{"levelling":true}`).want(t, 200)
	if a := sound(); !a.Levelling || a.EchoGuard {
		t.Errorf("levelling on again: %+v", a)
	}
	f.do("PATCH", path, `{"send":{"audio":{"noiseSuppression":true}}}`).problem(t, 503, "unavailable")
}
