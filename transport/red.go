package transport

import (
	"mixdown/codec/opus"
)

// maxREDBlocks are read of one payload, the primary included: browsers send two
// or three, and more than ten do not fit a packet.
const maxREDBlocks = 10

// A redBlock is one of the Opus packets in a RED payload (RFC 2198 section 3).
type redBlock struct {
	pt uint8
	// offset is how many ticks earlier than the primary it began; 0 for the
	// primary itself.
	offset uint32
	data   []byte // of the payload that was parsed
}

// parseRED splits a payload into its blocks, in their order: the redundant
// ones, oldest first as everybody sends them, then the primary. It appends them
// to dst. ok is false when the payload is cut off or has too many blocks; then
// nothing of it can be trusted.
func parseRED(dst []redBlock, payload []byte) (blocks []redBlock, ok bool) {
	first := len(dst)
	data := payload
	for {
		if len(data) == 0 || len(dst)-first == maxREDBlocks {
			return dst[:first], false
		}
		if data[0]&0x80 == 0 { // the primary's header is one byte
			dst = append(dst, redBlock{pt: data[0] & 0x7f})
			data = data[1:]
			break
		}
		if len(data) < 4 {
			return dst[:first], false
		}
		// F, 7 bits of payload type, 14 of offset, 10 of length.
		rest := uint32(data[1])<<16 | uint32(data[2])<<8 | uint32(data[3])
		n := int(rest & 0x3ff)
		if n > len(payload) {
			return dst[:first], false
		}
		// The right length, for now of the wrong bytes: headers come first.
		dst = append(dst, redBlock{pt: data[0] & 0x7f, offset: rest >> 10, data: payload[:n]})
		data = data[4:]
	}
	for i := first; i < len(dst)-1; i++ {
		n := len(dst[i].data)
		if n > len(data) {
			return dst[:first], false
		}
		dst[i].data, data = data[:n:n], data[n:]
	}
	dst[len(dst)-1].data = data
	return dst, true
}

// redWindow is how many packets back redundancy is looked up; a power of two. At
// 20 ms a packet it is 1.3 s, and 14 bits of offset reach 341 ms.
const redWindow = 64

// A redLog remembers which packets of a stream came, to tell what of the
// redundancy is new and under which sequence number it was sent: RFC 2198 names
// a block by its time alone. It is not safe for concurrent use.
type redLog struct {
	slots   [redWindow]redSlot
	first   int64 // the stream's first packet: what was before is not missed
	started bool
}

type redSlot struct {
	seq  int64 // 0 is none: extended numbers start higher
	time uint32
}

// note says that packet seq of that RTP timestamp came, by itself or as
// redundancy.
func (l *redLog) note(seq int64, timestamp uint32) {
	if !l.started {
		l.started, l.first = true, seq
	}
	if s := &l.slots[seq%redWindow]; seq > s.seq {
		*s = redSlot{seq, timestamp}
	}
}

// place returns the sequence number of a block of that timestamp and duration in
// ticks, that came with packet carrier, which has been noted. ok is false when
// it is there already, or is none of the packets that are missing.
//
// The neighbours that came say between which numbers it must lie. Inside, its
// distance in time counts packets, from the later neighbour back; if that leads
// below the earlier one, the sender paused in between (DTX uses up time, not
// numbers), and it is counted from there.
func (l *redLog) place(carrier int64, timestamp, duration uint32) (seq int64, ok bool) {
	if duration == 0 {
		return 0, false
	}
	later, laterTime := carrier, l.slots[carrier%redWindow].time
	lowest := max(l.first, carrier-redWindow+1)
	for q := carrier - 1; q >= lowest; q-- {
		s := &l.slots[q%redWindow]
		if s.seq != q {
			continue
		}
		switch d := int32(s.time - timestamp); {
		case d == 0:
			return 0, false
		case d > 0:
			later, laterTime = q, s.time
			continue
		}
		if q+1 == later {
			return 0, false // nothing is missing between the two
		}
		back := later - packetsIn(laterTime-timestamp, duration)
		if back <= q {
			back = q + packetsIn(timestamp-s.time, duration)
		}
		return min(max(back, q+1), later-1), true
	}
	// All that is left of the window is missing.
	back := later - packetsIn(laterTime-timestamp, duration)
	return back, back >= lowest && back < later
}

// packetsIn is a span of ticks in packets, rounded, at least one.
func packetsIn(span, duration uint32) int64 {
	return max((int64(span)+int64(duration)/2)/int64(duration), 1)
}

// opusTicks is the duration of an Opus packet in ticks of its RTP clock (RFC
// 7587 section 4.1: 48 kHz whatever it was coded for); 0 when it is none.
func opusTicks(packet []byte) uint32 {
	samples, err := opus.Duration(packet)
	if err != nil {
		return 0
	}
	return uint32(samples)
}
