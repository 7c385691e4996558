package api

import (
	"encoding/json"

	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"

	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// checkAnswer fails unless an answer to hostile input is one that a client
// deserves: no 5xx, a problem where it is an error.
func checkAnswer(t *testing.T, r reply, about string) {
	t.Helper()
	switch {
	case r.StatusCode >= 500:
		t.Fatalf("%d for %q: %s", r.StatusCode, about, r.text)
	case r.StatusCode < 400:
		return
	}
	var p Problem
	if err := json.Unmarshal([]byte(r.text), &p); err != nil || p.Code == "" || p.Status != r.StatusCode {
		t.Fatalf("%d for %q is no problem document: %s", r.StatusCode, about, r.text)
	}
	if len(p.Errors) > 2*maxFaults || len(r.text) > 16<<10 {
		t.Fatalf("%d bytes with %d faults for %q", len(r.text), len(p.Errors), about)
	}
}

// quiet keeps a fuzzing fixture from collecting a log.
func quiet(c *Config) {
	c.Log = slog.New(slog.DiscardHandler)
	c.JoinsPerSecond, c.MaxHalfOpen, c.LayoutsPerSecond = 1<<30, -1, 1<<20
}

// tidy takes out who has joined, so that rooms do not fill.
func (f *fixture) tidy(r reply) {
	if loc := r.Header.Get("Location"); r.StatusCode == 201 && strings.HasPrefix(loc, "/v1/sessions/") {
		f.do("DELETE", loc, "")
	}
}

// FuzzJoinSDP posts offers to the real transport.
func FuzzJoinSDP(f *testing.F) {
	f.Add("v=0\r\n", "")
	f.Add(sampleOffer, "name=Ann&maxWidth=640")
	f.Add(strings.ReplaceAll(sampleOffer, "opus", "PCMU"), "video=false")
	f.Add(sampleOffer[:len(sampleOffer)/2], "maxFps=-1&maxFps=2")
	fx := newFixture(f, true, quiet)
	f.Fuzz(func(t *testing.T, offer, query string) {
		for _, path := range []string{"/v1/rooms/fuzz/participants", "/whip/fuzz", "/whep/fuzz"} {
			r := fx.post(path, query, offer)
			checkAnswer(t, r, offer)
			fx.tidy(r)
		}
	})
}

// post sends an offer with a query that need not be a well-formed URL.
func (f *fixture) post(path, query, offer string) reply {
	req, _ := http.NewRequest("POST", "http://127.0.0.1:8080"+path, strings.NewReader(offer))
	req.URL.RawQuery = query
	req.RemoteAddr = "127.0.0.1:40000"
	req.Header.Set("Content-Type", "application/sdp")
	w := httptest.NewRecorder()
	f.ServeHTTP(w, req)
	return reply{w.Result(), w.Body.String()}
}

// FuzzRoomJSON sends bodies to every route that takes JSON.
func FuzzRoomJSON(f *testing.F) {
	f.Add(`{"name":"a","canvas":{"width":640},"tiers":["640x360@30"],"locked":true}`)
	f.Add(`{"canvas":null,"maxParticipants":1e999}`)
	f.Add(`{"send":{"audio":{"gain":-40.5,"muted":true}}}`)
	f.Add(`{"state":"paused"}`)
	f.Add(`{"id":["r"],"status":{"participants":{}}}`)
	f.Add(`{"mode":"custom","tiles":[{"x":0.1,"w":0.5,"h":1e-1,"z":-3,"show":"participant:p_1","fill":true}],"pins":["a"],"background":"#102030"}`)
	f.Add(`{"layout":{"mode":"seven","limit":49,"order":["p_1","p_2/screen"],"backgroundImage":"a/b.png"}}`)
	fx := newFixture(f, false, quiet)
	participant := strings.TrimPrefix(strings.Split(fx.join("/whip/keep").Header.Get("Link"), ">")[0], "<")
	f.Fuzz(func(t *testing.T, body string) { fx.sendJSON(t, participant, body) })
}

func (f *fixture) sendJSON(t *testing.T, participant, body string) {
	for _, target := range [][2]string{
		{"PUT", "/v1/rooms/fuzz"}, {"POST", "/v1/rooms/fuzz2"}, {"PATCH", "/v1/rooms/keep"},
		{"PATCH", participant}, {"PATCH", "/v1/rooms/keep/layout"}, {"PUT", participant + "/layout"}, {"POST", "/v1/rooms/none/recordings"}, {"PATCH", "/v1/recordings/rec_x"},
	} {
		checkAnswer(t, f.do(target[0], target[1], body, "Content-Type", "application/json"), body)
	}
	f.do("DELETE", "/v1/rooms/fuzz2", "")
}

// TestMalformedBodies sends 10,000 broken bodies, made from good ones by a
// seeded hand, so that what the fuzzer looks for is looked for in every run.
func TestMalformedBodies(t *testing.T) {
	f := newFixture(t, true, quiet)
	f.do("PUT", "/v1/rooms/keep", "").want(t, 201)
	rng := rand.New(rand.NewPCG(1, 2))
	const bodies = 10_000
	docs := []string{
		`{"name":"a","canvas":{"width":640,"height":360,"fps":30},"tiers":["640x360@30"],"locked":true,"emptyTimeout":90.5,"metadata":"\u0000"}`,
		f.do("GET", "/v1/rooms/keep", "").text,
	}
	for i := range bodies {
		if i%4 != 0 { // JSON is cheap
			body := mangle(rng, docs[rng.IntN(len(docs))])
			method := []string{"PUT", "PATCH"}[rng.IntN(2)]
			checkAnswer(t, f.do(method, "/v1/rooms/keep", body, "Content-Type", "application/json"), body)
			continue
		}
		offer := mangle(rng, sampleOffer)
		r := f.post("/v1/rooms/keep/participants", "", offer)
		checkAnswer(t, r, offer)
		f.tidy(r)
	}
	f.do("GET", "/livez", "").want(t, 200)
	if live, half := f.sessions.counts(); live != 0 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones are left", live, half)
	}
}

// mangle breaks a text in one to four places.
func mangle(rng *rand.Rand, s string) string {
	b := []byte(s)
	for range 1 + rng.IntN(4) {
		if len(b) < 2 {
			break
		}
		at, n := rng.IntN(len(b)), 1+rng.IntN(8)
		to := min(at+n, len(b))
		switch rng.IntN(5) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			b = append(b[:at], b[to:]...)
		case 2:
			b = append(b[:to:to], b[at:]...)
		case 3:
			b = b[:at]
		case 4:
			b = append(b[:at:at], append([]byte(strconv.FormatInt(rng.Int64()-rng.Int64(), 10)), b[to:]...)...)
		}
	}
	return string(b)
}

// The committed corpus is read by go test; this one says that it is there.
func TestCorpusIsThere(t *testing.T) {
	for _, name := range []string{"FuzzJoinSDP", "FuzzRoomJSON", "FuzzLastEventID"} {
		files, err := filepath.Glob(filepath.Join("testdata", "fuzz", name, "*"))
		must(t, err)
		if len(files) < 5 {
			t.Errorf("%s has %d files", name, len(files))
		}
	}
}
