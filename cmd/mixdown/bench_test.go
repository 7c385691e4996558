package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"mixdown/cmd/mixdown/internal/bench"
)

// TestBenchRoom runs the benchmark for a moment, one of three on a bad link:
// not for its figures, but so that it can be relied on when they are wanted.
func TestBenchRoom(t *testing.T) {
	t.Setenv(beMain, "1") // for the server it starts, which is this binary
	code, out, errs := runMain(t, "bench", "room", "--participants", "3", "--talkers", "2", "--viewers", "1",
		"--duration", "3s", "--warmup", "2s", "--latency", "4s", "--uplink=off",
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
	if r.Healthy.Clients != 3 || r.Poor == nil || r.Poor.Clients != 1 {
		t.Fatalf("%d healthy clients, poor ones %+v: want 3 and 1", r.Healthy.Clients, r.Poor)
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
	if r.OwnVoices == 0 || r.OwnVoiceBelowDB.Min < 30 || r.OwnVoiceFloorDB.Min < 30 {
		t.Errorf("own voice %+v below the others', of %d who could be heard; noise %+v below", r.OwnVoiceBelowDB, r.OwnVoices, r.OwnVoiceFloorDB)
	}
	if l := r.SoundLatency; l == nil || l.Readings+l.Excused < 10 || l.Readings > 0 && (l.P50 < 5 || l.P50 > 500) {
		t.Errorf("latency of sound %+v: want some readings that can be true", l)
	}
	if l := r.PictureLatency; l == nil || l.Readings+l.Excused < 30 || l.Readings > 0 && (l.P50 < 1 || l.P50 > 1000) {
		t.Errorf("latency of pictures %+v: want some readings that can be true", l)
	}
	if s := r.Skew; s == nil || s.Readings+s.Excused == 0 {
		t.Errorf("skew %+v: want some readings", s)
	}
	// On a machine that is late all the time there may be none.
	if o := r.OwnMarkerBelowDB; o != (bench.MinMedian{}) && o.Median < 20 {
		t.Errorf("own marker only %.0f dB below what was sent", r.OwnMarkerBelowDB.Median)
	}
}

func TestBenchRoomUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--canvas: \"1280x720\"":    {"--canvas", "1280x720"},
		"--video: \"640x361@30\"":   {"--video", "640x361@30"},
		"leave one of them out":     {"--audio-only", "--canvas", "640x360@30"},
		"-1 viewers":                {"--viewers=-1"},
		"latency 1s: want 2s":       {"--latency", "1s"},
		"skew only, and yet":        {"--skew-only", "--latency", "0s"},
		"901 participants: want":    {"--participants", "901"},
		"duration 0s: want 1s":      {"--duration", "0s"},
		"-1 requests: want 0":       {"--requests=-1"},
		"server URL \"http://h/x\"": {"--server", "http://h/x", "--pid", "1"},
		"yet no running server":     {"--admin", "http://127.0.0.1:9090"},
		"admin address \"9090\"":    {"--server", "http://h", "--pid", "1", "--admin", "9090"},
	} {
		code, _, errs := runMain(t, append([]string{"bench", "room"}, args...)...)
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %q: want %d and %q", args, code, errs, exitUsage, want)
		}
	}
}

// TestBenchRoomOfSound: no picture is sent, composed, received, or waited for.
func TestBenchRoomOfSound(t *testing.T) {
	t.Setenv(beMain, "1")
	code, out, errs := runMain(t, "bench", "room", "--audio-only", "--participants", "4", "--talkers", "1", "--viewers", "1",
		"--duration", "2s", "--warmup", "1s", "--latency", "0s", "--requests", "100", "--clips", clipsDir, "--json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r bench.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if q := r.Requests; q == nil || q.Failed != 0 || q.PerSecond < 5 || q.P99Ms <= 0 {
		t.Errorf("requests beside it: %+v", q)
	}
	if !r.AudioOnly || r.Healthy.FPS.Max != 0 || r.Floor.VideoDecode+r.Floor.VideoEncode != 0 || r.Floor.Total <= 0 || r.SoundLatency != nil {
		t.Errorf("a room of sound: %+v", r)
	}
	if r.Healthy.Clients != 5 || r.Healthy.AudioPackets.Min < 30 {
		t.Errorf("%d clients, %v packets/s: want 5 who hear", r.Healthy.Clients, r.Healthy.AudioPackets)
	}
	if v := r.Server; v == nil || v.VideoDecodes != 0 || len(v.VideoEncodes) != 0 {
		t.Errorf("the server says of itself %+v", v)
	}
}

// TestBenchRoomOfARunningServer: of a server that runs already everything is told
// that is told of an own one, if its admin address is given too. What cannot be
// measured is said before anything has been done.
func TestBenchRoomOfARunningServer(t *testing.T) {
	app, url := startApp(t)
	args := []string{"bench", "room", "--server", url, "--audio-only", "--participants", "2", "--duration", "2s", "--warmup", "1s", "--latency", "0s",
		"--clips", clipsDir, "--json", "--quiet"}
	admin := "http://" + app.AdminAddr()
	code, out, errs := runMain(t, append(args, "--pid", strconv.Itoa(os.Getpid()), "--admin", admin)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r bench.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if r.ServerCores <= 0 || r.RSSBytes <= 0 || r.Healthy.AudioPackets.Min < 30 {
		t.Errorf("%v cores, %d bytes, %v packets/s: want a conference", r.ServerCores, r.RSSBytes, r.Healthy.AudioPackets)
	}
	if r.Server == nil || r.Server.AudioDecodes < 30 || r.Server.AudioEncodes < 30 {
		t.Errorf("the server says of itself %+v: want two who are decoded and coded", r.Server)
	}
	for want, more := range map[string][]string{
		"process 2147483646": {"--pid", "2147483646"},
		"no metrics at":      {"--pid", strconv.Itoa(os.Getpid()), "--admin", url}, // which is not it
	} {
		if code, _, errs := runMain(t, append(args, more...)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %q: want a failure that says %q", more, code, errs, want)
		}
	}
}
