package client

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/transport"
)

func TestParseUplink(t *testing.T) {
	target := codec.UplinkTarget{Width: 426, Height: 240, FPS: 30, BitrateBps: 437500}
	for _, c := range []struct {
		line   string
		source codec.SourceID
		want   codec.UplinkTarget
		ok     bool
	}{
		{`data: {"id":"a-1","type":"uplink","data":{"source":"camera","width":426,"height":240,"fps":30,"bitrate":437500,"paused":false}}`, codec.Camera, target, true},
		{`data:{"type":"uplink","data":{"source":"screen","paused":true,"new":1},"more":[]}`, codec.Screen, codec.UplinkTarget{Paused: true}, true},
		{`data: {"type":"uplink","data":{"source":"camera","width":-4,"height":0}}`, codec.Camera, codec.UplinkTarget{}, true},
		{line: `data: {"type":"uplink","data":{"source":"sofa"}}`},
		{line: `data: {"type":"uplink","data":{"source":"camera","width":"wide"}}`},
		{line: `data: {"type":"chat","data":{"text":"\"type\":\"uplink\""},"x":"y"}`},
		{line: `data: {"type":"chat","data":{"type":"uplink","source":"camera"}}`},
		{line: `data: {"type":"uplink"`},
		{line: `id: {"type":"uplink","data":{"source":"camera"}}`},
		{line: ``},
	} {
		source, got, ok := parseUplink([]byte(c.line))
		if ok != c.ok || ok && (source != c.source || got != c.want) {
			t.Errorf("%s: %v %+v %v, want %v %+v %v", c.line, source, got, ok, c.source, c.want, c.ok)
		}
	}
}

// FuzzUplink: whatever a server tells, a target of a source comes of it, or
// nothing.
func FuzzUplink(f *testing.F) {
	f.Add([]byte(`data: {"type":"uplink","data":{"source":"camera","width":426,"height":240,"fps":30,"bitrate":437500,"paused":false}}`))
	f.Add([]byte(`data: {"type":"uplink","data":{"source":"screen","width":1e9}}`))
	f.Add([]byte(`data: {"type":"uplink","data":[]}`))
	f.Add([]byte(`: `))
	f.Fuzz(func(t *testing.T, line []byte) {
		source, target, ok := parseUplink(line)
		if source > codec.NumSources || target.Width < 0 || target.Height < 0 || target.FPS < 0 || target.BitrateBps < 0 || !ok && target != (codec.UplinkTarget{}) {
			t.Fatalf("%v %+v %v", source, target, ok)
		}
	})
}

// resizable is a source that notes what it is asked for.
type resizable struct {
	Source
	asked atomic.Pointer[codec.UplinkTarget]
}

func (r *resizable) Limit(t codec.UplinkTarget) { r.asked.Store(&t) }

// A client does what its session's events say, also after they broke off: less,
// nothing at all, and again from a key frame.
func TestClientObeys(t *testing.T) {
	s := startServer(t, transport.Config{})
	lines := make(chan string)
	opened := make(chan struct{}, 10)
	s.events = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/sessions/x/events" {
			t.Errorf("events of %s", r.URL.Path)
		}
		_ = http.NewResponseController(w).Flush()
		opened <- struct{}{}
		for {
			select {
			case <-r.Context().Done():
				return
			case line := <-lines:
				if line == "" {
					panic(http.ErrAbortHandler)
				}
				fmt.Fprintf(w, "id: 1\ndata: %s\n\n", line)
				_ = http.NewResponseController(w).Flush()
			}
		}
	}
	source := &resizable{Source: Loop(pictureClip(5000))}
	c, stop := run(t, Config{URL: s.url, Video: source})
	<-opened
	frames, keys := 0, 0
	s.until(t, "pictures", func() bool { frames = s.frames; return frames > 5 })

	lines <- `{"type":"uplink","data":{"source":"screen","paused":true}}`
	lines <- `{"type":"uplink","data":{"source":"camera","width":426,"height":240,"fps":30,"bitrate":400000}}`
	want := codec.UplinkTarget{Width: 426, Height: 240, FPS: 30, BitrateBps: 400000}
	s.until(t, "the target", func() bool { a := source.asked.Load(); return a != nil && *a == want })
	s.until(t, "more pictures", func() bool { return s.frames > frames+5 })
	if got := c.Stats().VideoSent.Target; got != want {
		t.Errorf("the target is told as %+v", got)
	}

	lines <- "" // it breaks off
	<-opened
	lines <- `{"type":"uplink","data":{"source":"camera","paused":true}}`
	s.until(t, "a pause", func() bool { return c.Stats().VideoSent.Withheld > 5 })
	s.until(t, "what was on its way", func() bool { frames, keys = s.frames, s.keys; return true })
	s.until(t, "a longer pause", func() bool { return c.Stats().VideoSent.Withheld > 15 })
	if s.until(t, "", func() bool { return true }); s.frames > frames+1 {
		t.Errorf("%d pictures came in the pause", s.frames-frames)
	}
	lines <- `{"type":"uplink","data":{"source":"camera"}}`
	s.until(t, "a key frame", func() bool { return s.keys > keys })
	if err := stop(); err != nil {
		t.Error(err)
	}

	// Who obeys nothing is not told anything.
	_, stop = run(t, Config{URL: s.url, Video: Loop(&clip.Clip{Codec: codec.VP8, Units: pictureClip(50).Units}), NoUplink: true})
	s.until(t, "pictures", func() bool { return s.frames > frames+50 })
	if len(opened) > 0 {
		t.Error("it reads events")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
