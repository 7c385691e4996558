package client

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestReadFragment: of what a server answers, that counts which is of ICE.
func TestReadFragment(t *testing.T) {
	i := newICE()
	err := i.readFragment("a=ice-lite\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:Theirs\r\na=ice-pwd:secret\r\n" +
		"a=candidate:1 1 udp 1 192.0.2.1 8189 typ host ufrag Theirs\r\na=candidate:1 1 udp 1 192.0.2.1 8189 typ host\r\n" +
		"a=candidate:2 1 tcp 1 192.0.2.1 8189 typ host tcptype passive\r\na=end-of-candidates\r\n")
	if err != nil || i.remote != (credentials{"Theirs", "secret"}) || len(i.candidates) != 1 || i.candidates[0].String() != "192.0.2.1:8189" {
		t.Errorf("read %+v %v, %v", i.remote, i.candidates, err)
	}
	for _, bad := range []string{"", "a=ice-ufrag:x\r\na=ice-pwd:y\r\n", "a=ice-ufrag:x\r\na=candidate:1 1 udp 1 192.0.2.1 8189 typ host"} {
		if err := newICE().readFragment(bad); !errors.Is(err, errBadAnswer) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestRestartRefused: who is told that the session is over gives up at once, who
// is told something else tries again until its time is up.
func TestRestartRefused(t *testing.T) {
	status, asked := 0, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, err := io.ReadAll(r.Body)
		if r.Method != http.MethodPatch || r.Header.Get("If-Match") != "*" || r.Header.Get("Content-Type") != fragmentType ||
			err != nil || !strings.Contains(string(body), "a=ice-ufrag:") || !strings.Contains(string(body), "a=ice-pwd:") {
			t.Errorf("%s %v %q %v", r.Method, r.Header, body, err)
		}
		http.Error(w, "no", status)
	}))
	defer server.Close()
	c, err := New(Config{URL: server.URL + "/r/x", ConsentTimeout: time.Millisecond, HTTP: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	c.link.init()
	old := c.link.ice.Load()
	for _, status = range []int{http.StatusGone, http.StatusNotFound} {
		if err := c.reach(t.Context(), server.URL+"/v1/sessions/x"); !errors.Is(err, errSessionOver) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	status = http.StatusTooManyRequests
	if err := c.reach(t.Context(), server.URL+"/v1/sessions/x"); !errors.Is(err, ErrRefused) {
		t.Errorf("%d: %v", status, err)
	}
	if c.Restarts() != 0 || c.link.ice.Load() != old {
		t.Error("another ICE session has begun")
	}
}
