package client

import (
	"encoding/binary"
	"sync"
	"time"
)

const (
	// feedbackInterval is between two feedbacks, while packets come; feedbackLast
	// is how long the last packets before a pause wait to be told of.
	feedbackInterval = 80 * time.Millisecond
	feedbackLast     = 120 * time.Millisecond
	// feedbackPackets are told of at once at most: 80 ms of 60 Mb/s.
	feedbackPackets = 512
	// feedbackBytes holds as many, with two bytes each and their two bits.
	feedbackBytes = 20 + (feedbackPackets+6)/7*2 + feedbackPackets*2 + 4

	feedbackTick      = 250 * time.Microsecond
	feedbackReference = 64 * time.Millisecond
)

// transportLog notes when each packet came, by its transport-wide number, and
// writes the feedback that tells the server
// (draft-holmer-rmcat-transport-wide-cc-extensions-01). Bound: feedbackPackets,
// beyond which it begins anew. It allocates nothing and is safe for concurrent
// use.
type transportLog struct {
	mu struct {
		sync.Mutex
		at      [feedbackPackets]time.Duration // 0: did not come
		base    uint16                         // number of at[0]
		n       int                            // up to the last that came
		started bool
		sentAt  time.Duration
		count   uint8
		media   uint32 // SSRC of the latest packet
		buf     [feedbackBytes]byte
		// late sends what is left when nothing more comes.
		late *time.Timer
	}
}

// came notes a packet. due says that it is time to send feedback.
func (l *transportLog) came(seq uint16, ssrc uint32, now time.Duration) (due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &l.mu
	if !m.started {
		m.started, m.base, m.sentAt = true, seq, now
	}
	i := int(int16(seq - m.base))
	if i < 0 {
		return false // told of as lost, and come after all
	}
	if i >= feedbackPackets {
		clear(m.at[:])
		m.base, m.n, i = seq, 0, 0
	}
	if m.at[i] == 0 {
		m.at[i] = now
	}
	m.n, m.media = max(m.n, i+1), ssrc
	if now-m.sentAt >= feedbackInterval {
		return true
	}
	if m.late != nil {
		m.late.Reset(feedbackLast)
	}
	return false
}

// flushLate has send called once nothing has come for feedbackLast. It returns
// what ends that.
func (l *transportLog) flushLate(send func()) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.late = time.AfterFunc(feedbackLast, send)
	timer := l.mu.late
	return func() {
		l.mu.Lock()
		l.mu.late = nil
		l.mu.Unlock()
		timer.Stop()
	}
}

// write gives the feedback on what came since the last to send, if there is any.
// The bytes are valid during that call.
func (l *transportLog) write(reporter uint32, now time.Duration, send func([]byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &l.mu
	if m.n > 0 {
		send(m.buf[:l.marshal(reporter)])
		clear(m.at[:m.n])
		m.base += uint16(m.n)
		m.n = 0
	}
	m.sentAt = now
}

// marshal writes one packet and returns its size. The caller holds mu.
func (l *transportLog) marshal(reporter uint32) (size int) {
	m := &l.mu
	b := m.buf[:]
	first := 0
	for m.at[first] == 0 {
		first++
	}
	reference := m.at[first] / feedbackReference
	clock := int64(reference) * int64(feedbackReference/feedbackTick)
	// Two bits a packet, seven packets in two bytes (section 3.1.4), then the
	// deltas (section 3.1.5).
	chunks := 20
	deltas := chunks + (m.n+6)/7*2
	size = deltas
	clear(b[chunks:deltas])
	for i, at := range m.at[:m.n] {
		symbol := uint16(0)
		if at != 0 {
			// A gap of 8 s is longer than can be told.
			delta := min(max(int64(at/feedbackTick)-clock, -1<<15), 1<<15-1)
			clock += delta
			if delta >= 0 && delta < 256 {
				symbol = 1
				b[size] = byte(delta)
				size++
			} else {
				symbol = 2
				binary.BigEndian.PutUint16(b[size:], uint16(delta))
				size += 2
			}
		}
		chunk := b[chunks+i/7*2:]
		binary.BigEndian.PutUint16(chunk, binary.BigEndian.Uint16(chunk)|0xc000|symbol<<(12-2*(i%7)))
	}
	b[0], b[1] = 2<<6|15, 205
	if pad := -size & 3; pad > 0 { // RFC 3550 section 6.4.1
		clear(b[size : size+pad])
		size += pad
		b[0] |= 1 << 5
		b[size-1] = byte(pad)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(size/4-1))
	binary.BigEndian.PutUint32(b[4:], reporter)
	binary.BigEndian.PutUint32(b[8:], m.media)
	binary.BigEndian.PutUint16(b[12:], m.base)
	binary.BigEndian.PutUint16(b[14:], uint16(m.n))
	binary.BigEndian.PutUint32(b[16:], uint32(reference)<<8|uint32(m.count))
	m.count++
	return size
}
