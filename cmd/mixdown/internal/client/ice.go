package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	pionice "github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

const (
	// checkFirst and checkSlowest are between two rounds of checks until a path
	// is found.
	checkFirst   = 50 * time.Millisecond
	checkSlowest = 500 * time.Millisecond
	// consentInterval is between two checks of the path in use (RFC 7675 has 5 s
	// at most; servers miss a client that is silent for 3 s).
	consentInterval = 1500 * time.Millisecond
	// consentTimeout without an answer ends the connection (RFC 7675 section 5.1).
	consentTimeout = 30 * time.Second
)

// credentials are one end's (RFC 8445 section 5.3).
type credentials struct{ ufrag, pwd string }

func newCredentials() credentials { return credentials{rand.Text()[:8], rand.Text()} }

// ice is the client's half of ICE (RFC 8445) with a server whose candidates are
// all known: it checks them all, takes the first that answers, and keeps
// checking it. It needs no candidates of its own: a server learns a client's
// address from its checks. It also answers a server that checks for itself.
type ice struct {
	local, remote credentials
	candidates    []netip.AddrPort
	tie           uint64
	salt          uint64        // of transaction ids: tells our own
	nominated     chan struct{} // closed when the server knows which path is taken
	selected      atomic.Pointer[netip.AddrPort]
	answered      atomic.Int64 // when the last answer came, on the process's clock

	count uint32 // of checks; keepUp's
	// done says that nominated is closed; the reader's.
	done bool
}

// newICE begins a session whose other end is not known yet.
func newICE() *ice {
	return &ice{
		local: newCredentials(), tie: mathrand.Uint64(), salt: mathrand.Uint64(), nominated: make(chan struct{}),
	}
}

// use marks the transaction ids of checks that nominate.
const use = 1 << 31

// check sends one check. nominate takes the path (RFC 8445 section 8.1.1).
func (l *link) check(to netip.AddrPort, nominate bool) {
	i := l.ice.Load()
	i.count = (i.count + 1) &^ use
	number := i.count
	setters := []stun.Setter{
		stun.BindingRequest, stun.NewUsername(i.remote.ufrag + ":" + i.local.ufrag),
		pionice.AttrControlling(i.tie), pionice.PriorityAttr(1<<24*126 + 1<<16 - 1),
	}
	if nominate {
		setters = append(setters, pionice.UseCandidate())
		number |= use
	}
	var id [stun.TransactionIDSize]byte
	binary.BigEndian.PutUint64(id[:], i.salt)
	binary.BigEndian.PutUint32(id[8:], number)
	setters = append([]stun.Setter{stun.NewTransactionIDSetter(id)}, setters...)
	setters = append(setters, stun.NewShortTermIntegrity(i.remote.pwd), stun.Fingerprint)
	m, err := stun.Build(setters...)
	if err != nil {
		return // nothing in it can fail
	}
	_, _ = l.sock.WriteToUDPAddrPort(m.Raw, to) // the next check tries again
}

// takeSTUN handles an answer to a check, or a check. Everything else is ignored,
// as is what does not know the password.
func (l *link) takeSTUN(b []byte, from netip.AddrPort, now time.Duration) {
	i := l.ice.Load()
	m := &stun.Message{Raw: b}
	if m.Decode() != nil {
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	switch m.Type {
	case stun.BindingSuccess:
		if binary.BigEndian.Uint64(m.TransactionID[:]) != i.salt || stun.NewShortTermIntegrity(i.remote.pwd).Check(m) != nil {
			return
		}
		i.answered.Store(int64(now))
		if i.selected.Load() == nil {
			i.selected.Store(&from)
		}
		if !i.done && binary.BigEndian.Uint32(m.TransactionID[8:])&use != 0 {
			i.done = true
			close(i.nominated)
		}
	case stun.BindingRequest:
		if stun.NewShortTermIntegrity(i.local.pwd).Check(m) != nil {
			return
		}
		answer, err := stun.Build(m, stun.BindingSuccess,
			&stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())},
			stun.NewShortTermIntegrity(i.local.pwd), stun.Fingerprint)
		if err == nil {
			_, _ = l.sock.WriteToUDPAddrPort(answer.Raw, from)
		}
	}
}

// connect checks the candidates until a path is nominated.
func (l *link) connect(ctx context.Context) error {
	i := l.ice.Load()
	wait := checkFirst
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-i.nominated:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		if to := i.selected.Load(); to != nil {
			l.check(*to, true)
			wait = checkFirst
		} else {
			for _, to := range i.candidates {
				l.check(to, false)
			}
		}
		timer.Reset(wait)
		wait = min(wait+wait/2, checkSlowest)
	}
}

// errNoConsent is why a connection ends whose server answers no more.
var errNoConsent = errors.New("the server does not answer")

// consent checks the path in use; the path stays nominated, so that a server
// follows a client whose address changes. Call it each consentInterval. It fails
// when the server has not answered for longer than patience.
func (l *link) consent(now, patience time.Duration) error {
	l.check(*l.ice.Load().selected.Load(), true)
	if silent := l.silent(now); silent > patience {
		return fmt.Errorf("%w for %v", errNoConsent, silent.Round(time.Second))
	}
	return nil
}

// silent is for how long the server has answered no check.
func (l *link) silent(now time.Duration) time.Duration {
	return now - time.Duration(l.ice.Load().answered.Load())
}
