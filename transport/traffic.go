package transport

import (
	"github.com/pion/rtcp"

	"mixdown/codec"
)

// Traffic returns what went over the connection so far, after [Peer.Close] all of
// it. It takes a microsecond, and may wait that long for the peer's locks.
func (p *Peer) Traffic() codec.Traffic {
	s := p.totals()
	return codec.Traffic{
		SentPackets: s.SentPackets, SentBytes: s.SentBytes, Repairs: s.Repairs,
		SentLost:        p.counts.audioMissed.Load() + p.counts.videoMissed.Load(),
		ReceivedPackets: s.ReceivedPackets, ReceivedBytes: s.ReceivedBytes, ReceivedLost: s.PacketsLost,
		Restarts: s.Restarts,
	}
}

// missed keeps what a block says was lost since the beginning: 24 bits with a sign
// (RFC 3550 section 6.4.1), below zero when packets came twice.
func (p *Peer) missed(b *rtcp.ReceptionReport) {
	const sign = 1 << 23
	lost := uint64(b.TotalLost)
	if lost&sign != 0 {
		lost = 0
	}
	switch b.SSRC {
	case p.out.audioSSRC:
		p.counts.audioMissed.Store(lost)
	case p.out.videoSSRC:
		p.counts.videoMissed.Store(lost)
	}
}
