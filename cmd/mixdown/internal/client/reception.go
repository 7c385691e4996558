package client

import (
	"time"

	"github.com/pion/rtcp"

	"mixdown/codec"
)

// reception measures one stream that comes, for the report block of RFC 3550
// section 6.4.1 (appendices A.3 and A.8). It is not safe for concurrent use.
type reception struct {
	rate     int64
	ssrc     uint32
	started  bool
	base     int64 // extended sequence numbers
	highest  int64
	received int64
	// At the last report:
	expectedBefore, receivedBefore int64

	transit int64 // of the last packet, in ticks
	jitter  int64 // 16 times it
	// Of the last sender report:
	lsr   uint32
	srAt  time.Duration
	heard bool
}

// push counts one packet.
func (r *reception) push(ssrc uint32, seq uint16, timestamp uint32, now time.Duration) {
	transit := int64(now/time.Microsecond)*r.rate/1e6 - int64(timestamp)
	if !r.started || ssrc != r.ssrc {
		*r = reception{rate: r.rate, ssrc: ssrc, started: true, base: int64(seq), highest: int64(seq) - 1, transit: transit}
	}
	r.highest = max(r.highest, r.highest+int64(int16(seq-uint16(r.highest))))
	r.received++
	d := int64(int32(uint32(transit - r.transit))) // timestamps wrap
	r.transit = transit
	r.jitter += max(d, -d) - (r.jitter+8)>>4
}

// senderReport notes when which report came.
func (r *reception) senderReport(ssrc uint32, ntp codec.NTPTime, now time.Duration) {
	if r.started && ssrc == r.ssrc {
		r.lsr, r.srAt, r.heard = uint32(ntp>>16), now, true
	}
}

// report returns the block about the time since the last one; ok is false when
// nothing has come yet.
func (r *reception) report(now time.Duration) (b rtcp.ReceptionReport, ok bool) {
	if !r.started {
		return b, false
	}
	expected := r.highest - r.base + 1
	span, lost := expected-r.expectedBefore, expected-r.expectedBefore-(r.received-r.receivedBefore)
	r.expectedBefore, r.receivedBefore = expected, r.received
	b = rtcp.ReceptionReport{
		SSRC: r.ssrc, LastSequenceNumber: uint32(r.highest), Jitter: uint32(r.jitter >> 4),
		TotalLost: uint32(min(max(expected-r.received, 0), 1<<23-1)),
	}
	if span > 0 && lost > 0 {
		b.FractionLost = uint8(min(lost<<8/span, 255))
	}
	if r.heard {
		b.LastSenderReport, b.Delay = r.lsr, uint32((now-r.srAt)<<16/time.Second)
	}
	return b, true
}

// Of a gap in a stream of pictures.
const (
	// nackAfter is how long a packet may be late by itself.
	nackAfter = 10 * time.Millisecond
	// nackAgain is between two requests for one packet.
	nackAgain = 20 * time.Millisecond
	// maxMissing packets are asked for at one time; of a longer gap the rest is
	// given up, and a key frame comes.
	maxMissing = 64
)

// nacker asks for packets again (RFC 4585 section 6.2.1) until they come or
// would be of no use. It has no clock and is not safe for concurrent use.
type nacker struct {
	highest uint16
	started bool
	missing []missingPacket // in the order of their numbers, at most maxMissing
	seqs    []uint16        // scratch
}

type missingPacket struct {
	seq   uint16
	since time.Duration
	ask   time.Duration // when next
}

// came notes a packet, repaired or not.
func (n *nacker) came(seq uint16, now time.Duration) {
	if !n.started {
		n.started, n.highest = true, seq
		return
	}
	ahead := int16(seq - n.highest)
	if ahead <= 0 {
		for i, m := range n.missing {
			if m.seq == seq {
				n.missing = append(n.missing[:i], n.missing[i+1:]...)
				break
			}
		}
		return
	}
	if int(ahead) <= windowSize {
		for s := n.highest + 1; s != seq && len(n.missing) < maxMissing; s++ {
			n.missing = append(n.missing, missingPacket{s, now, now + nackAfter})
		}
	} else {
		n.missing = n.missing[:0] // the sender jumped
	}
	n.highest = seq
}

// due returns what is to be asked for now, and takes it as asked for. The slice
// is valid until the next call.
func (n *nacker) due(now time.Duration) []uint16 {
	n.seqs = n.seqs[:0]
	kept := n.missing[:0]
	for _, m := range n.missing {
		if now-m.since >= giveUpAfter {
			continue
		}
		if now >= m.ask {
			n.seqs = append(n.seqs, m.seq)
			m.ask = now + nackAgain
		}
		kept = append(kept, m)
	}
	n.missing = kept
	return n.seqs
}
