package video

import (
	"math"
	"time"
)

// transit maps a source's media time to the process's clock: the instant at
// which a picture would have come over the fastest path lately seen. Jitter
// makes no difference to it, and clocks that drift, or a path that has become
// longer, are followed slowly enough that no eye notices. Not safe for
// concurrent use.
type transit struct {
	offset  time.Duration // of the process's clock to the source's
	last    time.Duration // newest arrival
	started bool
	// low is the fastest of each second of the window, by the second's number.
	low    [transitSeconds]time.Duration
	second int64
}

const (
	// transitJump is a change that is no jitter: the sender restarted its clock.
	transitJump = time.Second
	// transitSeconds is the window: as long as the playout's of sound, so that
	// both learn at the same time that a path has become longer.
	transitSeconds = 10
	// transitCreep is how fast a longer path is believed in, as a part of time:
	// 10 ms a second, half of what lip sync moves pictures by.
	transitCreep = 100
)

// observe takes a picture with that media time, which came at arrival. It
// reports whether it was the first, or the first after a jump.
func (t *transit) observe(pts, arrival time.Duration) (anew bool) {
	seen := arrival - pts
	if d := seen - t.offset; !t.started || d > transitJump || d < -transitJump {
		*t = transit{offset: seen, last: arrival, started: true, second: int64(arrival / time.Second)}
		for i := range t.low {
			t.low[i] = math.MaxInt64
		}
		t.low[t.second%transitSeconds] = seen
		return true
	}
	now := max(int64(arrival/time.Second), t.second)
	for ; t.second < now; t.second++ {
		if now-t.second > transitSeconds {
			t.second = now - transitSeconds // all of the window is over
		}
		t.low[(t.second+1)%transitSeconds] = math.MaxInt64
	}
	low := &t.low[t.second%transitSeconds]
	*low = min(*low, seen)
	if seen <= t.offset {
		t.offset = seen
	} else {
		fastest := seen
		for _, l := range t.low {
			fastest = min(fastest, l)
		}
		t.offset += min(max(fastest-t.offset, 0), max(arrival-t.last, 0)/transitCreep)
	}
	t.last = max(t.last, arrival)
	return false
}

// capture returns when the picture with that media time was taken, as far as
// arrivals tell (network delay included, jitter not).
func (t *transit) capture(pts time.Duration) time.Duration { return pts + t.offset }
