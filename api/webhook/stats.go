package webhook

import (
	"maps"
	"time"
)

// Counts are of one endpoint since the process began.
type Counts struct {
	// Delivered, Dead and Dropped are events: taken by the endpoint, given up,
	// and never queued for want of room.
	Delivered, Dead, Dropped uint64
	// Failed is attempts, by why they were in vain: "unreachable", "timeout",
	// "inside" (see package outside) and "status".
	Failed map[string]uint64
}

// EndpointStats is what one endpoint is like.
type EndpointStats struct {
	Counts
	Name string
	// Queued is how many events wait, Oldest for how long the first of them has.
	Queued int
	Oldest time.Duration
}

// Stats is what has become of events.
type Stats struct {
	// Endpoints are those that are configured, sorted by name.
	Endpoints []EndpointStats
	// Missed is events that could not even be added.
	Missed uint64
}

func (c Counts) plus(d Counts) Counts {
	sum := Counts{c.Delivered + d.Delivered, c.Dead + d.Dead, c.Dropped + d.Dropped, make(map[string]uint64, numFailures)}
	for f := range numFailures {
		sum.Failed[f.String()] = c.Failed[f.String()] + d.Failed[f.String()]
	}
	return sum
}

func (e *endpoint) count() Counts {
	c := Counts{e.counts.delivered.Load(), e.counts.dead.Load(), e.counts.dropped.Load(), make(map[string]uint64, numFailures)}
	for f := range numFailures {
		c.Failed[f.String()] = e.counts.failed[f].Load()
	}
	return c
}

// Stats returns a snapshot.
func (s *Sender) Stats() (out Stats) {
	s.mu.Lock()
	out.Missed = s.mu.missed
	past := maps.Clone(s.mu.past)
	s.mu.Unlock()
	now := time.Now()
	for _, e := range s.list() {
		st := EndpointStats{Counts: e.count().plus(past[e.name]), Name: e.name}
		var oldest time.Time
		if st.Queued, oldest = e.lanes.state(); !oldest.IsZero() {
			st.Oldest = max(0, now.Sub(oldest))
		}
		out.Endpoints = append(out.Endpoints, st)
	}
	return out
}
