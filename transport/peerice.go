package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// A client may begin restartBurst ICE sessions at once, and one more each
// restartGap: its network may flap, but each costs us a gathering.
const (
	restartBurst = 5
	restartGap   = 2 * time.Second
)

// Errors of [Peer.Restart] and [Peer.AddCandidates].
var (
	// ErrTooManyRestarts says that the client is to wait a moment (HTTP 429).
	ErrTooManyRestarts = errors.New("too many ICE restarts")
	// ErrOldFragment says that a fragment is of another ICE session than the
	// present one (HTTP 412).
	ErrOldFragment = errors.New("the fragment is of another ICE session")
)

// peerICE is the ICE session of a peer, as its client sees it.
type peerICE struct {
	mu sync.Mutex // held while a restart is under way
	// Of the client, in the present session.
	ufrag, pwd string
	candidates int // that the agent was told
	restarts   time.Duration
	over       bool // the connection closes

	addresses atomic.Int32 // that the agent was told, or has seen, in the session
}

// maxRemoteAddresses is from how many addresses a client may come in one ICE
// session. Each costs the agent a pair with every address of ours, and the agent
// forgets none. Behind the worst of NATs a client has one for each of its networks
// and each of our addresses; then there is one more whenever it moves.
const maxRemoteAddresses = 128

// meets reports whether the agent may take one more address of the client for
// what it sends to, and checks if it is not lite. It is an IP filter of pion's.
func (p *Peer) meets(net.IP) bool {
	if p.ice.addresses.Add(1) <= maxRemoteAddresses {
		return true
	}
	p.counts.policed.Add(1)
	return false
}

// ClientUFrag returns the client's user fragment in the present ICE session. It
// waits for a restart that is under way.
func (p *Peer) ClientUFrag() string {
	p.ice.mu.Lock()
	defer p.ice.mu.Unlock()
	return p.ice.ufrag
}

// AddCandidates takes candidates that the client has found since its offer (RFC
// 8838), or ErrOldFragment. Of one ICE session 16 are used, those of the offer
// included; those beyond are ignored, as are all of them by an ICE-lite server:
// it learns of addresses from the client's checks. It waits for a restart that
// is under way.
func (p *Peer) AddCandidates(f Fragment) error {
	p.ice.mu.Lock()
	defer p.ice.mu.Unlock()
	switch {
	case p.ice.over:
		return ErrClosed
	case f.UFrag != "" && f.UFrag != p.ice.ufrag:
		return fmt.Errorf("%w: of %q, and not of %q", ErrOldFragment, clip(f.UFrag, 32), clip(p.ice.ufrag, 32))
	case !p.cfg.FullICE:
		return nil
	}
	for _, c := range f.candidates {
		if p.ice.candidates >= maxRemoteCandidates {
			break
		}
		p.ice.candidates++
		if err := p.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c}); err != nil {
			return fmt.Errorf("candidate: %w", err) // it was understood before
		}
	}
	return nil
}

// Restarted is the answer to an ICE restart.
type Restarted struct {
	// Fragment holds the server's new credentials and all candidates, as
	// FragmentType.
	Fragment string
	// UFrag is the server's new user fragment.
	UFrag string
}

// Restart begins another ICE session for the same media, which so goes on over
// another network of the client's (RFC 8445 section 9). f has the client's new
// credentials. What was sent before the client has found a path is lost; as
// soon as it has, Feedback says LinkUp and wants a key frame. It takes some
// milliseconds, and is not cut short by ctx. After an error the old session goes
// on, unless it says ErrClosed.
func (p *Peer) Restart(ctx context.Context, f Fragment) (Restarted, error) {
	if f.UFrag == "" || f.Pwd == "" {
		return Restarted{}, fmt.Errorf("%w: a restart needs a=ice-ufrag and a=ice-pwd", ErrBadFragment)
	}
	// Who asks may be cut off at just this moment. Half of it would help nobody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.GatherTimeout)
	defer cancel()
	i := &p.ice
	i.mu.Lock()
	defer i.mu.Unlock()
	switch now := codec.Now(); {
	case i.over:
		return Restarted{}, ErrClosed
	case i.restarts-now > (restartBurst-1)*restartGap:
		return Restarted{}, ErrTooManyRestarts
	default:
		i.restarts = max(i.restarts, now) + restartGap
	}
	answer, err := p.renegotiate(ctx, f)
	if err != nil {
		// Half of it is done: neither session would work.
		p.end(fmt.Errorf("%w: ICE restart: %w", ErrRefused, err))
		return Restarted{}, errors.Join(ErrClosed, err)
	}
	i.ufrag, i.pwd, i.candidates = f.UFrag, f.Pwd, min(len(f.candidates), maxRemoteCandidates)
	p.restarts.Add(1)
	p.poke()
	return answer, nil
}

// renegotiate has pion answer the first offer once more, with the fragment's
// credentials.
func (p *Peer) renegotiate(ctx context.Context, f Fragment) (Restarted, error) {
	plan := *p.plan
	plan.ufrag, plan.pwd, plan.candidates = f.UFrag, f.Pwd, f.candidates[:min(len(f.candidates), maxRemoteCandidates)]
	p.ice.addresses.Store(0)
	err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: plan.forPion(p.cfg.FullICE)})
	if err != nil {
		return Restarted{}, err
	}
	local, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return Restarted{}, err
	}
	// It has begun with the remote description.
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(local); err != nil {
		return Restarted{}, err
	}
	select {
	case <-gathered:
	case <-p.ending:
		return Restarted{}, ErrClosed
	case <-ctx.Done():
		return Restarted{}, fmt.Errorf("gathering candidates: %w", ctx.Err())
	}
	text, ufrag, err := plan.finishAnswer(p.pc.LocalDescription().SDP)
	if err != nil {
		return Restarted{}, err
	}
	fragment, err := fragmentOf(text)
	return Restarted{Fragment: fragment, UFrag: ufrag}, err
}

// end lets no restart begin, once one that is under way has ended.
func (i *peerICE) end() {
	i.mu.Lock()
	i.over = true
	i.mu.Unlock()
}
