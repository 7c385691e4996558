package transport

import (
	"time"

	"mixdown/codec"
)

// Peer is one connected client: a PeerConnection, its pacer and its
// assemblers. Engine.Accept makes it. It is safe for concurrent use.
type Peer struct {
	done chan struct{}
}

// PeerStats is a snapshot of one peer's counters, all since it was accepted.
type PeerStats struct {
	// Connected says that the media keys have been agreed.
	Connected bool
	// Sent counts RTP packets that were given to the socket, retransmissions
	// included.
	SentPackets, SentBytes uint64
	// Retransmitted counts packets sent again because the client asked.
	Retransmitted uint64
	// SendErrors counts packets that the socket refused.
	SendErrors uint64
	// AudioDropped and VideoDropped count frames for which the pacer had no room.
	AudioDropped, VideoDropped uint64
	// ReceivedPackets and ReceivedBytes count RTP that was decrypted.
	ReceivedPackets, ReceivedBytes uint64
	// Policed counts packets dropped because the client sent too much.
	Policed uint64
	// Malformed counts RTP and RTCP that could not be parsed.
	Malformed uint64
	// FramesLost counts pictures that could not be assembled.
	FramesLost uint64
	// NACKsSent, PLIsSent count what we asked of the client, PLIsReceived
	// what it asked of us (FIR included).
	NACKsSent, PLIsSent, PLIsReceived uint64
	// RTT, LossFraction (0..1) and QueueDelay are the latest figures.
	RTT          time.Duration
	LossFraction float64
	QueueDelay   time.Duration
	// EstimateBps is the client's REMB; 0 is unknown.
	EstimateBps int
}

// WriteAudio lends one packet of the mix. It never blocks; when the pacer's
// queue is full the oldest packet is dropped and counted.
func (p *Peer) WriteAudio(f *codec.EncodedFrame) {}

// WriteVideo lends one picture of the mix. It never blocks. NeedKey says that
// the picture could not be taken (nothing sent yet and no key frame, queue
// over its bound, not connected) and that only a key frame helps; Dropped that
// later pictures still can be decoded.
func (p *Peer) WriteVideo(f *codec.EncodedFrame) codec.Verdict { return codec.NeedKey }

// RequestKeyframe asks the client for a key frame of one source. Requests are
// coalesced: at most one PLI goes out per 500 ms and source. It never blocks.
func (p *Peer) RequestKeyframe(s codec.SourceID) {}

// LimitUplink says how one source is shown. It never blocks.
func (p *Peer) LimitUplink(s codec.SourceID, t codec.UplinkTarget) {}

// Close ends the peer and waits until Handler.PeerClosed has returned; twice
// is fine. It must not be called from a Handler method, which it waits for.
func (p *Peer) Close() error { return nil }

// Done is closed after Handler.PeerClosed has returned.
func (p *Peer) Done() <-chan struct{} { return p.done }

// Stats returns a snapshot of the counters.
func (p *Peer) Stats() PeerStats { return PeerStats{} }
