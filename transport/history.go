package transport

import "time"

const (
	// historySize packets are kept: one second at 4.7 Mb/s.
	historySize = 512
	// historyAge: what is older than this nobody waits for.
	historyAge = time.Second
	// historyBytes bounds the media that is kept alive for one client.
	historyBytes = 1 << 20
)

// A history remembers what was sent, by reference: which part of which frame
// a packet carried. Bounds: historySize packets, historyAge, historyBytes; the
// oldest go first, and their frames are released. It does not block.
type history struct {
	ring  []videoPacket // by sequence number
	first uint16        // oldest held
	count int
	bytes int
}

func newHistory() *history { return &history{ring: make([]videoPacket, historySize)} }

func (h *history) at(seq uint16) *videoPacket { return &h.ring[int(seq)&(len(h.ring)-1)] }

// add remembers v and takes over its reference. Numbers come in sequence.
func (h *history) add(v videoPacket, now time.Duration) *videoPacket {
	h.expire(now)
	for h.count == len(h.ring) || h.count > 0 && h.bytes+int(v.n) > historyBytes {
		h.evict()
	}
	if h.count == 0 {
		h.first = v.seq
	}
	h.count++
	h.bytes += int(v.n)
	p := h.at(v.seq)
	*p = v
	return p
}

// get finds the packet of that number, or nil. It is valid until the next add,
// expire or clear.
func (h *history) get(seq uint16) *videoPacket {
	if int(seq-h.first) >= h.count {
		return nil
	}
	return h.at(seq)
}

// expire forgets what is too old.
func (h *history) expire(now time.Duration) {
	for h.count > 0 && now-h.at(h.first).sentAt > historyAge {
		h.evict()
	}
}

// clear forgets everything.
func (h *history) clear() {
	for h.count > 0 {
		h.evict()
	}
}

func (h *history) evict() {
	v := h.at(h.first)
	h.bytes -= int(v.n)
	v.frame.Release()
	*v = videoPacket{}
	h.first++
	h.count--
}
