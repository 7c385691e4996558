package audio

import (
	"sync"
	"time"

	"mixdown/codec"
)

// inboxPackets bounds what a sender may have waiting: over a second even of
// 2.5 ms packets, ten of the usual ones.
const inboxPackets = 512

// arrival is one packet and when it came.
type arrival struct {
	frame *codec.EncodedFrame
	at    time.Duration
}

// inbox takes packets from the reader's goroutine to the tick's. Bound:
// inboxPackets. Drop policy: the oldest goes. Counter: dropped.
type inbox struct {
	mu      sync.Mutex
	slots   [inboxPackets]arrival // under mu, like all below
	first   int
	n       int
	dropped uint64
	closed  bool
}

// push takes over the frame's reference.
func (b *inbox) push(a arrival) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		a.frame.Release()
		return
	}
	if b.n == inboxPackets {
		b.slots[b.first].frame.Release()
		b.first = (b.first + 1) % inboxPackets
		b.n--
		b.dropped++
	}
	b.slots[(b.first+b.n)%inboxPackets] = a
	b.n++
}

// take moves everything to the end of dst, whose references the caller now
// owns, and returns it together with the count of packets ever dropped.
func (b *inbox) take(dst []arrival) ([]arrival, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; b.n > 0; b.n-- {
		dst = append(dst, b.slots[b.first])
		b.slots[b.first] = arrival{}
		b.first = (b.first + 1) % inboxPackets
	}
	return dst, b.dropped
}

// close releases what is left; whatever is pushed later is released at once.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for ; b.n > 0; b.n-- {
		b.slots[b.first].frame.Release()
		b.slots[b.first] = arrival{}
		b.first = (b.first + 1) % inboxPackets
	}
}
