package api

import (
	"bytes"
	"context"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/codec"
	"mixdown/codec/ogg"
	"mixdown/codec/webm"
)

// occupied is a fixture with a small room, "r", in which there is somebody who
// sends nothing: what is seen is a placeholder, and what is heard silence.
func occupied(t *testing.T, edit ...func(*Config)) *fixture {
	t.Helper()
	f := newFixture(t, false, edit...)
	f.do("PUT", "/v1/rooms/r", `{"canvas":{"width":320,"height":180,"fps":15},"tiers":["320x180@15","160x90@15"]}`).want(t, 201)
	f.join("/v1/rooms/r/participants?name=Ann").want(t, 201)
	f.lastPeer().up()
	return f
}

// watching opens a live stream over a real connection.
func watching(t *testing.T, url string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	t.Cleanup(func() { cancel(); resp.Body.Close(); http.DefaultClient.CloseIdleConnections() })
	return resp
}

// readAtLeast returns what was read once it is so much.
func readAtLeast(t *testing.T, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLiveRequestsThatAreRefused(t *testing.T) {
	f := occupied(t)
	f.do("PUT", "/v1/rooms/empty", "").want(t, 201)
	const webm, ogg, jpg = "/v1/rooms/r/live.webm", "/v1/rooms/r/live.ogg", "/v1/rooms/r/snapshot.jpg"
	for _, c := range []struct {
		target string
		status int
		code   string
		names  string // the faulty parameter
	}{
		{"/v1/rooms/none/live.webm", 404, "no-such-room", ""},
		{"/v1/rooms/empty/live.webm", 409, "room-empty", ""},
		{"/v1/rooms/empty/live.ogg", 409, "room-empty", ""},
		{"/v1/rooms/empty/snapshot.jpg", 409, "room-empty", ""},
		{webm + "?group=none", 404, "no-such-group", ""},
		{jpg + "?group=none", 404, "no-such-group", ""},
		{webm + "?tier=large", 422, "invalid", "tier"},
		{webm + "?video=maybe", 422, "invalid", "video"},
		{webm + "?width=3", 422, "invalid", "width"},
		{webm + "?tier=1x1@1&tier=1x1@1", 422, "invalid", "tier"},
		{webm + "?tier=%zz", 400, "bad-request", ""},
		{ogg + "?tier=320x180@15", 422, "invalid", "tier"},
		{ogg + "?video=false", 422, "invalid", "video"},
		{jpg + "?width=0", 422, "invalid", "width"},
		{jpg + "?width=wide", 422, "invalid", "width"},
		{jpg + "?width=99999999999999999999", 422, "invalid", "width"},
	} {
		p := f.do("GET", c.target, "").problem(t, c.status, c.code)
		if c.names != "" && (len(p.Errors) == 0 || p.Errors[0].Parameter != c.names) {
			t.Errorf("%s: %+v does not name %s", c.target, p.Errors, c.names)
		}
		if r := f.do("HEAD", c.target, ""); r.StatusCode != c.status {
			t.Errorf("HEAD %s: %d", c.target, r.StatusCode)
		}
	}
	f.do("PATCH", "/v1/rooms/r", `{"locked":true}`, "Content-Type", "application/merge-patch+json").want(t, 200)
	for _, target := range []string{webm, ogg, jpg} {
		f.do("GET", target, "").problem(t, 403, "locked")
	}
	if n := f.live.mu.open; n != 0 || len(f.live.mu.byRoom) != 0 || len(f.streams.mu.byClient) != 0 {
		t.Errorf("%d streams are open that were refused", n)
	}
}

// HEAD says what GET would give, and costs nobody an encode.
func TestLiveHead(t *testing.T) {
	f := occupied(t)
	for target, typ := range map[string]string{
		"live.webm": "video/webm", "live.webm?video=false": "audio/webm", "live.webm?tier=640x360@30": "video/webm", "live.ogg": "audio/ogg",
	} {
		r := f.do("HEAD", "/v1/rooms/r/"+target, "").want(t, 200)
		if got := r.Header.Get("Content-Type"); got != typ || r.Header.Get("Cache-Control") != "no-store" || r.text != "" {
			t.Errorf("%s: %v, %d bytes", target, r.Header, len(r.text))
		}
	}
	before := f.rooms.Stats().Renditions
	f.do("HEAD", "/v1/rooms/r/live.webm", "").want(t, 200)
	for tier, s := range f.rooms.Stats().Renditions {
		if s.KeyRequests != before[tier].KeyRequests {
			t.Errorf("%v: a key frame is asked for: %v", tier, s.KeyRequests)
		}
	}
}

// Streams are what their type says, share what is coded, count as viewers and
// not as participants, and end cleanly when the last participant leaves.
func TestLiveStreams(t *testing.T) {
	f := occupied(t)
	url := overTCP(t, f) + "/v1/rooms/r/"
	both, tiny := watching(t, url+"live.webm"), watching(t, url+"live.webm?tier=100x100@15")
	sound, alone := watching(t, url+"live.ogg"), watching(t, url+"live.webm?video=false")
	for r, typ := range map[*http.Response]string{both: "video/webm", tiny: "video/webm", sound: "audio/ogg", alone: "audio/webm"} {
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != typ || r.Header.Get("Cache-Control") != "no-store" || r.ContentLength != -1 {
			t.Fatalf("%d, %v", r.StatusCode, r.Header)
		}
	}
	begun := [][]byte{readAtLeast(t, both.Body, 2000), readAtLeast(t, tiny.Body, 1000), readAtLeast(t, sound.Body, 500), readAtLeast(t, alone.Body, 1000)}
	var room Room
	f.do("GET", "/v1/rooms/r", "").json(t, &room)
	if room.Status.Viewers != 4 || room.Status.Participants != 1 {
		t.Errorf("%d viewers, %d participants", room.Status.Viewers, room.Status.Participants)
	}
	f.lastPeer().end(nil)
	for i, r := range []*http.Response{both, tiny, sound, alone} {
		rest, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("stream %d does not end cleanly: %v", i, err)
		}
		begun[i] = append(begun[i], rest...)
	}
	for i, size := range map[int][2]int{0: {320, 180}, 1: {160, 90}, 3: {}} {
		info := recovered(t, begun[i])
		if info.Width != size[0] || info.Height != size[1] || info.Video != (size[0] > 0) || !info.Audio || info.Cut != 0 || info.Blocks < 10 {
			t.Errorf("stream %d: %+v", i, info)
		}
	}
	reader, err := ogg.NewReader(bytes.NewReader(begun[2]))
	must(t, err)
	packets := 0
	for {
		if _, err = reader.Next(); err != nil {
			break
		}
		packets++
	}
	if err != io.EOF || packets < 10 {
		t.Errorf("%d packets, then %v", packets, err)
	}
	eventually(t, "nobody watches", func() bool {
		f.live.mu.Lock()
		defer f.live.mu.Unlock()
		return f.live.mu.open == 0 && len(f.live.mu.byRoom) == 0 && f.rooms.Stats().Outlets.Open == 0
	})
}

