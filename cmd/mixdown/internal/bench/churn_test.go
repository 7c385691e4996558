package bench

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/vp8"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

func tierOf(t string) struct{ Tier string } { return struct{ Tier string }{t} }

// listOf is a server with a room whose participants come in pages, and whose
// largest tier is a.
func listOf(t *testing.T, pages [][]person) roomURLs {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/participants"):
			n := 0
			if text, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("pageToken")); err == nil && len(text) > 0 {
				n = int(text[0])
			}
			next := ""
			if n+1 < len(pages) {
				next = base64.RawURLEncoding.EncodeToString([]byte{byte(n + 1)})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"items": pages[n], "nextPageToken": next})
		case strings.HasSuffix(r.URL.Path, "/bench"):
			fmt.Fprint(w, `{"tiers":["a","b"]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		s.Close()
	})
	room, err := urlsOf(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return room
}

// each decodes pictures and tells how much each is like the one before.
func each(t *testing.T, pictures []seenPicture, tell func(n int, psnr float64)) {
	t.Helper()
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	var last *codec.VideoFrame
	for n, p := range pictures {
		if err := dec.Decode(p.data); err != nil {
			t.Fatalf("picture %d: %v", n, err)
		}
		w, h := dec.Size()
		f := codectest.NewFrame(t, w, h)
		if err := dec.Picture(f); err != nil {
			t.Fatal(err)
		}
		if last != nil {
			tell(n, yuv.PSNR(last, f))
		}
		last = f
	}
}

func TestChurnValidate(t *testing.T) {
	good := ChurnConfig{Room: Config{Participants: 3}, Joins: 20, Within: 2 * time.Second, Cycles: 100, Lanes: 4}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*ChurnConfig){
		"5 stay: want 1..4":      func(c *ChurnConfig) { c.Room.Participants = 5 },
		"0 joins: want 1..500":   func(c *ChurnConfig) { c.Joins = 0 },
		"within -1ns":            func(c *ChurnConfig) { c.Within = -1 },
		"-1 cycles":              func(c *ChurnConfig) { c.Cycles = -1 },
		"0 lanes: want 1..32":    func(c *ChurnConfig) { c.Lanes = 0 },
		"with pictures":          func(c *ChurnConfig) { c.Room.AudioOnly = true },
		"a server of its own":    func(c *ChurnConfig) { c.Room.URL, c.Room.PID = "http://h", 1 },
		"warmup -1ns: want 0s..": func(c *ChurnConfig) { c.Room.Warmup = -1 },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want %q in it", err, want)
		}
	}
}

// TestTints: a canvas with two tinted tiles that change their places and sizes
// among moving pictures. In some pictures one is black, for some time one stands
// still, one frame is lost.
func TestTints(t *testing.T) {
	const frames, blackFrom, blackTo, frozenFrom, frozenTo = 120, 40, 43, 60, 75
	enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 640, Height: 360, FPS: 30, BitrateBps: 800_000})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	canvas := codectest.NewFrame(t, 640, 360)
	var pictures []seenPicture
	for n := range frames {
		codectest.Scene{}.Draw(canvas, n)
		side := 3 + n/30%3 // a grid of 9, 16 or 25
		for i, tint := range tints[:2] {
			at := (i + n/30) % side
			tile := image.Rect(640*at/side&^1, 0, 640*(at+1)/side&^1, 360/side&^1)
			shown := n
			if i == 1 && n >= frozenFrom && n < frozenTo {
				shown = frozenFrom
			}
			y, u, v := tint.light(shown), tint.u, tint.v
			if i == 0 && n >= blackFrom && n < blackTo {
				y, u, v = 16, 128, 128
			}
			if err := yuv.Fill(canvas, tile, y, u, v); err != nil {
				t.Fatal(err)
			}
		}
		f, err := enc.Encode(canvas, time.Duration(n)*time.Second/30, false)
		if errors.Is(err, codec.ErrDropped) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, seenPicture{arrival: time.Hour + time.Duration(n)*time.Second/30, data: bytes.Clone(f.Data), key: f.Key})
		f.Release()
	}
	looks, undecodable, err := look(pictures, tints[:2])
	if err != nil || len(undecodable) != 0 || len(looks) != len(pictures) {
		t.Fatalf("%d looks at %d pictures, %d undecodable, %v", len(looks), len(pictures), len(undecodable), err)
	}
	all := span{time.Hour - 1, time.Hour + 5*time.Second}
	decoded, black, freezes := judgeLooks(looks, 2, span{all.from, looks[len(looks)-1].arrival}, leastShare(25))
	if decoded != len(looks) || black == 0 || black > blackTo-blackFrom {
		t.Errorf("%d of %d looked at, %d black: want 1 to %d", decoded, len(looks), black, blackTo-blackFrom)
	}
	longest, long := time.Duration(0), 0
	for _, f := range freezes {
		longest = max(longest, f.Length)
		if f.Length > 200*time.Millisecond {
			long++
		}
	}
	if want := (frozenTo - frozenFrom) * time.Second / 30; long != 1 || (longest-want).Abs() > 100*time.Millisecond {
		t.Errorf("%d freezes, the longest %v: want one of %v", long, longest, want)
	}
	// Nothing comes any more: that is a freeze as well.
	if _, _, freezes = judgeLooks(looks, 2, all, leastShare(25)); freezes[len(freezes)-1].Length < 900*time.Millisecond {
		t.Errorf("at the end there is a freeze of %v: want a second", freezes[len(freezes)-1].Length)
	}
	if _, undecodable, err := look(pictures[1:3], tints[:1]); err != nil || len(undecodable) != 2 {
		t.Errorf("without a key frame %d of 2 are undecodable, %v", len(undecodable), err)
	}
	if _, _, freezes := judgeLooks(nil, 2, all, 0.1); len(freezes) != 0 {
		t.Errorf("of nothing: %v", freezes)
	}
}

// TestTintsAreNotOfNature: no clip has a tint's colour.
func TestTintsAreNotOfNature(t *testing.T) {
	s := newStreams(Config{Clips: "../../../../.cache/clips", Video: asFetched})
	for i := range 4 {
		c, err := s.video(i, false)
		if err != nil {
			t.Fatal(err)
		}
		var pictures []seenPicture
		for _, u := range c.Units[:60] {
			pictures = append(pictures, seenPicture{arrival: 1, data: u.Data})
		}
		looks, _, err := look(pictures, tints)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range looks {
			for k, share := range l.share {
				if share > leastShare(layout.MaxTiles)/4 {
					t.Fatalf("clip %d has tint %d on %.2f%% of a picture", i+1, k, share*100)
				}
			}
		}
	}
}

func TestKeyframesApart(t *testing.T) {
	at := func(ms int, key bool) seenPicture {
		return seenPicture{arrival: time.Duration(ms) * time.Millisecond, key: key}
	}
	pictures := []seenPicture{at(10, true), at(100, true), at(133, false), at(500, true), at(830, true), at(840, true)}
	if got := closest(pictures, span{50 * time.Millisecond, 835 * time.Millisecond}); got != 330 {
		t.Errorf("the closest are %v ms apart: want 330", got)
	}
	if got := closest(pictures[:1], span{0, time.Second}); got != 0 {
		t.Errorf("one is %v ms apart", got)
	}
}

func TestSeriesByLabel(t *testing.T) {
	s := series{
		`k{reason="start",tier="a"}`: 1, `k{reason="client",tier="a"}`: 2, `k{tier="b",reason="x"}`: 4, `k{tier="c"}`: 0, `kk{tier="a"}`: 8, `k`: 16,
	}
	if got := s.by("tier", "k"); len(got) != 2 || got["a"] != 3 || got["b"] != 4 {
		t.Errorf("by tier %v: want a 3, b 4", got)
	}
	if got := s.sum("k"); got != 23 {
		t.Errorf("sum %v: want 23", got)
	}
}
