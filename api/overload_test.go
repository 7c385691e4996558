package api

import (
	"strings"
	"testing"

	"mixdown/mixer"
)

// Whoever is refused for want of processor time is told how much he wanted.
func TestOverloadTellsThePrice(t *testing.T) {
	f := newFixture(t, false)
	for _, c := range []struct {
		overload     mixer.Overload
		needed, left string
	}{
		{mixer.Overload{Needed: 0.12345, Left: 0.1}, `"needed":{"cores":0.123}`, `"left":{"cores":0.1}`},
		{mixer.Overload{Needed: 0.25, Level: mixer.LevelFast}, `"needed":{"cores":0.25}`, `"left":{"cores":0}`},
	} {
		f.failAccept(&mixer.Error{Op: "room.join", Kind: mixer.Unavailable, Err: &c.overload})
		r := f.join("/v1/rooms/r/participants")
		p := r.problem(t, 503, "overloaded")
		if r.Header.Get("Retry-After") == "" || p.Needed == nil || p.Left == nil || p.Detail != c.overload.Error() ||
			!strings.Contains(r.text, c.needed) || !strings.Contains(r.text, c.left) {
			t.Errorf("Retry-After %q, %s", r.Header.Get("Retry-After"), r.text)
		}
	}
	if text := f.do("GET", "/v1/rooms/none", "").text; strings.Contains(text, "needed") {
		t.Errorf("another problem has a price: %s", text)
	}
}
