package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write golden files anew")

// machineOf is a made-up machine: quality is perfect up to limit participants
// and falls off beyond it.
type machineOf struct {
	limit    int
	measured []int
	flaky    map[int]bool // broken by noise, the first time
	server   *ServerView
	late     int
	err      func(n int) error
}

func (m *machineOf) measure(_ context.Context, cfg Config) (*Result, error) {
	n := cfg.Participants
	m.measured = append(m.measured, n)
	if m.err != nil {
		if err := m.err(n); err != nil {
			return nil, err
		}
	}
	r := &Result{
		Participants: n, Talkers: cfg.Talkers, Seconds: 60, WitnessLate: m.late,
		ServerCores: 0.1 + 0.04*float64(n), ClientCores: 0.02 * float64(n), RSSBytes: int64(60+5*n) << 20, Server: m.server,
	}
	r.Floor.Total, r.PacedFloor = 0.05+0.025*float64(n), 0.06+0.033*float64(n)
	r.Healthy.FPS.Min, r.Healthy.AudioPackets.Min = 30, 50
	r.Healthy.Unexcused.P999 = 25 + float64(n)/4
	if over := n - m.limit; over > 0 || m.flaky[n] {
		delete(m.flaky, n)
		r.Healthy.FPS.Min = 30 / (1.3 + 0.1*float64(max(over, 0)))
		r.Healthy.Unexcused.P999 = 110 + 2*float64(over)
	}
	return r, nil
}

func capacityOf(m *machineOf, from, to, step int) CapacityConfig {
	return CapacityConfig{
		Room: Config{Duration: time.Minute, Log: io.Discard}, Talkers: -1, From: from, To: to, Step: step, Measure: m.measure,
	}
}

func TestCapacityFindsTheLimit(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		limit, from, to, step int
		held, broke           int
		within                int // of the limit
	}{
		{"doubling", 23, 2, 200, 0, 23, 24, 0},
		{"doubling, to a sixteenth", 100, 2, 400, 0, 0, 0, 6},
		{"steps", 23, 5, 100, 5, 20, 25, 0},
		{"the last step is shorter", 50, 10, 43, 20, 43, 0, 0},
		{"nothing breaks", 500, 2, 30, 0, 30, 0, 0},
		{"the first breaks", 3, 4, 100, 0, 0, 4, 0},
		{"only one", 3, 3, 3, 0, 3, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &machineOf{limit: tc.limit}
			r, err := Capacity(context.Background(), capacityOf(m, tc.from, tc.to, tc.step))
			if err != nil {
				t.Fatal(err)
			}
			if tc.within > 0 {
				if r.Held > tc.limit || r.Broke <= tc.limit || r.Broke-r.Held > tc.within {
					t.Errorf("held %d, broke %d: want both within %d of %d", r.Held, r.Broke, tc.within, tc.limit)
				}
			} else if r.Held != tc.held || r.Broke != tc.broke {
				t.Errorf("held %d, broke %d: want %d and %d", r.Held, r.Broke, tc.held, tc.broke)
			}
			if !slices.IsSortedFunc(r.Points, func(a, b Point) int { return a.Participants - b.Participants }) {
				t.Error("the points are in no order")
			}
			for _, p := range r.Points {
				if p.Talkers != p.Participants || len(p.Faults) > 0 != (p.Participants > tc.limit) {
					t.Errorf("point %+v", p)
				}
			}
			if len(m.measured) > 20 {
				t.Errorf("it took %d measurements: %v", len(m.measured), m.measured)
			}
		})
	}
}

// TestCapacityIsNotFooledByNoise: what breaks once and then holds has held.
func TestCapacityIsNotFooledByNoise(t *testing.T) {
	m := &machineOf{limit: 40, flaky: map[int]bool{4: true, 16: true}}
	r, err := Capacity(context.Background(), capacityOf(m, 2, 32, 0))
	if err != nil {
		t.Fatal(err)
	}
	if r.Held != 32 || r.Broke != 0 || !slices.Equal(m.measured, []int{2, 4, 4, 8, 16, 16, 32}) {
		t.Errorf("held %d, broke %d, measured %v", r.Held, r.Broke, m.measured)
	}
	if !r.Points[1].Repeated || r.Points[2].Repeated {
		t.Errorf("points %+v: want that of 4 marked as repeated", r.Points)
	}
	if r.Line == nil || math.Abs(r.Line.Cores-0.1) > 1e-9 || math.Abs(r.Line.PerParticipant-0.04) > 1e-9 {
		t.Errorf("line %+v: want 0.1 + 0.04 n", r.Line)
	}
}