// recovered is what a stream is found to hold by the reader of files.
func recovered(t *testing.T, b []byte) webm.Info {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "kept.webm"))
	must(t, err)
	defer file.Close()
	_, err = file.Write(b)
	must(t, err)
	info, err := webm.Recover(file)
	must(t, err)
	return info
}

// A server that drains ends its streams, whole.
func TestLiveDrains(t *testing.T) {
	f := occupied(t)
	resp := watching(t, overTCP(t, f)+"/v1/rooms/r/live.ogg")
	begun := readAtLeast(t, resp.Body, 300)
	f.Drain()
	rest, err := io.ReadAll(resp.Body)
	must(t, err)
	file := append(begun, rest...)
	last := file[bytes.LastIndex(file, []byte("OggS")):]
	if last[5] != 4 {
		t.Errorf("the last page has flags %#x, want the end", last[5])
	}
	f.do("GET", "/v1/rooms/r/live.webm", "").problem(t, 503, "draining")
}

func TestLiveLimits(t *testing.T) {
	f := occupied(t, func(c *Config) { c.MaxLive, c.MaxLivePerRoom = 2, 1 })
	f.do("PUT", "/v1/rooms/s", "").want(t, 201)
	f.join("/v1/rooms/s/participants").want(t, 201)
	f.lastPeer().up()
	f.do("PUT", "/v1/rooms/u", "").want(t, 201)
	f.join("/v1/rooms/u/participants").want(t, 201)
	f.lastPeer().up()
	url := overTCP(t, f)
	first := watching(t, url+"/v1/rooms/r/live.ogg")
	if r := f.do("GET", "/v1/rooms/r/live.webm", ""); r.Header.Get("Retry-After") == "" {
		t.Errorf("%v", r.Header)
	} else {
		r.problem(t, 429, "too-many-viewers")
	}
	watching(t, url+"/v1/rooms/s/live.ogg")
	f.do("GET", "/v1/rooms/u/live.ogg", "").problem(t, 503, "overloaded")
	f.do("GET", "/v1/rooms/u/snapshot.jpg", "").want(t, 200) // is no stream
	first.Body.Close()
	eventually(t, "the place is free again", func() bool { return f.do("HEAD", "/v1/rooms/r/live.ogg", "").StatusCode == 200 })
}

