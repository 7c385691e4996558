package transport

import (
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// silentBeforeMove is how long nothing may have come from where a client was
// before a check from elsewhere is taken for a move. Who sends is not silent
// for 100 ms; who only listens reports about once a second, and checks.
const silentBeforeMove = time.Second

// follower lets an ICE-lite agent follow a client whose address has changed
// without its knowledge: a NAT has forgotten, or a telephone has changed cells.
// Such a client goes on asking for consent (RFC 7675) on what it takes for the
// same path, and some repeat USE-CANDIDATE in that, some do not. Left alone the
// agent answers, but sends all media to the old address.
//
// A check is authentic but can be repeated from elsewhere by who sees it on its
// way. So nobody is followed who still sends from where he was, and who was
// followed wrongly comes back with his next nomination, or his next check.
//
// The agent calls it in one goroutine.
type follower struct {
	remote ice.Candidate // where the client is; nil before a nomination
}

// check is told of each authentic check, and reports whether its path is to be
// used from now on. It is an ICE binding request handler of pion's.
func (f *follower) check(m *stun.Message, _, remote ice.Candidate, _ *ice.CandidatePair) bool {
	return f.moved(remote, m.Contains(stun.AttrUseCandidate), time.Now())
}

func (f *follower) moved(remote ice.Candidate, nominated bool, now time.Time) bool {
	if nominated {
		f.remote = remote // the agent has taken it
		return false
	}
	if f.remote == nil || f.remote.Equal(remote) || now.Sub(f.remote.LastReceived()) < silentBeforeMove {
		return false
	}
	f.remote = remote
	return true
}
