package main

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"mixdown/cmd/mixdown/internal/probe"
)

// TestDoctorFindsAllWell tries a server on free ports by every way.
func TestDoctorFindsAllWell(t *testing.T) {
	code, out, errs := runMain(t, "doctor", "--", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--media", "127.0.0.1:0",
		"--turn", "127.0.0.1:0", "--turn-tls", "127.0.0.1:0", "--tls", "self", "--data", t.TempDir())
	if code != 0 {
		t.Fatalf("exit code %d: %s\n%s", code, errs, out)
	}
	for _, want := range []string{
		`ok +configuration +`, `ok +libraries +libvpx v1`, `ok +disk +.* GB free`, `ok +port +--http 127`,
		`ok +UDP +connected after \d+ ms, a picture after \d+ ms`, `ok +TCP +connected after .*/tcp`,
		`ok +TURN +turn:\S+transport=udp: connected`, `ok +TURN +turn:\S+transport=tcp: connected`, `ok +TURN +turns:\S+: connected`,
		`warning +addresses +UDP at 127.0.0.1:\d+: none is of the internet`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the doctor does not say %s", want)
		}
	}
	if strings.Contains(out, string(bad)) || t.Failed() {
		t.Logf("the doctor says\n%s", out)
	}
}

// TestDoctorFindsFaults: each is told with what to do, and the exit code says so.
func TestDoctorFindsFaults(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"configuration", []string{"doctor", "--", "--drain", "0s"}, `FAULT +configuration +.*--drain`},
		{"file", []string{"doctor", "--config", configOf(t, "htpp: x\n")}, `FAULT +configuration +.*line 1: unknown key`},
		{"port", []string{"doctor", "--", "--http", addr, "--admin", "off", "--media", "127.0.0.1:0", "--media-tcp", "off", "--data", t.TempDir()},
			`FAULT +port +--http: .*in use; if that is a mixdown`},
		{"disk", []string{"doctor", "--", "--http", "127.0.0.1:0", "--admin", "off", "--media", "127.0.0.1:0", "--media-tcp", addr, "--data", "/proc/nothing"},
			`FAULT +disk +--data`},
		{"nobody there", []string{"doctor", "--url", "http://" + addr}, `FAULT +UDP +`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "nobody there" { // the last one
				_ = taken.Close()
			}
			code, out, errs := runMain(t, tc.args...)
			if code != exitFailure || !strings.Contains(errs, "the doctor found") || !regexp.MustCompile(tc.want).MatchString(out) {
				t.Errorf("exit code %d: %s\n%s\nwant %s", code, errs, out, tc.want)
			}
		})
	}
}

// TestDoctorTriesAServerThatRuns, and one that is without TCP.
func TestDoctorTriesAServerThatRuns(t *testing.T) {
	_, url := startApp(t, func(c *Config) { c.MediaTCP = []string{tcpOff} })
	code, out, errs := runMain(t, "doctor", "--url", url)
	if code != 0 || !regexp.MustCompile(`ok +UDP +connected`).MatchString(out) || !regexp.MustCompile(`warning +TCP +off`).MatchString(out) {
		t.Errorf("exit code %d: %s\n%s", code, errs, out)
	}
	if told, err := probe.Run(t.Context(), probe.Config{URL: url, Way: probe.TCP}); err == nil || told.Connected != 0 {
		t.Errorf("by TCP: %+v, %v: want no path", told, err)
	}
}
