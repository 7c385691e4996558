package transport

import (
	"container/heap"
	"sync"
	"time"

	"mixdown/codec"
)

// dispatcher is a goroutine that serves many peers: it sends what is due, and
// drives all that waits for time. A goroutine per peer would do as well, but
// each tick of a room wakes all of its peers at once, and waking a goroutine
// and its thread costs as much as sending the packet that it was woken for.
// Here a tick wakes one, and one timer serves every peer's deadlines.
//
// Serving a peer never blocks: sockets that are full drop, handlers may not
// wait, and what a pacer gives out at once is bounded.
type dispatcher struct {
	sockets []*mediaSocket // held while peers are served

	wake chan struct{} // one slot: poked is not empty, or stop
	done chan struct{} // closed when run has returned

	mu struct {
		sync.Mutex
		// poked are the peers to be served now. Bound: each is in it at most
		// once, by Peer.poked.
		poked    []*Peer
		stopping bool
	}

	// Of run alone.
	turn      []*Peer // scratch: the poked of this turn
	deadlines deadlineHeap
}

func newDispatcher(sockets []*mediaSocket) *dispatcher {
	return &dispatcher{sockets: sockets, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// poke has p served soon. It does not block; many pokes become one service.
func (d *dispatcher) poke(p *Peer) {
	if p.poked.Swap(true) {
		return
	}
	d.mu.Lock()
	d.mu.poked = append(d.mu.poked, p)
	d.mu.Unlock()
	d.nudge()
}

func (d *dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default: // it is awake already
	}
}

// stop ends run and waits. All peers have ended before.
func (d *dispatcher) stop() {
	d.mu.Lock()
	d.mu.stopping = true
	d.mu.Unlock()
	d.nudge()
	<-d.done
}

// run serves peers until stop.
func (d *dispatcher) run() {
	defer close(d.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.mu.Lock()
		d.turn, d.mu.poked = d.mu.poked, d.turn[:0]
		stopping := d.mu.stopping
		d.mu.Unlock()
		if stopping {
			return
		}
		for _, s := range d.sockets {
			s.batch.hold()
		}
		for i, p := range d.turn {
			p.poked.Store(false) // before it is served: a later poke counts
			d.serve(p)
			d.turn[i] = nil
		}
		now := codec.Now()
		for range d.deadlines { // each once: those who poked come first again
			if p := d.deadlines[0]; p.deadline <= now {
				d.serve(p)
			}
		}
		for _, s := range d.sockets {
			s.batch.release()
		}
		wait := time.Hour
		if len(d.deadlines) > 0 {
			wait = d.deadlines[0].deadline - codec.Now()
		}
		timer.Reset(wait)
		select {
		case <-d.wake:
		case <-timer.C:
		}
	}
}

// serve gives p its turn and notes when it wants the next.
func (d *dispatcher) serve(p *Peer) {
	now := codec.Now()
	wait, alive := p.serve(now)
	switch {
	case !alive && p.deadlineIndex >= 0:
		heap.Remove(&d.deadlines, p.deadlineIndex)
	case !alive:
	case p.deadlineIndex >= 0:
		p.deadline = now + wait
		heap.Fix(&d.deadlines, p.deadlineIndex)
	default:
		p.deadline = now + wait
		heap.Push(&d.deadlines, p)
	}
}

// deadlineHeap orders peers by when they want to be served; it implements
// heap.Interface.
type deadlineHeap []*Peer

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].deadline < h[j].deadline }

func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].deadlineIndex, h[j].deadlineIndex = i, j
}

func (h *deadlineHeap) Push(x any) {
	p := x.(*Peer)
	p.deadlineIndex = len(*h)
	*h = append(*h, p)
}

func (h *deadlineHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	p.deadlineIndex = -1
	return p
}
