package transport

import (
	"encoding/binary"
	"time"
)

const (
	// twccFormat and twccType are what RTCP calls transport-wide feedback
	// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
	twccFormat, twccType = 15, 205
	// twccHeader is the bytes before the first chunk.
	twccHeader = 20
	// twccTick is the resolution of arrivals, twccReference that of the
	// instant that they count from.
	twccTick      = 250 * time.Microsecond
	twccReference = 64 * time.Millisecond
)

// isTWCC reports whether an RTCP packet is transport-wide feedback.
func isTWCC(b []byte) bool {
	return len(b) >= twccHeader && b[0]&0x1f == twccFormat && b[1] == twccType
}

// twccReport is one feedback packet, checked: walking it cannot fail. It is only
// valid as long as the bytes that it was made from.
type twccReport struct {
	base      uint16 // number of the first packet that it tells of
	count     int    // how many those are
	reference uint32 // 24 bits, in 64 ms
	chunks    []byte
	deltas    []byte
}

// parseTWCC reads a feedback packet that isTWCC. ok is false when it is not
// whole. It is ours and not pion's since feedback is most of what clients say:
// it allocates nothing, and what it costs is bounded by the packet's length,
// whatever that claims (runs are taken in one step).
func parseTWCC(b []byte) (r twccReport, ok bool) {
	if !isTWCC(b) {
		return r, false
	}
	r.base = binary.BigEndian.Uint16(b[12:])
	r.count = int(binary.BigEndian.Uint16(b[14:]))
	r.reference = binary.BigEndian.Uint32(b[16:]) >> 8
	rest := b[twccHeader:]
	// The chunks end where as many packets are told of as were announced.
	n := 0
	for left := r.count; left > 0; n += 2 {
		if len(rest) < n+2 {
			return r, false
		}
		c := binary.BigEndian.Uint16(rest[n:])
		switch {
		case c&0x8000 == 0:
			if c&0x1fff == 0 {
				return r, false // a run of nothing
			}
			left -= int(c & 0x1fff)
		case c&0x4000 == 0:
			left -= 14
		default:
			left -= 7
		}
	}
	r.chunks, r.deltas = rest[:n], rest[n:]
	w := r.walk()
	for w.next() {
	}
	return r, !w.broken
}

// twccWalk goes through a report, one packet at a time, or one run of packets of
// which there is no more to tell than that they came or did not.
type twccWalk struct {
	report *twccReport
	chunks []byte
	deltas []byte
	symbol [14]uint8 // of a vector chunk
	at     int       // in symbol
	held   int       // symbols in symbol
	same   int       // packets left of a run
	kind   uint8     // of the run
	told   int
	broken bool // the deltas ended early

	// What next found: n packets from index on.
	index, n int
	received bool
	// timed says that arrival, counted from the report's reference, is known.
	timed   bool
	arrival time.Duration
}

func (r *twccReport) walk() twccWalk {
	return twccWalk{report: r, chunks: r.chunks, deltas: r.deltas}
}

// next goes on by one step; false at the end.
func (w *twccWalk) next() bool {
	if w.told >= w.report.count || w.broken {
		return false
	}
	if w.at == w.held && w.same == 0 {
		w.load()
	}
	kind := w.kind
	w.n = 1
	switch {
	case w.same == 0:
		kind = w.symbol[w.at]
		w.at++
	case kind == 0 || kind == 3:
		w.n = min(w.same, w.report.count-w.told)
		w.same = 0
	default:
		w.same--
	}
	w.index = w.told
	w.told += w.n
	w.received, w.timed = kind != 0, kind == 1 || kind == 2
	if !w.timed {
		return true
	}
	// Small deltas are one byte, large ones two, with a sign.
	if len(w.deltas) < int(kind) {
		w.broken = true
		return false
	}
	if kind == 1 {
		w.arrival += time.Duration(w.deltas[0]) * twccTick
	} else {
		w.arrival += time.Duration(int16(binary.BigEndian.Uint16(w.deltas))) * twccTick
	}
	w.deltas = w.deltas[kind:]
	return true
}

