package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixdown/api/token"
)

// serverKey is a key for tests, as --key takes it.
const serverKey = "K1:0123456789abcdef0123456789abcdef"

func TestKeysNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	for n := 1; n <= 2; n++ {
		code, out, errs := runMain(t, "keys", "new", path)
		keys, err := token.ReadKeys(path)
		if code != 0 || err != nil || len(keys) != n {
			t.Fatalf("exit code %d, %s, %v, %d keys", code, errs, err, len(keys))
		}
		for id, secret := range keys {
			if strings.Contains(out, secret) {
				t.Error("the secret was printed")
			}
			if n == 1 && !strings.Contains(out, id) {
				t.Errorf("%q does not name the key", out)
			}
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	code, out, _ := runMain(t, "keys", "new")
	if keys, err := token.ParseKeys([]byte(out)); code != 0 || err != nil || token.CheckKeys(keys) != nil {
		t.Errorf("exit code %d, %v of %q", code, err, out)
	}
	notes := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(notes, []byte("milk\nbread\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runMain(t, "keys", "new", notes); code != exitFailure || !strings.Contains(errs, "notes.txt") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestToken(t *testing.T) {
	_, secret, _ := strings.Cut(serverKey, ":")
	ring, err := token.NewKeyring(map[string]string{"K1": secret})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		ok   func(token.Claims) bool
	}{
		"speaker": {[]string{"--room", "r", "--identity", "ann", "--name", "Ann"}, func(c token.Claims) bool {
			return c.Subject == "ann" && c.Name == "Ann" && c.Video.Room == "r" && c.Video.RoomJoin && !c.MayAdmin() && c.Expires.Sub(c.Issued) == 6*time.Hour
		}},
		"host": {[]string{"--room", "r", "--role", "host", "--record", "--for", "1h"}, func(c token.Claims) bool {
			return c.MayAdmin() && c.Video.RoomRecord && !c.Mix.Recordings && c.Expires.Sub(c.Issued) == time.Hour
		}},
		"admin":     {[]string{"--admin"}, func(c token.Claims) bool { return c.Video.Room == "*" && c.MayAdmin() && c.Video.RoomList }},
		"recordist": {[]string{"--room", "r", "--role", "none", "--recordings"}, func(c token.Claims) bool { return !c.Video.RoomJoin && c.Mix.Recordings }},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runMain(t, append([]string{"token", "--key", serverKey}, c.args...)...)
			claims, err := ring.Verify(strings.TrimSpace(out), time.Now())
			if code != 0 || err != nil || !c.ok(claims) {
				t.Errorf("exit code %d, %s, %v: %+v", code, errs, err, claims)
			}
		})
	}
	code, out, errs := runMain(t, "token", "--key", serverKey, "--room", "r", "--link", "https://mix.example")
	if code != 0 || !strings.HasPrefix(out, "https://mix.example/r/r#token=") {
		t.Errorf("exit code %d, %q %s", code, out, errs)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no key":     {[]string{"--room", "r"}, "--keys FILE"},
		"no room":    {[]string{"--key", serverKey}, "--room"},
		"two days":   {[]string{"--key", serverKey, "--room", "r", "--for", "48h"}, "24h"},
		"tier":       {[]string{"--key", serverKey, "--room", "r", "--max-tier", "big"}, "--max-tier"},
		"link":       {[]string{"--key", serverKey, "--room", "*", "--link", "https://mix.example"}, "--room"},
		"bad link":   {[]string{"--key", serverKey, "--room", "r", "--link", "mix.example"}, "https://"},
		"short key":  {[]string{"--key", "K1:hunter2hunter2", "--room", "r"}, "at least 32"},
		"no secret":  {[]string{"--key", "hunter2hunter2", "--room", "r"}, "ID:SECRET"},
		"which one":  {[]string{"--key", serverKey, "--key", "K2" + serverKey[2:], "--room", "r"}, "--with"},
		"not there":  {[]string{"--key", serverKey, "--with", "K9", "--room", "r"}, "no such key"},
		"no file":    {[]string{"--keys", "/nowhere/keys.yaml", "--room", "r"}, "--keys"},
		"same twice": {[]string{"--key", serverKey, "--key", serverKey, "--room", "r"}, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := runMain(t, append([]string{"token"}, c.args...)...)
			if code == 0 || !strings.Contains(errs, c.want) || strings.Contains(errs, "hunter2") {
				t.Errorf("exit code %d, %q: want %q", code, errs, c.want)
			}
		})
	}
}

