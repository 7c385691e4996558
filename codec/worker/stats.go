package worker

import (
	"math"
	"time"
)

// bounds are the upper bounds of the histograms' buckets. They are dense from
// 1 ms, where nobody notices, to 33 ms, where a picture is lost.
var bounds = [...]time.Duration{
	500 * time.Microsecond,
	1 * time.Millisecond,
	2 * time.Millisecond,
	3 * time.Millisecond,
	5 * time.Millisecond,
	7500 * time.Microsecond,
	10 * time.Millisecond,
	15 * time.Millisecond,
	20 * time.Millisecond,
	33 * time.Millisecond,
	50 * time.Millisecond,
	100 * time.Millisecond,
	250 * time.Millisecond,
	1 * time.Second,
}

// Histogram counts durations in fixed buckets.
type Histogram struct {
	counts [len(bounds) + 1]uint64 // the last one is beyond every bound
	sum    time.Duration
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i]++
	h.sum += d
}

// Count is the number of observations.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.counts {
		n += c
	}
	return n
}

// Sum is the total of all observations.
func (h *Histogram) Sum() time.Duration { return h.sum }

// Buckets returns, for each upper bound in seconds, how many observations were
// at most that: what prometheus.MustNewConstHistogram wants. It allocates.
func (h *Histogram) Buckets() map[float64]uint64 {
	m := make(map[float64]uint64, len(bounds))
	var n uint64
	for i, b := range bounds {
		n += h.counts[i]
		m[b.Seconds()] = n
	}
	return m
}

// Quantile returns an upper bound of the q-quantile, 0 <= q <= 1: the bound of
// the bucket it falls into, or the largest duration when it lies beyond every
// bound. It is 0 while nothing has been observed.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.Count())))
	var n uint64
	for i, b := range bounds {
		if n += h.counts[i]; n >= rank && n > 0 {
			return b
		}
	}
	if n == 0 && h.counts[len(bounds)] == 0 {
		return 0
	}
	return math.MaxInt64
}

// Sub returns what was observed since the earlier snapshot.
func (h Histogram) Sub(earlier Histogram) Histogram {
	for i := range h.counts {
		h.counts[i] -= earlier.counts[i]
	}
	h.sum -= earlier.sum
	return h
}

// Add returns what both observed together.
func (h Histogram) Add(other Histogram) Histogram {
	for i := range h.counts {
		h.counts[i] += other.counts[i]
	}
	h.sum += other.sum
	return h
}

// Stats is a snapshot of a [Pool]. All counters only grow.
type Stats struct {
	// Workers is the number of threads, Niced how many of them run at the
	// configured nice value.
	Workers, Niced int
	// Queued is the number of tasks that wait now, Running of those that run.
	Queued, Running int
	// Executed is the number of runs that have ended.
	Executed uint64
	// Merged is the number of Submits of a task that was queued already.
	Merged uint64
	// Refused is the number of Submits after the pool's end.
	Refused uint64
	// Late is the number of runs that ended past their deadline.
	Late uint64
	// QueueDelay is the time from ready to running.
	QueueDelay Histogram
	// Lateness is how far past its deadline each run ended, 0 when in time.
	Lateness Histogram
	// Busy is the wall time that all workers together spent in tasks, CPU the
	// processor time: the rest of Busy they stood aside for other threads.
	Busy, CPU time.Duration
}
