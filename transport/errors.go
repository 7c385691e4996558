package transport

import "errors"

// Errors that Accept returns and that PeerClosed gets, to be tested with
// errors.Is. The text of the wrapping error names the fault and the fix and may
// be shown to the client.
var (
	// ErrBadSDP says that the offer cannot be understood (HTTP 400).
	ErrBadSDP = errors.New("bad SDP")
	// ErrNoUsableCodec says that the offer has neither Opus nor VP8 in a
	// direction that its role can use (HTTP 422).
	ErrNoUsableCodec = errors.New("no usable codec")
	// ErrExhausted says that the engine has as many peers as it may have (HTTP 503).
	ErrExhausted = errors.New("too many peers")
	// ErrClosed says that the engine is closed or not yet running (HTTP 503).
	ErrClosed = errors.New("transport is closed")
	// ErrBadConfig says that a Config or Offer field is out of range; the
	// wrapping error names it. It is the caller's mistake, not the client's.
	ErrBadConfig = errors.New("bad transport configuration")
	// ErrNeverConnected says that a client did not connect in time.
	ErrNeverConnected = errors.New("client never connected")
	// ErrVanished says that nothing has come from a client for too long.
	ErrVanished = errors.New("client vanished")
	// ErrMisbehaved says that a client was cut off because of what it sent.
	ErrMisbehaved = errors.New("client misbehaved")
	// ErrRefused says that the encrypted connection could not be made.
	ErrRefused = errors.New("connection failed")
)
