package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestInvitation: what serve prints leads into the room, and nowhere else.
func TestInvitation(t *testing.T) {
	if _, err := parseServe(t, "--invite", "standup"); err == nil || !strings.Contains(err.Error(), "--invite") {
		t.Errorf("without keys: error %v: want one that names the flag", err)
	}
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	for range 2 { // with several keys it has to choose
		if code, _, errs := runMain(t, "keys", "new", keys); code != 0 {
			t.Fatal(errs)
		}
	}
	c, err := parseServe(t, "--invite", "standup", "--keys", keys, "--http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, url := startApp(t, func(cfg *Config) { cfg.Keys = c.Keys })
	var said strings.Builder
	if err := c.invite(t.Context(), &said, url); err != nil {
		t.Fatal(err)
	}
	_, link, ok := strings.Cut(strings.TrimSpace(said.String()), "for a day: "+url+"/r/standup#token=")
	if !ok || strings.ContainsAny(link, " \n") {
		t.Fatalf("it says %q", &said)
	}
	for path, want := range map[string]int{"/v1/rooms/standup/participants": 404, "/v1/rooms/other/participants": 403, "/v1/rooms": 403} {
		req := httptest.NewRequest("GET", url+path, nil)
		req.RequestURI = ""
		req.Header.Set("Authorization", "Bearer "+link)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s: want %d", path, res.Status, want)
		}
	}
}
