package api

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestRouterErrors(t *testing.T) {
	f := newFixture(t, false)
	f.do("GET", "/nothing", "").problem(t, 404, "no-such-route")
	f.do("GET", "/v1/rooms/r/", "").problem(t, 404, "no-such-route") // never a redirect
	f.do("GET", "//v1/rooms", "").problem(t, 404, "no-such-route")
	r := f.do("DELETE", "/v1/rooms", "")
	r.problem(t, 405, "method-not-allowed")
	if got := r.Header.Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow: %s", got)
	}
	f.do("BREW", "/v1/rooms", "").problem(t, 405, "method-not-allowed")
}

func TestPages(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	f := newFixture(t, false, func(c *Config) { c.Pages = pages })
	for path, page := range map[string]bool{"/": true, "/r/standup": true, "/v1/nothing": false, "/whip/": false} {
		r := f.do("GET", path, "")
		if page != (r.StatusCode == 200 && r.text == "page") {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.text)
		}
	}
	f.do("POST", "/", "").problem(t, 404, "no-such-route")
}

// A panic is a bare 500: nothing of it reaches the client.
func TestPanic(t *testing.T) {
	f := newFixture(t, false)
	f.router.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("secret plan") })
	r := f.do("GET", "/panic", "")
	r.problem(t, 500, "internal")
	if strings.Contains(r.text, "secret plan") {
		t.Errorf("told: %s", r.text)
	}
	if !strings.Contains(f.log.String(), "secret plan") || !strings.Contains(f.log.String(), r.Header.Get("X-Request-Id")) {
		t.Error("the log does not have it")
	}
	f.do("GET", "/livez", "").want(t, 200)
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	f := newFixture(t, false, func(c *Config) { c.Metrics = reg })
	f.join("/whip/r").want(t, 201)
	f.do("GET", "/v1/sessions/guess", "")
	f.do("GET", "/some/path/of/mine", "")
	families, err := reg.Gather()
	must(t, err)
	var text strings.Builder
	for _, fam := range families {
		text.WriteString(fam.String() + "\n")
	}
	got := strings.ReplaceAll(text.String(), "  ", " ")
	for _, want := range []string{`value:"/whip/{room}"`, `value:"201"`, `value:"/v1/sessions/{secret}"`, `value:"none"`, `name:"mixdown_sessions_half_open"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	for _, leak := range []string{"guess", "/some"} {
		if strings.Contains(got, leak) {
			t.Errorf("a label holds %q", leak)
		}
	}
}

func TestHTTPServerHasLimits(t *testing.T) {
	s := HTTPServer(http.NotFoundHandler())
	if s.ReadHeaderTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("got %+v", s)
	}
}