func TestCapacitySaysWhatBrokeAndWho(t *testing.T) {
	view := func(fps, tick float64) *ServerView {
		return &ServerView{VideoEncodes: map[string]float64{"1280x720": fps, "320x180": 15}, AudioTickLatenessP99Ms: tick}
	}
	for _, tc := range []struct {
		name        string
		server      *ServerView
		late, n     int
		first       string
		blame, also string
	}{
		{"server late", view(20, 35), 3, 9, FaultFPS, BlameServer, BlameServer},
		{"all cores in use", view(20, 35), 3, 70, FaultFPS, BlameMachine, BlameMachine},
		{"machine late", view(20, 35), 100, 9, FaultFPS, BlameMachine, BlameMachine},
		{"server in time", view(30, 3), 3, 9, FaultFPS, BlameClients, BlameClients},
		{"pictures late, sound in time", view(20, 3), 3, 9, FaultFPS, BlameServer, BlameClients},
		{"nothing known", nil, 3, 9, FaultFPS, BlameUnknown, BlameUnknown},
		{"nothing known, machine late", nil, 100, 9, FaultFPS, BlameMachine, BlameMachine},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &machineOf{limit: tc.n - 1, server: tc.server, late: tc.late}
			cfg := capacityOf(m, tc.n, tc.n, 0)
			r, err := Capacity(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if r.Broke != tc.n || len(r.First) != 2 {
				t.Fatalf("broke at %d with %v", r.Broke, r.First)
			}
			f, also := r.First[0], r.First[1]
			if f.What != tc.first || f.Blame != tc.blame || also.Blame != tc.also {
				t.Errorf("first %v, then %v: want %s by %s, then by %s", f, also, tc.first, tc.blame, tc.also)
			}
			if text := f.String(); !strings.HasSuffix(text, map[string]string{
				BlameServer: "; the server was late", BlameMachine: "; the machine was late",
				BlameClients: "; the clients were late", BlameUnknown: "; who was late is unknown",
			}[f.Blame]) {
				t.Errorf("%q does not say who was late", text)
			}
			// 30/1.4 of the 27 that are wanted.
			if want := 1 - 30/1.4/27; math.Abs(f.Excess-want) > 1e-9 || f.Bound != 27 {
				t.Errorf("beyond %v by %v: want 27 by %v", f.Bound, f.Excess, want)
			}
			var out bytes.Buffer
			if err := r.Table(&out); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"broke first pictures: 21.43 per second where the bound is 27, 21% beyond it; " + f.late(), "also", "fewer than"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the table lacks %q:\n%s", want, out.String())
				}
			}
		})
	}
}