// Where a server may listen.
func TestReachable(t *testing.T) {
	key := keyFlags{Key: []string{serverKey}}
	for _, c := range []struct {
		name      string
		flags     serverKeyFlags
		http      string
		encrypted bool
		want      string // "" is that it may
	}{
		{"loopback", serverKeyFlags{}, "127.0.0.1:8080", false, ""},
		{"all without keys", serverKeyFlags{}, ":8080", false, "mixdown keys new"},
		{"all without keys, by TLS", serverKeyFlags{}, ":8443", true, "mixdown keys new"},
		{"loopback with keys", serverKeyFlags{keyFlags: key}, "localhost:8080", false, ""},
		{"all with keys", serverKeyFlags{keyFlags: key}, ":8080", false, "--tls self"},
		{"all with keys, by TLS", serverKeyFlags{keyFlags: key}, ":8443", true, ""},
		{"all with keys, behind a proxy", serverKeyFlags{keyFlags: key, BehindProxy: true}, ":8080", false, ""},
		{"behind a proxy without keys", serverKeyFlags{BehindProxy: true}, "127.0.0.1:8080", false, "--keys"},
		{"a key that is none", serverKeyFlags{keyFlags: keyFlags{Key: []string{"K1:short"}}}, ":8443", true, "at least 32"},
		{"no address", serverKeyFlags{keyFlags: key, BehindProxy: true}, "8080", false, "--http"},
	} {
		err := c.flags.validate(c.http, c.encrypted)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// A server with keys: an invitation lets `mixdown join` in, nothing else does, and
// who was removed stays out, over a restart as well.
func TestServerWithKeys(t *testing.T) {
	data := t.TempDir()
	keyed := func(c *Config) {
		c.Data = data
		c.Keys = serverKeyFlags{keyFlags: keyFlags{Key: []string{serverKey}}}
	}
	tokenOf := func(args ...string) string {
		t.Helper()
		code, out, errs := runMain(t, append([]string{"token", "--key", serverKey}, args...)...)
		if code != 0 {
			t.Fatal(errs)
		}
		return strings.TrimSpace(out)
	}
	asked := func(method, url, token string) int {
		t.Helper()
		var headers []string
		if token != "" {
			headers = []string{"Authorization", "Bearer " + token}
		}
		status, _, _ := call(t, method, url, "", headers...)
		return status
	}
	var first *App
	invited := tokenOf("--room", "r", "--identity", "ann")
	t.Run("before", func(t *testing.T) {
		app, url := startApp(t, keyed)
		first = app
		for _, path := range []string{"/v1/rooms", "/v1/rooms/r", "/v1/events", "/v1/ice-servers", "/v1/recordings"} {
			if got := asked(http.MethodGet, url+path, ""); got != http.StatusUnauthorized {
				t.Errorf("%s: %d", path, got)
			}
		}
		if code, _, errs := runMain(t, "join", url+"/r/r", "--for", "1s", "--quiet"); code == 0 || !strings.Contains(errs, "401") {
			t.Errorf("exit code %d: %s", code, errs)
		}
		ended := make(chan string, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			var o, e strings.Builder
			run(ctx, []string{"join", url + "/r/r#token=" + invited, "--tone", "440"}, streams{&o, &e})
			ended <- e.String()
		}()
		soon(t, "it is there", func() bool { return speaks(app, "r") })
		p := app.theOnly(t, "r")
		if p.Identity != "ann" {
			t.Errorf("%+v", p)
		}
		if got := asked(http.MethodDelete, url+"/v1/rooms/r/participants/"+string(p.ID), invited); got != http.StatusForbidden {
			t.Errorf("whoever may speak may remove: %d", got)
		}
		if got := asked(http.MethodDelete, url+"/v1/rooms/r/participants/"+string(p.ID), tokenOf("--room", "r", "--role", "host")); got != http.StatusNoContent {
			t.Errorf("the host: %d", got)
		}
		if said := <-ended; strings.Contains(said, invited) {
			t.Errorf("%s", said)
		}
		if got := asked(http.MethodGet, url+"/v1/rooms/r", invited); got != http.StatusUnauthorized {
			t.Errorf("the one who was removed: %d", got)
		}
	})
	_, url := startApp(t, keyed, atAddress(first))
	if got := asked(http.MethodGet, url+"/v1/rooms/r", invited); got != http.StatusUnauthorized {
		t.Errorf("the one who was removed, after a restart: %d", got)
	}
	if got := asked(http.MethodGet, url+"/v1/rooms/r", tokenOf("--room", "r", "--identity", "bob")); got != http.StatusNotFound {
		t.Errorf("somebody else: %d", got)
	}
}
