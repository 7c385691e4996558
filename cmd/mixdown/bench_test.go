package main

import (
	"encoding/json"
	"testing"

	"mixdown/cmd/mixdown/internal/bench"
)

// TestBenchRoom runs the benchmark for a moment, one of three on a bad link:
// not for its figures, but so that it can be relied on when they are wanted.
func TestBenchRoom(t *testing.T) {
	t.Setenv(beMain, "1") // for the server it starts, which is this binary
	code, out, errs := runMain(t, "bench", "room", "--participants", "3", "--talkers", "2", "--duration", "3s", "--warmup", "2s",
		"--impair", "loss=5%,jitter=30ms", "--impair-count", "1", "--clips", clipsDir, "--json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r bench.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if r.ServerCores <= 0 || r.RSSBytes <= 0 || r.Floor.Total <= 0 || r.Ratio <= 0 {
		t.Errorf("server %v cores, %d bytes, floor %v, ratio %v: want all above 0", r.ServerCores, r.RSSBytes, r.Floor, r.Ratio)
	}
	if r.Healthy.Clients != 2 || r.Poor == nil || r.Poor.Clients != 1 {
		t.Fatalf("%d healthy clients, poor ones %+v: want 2 and 1", r.Healthy.Clients, r.Poor)
	}
	if r.Healthy.FPS.Median < 5 || r.Healthy.AudioPackets.Median < 20 {
		t.Errorf("healthy clients got %v fps, %v packets/s: want a conference", r.Healthy.FPS, r.Healthy.AudioPackets)
	}
	if r.Poor.AudioLost == 0 && r.Poor.VideoMissing == 0 {
		t.Error("a link that loses 5% lost nothing")
	}
	if r.Server == nil || r.Server.VideoDecodes < 10 || r.Server.AudioEncodes < 20 || len(r.Server.VideoEncodes) == 0 {
		t.Errorf("the server says of itself %+v", r.Server)
	}
	if r.OwnToneBelowDB.Min < 15 {
		t.Errorf("own tone only %.0f dB below the other's", r.OwnToneBelowDB.Min)
	}
}
