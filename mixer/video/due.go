package video

import (
	"time"

	"mixdown/codec"
)

// maxDue is how many decoded pictures wait to be shown; with a delay of up to
// 300 ms, a source at 25 fps fills it. When it is full the oldest is dropped.
const maxDue = 8

// dueQueue holds the pictures of one source until they are to be shown, and
// the one that is. It owns a reference of each. Not safe for concurrent use.
type dueQueue struct {
	waiting [maxDue]duePicture
	n       int

	shown *codec.VideoFrame
	// version changes whenever shown does. It starts at 1 with the first
	// picture and is never reused, so "drawn version 0" means never drawn.
	version uint64

	superseded uint64 // pictures that were never shown
}

type duePicture struct {
	frame *codec.VideoFrame
	due   time.Duration
}

// put takes over frame's reference. now is any instant that has passed: of
// those already due by then only the newest can ever be shown.
func (q *dueQueue) put(frame *codec.VideoFrame, due, now time.Duration) {
	if q.n == maxDue {
		q.dropOldest(1)
	}
	q.waiting[q.n] = duePicture{frame, due}
	q.n++
	if k := q.dueBy(now); k > 1 {
		q.dropOldest(k - 1)
	}
}

// latest returns what is to be shown at now, not retained, or nil.
func (q *dueQueue) latest(now time.Duration) *codec.VideoFrame {
	k := q.dueBy(now)
	if k == 0 {
		return q.shown
	}
	q.dropOldest(k - 1)
	q.show(q.waiting[0].frame)
	q.shift(1)
	return q.shown
}

// replaceNewest takes over frame's reference: the same picture as the newest
// one, at another size.
func (q *dueQueue) replaceNewest(frame *codec.VideoFrame) {
	if q.n == 0 {
		q.show(frame)
		return
	}
	last := &q.waiting[q.n-1]
	last.frame.Release()
	last.frame = frame
}

func (q *dueQueue) show(frame *codec.VideoFrame) {
	if q.shown != nil {
		q.shown.Release()
	}
	q.shown = frame
	q.version++
}

// dueBy returns how many of the first pictures are up to the newest one that
// is due: one whose time came before an earlier one's (the delay shrank)
// takes that with it.
func (q *dueQueue) dueBy(now time.Duration) int {
	for k := q.n; k > 0; k-- {
		if q.waiting[k-1].due <= now {
			return k
		}
	}
	return 0
}

func (q *dueQueue) dropOldest(k int) {
	for i := range k {
		q.waiting[i].frame.Release()
	}
	q.superseded += uint64(k)
	q.shift(k)
}

func (q *dueQueue) shift(k int) {
	copy(q.waiting[:], q.waiting[k:q.n])
	clear(q.waiting[q.n-k : q.n])
	q.n -= k
}

// clear releases everything.
func (q *dueQueue) clear() {
	q.dropOldest(q.n)
	if q.shown != nil {
		q.show(nil)
	}
}

// transit maps a source's media time to the process's clock: the instant at
// which a picture would have come over the fastest path seen. Not safe for
// concurrent use.
type transit struct {
	offset  time.Duration // of the process's clock to the source's
	last    time.Duration // newest arrival
	started bool
}

const (
	// transitJump is a change that is no jitter: the sender restarted its clock.
	transitJump = time.Second
	// transitCreep is how fast the fastest path is forgotten, as a fraction of
	// time: ten times what clocks drift apart, a twentieth of what an eye notices.
	transitCreep = 1000
)

// capture returns when the picture with that media time was taken, as far as
// its arrivals tell (network delay included, jitter not).
func (t *transit) capture(pts, arrival time.Duration) time.Duration {
	seen := arrival - pts
	switch diff := seen - t.offset; {
	case !t.started || diff > transitJump || diff < -transitJump:
		t.offset, t.started = seen, true
	case diff < 0:
		t.offset = seen
	default:
		t.offset += min(diff, max(0, arrival-t.last)/transitCreep)
	}
	t.last = arrival
	return pts + t.offset
}
