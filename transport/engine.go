package transport

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// Config says what an [Engine] listens on and what its peers may do. The zero
// value works.
type Config struct {
	// Log defaults to one that discards.
	Log *slog.Logger
	// UDP are the sockets for media, "host:port" each; an empty host is all
	// addresses, port 0 any free port. Defaults to [":8189"].
	UDP []string
	// ConnectTimeout is how long a client may take from its answer to the
	// first media key. Defaults to 15 s.
	ConnectTimeout time.Duration
	// LostAfter is the silence after which Feedback says LinkLost. Defaults to 3 s.
	LostAfter time.Duration
	// VanishAfter is the silence after which the Peer closes with
	// [ErrVanished]. Defaults to 9 s.
	VanishAfter time.Duration
	// GatherTimeout bounds the making of an answer. Defaults to 5 s.
	GatherTimeout time.Duration
	// MaxPeers bounds the peers at one time, those still connecting included.
	// Defaults to 1000.
	MaxPeers int
	// MaxVideoQueue is how much video may wait for a client before the rest
	// is dropped to the next key frame. Defaults to 300 ms.
	MaxVideoQueue time.Duration
	// MaxUplinkPackets and MaxUplinkBps are what one client may send, all
	// streams together, per second; the rest is dropped and counted. They
	// default to 2000 packets and 12 Mb/s.
	MaxUplinkPackets, MaxUplinkBps int
}

// Engine owns the media sockets and everything that its peers share. Create it
// with [New]; it is safe for concurrent use.
type Engine struct {
	cfg Config
}

// New validates the configuration and opens the sockets, so that a taken port
// is known at once; nothing is read from them before [Engine.Run].
func New(cfg Config) (*Engine, error) { return &Engine{cfg: cfg}, nil }

// Run serves until ctx is done or [Engine.Close] is called, then closes every
// peer and returns when all of them, and the sockets, are gone. It is called
// once.
func (e *Engine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close stops Run, or, if it never ran, closes the sockets; it waits. Twice is fine.
func (e *Engine) Close() error { return nil }

// Addrs returns the addresses that the media sockets are bound to, in the
// order of Config.UDP.
func (e *Engine) Addrs() []netip.AddrPort { return nil }

// Offer is one client's request to connect.
type Offer struct {
	// SDP is the client's offer, at most 64 KiB.
	SDP string
	// Role narrows what the offer asks for.
	Role Role
	// Epoch is the wall clock instant of the room's PTS zero, for sender reports.
	Epoch time.Time
	// CNAME names the room's clock in RTCP and SDP; 1..64 of letters, digits,
	// '-', '_', '.'. Defaults to a random one.
	CNAME string
	// Handler gets the client's media.
	Handler Handler
}

// Answer is what the client gets back.
type Answer struct {
	// SDP holds every candidate: no trickling is needed.
	SDP string
	// UFrag is the server's ICE user fragment, which names this ICE session.
	UFrag string
	// SendsAudio and SendsVideo say what the server will send, ReceivesAudio,
	// ReceivesCamera and ReceivesScreen what the client may send.
	SendsAudio, SendsVideo                        bool
	ReceivesAudio, ReceivesCamera, ReceivesScreen bool
}

// Accept answers an offer. It takes some milliseconds (a DTLS certificate is
// shared; gathering is local) and returns an error of this package; then the
// Handler has not been called and never will be. The Peer lives until it is
// closed, its client goes or the engine ends; ctx bounds only this call.
func (e *Engine) Accept(ctx context.Context, offer Offer) (*Peer, Answer, error) {
	return nil, Answer{}, ErrClosed
}
