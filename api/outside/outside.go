// Package outside reaches other people's servers: where the server sends
// something to an address that somebody has given it, that address must not lead
// inside, to the machine itself, its network or its cloud's metadata (SSRF).
//
//	client, err := outside.New(outside.Config{})
//	resp, err := client.Do(req) // a plain http.Client
//	defer resp.Body.Close()     // gives 64 KiB at most
//
// What counts is the address that is connected to, looked at after names were
// resolved and for every single connection, so that no name can be made to point
// elsewhere between a check and its use. Redirects are not followed: they are
// answers. Proxies of the environment are not used, since they would connect in
// our stead. Plain HTTP is spoken only with addresses that were allowed by hand.
package outside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Config is what a client may do. The zero value works.
type Config struct {
	// Allow are addresses that may be reached although they are inside, also by
	// plain HTTP. Defaults to none.
	Allow []netip.Prefix
	// Timeout is for a whole exchange, the answer's body included. Defaults to
	// 15 s.
	Timeout time.Duration
	// MaxBytes is how much of an answer's body is read at most. Defaults to
	// 64 KiB.
	MaxBytes int64
}

// Connecting takes one round trip, and a handshake two: who needs longer has
// trouble.
const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	maxHeaderBytes   = 16 << 10
)

// ErrInside says that an address leads inside, or a scheme is not to be spoken
// with it.
var ErrInside = errors.New("this server does not go there")

// New returns a client for cfg; it is safe for concurrent use. Errors of its
// requests wrap ErrInside where that is why.
func New(cfg Config) (*http.Client, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 15 * time.Second
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 10
	}
	var faults []error
	if cfg.Timeout < 0 {
		faults = append(faults, fmt.Errorf("Timeout is %v: want more than 0, or 0 for 15s", cfg.Timeout))
	}
	if cfg.MaxBytes < 0 {
		faults = append(faults, fmt.Errorf("MaxBytes is %d: want 1 or more, or 0 for 64 KiB", cfg.MaxBytes))
	}
	for _, p := range cfg.Allow {
		if !p.IsValid() {
			faults = append(faults, errors.New("Allow holds a prefix that is none"))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("outside: %w", err)
	}
	g := guard{allow: cfg.Allow}
	dialer := &net.Dialer{Timeout: dialTimeout, ControlContext: g.control}
	return &http.Client{
		Timeout:       cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &trip{maxBytes: cfg.MaxBytes, next: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: handshakeTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			DisableCompression:     true, // a bomb would count by what it is packed
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           64, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
		}},
	}, nil
}

// guard decides at connect time.
type guard struct{ allow []netip.Prefix }

// plainKey marks the context of requests without TLS.
type plainKey struct{}

// control is net.Dialer.ControlContext: address is an IP address and a port.
func (g guard) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no IP address", ErrInside, address)
	}
	addr := ap.Addr().WithZone("").Unmap()
	for _, p := range g.allow {
		if p.Contains(addr) {
			return nil
		}
	}
	if !Public(ap.Addr()) {
		return fmt.Errorf("%w: %v is not on the public internet, nor allowed", ErrInside, addr)
	}
	if plain, _ := ctx.Value(plainKey{}).(bool); plain {
		return fmt.Errorf("%w: %v is reached by https only, not being allowed otherwise", ErrInside, addr)
	}
	return nil
}

// trip lets requests through by their scheme, and bounds answers.
type trip struct {
	next     *http.Transport
	maxBytes int64
}

// RoundTrip implements http.RoundTripper.
func (t *trip) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.Scheme {
	case "https":
	case "http":
		r = r.WithContext(context.WithValue(r.Context(), plainKey{}, true))
	default:
		return nil, fmt.Errorf("%w: scheme %q: want https", ErrInside, r.URL.Scheme)
	}
	resp, err := t.next.RoundTrip(r)
	if err == nil {
		resp.Body = &bounded{Reader: io.LimitReader(resp.Body, t.maxBytes), Closer: resp.Body}
	}
	return resp, err
}

// CloseIdleConnections is called by http.Client's.
func (t *trip) CloseIdleConnections() { t.next.CloseIdleConnections() }

// bounded is the beginning of a body.
type bounded struct {
	io.Reader
	io.Closer
}
