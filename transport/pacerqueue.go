package transport

// A ringQueue is a first-in first-out queue of fixed room.
type ringQueue[T any] struct {
	ring  []T
	first int
	n     int
}

func newRingQueue[T any](room int) ringQueue[T] { return ringQueue[T]{ring: make([]T, room)} }

func (q *ringQueue[T]) len() int   { return q.n }
func (q *ringQueue[T]) full() bool { return q.n == len(q.ring) }

// push adds v; the queue must not be full.
func (q *ringQueue[T]) push(v T) {
	q.ring[(q.first+q.n)%len(q.ring)] = v
	q.n++
}

func (q *ringQueue[T]) peek() (v T, ok bool) {
	if q.n == 0 {
		return v, false
	}
	return q.ring[q.first], true
}

func (q *ringQueue[T]) pop() (v T, ok bool) {
	if q.n == 0 {
		return v, false
	}
	var zero T
	v, q.ring[q.first] = q.ring[q.first], zero
	q.first = (q.first + 1) % len(q.ring)
	q.n--
	return v, true
}
