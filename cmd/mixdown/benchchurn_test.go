package main

import (
	"encoding/json"
	"strings"
	"testing"

	"mixdown/cmd/mixdown/internal/bench"
)

// benchJSON runs a benchmark, whose server is this binary, into result.
func benchJSON(t *testing.T, result any, args ...string) {
	t.Helper()
	t.Setenv(beMain, "1")
	code, out, errs := runMain(t, append(append([]string{"bench"}, args...), "--clips", clipsDir, "--json")...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), result); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
}

// TestComingAndGoing: ten join within a second and twenty join and leave again.
// All see something soon, key frames are shared, those who stay are never
// missing from the picture, and nothing is left behind.
func TestComingAndGoing(t *testing.T) {
	var r bench.ChurnResult
	benchJSON(t, &r, "churn", "--joins", "10", "--within", "1s", "--cycles", "20", "--warmup", "1s", "--climb", "5s")
	b := &r.Burst
	t.Logf("first picture %v ms, first sound %v ms, key frames %v in %.1f s; who stays: %+v; the machine was late %d times, by %.0f ms",
		b.FirstPictureMs, b.FirstSoundMs, b.Keyframes, b.Span, b.Stayers, r.WitnessLate, r.WitnessWorstMs)
	// How long it takes depends on the machine, what is waited for does not: not a
	// key frame for each, let alone a second attempt.
	if b.FirstPictureMs.P50 <= 0 || b.FirstPictureMs.P95 > 3000 || b.FirstSoundMs.P95 > 3000 {
		t.Errorf("first picture after %v ms, first sound after %v: want some, within 3 s", b.FirstPictureMs, b.FirstSoundMs)
	}
	if len(b.Keyframes) == 0 {
		t.Error("ten joined without a key frame")
	}
	for tier, n := range b.Keyframes {
		// The first is not waited for, and the last window may have begun just now.
		if most := b.Span/0.3 + 2; n > most {
			t.Errorf("%v key frames of %s in %.1f s: want one in 300 ms, %.0f", n, tier, b.Span, most)
		}
	}
	c := r.Cycles
	if c == nil || c.Cycles != 20 {
		t.Fatalf("cycles %+v: want 20", c)
	}
	t.Logf("cycles: %+v", c)
	for what, u := range map[string]*bench.Undisturbed{"burst": &b.Stayers, "cycles": &c.Stayers} {
		if u.Decoded < 5 || u.Undecodable > 0 || u.Black > 0 {
			t.Errorf("%s: of %d pictures %d lacked somebody who stays, %d could not be decoded: want neither", what, u.Decoded, u.Black, u.Undecodable)
		}
		// A lost key frame, or one that is waited for, would take longer.
		if !raceDetector() && (u.PictureGapUnexcusedMs > 500 || u.SoundGapUnexcusedMs > 500 || u.FreezeUnexcusedMs > 500) {
			t.Errorf("%s: who stays saw and heard nothing new for %.0f and %.0f ms, a tile stood still for %.0f, while the machine was not late: want 500 at most",
				what, u.PictureGapUnexcusedMs, u.SoundGapUnexcusedMs, u.FreezeUnexcusedMs)
		}
	}
	if c.After.Goroutines > c.Before.Goroutines || c.After.FDs > c.Before.FDs {
		t.Errorf("goroutines %d, then %d; file descriptors %d, then %d: want no more than before",
			c.Before.Goroutines, c.After.Goroutines, c.Before.FDs, c.After.FDs)
	}
	// A decoder has 1 MB, a connection half of that, what each client is sent again
	// as much: twenty times any of these would show.
	if grown := c.After.RSSBytes - c.Before.RSSBytes; !raceDetector() && grown > 24<<20 {
		t.Errorf("the server has grown by %d MB in 20 cycles", grown>>20)
	}
}

