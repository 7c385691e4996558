package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"mixdown/mixer"
)

// deny refuses everything and remembers what it was asked.
type deny struct {
	kind  mixer.Kind
	asked []Grant
}

func (d *deny) Authorize(_ *http.Request, g Grant) (Identity, error) {
	d.asked = append(d.asked, g)
	return Identity{}, &mixer.Error{Op: "test", Kind: d.kind, Err: errors.New("no")}
}

// open are the routes that need not ask anybody.
var open = []string{"GET /livez", "GET /readyz"}

// Every route that the router knows passes the authorisation step, and says
// what it needs.
func TestEveryRoutePassesTheStep(t *testing.T) {
	for _, kind := range []mixer.Kind{mixer.Unauthenticated, mixer.Permission} {
		d := &deny{kind: kind}
		f := newFixture(t, false, func(c *Config) { c.Authorizer = d })
		want := map[mixer.Kind]int{mixer.Unauthenticated: 401, mixer.Permission: 403}[kind]
		routes := 0
		must(t, chi.Walk(f.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			routes++
			path := strings.NewReplacer("{room}", "r", "{id}", "x", "{secret}", "s").Replace(route)
			asked := len(d.asked)
			r := f.do(method, path, "")
			if slices.Contains(open, method+" "+route) {
				r.want(t, 200)
				return nil
			}
			if r.StatusCode != want {
				t.Errorf("%s %s: %d, want %d", method, route, r.StatusCode, want)
			}
			if len(d.asked) != asked+1 {
				t.Errorf("%s %s: asked %d times", method, route, len(d.asked)-asked)
				return nil
			}
			g := d.asked[asked]
			if strings.Contains(route, "{room}") && g.Action != Public && g.Room != "r" {
				t.Errorf("%s %s: needs %+v, without the room", method, route, g)
			}
			if list := method == "GET" && slices.Contains([]string{"/v1/rooms", "/v1/nodes"}, route); list != (g.Action == ListRooms) {
				t.Errorf("%s %s needs %s: who may list rooms is not to see who is in them", method, route, g.Action)
			}
			if public := slices.Contains([]string{"/openapi.json", "/docs"}, route) || method == "OPTIONS" ||
				strings.HasPrefix(route, "/wh") && method != "POST"; public != (g.Action == Public) {
				t.Errorf("%s %s needs %s", method, route, g.Action)
			}
			if want == 401 && method != "HEAD" && r.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: no WWW-Authenticate", method, route)
			}
			return nil
		}))
		if routes < 25 {
			t.Errorf("only %d routes", routes)
		}
	}
}

// Every route is in the OpenAPI document, and nothing else is.
func TestDocumentListsEveryRoute(t *testing.T) {
	f := newFixture(t, false)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Parameters  []struct {
				Name, In string
				Required bool
				Schema   map[string]any
			}
			RequestBody *struct {
				Content map[string]struct{ Schema map[string]any }
			}
			Responses map[string]struct {
				Description string
				Content     map[string]any
			}
		}
		Components struct{ Schemas map[string]any }
	}
	r := f.do("GET", "/openapi.json", "").want(t, 200)
	r.json(t, &doc)
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || doc.Info.Title == "" || doc.Info.Version == "" {
		t.Errorf("openapi %q, info %+v", doc.OpenAPI, doc.Info)
	}
	listed := map[string]bool{}
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			key := strings.ToUpper(method) + " " + path
			listed[key] = true
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" {
				t.Errorf("%s: operationId %q, summary %q", key, op.OperationID, op.Summary)
			}
			ids[op.OperationID] = true
			var inPath []string
			for _, p := range op.Parameters {
				if p.Schema == nil {
					t.Errorf("%s: parameter %s has no schema", key, p.Name)
				}
				if p.In == "path" {
					inPath = append(inPath, "{"+p.Name+"}")
					if !p.Required {
						t.Errorf("%s: path parameter %s is not required", key, p.Name)
					}
				}
			}
			for _, part := range strings.Split(path, "/") {
				if strings.HasPrefix(part, "{") && !slices.Contains(inPath, part) {
					t.Errorf("%s: parameter %s is not described", key, part)
				}
			}
			success := false
			for status, resp := range op.Responses {
				success = success || strings.HasPrefix(status, "2")
				if resp.Description == "" {
					t.Errorf("%s %s: no description", key, status)
				}
			}
			if def := op.Responses["default"]; !success || def.Content["application/problem+json"] == nil {
				t.Errorf("%s: responses %v", key, op.Responses)
			}
			if takes := slices.Contains([]string{"PUT", "POST", "PATCH"}, strings.ToUpper(method)); takes != (op.RequestBody != nil) {
				t.Errorf("%s: request body %+v", key, op.RequestBody)
			}
		}
	}
	must(t, chi.Walk(f.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if key := method + " " + route; !slices.Contains(open, key) && !listed[key] {
			t.Errorf("%s is not in the document", key)
		}
		delete(listed, method+" "+route)
		return nil
	}))
	if len(listed) > 0 {
		t.Errorf("in the document only: %v", listed)
	}
	for _, name := range []string{"Room", "Participant", "Recording", "Problem", "Layout"} {
		if doc.Components.Schemas[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
	var any_ any
	must(t, json.Unmarshal([]byte(r.text), &any_))
	checkRefs(t, any_, doc.Components.Schemas)
}

// checkRefs fails on references that lead nowhere.
func checkRefs(t *testing.T, v any, schemas map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
			t.Errorf("reference to %s, which is not there", ref)
		}
		for _, inner := range v {
			checkRefs(t, inner, schemas)
		}
	case []any:
		for _, inner := range v {
			checkRefs(t, inner, schemas)
		}
	}
}

