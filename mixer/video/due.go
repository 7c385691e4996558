package video

import (
	"math"
	"time"

	"mixdown/codec"
)

// maxDue is how many decoded pictures wait to be shown; with a delay of 300 ms
// a source at 25 fps fills it. When one more comes, that is left out whose
// neighbours are closest together: a source at 60 fps is shown at half its rate,
// and never early or late. (To drop the oldest would be to show nothing at all:
// it would always be dropped before its time.)
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
		q.thin(due)
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

// thin leaves out one of those that wait, which are all: not the oldest, whose
// turn is next; of equals the newest, so that holes spread evenly. due is that of
// the one to come.
func (q *dueQueue) thin(due time.Duration) {
	best, closest := 0, time.Duration(math.MaxInt64)
	for i := 1; i < q.n; i++ {
		after := due
		if i+1 < q.n {
			after = q.waiting[i+1].due
		}
		if d := after - q.waiting[i-1].due; d <= closest {
			best, closest = i, d
		}
	}
	q.waiting[best].frame.Release()
	q.superseded++
	copy(q.waiting[best:], q.waiting[best+1:q.n])
	q.n--
	q.waiting[q.n] = duePicture{}
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
