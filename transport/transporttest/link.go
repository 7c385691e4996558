package transporttest

import (
	"math/rand/v2"
	"time"
)

// Stats counts what a [Link] did.
type Stats struct {
	In, Out    uint64 // packets pushed, and popped
	Lost       uint64 // by Loss
	Dropped    uint64 // by an outage
	Overflowed uint64 // by Queue, or the bound of the link
	Duplicated uint64
	HeldBack   uint64 // by Reorder
}

// maxInFlight bounds the packets inside a link; those beyond are lost.
const maxInFlight = 1 << 16

// A Link is one direction of a bad network. Packets are pushed at one end and
// popped at the other once they are due. It has no clock of its own: now only
// has to go forward. The same seed, packets and times always give the same
// result. It holds on to what is pushed until it is popped, at most 65536
// packets. It is not safe for concurrent use and does not block.
type Link[T any] struct {
	spec  Spec
	rng   *rand.Rand
	stats Stats

	lossy    bool          // inside a burst of losses
	busy     time.Duration // when the rate limit is through with all so far
	last     time.Duration // when the latest packet comes out, order kept
	sequence uint64
	flight   []inFlight[T] // heap by (at, sequence)
}

type inFlight[T any] struct {
	at       time.Duration
	sequence uint64
	pkt      T
}

// NewLink returns an empty link. The spec must be valid.
func NewLink[T any](spec Spec, seed uint64) *Link[T] {
	if spec.Queue == 0 {
		spec.Queue = defaultQueue
	}
	return &Link[T]{spec: spec, rng: rand.New(rand.NewPCG(seed, 0x6c696e6b))}
}

// Stats returns the counters.
func (l *Link[T]) Stats() Stats { return l.stats }

// Push sends a packet of that many bytes on its way.
func (l *Link[T]) Push(pkt T, bytes int, now time.Duration) {
	l.stats.In++
	if l.lose() {
		l.stats.Lost++
		return
	}
	if l.down(now) {
		l.stats.Dropped++
		return
	}
	start := max(now, l.busy)
	if start-now > l.spec.Queue {
		l.stats.Overflowed++
		return
	}
	l.busy = l.sent(start, bytes)
	at := l.busy
	l.carry(pkt, at)
	if l.spec.Duplicate > 0 && l.rng.Float64() < l.spec.Duplicate {
		l.stats.Duplicated++
		l.carry(pkt, at)
	}
}

// lose is the two-state model of Gilbert: mean run of losses Burst, share Loss.
func (l *Link[T]) lose() bool {
	p := l.spec.Loss
	if p <= 0 {
		return false
	}
	if p >= 1 {
		return true
	}
	burst := max(l.spec.Burst, 1/(1-p))
	if l.lossy {
		l.lossy = l.rng.Float64() >= 1/burst
	} else {
		l.lossy = l.rng.Float64() < p/(burst*(1-p))
	}
	return l.lossy
}

func (l *Link[T]) down(now time.Duration) bool {
	for _, o := range l.spec.Outages {
		if o.covers(now) {
			return true
		}
	}
	return false
}

// sent is when the bottleneck is through with a packet that it begins at
// start: at the rate of each moment, should that change meanwhile.
func (l *Link[T]) sent(start time.Duration, bytes int) time.Duration {
	bits := float64(bytes) * 8
	bps := l.spec.RateBps
	steps := l.spec.Rates
	for len(steps) > 0 && steps[0].At <= start {
		bps, steps = steps[0].Bps, steps[1:]
	}
	for ; bps > 0; bps, steps = steps[0].Bps, steps[1:] {
		end := start + time.Duration(bits/float64(bps)*float64(time.Second))
		if len(steps) == 0 || end <= steps[0].At {
			return end
		}
		bits = max(0, bits-(steps[0].At-start).Seconds()*float64(bps))
		start = steps[0].At
	}
	return start // without limit
}

// carry delays a packet that is through the bottleneck at at.
func (l *Link[T]) carry(pkt T, at time.Duration) {
	if len(l.flight) >= maxInFlight {
		l.stats.Overflowed++
		return
	}
	at += l.spec.Delay
	if l.spec.Jitter > 0 {
		at += time.Duration(l.rng.Int64N(int64(l.spec.Jitter)))
	}
	switch {
	case l.spec.Reorder > 0 && l.rng.Float64() < l.spec.Reorder:
		l.stats.HeldBack++
		at += max(l.spec.Jitter, minHold)
	case !l.spec.Free:
		at = max(at, l.last)
		l.last = at
	}
	l.sequence++
	l.insert(inFlight[T]{at, l.sequence, pkt})
}

// Pop returns the next packet that is due. ok is false when there is none yet.
func (l *Link[T]) Pop(now time.Duration) (pkt T, ok bool) {
	if len(l.flight) == 0 || l.flight[0].at > now {
		return pkt, false
	}
	l.stats.Out++
	return l.remove().pkt, true
}

// Next is when the next packet is due; ok is false when the link is empty.
func (l *Link[T]) Next() (at time.Duration, ok bool) {
	if len(l.flight) == 0 {
		return 0, false
	}
	return l.flight[0].at, true
}

// Len is the number of packets on their way.
func (l *Link[T]) Len() int { return len(l.flight) }

func (a inFlight[T]) before(b inFlight[T]) bool {
	return a.at < b.at || a.at == b.at && a.sequence < b.sequence
}

func (l *Link[T]) insert(f inFlight[T]) {
	h := append(l.flight, f)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	l.flight = h
}

func (l *Link[T]) remove() inFlight[T] {
	h := l.flight
	top, n := h[0], len(h)-1
	h[0], h[n] = h[n], inFlight[T]{}
	h = h[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	l.flight = h
	return top
}