func TestDocsPage(t *testing.T) {
	f := newFixture(t, false)
	r := f.do("GET", "/docs", "").want(t, 200)
	for _, foreign := range []string{"http://", "https://", "<script", "//cdn"} {
		if strings.Contains(r.text, foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
	for _, k := range kinds() {
		if !strings.Contains(r.text, `id="`+k.code+`"`) {
			t.Errorf("code %s is not explained", k.code)
		}
	}
	seen := map[string]bool{}
	for _, k := range kinds() {
		if seen[k.code] {
			t.Errorf("code %s is there twice", k.code)
		}
		seen[k.code] = true
	}
	for _, r := range byReason {
		if !seen[r.kind.code] {
			t.Errorf("code %s is missing", r.kind.code)
		}
	}
}

func TestKeyless(t *testing.T) {
	f := newFixture(t, false, func(c *Config) { c.Origins = []string{"http://localhost:5173"} })
	for _, c := range []struct {
		name    string
		status  int
		headers []string
	}{
		{"program", 200, nil},
		{"localhost", 200, []string{"Host", "LocalHost:8080"}},
		{"no port", 200, []string{"Host", "localhost"}},
		{"IPv6", 200, []string{"Host", "[::1]:8080"}},
		{"other loopback", 200, []string{"Host", "127.3.2.1"}},
		{"rebound name", 403, []string{"Host", "evil.example:8080"}},
		{"looks alike", 403, []string{"Host", "localhost.evil.example"}},
		{"number that is no loopback", 403, []string{"Host", "10.0.0.1:8080"}},
		{"no host", 403, []string{"Host", ""}},
		{"same origin", 200, []string{"Origin", "http://127.0.0.1:8080", "Sec-Fetch-Site", "same-origin"}},
		{"behind TLS", 200, []string{"Origin", "https://127.0.0.1:8080"}},
		{"other port", 403, []string{"Origin", "http://127.0.0.1:9999", "Sec-Fetch-Site", "same-site"}},
		{"null", 403, []string{"Origin", "null"}},
		{"foreign", 403, []string{"Origin", "http://evil.example"}},
		{"allowed", 200, []string{"Origin", "http://localhost:5173", "Sec-Fetch-Site", "cross-site"}},
		{"image of another site", 403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}},
		{"link of another site", 200, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}},
		{"typed in", 200, []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.do("GET", "/v1/rooms", "", c.headers...)
			if c.status == 403 {
				r.problem(t, 403, "foreign-page")
			} else {
				r.want(t, c.status)
			}
		})
	}
	f.do("POST", "/v1/rooms/r", "{}", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate").problem(t, 403, "foreign-page")
}

// letIn is an Authorizer as one with tokens would be.
type letIn Identity

func (l letIn) Authorize(*http.Request, Grant) (Identity, error) { return Identity(l), nil }

// With an Authorizer, the identity counts, and joins do not make rooms.
func TestIdentity(t *testing.T) {
	f := newFixture(t, false, func(c *Config) { c.Authorizer = letIn{Subject: "u1", Name: "Ann"} })
	f.join("/whip/r", "Host", "mix.example").problem(t, 404, "no-such-room")
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	r := f.join("/whip/r?name=Bob").want(t, 201)
	var p Participant
	f.do("GET", strings.TrimPrefix(strings.Split(r.Header.Get("Link"), ">")[0], "<"), "").want(t, 200).json(t, &p)
	if p.Identity != "u1" || p.Name != "Ann" {
		t.Errorf("got %+v", p)
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := New(Config{JoinsPerSecond: -1, LayoutsPerSecond: -1, Origins: []string{"example.org"}})
	for _, want := range []string{"Rooms", "Engine", "JoinsPerSecond", "LayoutsPerSecond", "example.org"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
}
