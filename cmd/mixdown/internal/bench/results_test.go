package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// headline runs the whole benchmark on a made-up machine.
func headline(t *testing.T) (*Report, *machineOf) {
	t.Helper()
	m := &machineOf{limit: 20, server: &ServerView{AudioTickLatenessP99Ms: 3}}
	round := 0
	r, err := Headline(context.Background(), HeadlineConfig{
		Room: Config{Duration: 30 * time.Second, Log: io.Discard}, CapacityTo: 64, Version: "v9", Commit: "0123abc",
		Now: time.Date(2026, 11, 20, 23, 30, 0, 0, time.FixedZone("", 3600)),
		Measure: func(ctx context.Context, cfg Config) (*Result, error) {
			if cfg.Participants == 9 && cfg.Talkers == 9 && cfg.ImpairCount == 0 && cfg.Viewers == 0 && !cfg.Still && !cfg.Uplink {
				round++
			}
			r, err := m.measure(ctx, cfg)
			r.ServerCores *= 1 + 0.1*float64(round-1) // the machine gets slower
			r.Ratio = r.ServerCores / r.Floor.Total
			if cfg.ImpairCount > 0 {
				r.Poor = &Group{Clients: cfg.ImpairCount, Unexcused: Gaps{P999: 65}}
			}
			encode := 0.11
			switch {
			case cfg.Viewers > 0:
				r.ServerCores += 0.002 * float64(cfg.Viewers)
			case cfg.Still:
				encode = 0.011
			case cfg.Participants == 2:
				encode = 0
			}
			r.Server = &ServerView{AudioTickLatenessP99Ms: 3, Cores: StageCores{Encode: encode}}
			r.Viewers, r.Still = cfg.Viewers, cfg.Still
			if cfg.Uplink {
				r.ServerCores -= 0.1
				r.Server.DecodedPerCanvas = 1.02
			}
			if cfg.noFloor {
				r.Server.VideoEncodes = map[string]float64{"1280x720@30": encode * 270}
				r.Server.VideoDecodes, r.Server.Canvases = float64(30*cfg.Participants), 30
				return r, err
			}
			r.SoundLatency = &Latency{P50: 50 + float64(round), P95: 70, Readings: 900}
			if cfg.AudioOnly {
				r.Healthy.FPS = MinMedian{}
			} else {
				r.PictureLatency = &Latency{P50: 80, P95: 110, Readings: 900}
				r.Skew = &Skew{Shown: SkewFigures{P50: -7, P95Abs: 13}, Readings: 100}
				r.SkewRecorded = &Skew{Shown: SkewFigures{P95Abs: 9}, Readings: 100}
			}
			return r, err
		},
		Churn: func(_ context.Context, cfg ChurnConfig) (*ChurnResult, error) {
			if err := cfg.Validate(); err != nil {
				return nil, err
			}
			return &ChurnResult{
				Burst: Burst{
					Joins: cfg.Joins, Seconds: 2, FirstPictureMs: Spread{100, 350, 410}, FirstSoundMs: Spread{60, 80, 90},
					Keyframes: map[string]float64{"640x360@30": 7}, Span: 2.3, Stayers: Undisturbed{PictureGapUnexcusedMs: 51, SoundGapUnexcusedMs: 33, Decoded: 120},
				},
				Cycles: &Cycles{
					Cycles: cfg.Cycles, Before: Footprint{100 << 20, 9 << 20, 70, 18}, After: Footprint{101 << 20, 9 << 20, 70, 18},
					Stayers: Undisturbed{PictureGapUnexcusedMs: 67, SoundGapUnexcusedMs: 31, Decoded: 300},
				},
			}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, m
}

// TestHeadline: every scenario in every round, rounds after each other, and
// the table says how far they are apart.
func TestHeadline(t *testing.T) {
	r, m := headline(t)
	want := []int{9, 9, 9, 9, 16, 30, 2, 9, 9, 49, 4, 8, 16, 32, 32, 24, 24, 20, 22, 22, 21, 21}
	if len(m.measured) != 2*len(want) {
		t.Fatalf("measured %v", m.measured)
	}
	for i, n := range m.measured {
		if n != want[i%len(want)] {
			t.Fatalf("measured %v: want %v twice", m.measured, want)
		}
	}
	// Machine, kernel and libraries are this machine's.
	r.Machine, r.Kernel = "2 x Example", "linux 6"
	r.Versions = map[string]string{"libvpx": "v1", "libopus": "libopus 1"}
	var out bytes.Buffer
	if err := r.Markdown(&out); err != nil {
		t.Fatal(err)
	}
	if err := Compare(&out, []*Report{r, {Date: r.Date, Commit: "fff", Scenarios: r.Scenarios[1:2]}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "headline.golden.md")
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Results that were kept stay readable: this one was, once.
	kept := filepath.Join("testdata", "headline.report.json")
	if *update {
		data, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(kept, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := LoadReport(kept)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := old.Markdown(&again); err != nil || !bytes.HasPrefix(out.Bytes(), again.Bytes()) {
		t.Errorf("%v; what was kept prints as\n%s", err, again.String())
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), golden) {
		t.Errorf("the table has changed: look at it, then run the test with -update\n%s", out.String())
	}
}

func TestHeadlineErrors(t *testing.T) {
	failing := errors.New("no server")
	cfg := HeadlineConfig{
		Room:    Config{Duration: 30 * time.Second, Log: io.Discard},
		Measure: func(context.Context, Config) (*Result, error) { return nil, failing },
	}
	if _, err := Headline(context.Background(), cfg); !errors.Is(err, failing) || !strings.Contains(err.Error(), "nine-talk") {
		t.Errorf("error %v: want one that says which run failed, and why", err)
	}
	cfg.Measure = func(context.Context, Config) (*Result, error) { return &Result{}, nil }
	cfg.Churn = func(context.Context, ChurnConfig) (*ChurnResult, error) { return nil, failing }
	if _, err := Headline(context.Background(), cfg); !errors.Is(err, failing) || !strings.Contains(err.Error(), "churn") {
		t.Errorf("error %v: want one that says what failed, and why", err)
	}
	cfg.Rounds = -1
	if _, err := Headline(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "rounds") {
		t.Errorf("error %v: want one about rounds", err)
	}
	cfg.Rounds, cfg.Room.URL, cfg.Room.PID = 1, "http://h", 1
	if _, err := Headline(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "URL") {
		t.Errorf("error %v: want one about the URL", err)
	}
}

// TestReportIsKept: what is written can be read, prints the same, and is never
// overwritten.
func TestReportIsKept(t *testing.T) {
	r, _ := headline(t)
	dir := filepath.Join(t.TempDir(), "results")
	for _, want := range []string{"2026-11-20-0123abc.json", "2026-11-20-0123abc-2.json"} {
		path, err := r.Save(dir)
		if err != nil || filepath.Base(path) != want {
			t.Fatalf("saved as %s, %v: want %s", path, err, want)
		}
		back, err := LoadReport(path)
		if err != nil {
			t.Fatal(err)
		}
		var a, b bytes.Buffer
		if err := errors.Join(r.Markdown(&a), back.Markdown(&b)); err != nil {
			t.Fatal(err)
		}
		if a.String() != b.String() {
			t.Errorf("it came back as\n%s\nand was\n%s", b.String(), a.String())
		}
	}
	r.Commit = "../../x y"
	if path, err := r.Save(dir); err != nil || filepath.Dir(path) != dir || filepath.Base(path) != "2026-11-20-.._.._x_y.json" {
		t.Errorf("saved as %s, %v", path, err)
	}
}

func TestLoadReportErrors(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":           "{",
		"something else":     `{"a":1}`,
		"nothing in it":      `{"date":"2026-11-20T00:00:00Z"}`,
		"no runs":            `{"date":"2026-11-20T00:00:00Z","scenarios":[{"name":"x"}]}`,
		"a run that is nil":  `{"date":"2026-11-20T00:00:00Z","scenarios":[{"name":"x","runs":[null]}]}`,
		"a churn of nothing": `{"date":"2026-11-20T00:00:00Z","capacity":[{"held":3}],"churn":[null]}`,
		"no reason":          `{"date":"2026-11-20T00:00:00Z","capacity":[{"broke":3}]}`,
	} {
		path := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadReport(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v: want one that names the file", name, err)
		}
	}
	if _, err := LoadReport(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// FuzzReport: whatever the file says, reading and printing it do not panic.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"date":"2026-11-20T00:00:00Z","commit":"x","seconds":60,"scenarios":[{"name":"n","title":"t","runs":[{"serverCores":1,"server":{}},{"serverCores":1.1,"poor":{}}]}],
		"churn":[{"burst":{"keyframes":{"x":1e300}},"cycles":{}},{}],
		"capacity":[{"held":3,"broke":4,"talkers":-1,"first":[{"what":"joining"}],"points":[{"participants":3,"cores":2,"serverCores":1e308},{"participants":4,"error":"x"}]}]}`))
	f.Add([]byte(`{"date":"2026-11-20T00:00:00Z","capacity":[{"points":[{"participants":-9,"fps":1e-300,"nominalFps":1}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseReport(data)
		if err != nil {
			return
		}
		if err := errors.Join(r.Markdown(io.Discard), Compare(io.Discard, []*Report{r})); err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Capacity {
			if err := errors.Join(c.Table(io.Discard), c.SVG(io.Discard)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
