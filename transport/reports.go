package transport

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"mixdown/codec"
)

// senderReports returns the compound packet that relates both streams to the
// wall clock: a sender report each, and the CNAME that says that they belong
// together (RFC 3550 sections 6.4.1 and 6.5.1). epoch is the wall clock at PTS
// 0, wall the instant of sending.
//
// The RTP timestamp is computed from the NTP timestamp, never taken from the
// last packet: a report that pairs a timestamp with the time of writing turns
// encoding and pacing delay into skew between sound and picture. Streams that
// have sent nothing are left out; nil when none has.
func senderReports(p *pacer, cname string, epoch, wall time.Time) []rtcp.Packet {
	var packets []rtcp.Packet
	chunks := make([]rtcp.SourceDescriptionChunk, 0, 2)
	ntp, pts := codec.NTPTimeOf(wall), wall.Sub(epoch)
	add := func(ssrc, rtpTime uint32, sent sentCounts) {
		if ssrc == 0 || sent.Packets == 0 {
			return
		}
		packets = append(packets, &rtcp.SenderReport{
			SSRC: ssrc, NTPTime: uint64(ntp), RTPTime: rtpTime,
			PacketCount: sent.Packets, OctetCount: sent.Bytes,
		})
		chunks = append(chunks, rtcp.SourceDescriptionChunk{
			Source: ssrc,
			Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: cname}},
		})
	}
	add(p.cfg.AudioSSRC, p.audioTime(pts), p.audioSent)
	add(p.cfg.VideoSSRC, p.videoTime(pts), p.videoSent)
	if packets == nil {
		return nil
	}
	return append(packets, &rtcp.SourceDescription{Chunks: chunks})
}

// A receptionLog measures one inbound stream for the reception report block
// of RFC 3550 section 6.4.1, by the algorithms of appendices A.3 and A.8. It
// does not block and is not safe for concurrent use.
type receptionLog struct {
	ssrc uint32
	rate int64
	seq  seqTracker

	base     int64 // first extended number since the (re)start
	received int64
	// Of the last report:
	expectedBefore, receivedBefore int64
	lostBefore                     int64 // in earlier lives of the stream

	transit  int64 // of the last packet, in ticks
	jitter   int64 // 16 times the jitter, in ticks
	started  bool
	srNTP    codec.NTPTime
	srAt     time.Duration
	reported bool // a sender report came
}

func newReceptionLog(ssrc uint32, clockRate int) *receptionLog {
	return &receptionLog{ssrc: ssrc, rate: int64(clockRate)}
}

// push counts one packet of the stream that came at now; repairs that come by
// RFC 4588 are not of the stream.
func (l *receptionLog) push(h *rtp.Header, now time.Duration) {
	seq, verdict := l.seq.unwrap(h.SequenceNumber)
	if verdict == seqStray {
		return
	}
	if verdict == seqRestart {
		l.lostBefore += max(l.expectedBefore-l.receivedBefore, 0)
		l.started = false
	}
	transit := ticksOf(now, l.rate) - int64(h.Timestamp)
	if !l.started {
		l.started, l.base = true, seq
		l.received, l.expectedBefore, l.receivedBefore = 0, 0, 0
		l.transit = transit
	}
	l.base = min(l.base, seq)
	l.received++
	// Only the low 32 bits mean anything: timestamps wrap.
	d := int64(int32(uint32(transit - l.transit)))
	l.transit = transit
	l.jitter += max(d, -d) - (l.jitter+8)>>4
}

// senderReport tells that a sender report came at now.
func (l *receptionLog) senderReport(ntp codec.NTPTime, now time.Duration) {
	l.srNTP, l.srAt, l.reported = ntp, now, true
}

// report returns the block for the interval since the last call. ok is false
// when nothing has come yet.
func (l *receptionLog) report(now time.Duration) (block rtcp.ReceptionReport, ok bool) {
	if !l.started {
		return rtcp.ReceptionReport{}, false
	}
	expected := l.seq.highest - l.base + 1
	lost := expected - l.received
	spanExpected, spanReceived := expected-l.expectedBefore, l.received-l.receivedBefore
	l.expectedBefore, l.receivedBefore = expected, l.received
	block = rtcp.ReceptionReport{
		SSRC:               l.ssrc,
		LastSequenceNumber: uint32(l.seq.highest),
		Jitter:             uint32(min(l.jitter>>4, 1<<32-1)),
		// Duplicates can make it negative, which pion's unsigned field cannot say.
		TotalLost: uint32(min(max(lost+l.lostBefore, 0), 1<<23-1)),
	}
	if spanLost := spanExpected - spanReceived; spanExpected > 0 && spanLost > 0 {
		block.FractionLost = uint8(min(spanLost<<8/spanExpected, 255))
	}
	if l.reported {
		block.LastSenderReport = uint32(l.srNTP >> 16)
		block.Delay = uint32(ticksOf(now-l.srAt, 1<<16))
	}
	return block, true
}

// A pathReport is what receiver reports say of the way to a client. The zero
// value is ready.
type pathReport struct {
	// RTT is smoothed; 0 is unknown. Trip is what the last report said; 0 when it
	// said nothing.
	RTT, Trip time.Duration
	// LossFraction of the last report about each, 0..1.
	AudioLoss, VideoLoss float64
	// Jitter in the client's measure.
	AudioJitter, VideoJitter time.Duration
	// Reports counts blocks that were about us.
	Reports uint64
}

// receive takes one block that came at wall; false when it is not about a
// stream of p.
func (r *pathReport) receive(p *pacer, block *rtcp.ReceptionReport, wall time.Time) bool {
	loss := float64(block.FractionLost) / 256
	switch {
	case block.SSRC == 0:
		return false
	case block.SSRC == p.cfg.AudioSSRC:
		r.AudioLoss, r.AudioJitter = loss, durationOf(int64(block.Jitter), audioClockRate)
	case block.SSRC == p.cfg.VideoSSRC:
		r.VideoLoss, r.VideoJitter = loss, durationOf(int64(block.Jitter), videoClockRate)
	default:
		return false
	}
	r.Reports++
	r.Trip = 0
	if block.LastSenderReport == 0 {
		return true
	}
	// RFC 3550 section 6.4.1: the middle 32 bits of NTP time, 1/65536 s.
	trip := int32(uint32(codec.NTPTimeOf(wall)>>16) - block.LastSenderReport - block.Delay)
	rtt := durationOf(int64(trip), 1<<16)
	if rtt < 0 || rtt > 10*time.Second {
		// Clocks of 1/65536 s can make nothing come out below nothing; a
		// report that is further off is about somebody else's clock.
		if rtt < -time.Second || rtt > 0 {
			return true
		}
		rtt = 0
	}
	rtt = max(rtt, time.Millisecond/10)
	r.Trip = rtt
	if r.RTT == 0 {
		r.RTT = rtt
	} else {
		r.RTT += (rtt - r.RTT) / 4
	}
	return true
}
