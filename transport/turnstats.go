package transport

import "sync/atomic"

// turnRefusal says why something was refused.
type turnRefusal int

const (
	refusedExpired   turnRefusal = iota // credential too old, or not of TURNCredentialLife
	refusedForged                       // credential that our secret did not make
	refusedUser                         // allocations of one credential
	refusedAddress                      // allocations, or streams, of one address
	refusedFull                         // allocations, or streams, of all
	refusedFamily                       // we have no media socket of that address family
	refusedPeer                         // permission for an address that is not ours
	refusedPort                         // packet, or channel, to a port that is not our media socket's
	refusedRate                         // packet beyond the bandwidth of its allocation
	refusedMalformed                    // message that is none, or that no client of ours sends
	refusedFlood                        // message of somebody without allocation who asks too often
	refusedIdle                         // allocation or stream that nothing useful came over
	refusedTLS                          // handshake that failed
	refusedSlow                         // stream whose client did not read
	numTURNRefusals
)

var turnRefusals = [numTURNRefusals]string{
	"expired", "forged", "user", "address", "full", "family", "peer", "port", "rate", "malformed", "flood", "idle", "tls", "slow",
}

// turnCounts only grow.
type turnCounts struct {
	made               atomic.Uint64
	toMedia, toClients atomic.Uint64
	refused            [numTURNRefusals]atomic.Uint64
}

func (c *turnCounts) refuse(why turnRefusal) { c.refused[why].Add(1) }

// TURNStats is what a [TURN] server did since it was made.
type TURNStats struct {
	// Allocations and Streams (TCP, TLS) are how many there are now.
	Allocations, Streams int
	// Made counts the allocations.
	Made uint64
	// ToMedia and ToClients are bytes that were relayed.
	ToMedia, ToClients uint64
	// SocketDropped counts datagrams for clients that the kernel threw away
	// because the client's stream was slower; 0 where it does not tell.
	SocketDropped uint64
	// Refused counts what was not done, by reason: expired and forged
	// (credentials); user, address, full (quotas) and family (allocations); peer
	// (permissions); port (packets, channels) and rate (packets); malformed, flood (messages); idle
	// and slow (what was ended for that); tls (handshakes). Each reason is there.
	Refused map[string]uint64
}

// Stats returns a snapshot.
func (t *TURN) Stats() TURNStats {
	s := TURNStats{
		Allocations: t.allocations.count(), Streams: t.streams.count(), Made: t.counts.made.Load(),
		ToMedia: t.counts.toMedia.Load(), ToClients: t.counts.toClients.Load(),
		Refused: make(map[string]uint64, numTURNRefusals),
	}
	for why, name := range turnRefusals {
		s.Refused[name] = t.counts.refused[why].Load()
	}
	for _, p := range t.ports {
		p.mu.RLock()
		for _, r := range p.mu.relays {
			s.SocketDropped += socketDropped(r.UDPConn)
		}
		s.SocketDropped += p.mu.dropped
		p.mu.RUnlock()
	}
	return s
}
