package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixdown/cmd/mixdown/internal/bench"
)

// TestBenchCapacity searches from two to three participants, for a moment each:
// not for the figures, but so that the command can be relied on.
func TestBenchCapacity(t *testing.T) {
	t.Setenv(beMain, "1") // for the server it starts, which is this binary
	svg := filepath.Join(t.TempDir(), "curve.svg")
	code, out, errs := runMain(t, "bench", "capacity", "--from", "2", "--to", "3", "--step", "1", "--duration", "1s", "--warmup", "500ms",
		"--latency", "0s", "--audio-only", "--max-gap", "10s", "--clips", clipsDir, "--svg", svg, "--json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r bench.CapacityResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if r.Held+r.Broke == 0 || len(r.Points) == 0 || r.Points[0].ServerCores <= 0 || r.Points[0].SoundPackets <= 0 || r.Points[0].FPS != 0 {
		t.Errorf("result %+v: want points with sound and without pictures", r)
	}
	drawn, err := os.ReadFile(svg)
	if err != nil || !strings.HasPrefix(string(drawn), "<svg ") {
		t.Errorf("the curve is %.20q, %v", drawn, err)
	}
}

// TestBenchReport prints what was kept before.
func TestBenchReport(t *testing.T) {
	results, err := filepath.Glob("internal/bench/testdata/*.report.json")
	if err != nil || len(results) == 0 {
		t.Fatalf("no report to print: %v", err)
	}
	svg := filepath.Join(t.TempDir(), "curve.svg")
	code, out, errs := runMain(t, "bench", "report", results[0], "--svg", svg)
	if code != 0 || !strings.Contains(out, "server, cores") || !strings.Contains(out, "Capacity, run 2") {
		t.Errorf("exit code %d: %s%s", code, errs, out)
	}
	if _, err := os.Stat(svg); err != nil {
		t.Error(err)
	}
	if code, out, errs = runMain(t, "bench", "report", results[0], results[0]); code != 0 || strings.Count(out, "0123abc") != 2 {
		t.Errorf("two reports: exit code %d: %s%s", code, errs, out)
	}
}

func TestBenchFlagsThatAreWrong(t *testing.T) {
	for _, tc := range []struct{ args, word string }{
		{"capacity --from 0", "from"},
		{"capacity --from 9 --to 8", "smaller"},
		{"capacity --step -1", "step"},
		{"capacity --min-fps 0", "--min-fps"},
		{"capacity --max-gap 0s", "--max-gap"},
		{"capacity --canvas big", "--canvas"},
		{"capacity --impair drop=2s", "drop"},
		{"capacity --duration 1ms", "duration"},
		{"room --impair rate=1mbps@x", "rate"},
		{"headline --rounds 0x", "rounds"},
		{"headline --duration 0s", "duration"},
		{"report", "files"},
		{"report no-such-file.json", "no-such-file.json"},
	} {
		code, _, errs := runMain(t, append([]string{"bench"}, strings.Fields(tc.args)...)...)
		if code == 0 || !strings.Contains(errs, tc.word) {
			t.Errorf("bench %s: exit code %d, %q: want a failure that names %q", tc.args, code, errs, tc.word)
		}
	}
}
