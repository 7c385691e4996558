package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// missing says what a route answers when what its path names is not there.
// Routes that are not here need nothing to be there.
var missing = map[string]string{
	"POST /v1/rooms/{room}/recordings":                 "no-such-room",
	"GET /v1/rooms/{room}":                             "no-such-room",
	"PATCH /v1/rooms/{room}":                           "no-such-room",
	"DELETE /v1/rooms/{room}":                          "no-such-room",
	"GET /v1/rooms/{room}/layout":                      "no-such-room",
	"PUT /v1/rooms/{room}/layout":                      "no-such-room",
	"PATCH /v1/rooms/{room}/layout":                    "no-such-room",
	"GET /v1/rooms/{room}/participants/{id}/layout":    "no-such-room",
	"PUT /v1/rooms/{room}/participants/{id}/layout":    "no-such-room",
	"DELETE /v1/rooms/{room}/participants/{id}/layout": "no-such-room",
	"GET /v1/rooms/{room}/participants":                "no-such-room",
	"GET /v1/rooms/{room}/participants/{id}":           "no-such-room",
	"PATCH /v1/rooms/{room}/participants/{id}":         "no-such-room",
	"DELETE /v1/rooms/{room}/participants/{id}":        "no-such-room",
	"GET /v1/rooms/{room}/inputs":                      "no-such-room",
	"POST /v1/rooms/{room}/inputs":                     "no-such-room",
	"GET /v1/rooms/{room}/inputs/{id}":                 "no-such-room",
	"DELETE /v1/rooms/{room}/inputs/{id}":              "no-such-room",
	"GET /v1/recordings/{id}":                          "no-such-recording",
	"PATCH /v1/recordings/{id}":                        "no-such-recording",
	"DELETE /v1/recordings/{id}":                       "no-such-recording",
	"GET /v1/recordings/{id}/media":                    "no-such-recording",
	"GET /v1/rooms/{room}/events":                      "no-such-room",
	"GET /v1/rooms/{room}/live.webm":                   "no-such-room",
	"GET /v1/rooms/{room}/live.ogg":                    "no-such-room",
	"PATCH /v1/rooms/{room}/participants":              "no-such-room",
	"DELETE /v1/rooms/{room}/bans/{ban}":               "no-such-ban",
	"GET /v1/rooms/{room}/snapshot.jpg":                "no-such-room",
	"GET /v1/sessions/{secret}/events":                 "no-such-session",
	"POST /v1/sessions/{secret}/chat":                  "no-such-session",
	"GET /v1/sessions/{secret}":                        "no-such-session",
	"DELETE /v1/sessions/{secret}":                     "no-such-session",
	"PATCH /v1/sessions/{secret}":                      "no-such-session",
}

// Every route x every error that comes from the request alone: a foreign page,
// a missing resource, a body that is too large, of a wrong type or broken.
func TestEveryRouteEveryError(t *testing.T) {
	f := newFixture(t, false)
	seen := map[string]bool{}
	must(t, chi.Walk(f.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		key := method + " " + route
		if slices.Contains(open, key) {
			return nil
		}
		path := strings.NewReplacer("{room}", "none", "{id}", "none", "{secret}", "none").Replace(route)
		t.Run(key, func(t *testing.T) {
			if r := f.do(method, path, "", "Origin", "http://evil.example"); r.StatusCode != 403 {
				t.Errorf("a foreign page gets %d", r.StatusCode)
			}
			if code, ok := missing[key]; ok {
				seen[key] = true
				f.do(method, path, "").problem(t, 404, code)
				wrong := strings.Replace(path, "/v1/", "/v1/%00/", 1)
				f.do(method, wrong, "").problem(t, 404, "no-such-route")
			}
			if !slices.Contains([]string{"POST", "PUT", "PATCH"}, method) {
				return
			}
			sdp := !strings.HasPrefix(route, "/v1/") || key == "POST /v1/rooms/{room}/participants"
			good := map[bool]string{true: "application/sdp", false: "application/json"}[sdp]
			if key == "PATCH /v1/sessions/{secret}" {
				good = "application/trickle-ice-sdpfrag"
			}
			f.do(method, path, "v=0{}", "Content-Type", "text/html").problem(t, 415, "unsupported-media-type")
			f.do(method, path, "v=0"+strings.Repeat(" ", 64<<10), "Content-Type", good).problem(t, 413, "too-large")
			if sdp {
				f.do(method, path, "{", "Content-Type", good).problem(t, 400, "bad-sdp")
			} else if missing[key] == "" {
				f.do(method, path, "{", "Content-Type", good).problem(t, 400, "bad-json")
			}
		})
		return nil
	}))
	for key := range missing {
		if !seen[key] {
			t.Errorf("there is no route %s", key)
		}
	}
}

// BenchmarkGetRoom is what one REST request costs, without the socket.
func BenchmarkGetRoom(b *testing.B) {
	f := newFixture(b, false, quiet)
	f.do("PUT", "/v1/rooms/r", "").want(b, 201)
	b.ReportAllocs()
	for b.Loop() {
		f.do("GET", "/v1/rooms/r", "")
	}
}