// pipes is a listener whose connections have no buffers at all.
type pipes struct {
	made chan net.Conn
	done chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.made:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Who does not read is disconnected, and counted; who reads beside him goes on.
func TestLiveDisconnectsWhoDoesNotRead(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := occupied(t, func(c *Config) { c.Metrics = reg })
	f.live.write = 300 * time.Millisecond
	l := &pipes{made: make(chan net.Conn), done: make(chan struct{})}
	srv := HTTPServer(f)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() { close(l.done); srv.Close(); <-served })
	healthy := watching(t, overTCP(t, f, func(s *httptest.Server) { s.Config = HTTPServer(f) })+"/v1/rooms/r/live.webm")

	client, server := net.Pipe()
	defer client.Close()
	l.made <- server
	_, err := io.WriteString(client, "GET /v1/rooms/r/live.webm HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	if got := string(readAtLeast(t, client, 15)); got != "HTTP/1.1 200 OK" {
		t.Fatalf("%q", got)
	}
	eventually(t, "the stalled one is disconnected", func() bool { return f.live.stalled.Load() == 1 })
	eventually(t, "one viewer is left", func() bool { return f.rooms.Stats().Outlets.Open == 1 })
	readAtLeast(t, healthy.Body, 4000)
	families, err := reg.Gather()
	must(t, err)
	found := false
	for _, m := range families {
		if m.GetName() == "mixdown_live_streams_stalled_total" {
			found = m.GetMetric()[0].GetCounter().GetValue() == 1
		}
	}
	if !found {
		t.Error("no metric tells of it")
	}
}

// A room in which nobody connects gives nothing, and says so.
func TestLiveWithoutAnything(t *testing.T) {
	f := newFixture(t, false)
	f.live.start = 50 * time.Millisecond
	f.join("/v1/rooms/r/participants").want(t, 201) // and never comes up
	if r := f.do("GET", "/v1/rooms/r/live.webm", ""); r.Header.Get("Retry-After") == "" {
		t.Errorf("%v", r.Header)
	} else {
		r.problem(t, 503, "unavailable")
	}
}

func TestSnapshotOverHTTP(t *testing.T) {
	f := occupied(t)
	r := f.do("GET", "/v1/rooms/r/snapshot.jpg", "").want(t, 200)
	img, err := jpeg.Decode(strings.NewReader(r.text))
	must(t, err)
	if b := img.Bounds(); b.Dx() != 320 || b.Dy() != 180 || r.Header.Get("Content-Type") != "image/jpeg" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v, %v", b, r.Header)
	}
	small := f.do("GET", "/v1/rooms/r/snapshot.jpg?width=100", "").want(t, 200)
	if img, err = jpeg.Decode(strings.NewReader(small.text)); err != nil || img.Bounds().Dx() != 160 {
		t.Errorf("%v, %v", img.Bounds(), err)
	}
}

// Pictures closer than a millisecond, as where passing through ends, all come.
func TestWebMKeepsEveryPicture(t *testing.T) {
	live, err := webm.NewLive(webm.Config{Video: &webm.VideoTrack{Width: 64, Height: 36}})
	must(t, err)
	m := &webmMuxer{live: live, zero: time.Second, lastPicture: -time.Millisecond}
	var out []byte
	for i, at := range []time.Duration{0, 400, 900, 1000, 33_333, 33_334} {
		f := codec.NewEncodedFrame(8)
		f.Codec, f.Key, f.PTS = codec.VP8, i == 0, time.Second+at*time.Microsecond
		f.Data = append(f.Data, "picture"...)
		out = m.add(out, f)
		f.Release()
	}
	out = m.end(out)
	if n := bytes.Count(out, []byte("picture")); n != 6 {
		t.Errorf("%d pictures of 6", n)
	}
	if info := recovered(t, out); info.Blocks != 6 {
		t.Errorf("%+v", info)
	}
}