func TestCapacityErrors(t *testing.T) {
	broken := errors.New("participant 31: nothing came")
	m := &machineOf{limit: 100, err: func(n int) error {
		if n > 30 {
			return broken
		}
		return nil
	}}
	r, err := Capacity(context.Background(), capacityOf(m, 8, 64, 0))
	if err != nil {
		t.Fatal(err)
	}
	if r.Held != 30 || r.Broke != 31 || r.First[0].What != FaultJoin || r.Points[len(r.Points)-1].Error != broken.Error() {
		t.Errorf("held %d, broke %d by %v: want 30 and 31 by joining", r.Held, r.Broke, r.First)
	}
	var out bytes.Buffer
	if err := errors.Join(r.Table(&out), r.SVG(&out), r.JSON(&out)); err != nil || !strings.Contains(out.String(), broken.Error()) {
		t.Errorf("%v; the output lacks the error:\n%s", err, out.String())
	}
	// The very first failing is no question of size.
	if _, err := Capacity(context.Background(), capacityOf(m, 31, 64, 0)); !errors.Is(err, broken) {
		t.Errorf("the first room fails with %v: want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m = &machineOf{limit: 100, err: func(n int) error {
		if n == 16 {
			cancel()
			return errors.New("interrupted")
		}
		return nil
	}}
	if _, err := Capacity(ctx, capacityOf(m, 8, 64, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, tc := range []struct {
		bad  func(*CapacityConfig)
		word string
	}{
		{func(c *CapacityConfig) { c.From = 0 }, "from"},
		{func(c *CapacityConfig) { c.To = 7 }, "smaller"},
		{func(c *CapacityConfig) { c.Step = -1 }, "step"},
		{func(c *CapacityConfig) { c.To = 5000 }, "participants"},
		{func(c *CapacityConfig) { c.Bounds.FPSShare = 2 }, "share"},
		{func(c *CapacityConfig) { c.Bounds.GapMs = -1 }, "milliseconds"},
		{func(c *CapacityConfig) { c.Room.Duration = 0 }, "duration"},
	} {
		cfg := capacityOf(m, 8, 64, 0)
		tc.bad(&cfg)
		if _, err := Capacity(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), tc.word) {
			t.Errorf("error %v: want one that says %q", err, tc.word)
		}
	}
}

// exampleCapacity is a curve with everything in it.
func exampleCapacity() *CapacityResult {
	r := &CapacityResult{Machine: "2 x Example <CPU> & Co", Talkers: -1, Seconds: 60, Bounds: Bounds{}.withDefaults(), Held: 24, Broke: 26}
	for _, n := range []int{2, 4, 8, 16, 24, 26, 32} {
		x := float64(n)
		p := Point{
			Participants: n, Talkers: n, Cores: 2, ServerCores: 0.12 + 0.042*x, FloorCores: 0.08 + 0.022*x, PacedCores: 0.1 + 0.028*x, ClientCores: 0.02 * x,
			FPS: 30, NominalFPS: 30, SoundPackets: 50, GapMs: 24 + x, SoundMs: 60 + x/2, PictureMs: 90 + 2*x, HasServer: true, ServerFPS: 30, RSSBytes: int64(n) << 23,
		}
		if n > 24 {
			p.FPS, p.ServerFPS, p.GapMs = 650/x, 650/x, 4.2*x
		}
		p.judge(r.Bounds)
		r.Points = append(r.Points, p)
	}
	r.First = r.Points[5].Faults
	r.Line = fit(r.Points)
	return r
}

// TestCapacityChart: the same curve is always the same file, and a well-formed one.
func TestCapacityChart(t *testing.T) {
	for name, edit := range map[string]func(*CapacityResult){
		"capacity": func(*CapacityResult) {},
		"capacity-audio": func(r *CapacityResult) {
			r.Talkers, r.Broke, r.First = 2, 0, nil
			for i := range r.Points {
				p := &r.Points[i]
				p.NominalFPS, p.FPS, p.PictureMs, p.Faults, p.GapMs = 0, 0, 0, nil, 30
			}
		},
	} {
		r := exampleCapacity()
		edit(r)
		var got bytes.Buffer
		if err := r.SVG(&got); err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(got.Bytes())); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s is not well-formed: %v", name, err)
			}
		}
		file := filepath.Join("testdata", name+".golden.svg")
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s has changed: look at it, then run the test with -update", file)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		top   float64
		count int
		least float64
		want  string
	}{
		{1, 4, 0, "0.0 0.5 1.0"}, {2, 4, 0, "0.0 0.5 1.0 1.5 2.0"}, {33, 4, 0, "0 10 20 30 40"}, {0.07, 4, 0, "0.00 0.02 0.04 0.06 0.08"},
		{3, 10, 1, "0 1 2 3"}, {170, 10, 1, "0 20 40 60 80 100 120 140 160 180"}, {0, 4, 0, "0.0 0.5 1.0"}, {math.NaN(), 4, 0, "0.0 0.5 1.0"},
	} {
		v := ticks(tc.top, tc.count, tc.least)
		var s []string
		for _, x := range v {
			s = append(s, tickText(x, v[1]))
		}
		if got := strings.Join(s, " "); got != tc.want {
			t.Errorf("ticks to %v: %s, want %s", tc.top, got, tc.want)
		}
	}
}

func TestCapacityJSON(t *testing.T) {
	var b bytes.Buffer
	r := exampleCapacity()
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var back CapacityResult
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(back.Points) != fmt.Sprint(r.Points) || back.Held != r.Held || *back.Line != *r.Line {
		t.Errorf("%+v came back as %+v", r, back)
	}
}