// TestViewersAddNoEncode: who only watches is sent what is there already.
func TestViewersAddNoEncode(t *testing.T) {
	var r bench.PairResult
	benchJSON(t, &r, "room", "--participants", "2", "--viewers", "6", "--per-viewer", "--rounds", "1", "--uplink", "off",
		"--duration", "1s", "--warmup", "200ms", "--climb", "5s")
	v := r.PerViewer
	if v == nil || v.Viewers != 6 || len(r.With) != 1 || len(r.Without) != 1 {
		t.Fatalf("%+v: want what each of 6 costs", r)
	}
	with := r.With[0]
	if with.Healthy.Clients != 8 || with.Healthy.FPS.Median < 5 {
		t.Errorf("%d clients, %v pictures/s: want 8 who see something", with.Healthy.Clients, with.Healthy.FPS)
	}
	// A second encode of the canvas, or one for each, would be 30 a second more.
	if v.EncodesWith > v.EncodesWithout+10 || v.EncodesWith > 45 {
		t.Errorf("%.1f pictures coded a second with viewers, %.1f without: want as many", v.EncodesWith, v.EncodesWithout)
	}
	if top := with.TopTier; top == nil || top.Clients != 8 || top.Tier != "1280x720@30" {
		t.Errorf("waited for %+v: want 8 on the largest tier", top)
	}
}

// TestTwoArePassedThrough: two who see each other cost no decode, no canvas and
// no encode, whether they move or not.
func TestTwoArePassedThrough(t *testing.T) {
	var pair bench.PairResult
	benchJSON(t, &pair, "room", "--participants", "2", "--talkers", "0", "--layout", "single,hideSelf,noLabels",
		"--canvas", "640x360@30", "--still", "--rounds", "1", "--uplink", "off", "--duration", "1s", "--warmup", "1s", "--climb", "5s")
	if pair.Still == nil || len(pair.With) != 1 || len(pair.Without) != 1 || !pair.With[0].Still || pair.Without[0].Still {
		t.Fatalf("%+v: want a room that moves and one that does not", pair)
	}
	for _, r := range []*bench.Result{pair.Without[0], pair.With[0]} {
		v := r.Server
		if v == nil || r.Layout == "" {
			t.Fatalf("%+v: want what the server says of itself", r)
		}
		if v.Passed < 10 || v.Passed < 5*(v.VideoDecodes+v.Canvases) {
			t.Errorf("still %v: %.0f pictures a second passed through, %.0f decoded, %.0f canvases composed, %v coded: want only the first",
				r.Still, v.Passed, v.VideoDecodes, v.Canvases, v.VideoEncodes)
		}
		if r.Healthy.FPS.Median < 5 {
			t.Errorf("still %v: they see %v pictures/s", r.Still, r.Healthy.FPS)
		}
	}
}

func TestBenchPictureUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--layout: /mode":           {"room", "--layout", "gird"},
		"want --viewers":            {"room", "--per-viewer"},
		"one comparison at a time":  {"room", "--per-viewer", "--still", "--viewers", "1"},
		"--rounds 0":                {"room", "--still", "--rounds", "0"},
		"climb -1s":                 {"room", "--climb=-1s"},
		"a layout is given":         {"room", "--audio-only", "--layout", "single"},
		"5 stay: want 1..4":         {"churn", "--stay", "5"},
		"--canvas: \"9\"":           {"churn", "--canvas", "9"},
		"0 lanes":                   {"churn", "--lanes", "0"},
		"climb -1s: want 0s..24h":   {"churn", "--climb=-1s"},
		"--video: \"640x361@30\":":  {"churn", "--video", "640x361@30"},
		"within 2m0s: want 0s..1m":  {"churn", "--within", "2m"},
		"-1 cycles: want 0..100000": {"churn", "--cycles=-1"},
	} {
		code, _, errs := runMain(t, append([]string{"bench"}, args...)...)
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %q: want %d and %q", args, code, errs, exitUsage, want)
		}
	}
}
