package api

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/record"
)

// record puts a second of silence into the store as a recording of a room, and
// leaves it running.
func (f *fixture) record(t *testing.T, room string) (id string, recorder *record.Recorder) {
	t.Helper()
	id, recorder, err := f.store.Create(record.Options{Room: room, RoomID: "R_x"})
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() { _ = recorder.Run(context.Background()) })
	t.Cleanup(func() {
		_ = recorder.Close()
		running.Wait()
	})
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	must(t, err)
	defer enc.Close()
	for i := range 50 {
		frame := codec.NewEncodedFrame(1275)
		n, err := enc.Encode(new(codec.AudioFrame), frame.Buffer())
		must(t, err)
		frame.Codec, frame.Data, frame.PTS = codec.Opus, frame.Buffer()[:n], time.Duration(i)*codec.FrameDuration
		recorder.WriteAudio(frame)
		frame.Release()
	}
	return id, recorder
}

func TestRecordings(t *testing.T) {
	f := newFixture(t, false)
	other, _ := f.record(t, "other")
	id, _ := f.record(t, "standup")
	path := "/v1/recordings/" + id

	f.do("GET", path+"/media", "").problem(t, 409, "recording-active")
	f.do("DELETE", path, "").problem(t, 409, "recording-active")
	var rec Recording
	f.do("PATCH", path, `{"state":"paused"}`).want(t, 200).json(t, &rec)
	if rec.State != "paused" {
		t.Errorf("state %s", rec.State)
	}
	f.do("PATCH", path, `{"state":"active"}`).want(t, 200)
	p := f.do("PATCH", path, `{"state":"complete"}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/state" {
		t.Errorf("got %+v", p.Errors)
	}
	f.do("PATCH", path, `{"state":"halted"}`).problem(t, 422, "invalid")
	f.do("PATCH", path, `{"room":"x"}`).problem(t, 422, "invalid")

	stopped := f.do("PATCH", path, `{"state":"stopped"}`).want(t, 200)
	stopped.json(t, &rec)
	if rec.State != "complete" || rec.Room != "standup" || rec.RoomID != "R_x" || rec.StoppedAt == nil ||
		rec.Duration < 0.9 || rec.Bytes == 0 || rec.Media != path+"/media" || len(rec.Parts) != 1 {
		t.Errorf("got %s", stopped.text)
	}
	f.do("PATCH", path, `{"state":"stopped"}`).want(t, 200)               // it has been
	f.do("PATCH", path, stopped.text).want(t, 200)                        // what was read
	f.do("PATCH", path, `{"state":"active"}`).problem(t, 409, "conflict") // too late

	var list List[Recording]
	f.do("GET", "/v1/rooms/standup/recordings", "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != id {
		t.Errorf("got %+v", list)
	}
	f.do("GET", "/v1/recordings?limit=1", "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != id || list.NextPageToken == "" {
		t.Errorf("got %+v", list)
	}
	f.do("GET", "/v1/recordings?limit=1&pageToken="+list.NextPageToken, "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != other || list.NextPageToken != "" {
		t.Errorf("got %+v", list)
	}

	f.do("DELETE", path, "", "If-Match", `"x"`).problem(t, 412, "precondition-failed")
	f.do("DELETE", path, "").want(t, 204)
	for _, method := range []string{"GET", "DELETE"} {
		f.do(method, path, "").problem(t, 404, "no-such-recording")
	}
	f.do("PATCH", path, "{}").problem(t, 404, "no-such-recording")
	f.do("GET", path+"/media", "").problem(t, 404, "no-such-recording")
	f.do("GET", "/v1/recordings/..%2f..%2fetc%2fpasswd/media", "").problem(t, 404, "no-such-recording")
}

func TestMedia(t *testing.T) {
	f := newFixture(t, false)
	id, recorder := f.record(t, `q"u,o;te`)
	must(t, recorder.Close())
	path := "/v1/recordings/" + id + "/media"
	whole := f.do("GET", path, "").want(t, 200)
	h := whole.Header
	if h.Get("Content-Type") != "audio/webm" || h.Get("Accept-Ranges") != "bytes" || h.Get("ETag") == "" ||
		h.Get("Content-Length") != fmt.Sprint(len(whole.text)) {
		t.Errorf("headers %v", h)
	}
	if got, want := h.Get("Content-Disposition"), `attachment; filename="q\"u,o;te-`+id+`.webm"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	part := f.do("GET", path, "", "Range", "bytes=4-9").want(t, 206)
	if part.text != whole.text[4:10] || part.Header.Get("Content-Range") != fmt.Sprintf("bytes 4-9/%d", len(whole.text)) {
		t.Errorf("got %q of %s", part.text, part.Header.Get("Content-Range"))
	}
	f.do("GET", path, "", "Range", "bytes=4-9", "If-Range", `"old"`).want(t, 200)
	f.do("GET", path, "", "If-None-Match", h.Get("ETag")).want(t, 304)
	if head := f.do("HEAD", path, "").want(t, 200); head.text != "" || head.Header.Get("Content-Length") != h.Get("Content-Length") {
		t.Errorf("HEAD: %v", head.Header)
	}
	r := f.do("GET", path, "", "Range", "bytes=99999999-")
	r.problem(t, 416, "bad-range")
	if !strings.HasPrefix(r.Header.Get("Content-Range"), "bytes */") {
		t.Errorf("Content-Range %q", r.Header.Get("Content-Range"))
	}
	f.do("GET", path+"?part=x", "").problem(t, 422, "invalid")
	f.do("GET", path+"?part=2", "").problem(t, 404, "no-such-recording")
}

func TestStartRecordingFaults(t *testing.T) {
	f := newFixture(t, false)
	f.do("POST", "/v1/rooms/r/recordings", "").problem(t, 404, "no-such-room")
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	p := f.do("POST", "/v1/rooms/r/recordings", `{"format":"mp4","source":"x","where":1}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/where" {
		t.Errorf("got %+v", p.Errors)
	}
	if p = f.do("POST", "/v1/rooms/r/recordings", `{"format":"mp4"}`).problem(t, 422, "invalid"); p.Errors[0].Pointer != "#/format" {
		t.Errorf("got %+v", p.Errors)
	}
}

// A server without a store has no recording routes at all.
func TestNoRecordings(t *testing.T) {
	f := newFixture(t, false, func(c *Config) { c.Recordings = nil })
	f.do("GET", "/v1/recordings", "").problem(t, 404, "no-such-route")
	f.do("POST", "/v1/rooms/r/recordings", "").problem(t, 404, "no-such-route")
}
