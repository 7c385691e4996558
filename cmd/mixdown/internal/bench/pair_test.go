package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"mixdown/mixer/layout"
)

// turning is a made-up machine that gets slower by a tenth with each
// measurement, evenly.
type turning struct{ order []string }

func (m *turning) measure(_ context.Context, cfg Config) (*Result, error) {
	if cfg.Latency != 0 || !cfg.noFloor {
		return nil, errors.New("this takes too long")
	}
	what := "base"
	cores, encode := 0.4, 0.12
	if cfg.Viewers > 0 {
		what, cores = "viewers", 0.4+0.002*float64(cfg.Viewers)
	} else if cfg.Still {
		what, encode = "still", 0.012
	}
	drift := 0.1 * float64(len(m.order))
	m.order = append(m.order, what)
	return &Result{ServerCores: cores + drift, Server: &ServerView{
		VideoEncodes: map[string]float64{"1280x720@30": 250 * encode}, Cores: StageCores{Encode: encode},
	}}, nil
}

// TestPair: both are measured in turns, so a drift cancels out.
func TestPair(t *testing.T) {
	room := Config{Participants: 9, Talkers: 9, Viewers: 50, Duration: time.Minute, Latency: time.Minute}
	m := &turning{}
	r, err := Pair(t.Context(), PairConfig{Room: room, Measure: m.measure})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(m.order, " "); got != "base viewers viewers base" {
		t.Errorf("measured in the order %s", got)
	}
	v := r.PerViewer
	if v == nil || r.Still != nil || math.Abs(v.Cores-0.002) > 1e-9 || math.Abs(v.CoresOff-0.004) > 1e-9 || v.EncodesWith != 30 || v.EncodesWithout != 30 {
		t.Errorf("of viewers: %+v: want 0.002 cores each", v)
	}
	room.Viewers, room.Still = 0, true
	m = &turning{}
	if r, err = Pair(t.Context(), PairConfig{Room: room, Rounds: 1, Measure: m.measure}); err != nil {
		t.Fatal(err)
	}
	if s := r.Still; s == nil || r.PerViewer != nil || math.Abs(s.Share-0.1) > 1e-9 || math.Abs(s.MovingMs-4) > 1e-9 || s.StillEncodes != 3 {
		t.Errorf("of what is still: %+v: want a tenth of 4 ms", s)
	}
	var table, text bytes.Buffer
	r.Table(&table)
	if err := r.JSON(&text); err != nil || !json.Valid(text.Bytes()) {
		t.Errorf("%v in %s", err, text.String())
	}
	if !strings.Contains(table.String(), "10.0% of a moving canvas's encode") {
		t.Errorf("the table is\n%s", table.String())
	}
}

func TestPairErrors(t *testing.T) {
	for want, cfg := range map[string]PairConfig{
		"0 viewers":  {Room: Config{Participants: 1}},
		"-1 rounds":  {Rounds: -1},
		"audio only": {Room: Config{Still: true, AudioOnly: true}},
		"too long":   {Room: Config{Viewers: 1}, Measure: func(context.Context, Config) (*Result, error) { return nil, errors.New("too long") }},
	} {
		if _, err := Pair(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want %q in it", err, want)
		}
	}
}

func TestArrangement(t *testing.T) {
	for text, want := range map[string]string{
		"grid":                      `{"mode":"grid"}`,
		"single,hideSelf,noLabels":  `{"hideSelf":true,"labels":false,"mode":"single"}`,
		"speaker,noBorder,noMarks":  `{"border":false,"marks":false,"mode":"speaker"}`,
		"grid,fill,limit=4":         `{"fit":"fill","limit":4,"mode":"grid"}`,
		` {"mode":"x","future":1} `: `{"mode":"x","future":1}`, // the server knows
	} {
		a, err := ParseArrangement(text)
		if err != nil || string(a.json()) != want || a.personal() != strings.Contains(text, "hideSelf") {
			t.Errorf("%q: %s, %v: want %s", text, a.json(), err, want)
		}
	}
	if a, err := ParseArrangement(""); a != nil || err != nil || a.json() != nil || a.personal() || a.text() != "" {
		t.Errorf("nothing gives %v, %v: want a grid", a, err)
	}
	for text, want := range map[string]string{
		"gird": "/mode", "hideSelf": "/mode", "grid,nolabels": "nolabels", "grid,limit=x": "limit", "grid,limit=50": "limit", "custom": "JSON", "{": "JSON", "grid,": "want MODE",
	} {
		if _, err := ParseArrangement(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v: want %q in it", text, err, want)
		}
	}
}

// TestClimbCountsThoseWhoCan: of a long list those on the tier, who are not on
// poor links.
func TestClimbCountsThoseWhoCan(t *testing.T) {
	room := listOf(t, [][]person{
		{{Name: "Bench 1", Receive: tierOf("a")}, {Name: "Bench 2", Receive: tierOf("b")}},
		{{Name: "Bench 3", Receive: tierOf("a")}, {Name: "", Role: "viewer", Receive: tierOf("a")}},
	})
	members := []*member{{index: 0}, {index: 1}, {index: 2, impaired: true}, {index: 0, role: viewer}}
	top := &TopTier{Tier: "a"}
	if n, err := top.count(t.Context(), room, members); n != 2 || err != nil {
		t.Errorf("counted %d, %v: want 2", n, err)
	}
	top = nil
	if n, err := top.count(t.Context(), room, members); n != 0 || err != nil {
		t.Errorf("where nobody asked: %d, %v", n, err)
	}
	if tier, err := room.topTier(t.Context()); tier != "a" || err != nil {
		t.Errorf("the top tier is %q, %v", tier, err)
	}
	if _, err := room.layoutsOf(t.Context(), members); err != nil {
		t.Errorf("nobody has a canvas of his own, and that is %v", err)
	}
	m := measurement{cfg: Config{Climb: time.Millisecond}, cast: &cast{members: members}, room: room, logf: t.Logf}
	if got, err := m.climb(t.Context()); err != nil || got.Tier != "a" || got.Clients != 3 {
		t.Errorf("climbed to %+v, %v: want 3 to be waited for in vain", got, err)
	}
}

// TestStillStandsStill: played over and over, without a key frame, every picture
// is as the one before.
func TestStillStandsStill(t *testing.T) {
	s := newStreams(Config{Clips: "../../../../.cache/clips", Still: true, Video: layout.Canvas{Width: 320, Height: 180, FPS: 30}})
	c, err := s.video(1, false)
	if err != nil {
		t.Fatal(err)
	}
	sender := newPictures([]variant{{clip: c}}, true)
	var pictures []seenPicture
	for n := range stillUnits + 20*stillTail {
		u, err := sender.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if u.Key != (n == 0) {
			t.Fatalf("picture %d: key frame %v", n, u.Key)
		}
		pictures = append(pictures, seenPicture{arrival: time.Duration(n + 1), data: u.Data})
	}
	worst := math.Inf(1)
	each(t, pictures, func(n int, psnr float64) {
		if n >= stillUnits {
			worst = min(worst, psnr)
		}
	})
	if worst < 48 {
		t.Errorf("a picture is only %.1f dB like the one before: want 48", worst)
	}
	sender.RequestKeyframe()
	if u, err := sender.Next(t.Context()); err != nil || !u.Key {
		t.Errorf("who asks for a key frame gets %+v, %v", u.Key, err)
	}
}
