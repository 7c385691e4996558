package transport

import (
	"mixdown/codec"
)

// Handler is what a [Peer] needs of whoever is behind it. Every method is
// called from a reader's goroutine or from the dispatcher, which serves other
// peers too; possibly several at once. None may block: a reader, or other peers,
// wait while it runs. None of them may call [Peer.Close], which waits for them;
// start a goroutine for that.
type Handler interface {
	// WriteAudio transfers one packet of the client's sound. PTS is on the
	// sender's RTP clock, unwrapped; Data is one Opus packet.
	WriteAudio(*codec.EncodedFrame)
	// WriteVideo transfers one picture of the client's camera or screen.
	// Pictures come in decoding order; after a gap the next one is a key frame.
	WriteVideo(codec.SourceID, *codec.EncodedFrame)
	// Feedback tells about the way to the client.
	Feedback(codec.Feedback)
	// PeerClosed is called exactly once for every Peer that Accept returned,
	// after every other call has returned. The error says why; it is nil after
	// [Peer.Close] and after the client has said goodbye.
	PeerClosed(error)
}

// Role says which directions a client may use, whatever its offer asks for.
type Role uint8

const (
	// RoleParticipant sends and receives as its offer says.
	RoleParticipant Role = iota
	// RolePublisher only sends to us (WHIP, RFC 9725): the answer only receives.
	RolePublisher
	// RoleViewer only receives (WHEP): the answer only sends.
	RoleViewer
)

// String returns "participant", "publisher" or "viewer".
func (r Role) String() string {
	switch r {
	case RoleParticipant:
		return "participant"
	case RolePublisher:
		return "publisher"
	case RoleViewer:
		return "viewer"
	}
	return "role?"
}

func (r Role) valid() bool { return r <= RoleViewer }

// mayReceive reports whether the server takes media from such a client.
func (r Role) mayReceive() bool { return r != RoleViewer }

// maySend reports whether the server sends media to such a client.
func (r Role) maySend() bool { return r != RolePublisher }