// load takes the next chunk (sections 3.1.3 and 3.1.4).
func (w *twccWalk) load() {
	c := binary.BigEndian.Uint16(w.chunks)
	w.chunks = w.chunks[2:]
	w.at, w.held = 0, 0
	switch {
	case c&0x8000 == 0:
		w.kind, w.same = uint8(c>>13&3), int(c&0x1fff)
	case c&0x4000 == 0:
		for i := range 14 {
			w.symbol[i] = uint8(c >> (13 - i) & 1)
		}
		w.held = 14
	default:
		for i := range 7 {
			w.symbol[i] = uint8(c >> (12 - 2*i) & 3)
		}
		w.held = 7
	}
}

const (
	// sentLogSize packets are remembered: 1.6 s at 6 Mb/s. A power of two.
	sentLogSize = 1024
	// sentLogAge is after how long a packet of which nothing was heard is no
	// longer taken to be on its way.
	sentLogAge = time.Second
)

// sentPacket is what is remembered of a packet that carried a transport-wide
// number.
type sentPacket struct {
	at    time.Duration
	total uint64 // bytes sent up to here, its own included
	bytes uint16
	state sentState
}

type sentState uint8

const (
	sentUnknown sentState = iota // nothing was heard of it in time
	sentOnWay
	sentArrived
	sentLost
)

// A sentLog remembers what was sent under which transport-wide number, and how
// much of it is on its way. Bounds: sentLogSize packets, and sentLogAge for what
// counts as on its way; the oldest goes. It does not block.
type sentLog struct {
	ring   []sentPacket
	next   int64 // extended number of the next packet
	oldest int64 // none before it is on its way
	// flight bytes in packets are on their way.
	flight, packets int
	total           uint64
}

func newSentLog() sentLog { return sentLog{ring: make([]sentPacket, sentLogSize)} }

func (l *sentLog) at(number int64) *sentPacket { return &l.ring[number&(sentLogSize-1)] }

// holds reports whether a number is remembered.
func (l *sentLog) holds(number int64) bool {
	return number >= 0 && number < l.next && number >= l.next-sentLogSize
}

// add notes a packet that is sent now and returns its number.
func (l *sentLog) add(bytes int, now time.Duration) uint16 {
	l.settle(l.at(l.next), sentUnknown)
	if l.next-sentLogSize >= l.oldest {
		l.oldest = l.next - sentLogSize + 1
	}
	l.total += uint64(bytes)
	l.flight += bytes
	l.packets++
	*l.at(l.next) = sentPacket{at: now, total: l.total, bytes: uint16(bytes), state: sentOnWay}
	l.next++
	return uint16(l.next - 1)
}

// settle gives a packet that may be on its way its end.
func (l *sentLog) settle(p *sentPacket, state sentState) {
	if p.state == sentOnWay {
		l.flight -= int(p.bytes)
		l.packets--
		p.state = state
	}
}

// expire lets go of what nothing was heard of.
func (l *sentLog) expire(now time.Duration) {
	for ; l.oldest < l.next; l.oldest++ {
		p := l.at(l.oldest)
		if p.state == sentOnWay && now-p.at <= sentLogAge {
			return
		}
		l.settle(p, sentUnknown)
	}
}

// extend returns the extended number that a report means. ok is false when it
// tells of packets that were never sent.
func (l *sentLog) extend(base uint16, count int) (first int64, ok bool) {
	first = l.next + int64(int16(base-uint16(l.next)))
	return first, first+int64(count) <= l.next
}

// arrivalClock unwraps the 24 bits of reports' reference instants: they wrap
// after twelve days.
type arrivalClock struct {
	last    uint32
	at      time.Duration
	started bool
}

func (c *arrivalClock) unwrap(reference uint32) time.Duration {
	if c.started {
		// The difference as a signed number of 24 bits.
		c.at += time.Duration(int32((reference-c.last)<<8)>>8) * twccReference
	}
	c.started, c.last = true, reference
	return c.at
}
