package webhook

import (
	"container/heap"
	"sync"
	"time"
)

// item is an event in the queue: what is known of it without reading it.
type item struct {
	number uint64    // its place in the store
	at     time.Time // when it was added
}

// lane is what one endpoint is to be told of one room, in order. At any time it
// is in one place: ready, waiting, or with a worker.
type lane struct {
	room  string
	items []item
	due   time.Time // while it waits
}

// lanes are an endpoint's. Safe for concurrent use; the lock is a leaf.
type lanes struct {
	mu struct {
		sync.Mutex
		byRoom  map[string]*lane
		ready   []*lane // in the order in which they became so
		waiting byDue
		paused  time.Time // nothing is sent before
		queued  int
		gone    bool // for good: nothing is sent any more, nor added
	}
	// wake has a token when a worker that sleeps should look again.
	wake chan struct{}
}

func newLanes() *lanes {
	q := &lanes{wake: make(chan struct{}, 1)}
	q.mu.byRoom = make(map[string]*lane)
	return q
}

// poke wakes one worker, who wakes the next when there is more to do.
func (q *lanes) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// room reports how many more events there is room for.
func (q *lanes) room(most int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.gone {
		return 0
	}
	return max(0, most-q.mu.queued)
}

// add puts an event at the end of its room's lane.
func (q *lanes) add(room string, it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.gone {
		return
	}
	l := q.mu.byRoom[room]
	if l == nil {
		l = &lane{room: room}
		q.mu.byRoom[room] = l
		q.mu.ready = append(q.mu.ready, l)
	}
	l.items = append(l.items, it)
	q.mu.queued++
	q.poke()
}

// next hands a lane to a worker. Without one, it returns how long to sleep at
// most; negative is until there is a wake.
func (q *lanes) next(now time.Time) (*lane, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if wait := q.mu.paused.Sub(now); wait > 0 {
		return nil, wait
	}
	for len(q.mu.waiting) > 0 && !q.mu.waiting[0].due.After(now) {
		q.mu.ready = append(q.mu.ready, heap.Pop(&q.mu.waiting).(*lane))
	}
	if len(q.mu.ready) > 0 {
		l := q.mu.ready[0]
		q.mu.ready[0] = nil
		q.mu.ready = q.mu.ready[1:]
		if len(q.mu.ready) > 0 {
			q.poke()
		}
		return l, 0
	}
	if len(q.mu.waiting) > 0 {
		return nil, q.mu.waiting[0].due.Sub(now)
	}
	return nil, -1
}

// head is the event that a worker's lane is about.
func (q *lanes) head(l *lane) item {
	q.mu.Lock()
	defer q.mu.Unlock()
	return l.items[0]
}

// pop takes the first event out of a worker's lane and gives the lane back.
func (q *lanes) pop(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.gone {
		return
	}
	l.items = l.items[1:]
	q.mu.queued--
	if len(l.items) == 0 {
		delete(q.mu.byRoom, l.room)
		return
	}
	q.mu.ready = append(q.mu.ready, l)
	q.poke()
}

// wait gives a worker's lane back, to be ready at an instant.
func (q *lanes) wait(l *lane, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.gone {
		return
	}
	l.due = due
	heap.Push(&q.mu.waiting, l)
	q.poke()
}

// pause has nothing sent before an instant.
func (q *lanes) pause(until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if until.After(q.mu.paused) {
		q.mu.paused = until
	}
}

// clear empties everything for good and returns the numbers of what was there,
// that of lanes with workers included.
func (q *lanes) clear() (numbers []uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.mu.byRoom {
		for _, it := range l.items {
			numbers = append(numbers, it.number)
		}
	}
	q.mu.byRoom, q.mu.ready, q.mu.waiting = make(map[string]*lane), nil, nil
	q.mu.queued, q.mu.gone = 0, true
	return numbers
}

// state is for statistics: how many events there are, and when the oldest was
// added.
func (q *lanes) state() (queued int, oldest time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.mu.byRoom {
		if at := l.items[0].at; oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return q.mu.queued, oldest
}

// byDue is a heap: the lane that is due first is first.
type byDue []*lane

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h byDue) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byDue) Push(x any)        { *h = append(*h, x.(*lane)) }
func (h *byDue) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}

// isGone reports whether clear was called.
func (q *lanes) isGone() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.gone
}
