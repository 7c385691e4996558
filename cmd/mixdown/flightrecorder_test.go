package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// flying runs a flight recorder until the test ends.
func flying(t *testing.T, dir string, interval time.Duration) *flightRecorder {
	t.Helper()
	f, err := newFlightRecorder(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f.interval = interval
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, f.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	soon(t, "tracing", func() bool { return !errors.Is(f.snapshot(io.Discard), errFlightRecorderOff) })
	return f
}

// dumped are the traces in dir, oldest first.
func dumped(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, dumpPrefix+"*"+dumpSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// parsed is what Go's own tool reads in a trace.
func parsed(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "tool", "trace", "-d=parsed", file).CombinedOutput()
	if err != nil {
		t.Fatalf("go tool trace cannot read %s: %v\n%.2000s", file, err, out)
	}
	return string(out)
}

func TestLateTickIsDumped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "traces")
	f := flying(t, dir, time.Hour)
	f.lateAudio("standup", 83*time.Millisecond, 0)
	soon(t, "a dump", func() bool { return f.dumps.Load() == 1 })
	files := dumped(t, dir)
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	if text := parsed(t, files[0]); !strings.Contains(text, "room standup, 83ms late") {
		t.Errorf("the trace does not tell of the late tick:\n%.2000s", text)
	}
	// Another one within the hour is only counted.
	f.lateAudio("standup", 84*time.Millisecond, 0)
	soon(t, "the next to be suppressed", func() bool { return f.suppressed.Load() == 1 })
	if n := len(dumped(t, dir)); n != 1 || f.dumps.Load() != 1 || f.failed.Load() != 0 {
		t.Errorf("%d files, %d dumps, %d failed", n, f.dumps.Load(), f.failed.Load())
	}
	if _, err := os.Stat(filepath.Join(dir, dumpTemp)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished file: %v", err)
	}
}

func TestOldDumpsGo(t *testing.T) {
	dir := t.TempDir()
	for i := range maxDumps + 2 {
		name := fmt.Sprintf("%s20200101T0000%02d.000Z%s", dumpPrefix, i, dumpSuffix)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mine := filepath.Join(dir, "mine.trace") // not ours to remove
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := flying(t, dir, time.Hour)
	f.lateAudio("r", time.Second, 40)
	soon(t, "a dump", func() bool { return f.dumps.Load() == 1 && len(dumped(t, dir)) <= maxDumps })
	files := dumped(t, dir)
	if len(files) != maxDumps || !strings.Contains(files[0], "T000003") || strings.Contains(files[maxDumps-1], "20200101") {
		t.Errorf("left are %v", files)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestDumpThatFailsLeavesNothing(t *testing.T) {
	f, err := newFlightRecorder(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.dump(time.Now(), lateTick{}) // it does not run: there is nothing to write
	if entries, err := os.ReadDir(f.root.Name()); err != nil || len(entries) != 0 || f.failed.Load() != 1 {
		t.Errorf("left are %v, %v; %d failed", entries, err, f.failed.Load())
	}
	b := boundedWriter{io.Discard, 10}
	if n, err := b.Write(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("10 of 10 bytes: %d, %v", n, err)
	}
	if _, err := b.Write(make([]byte, 1)); !errors.Is(err, errDumpTooLarge) {
		t.Errorf("one more: %v", err)
	}
}

// TestServerWithFlightRecorder is the whole way: a room's tick is late, which at
// a bound of a nanosecond each is.
func TestServerWithFlightRecorder(t *testing.T) {
	data := t.TempDir()
	app, url := startApp(t, func(c *Config) {
		c.Data, c.FlightRecorder, c.LateAfter = data, true, time.Nanosecond
	})
	whistle(t, url+"/r/late")
	soon(t, "a dump", func() bool { return len(dumped(t, filepath.Join(data, "traces"))) == 1 })
	if text := parsed(t, dumped(t, filepath.Join(data, "traces"))[0]); !strings.Contains(text, "room late, ") {
		t.Error("the trace does not tell of the late tick")
	}
	admin := "http://" + app.AdminAddr()
	if m := scrape(t, admin); m["mixdown_flight_recorder_on"] != 1 || m["mixdown_flight_recorder_dumps_total"] != 1 {
		t.Errorf("metrics: on %v, %v dumps", m["mixdown_flight_recorder_on"], m["mixdown_flight_recorder_dumps_total"])
	}
	asked := filepath.Join(t.TempDir(), "asked.trace")
	if err := os.WriteFile(asked, []byte(ask(t, 200, "GET", admin+"/debug/flightrecorder", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := parsed(t, asked); !strings.Contains(text, "late audio tick") {
		t.Error("the trace that was asked for does not tell of late ticks")
	}
}

func TestFlightRecorderOff(t *testing.T) {
	app, _ := startApp(t)
	if body := ask(t, 404, "GET", "http://"+app.AdminAddr()+"/debug/flightrecorder", ""); !strings.Contains(body, "--flight-recorder") {
		t.Errorf("the answer does not say how to have one: %s", body)
	}
}

// TestOnlyOneFlightRecorder: a second one says so, and its server runs without.
func TestOnlyOneFlightRecorder(t *testing.T) {
	flying(t, t.TempDir(), time.Hour)
	var log lockedBuffer
	app, url := startApp(t, func(c *Config) {
		c.FlightRecorder, c.Log = true, slog.New(slog.NewTextHandler(&log, nil))
	})
	soon(t, "a word about it", func() bool { return strings.Contains(log.String(), "the flight recorder does not run") })
	ask(t, 200, "GET", url+"/readyz", "")
	ask(t, 404, "GET", "http://"+app.AdminAddr()+"/debug/flightrecorder", "")
}

func TestProfilesAreBounded(t *testing.T) {
	app, _ := startApp(t)
	admin := "http://" + app.AdminAddr()
	for _, seconds := range []string{"0", "-1", "121", "1e9", "x", "0.5"} {
		if body := ask(t, 400, "GET", admin+"/debug/pprof/profile?seconds="+seconds, ""); !strings.Contains(body, "1 to 120") {
			t.Errorf("seconds=%s: %s", seconds, body)
		}
	}
	if profile := ask(t, 200, "GET", admin+"/debug/pprof/allocs", ""); !bytes.HasPrefix([]byte(profile), []byte{0x1f, 0x8b}) {
		t.Error("the heap profile is not compressed protobuf")
	}
	// As many as may, and one more.
	held := make(chan struct{})
	wrap := boundProfiles()
	began := make(chan struct{})
	slow := wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { began <- struct{}{}; <-held }))
	done := make(chan struct{})
	for range maxProfilers {
		go func() { slow.ServeHTTP(httptest.NewRecorder(), request(t, "/")); done <- struct{}{} }()
		<-began
	}
	w := httptest.NewRecorder()
	slow.ServeHTTP(w, request(t, "/"))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	close(held)
	for range maxProfilers {
		<-done
	}
}

// TestAdminAnswersToThisMachinesNamesOnly: a foreign page whose name leads here
// must not read profiles.
func TestAdminAnswersToThisMachinesNamesOnly(t *testing.T) {
	app, _ := startApp(t)
	for host, want := range map[string]int{"localhost:9090": 200, "127.0.0.1": 200, "evil.example": 403} {
		r := request(t, "http://"+app.AdminAddr()+"/metrics")
		r.Host = host
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("Host: %s: %s, want %d", host, res.Status, want)
		}
	}
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
