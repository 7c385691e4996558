package mixer

import (
	"context"
	"sync"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
)

// clockStats counts what happened to one clock. Safe for concurrent use.
type clockStats struct {
	// late, when set, is told of each wake-up that came lateAfter or more after
	// it was due, or so late that ticks were skipped, before its ticks are
	// carried out. It must not block.
	late      func(late time.Duration, skipped int64)
	lateAfter time.Duration

	mu struct {
		sync.Mutex
		ticks, skipped uint64
		lateness       worker.Histogram
		took           worker.Histogram
	}
}

func (s *clockStats) count(late time.Duration, ticks int, skipped int64) {
	s.mu.Lock()
	s.mu.ticks += uint64(ticks)
	s.mu.skipped += uint64(skipped)
	s.mu.lateness.Observe(late)
	s.mu.Unlock()
	if s.late != nil && (late >= s.lateAfter || skipped > 0) {
		s.late(late, skipped)
	}
}

func (s *clockStats) ticked(took time.Duration) {
	s.mu.Lock()
	s.mu.took.Observe(took)
	s.mu.Unlock()
}

// ClockStats is how one kind of clock kept time, since its room began.
type ClockStats struct {
	// Ticks that were carried out.
	Ticks uint64
	// Skipped ticks are those that the clock jumped over, being too late.
	Skipped uint64
	// Lateness is how long after it was due each wake-up came.
	Lateness worker.Histogram
	// Took is how long each tick's work took.
	Took worker.Histogram
}

func (s *clockStats) read() ClockStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ClockStats{Ticks: s.mu.ticks, Skipped: s.mu.skipped, Lateness: s.mu.lateness, Took: s.mu.took}
}

// runClock calls tick for each tick of p, until ctx is done. While idle says
// that there is nothing to do it sleeps until wake; idle is asked before
// each tick.
func runClock(ctx context.Context, p *pace, wake <-chan struct{}, idle func() bool, tick func(n int64), stats *clockStats) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if idle() {
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
			p.restart(codec.Now())
			continue
		}
		due := p.at(p.next)
		timer.Reset(due - codec.Now())
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := codec.Now()
		first, count, skipped := p.due(now)
		if count == 0 {
			continue // the timer was early by its rounding
		}
		stats.count(now-due, count, skipped)
		for n := first; n < first+int64(count); n++ {
			tick(n)
			end := codec.Now()
			stats.ticked(end - now)
			now = end
		}
	}
}
