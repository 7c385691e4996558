package transport

import (
	"testing"
	"time"

	"github.com/pion/ice/v4"
)

// heardFrom is an address that was last heard from at an instant.
type heardFrom struct {
	ice.Candidate
	at time.Time
}

func (h *heardFrom) LastReceived() time.Time            { return h.at }
func (h *heardFrom) Equal(other ice.Candidate) bool     { return other == ice.Candidate(h) }
func (h *heardFrom) ago(now time.Time, d time.Duration) { h.at = now.Add(-d) }

// TestFollower: the client's first path is its nomination's; a check from
// elsewhere moves it only when the path in use has fallen silent.
func TestFollower(t *testing.T) {
	now := time.Unix(1000, 0)
	home, away := &heardFrom{}, &heardFrom{}
	var f follower
	check := func(what string, from *heardFrom, nominated, want bool, at *heardFrom) {
		t.Helper()
		if got := f.moved(from, nominated, now); got != want {
			t.Errorf("%s: moved is %v", what, got)
		}
		if at == nil != (f.remote == nil) || at != nil && f.remote != ice.Candidate(at) {
			t.Errorf("%s: it is at the wrong place", what)
		}
	}
	check("before a nomination", home, false, false, nil)
	check("the nomination", home, true, false, home)
	home.ago(now, 100*time.Millisecond)
	check("a check repeated from elsewhere", away, false, false, home)
	home.ago(now, silentBeforeMove)
	check("consent on the path in use", home, false, false, home)
	check("a check from elsewhere after silence", away, false, true, away)
	away.ago(now, 0)
	check("the old address, which is silent", home, false, false, away)
	check("the old address, nominated again", home, true, false, home)
}
