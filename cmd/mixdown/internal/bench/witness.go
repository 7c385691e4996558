package bench

import (
	"context"
	"sync"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
)

// witnessPeriod is how often the witness wakes; witnessLate how late it may be
// before what happened meanwhile counts as the machine's doing.
const (
	witnessPeriod = 5 * time.Millisecond
	witnessLate   = 10 * time.Millisecond
)

// witness notes when the machine was late to wake somebody who does nothing.
type witness struct {
	mu   sync.Mutex
	late []client.Gap // when it woke, and how late
}

func (w *witness) run(ctx context.Context) {
	tick := time.NewTimer(witnessPeriod)
	defer tick.Stop()
	for due := codec.Now() + witnessPeriod; ; due += witnessPeriod {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := codec.Now()
		if now-due > witnessLate {
			w.mu.Lock()
			w.late = append(w.late, client.Gap{End: now, Length: now - due})
			w.mu.Unlock()
		}
		due = max(due, now-witnessPeriod)
		tick.Reset(due + witnessPeriod - now)
	}
}

// excuses reports whether the machine was late during a gap.
func (w *witness) excuses(g client.Gap) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.late {
		// A gap ends when its packet is read, which is late for the same reason.
		if l.End > g.End-g.Length && l.End-l.Length < g.End+witnessLate {
			return true
		}
	}
	return false
}

// between returns how often in (from, to] the machine was late, and the worst.
func (w *witness) between(from, to time.Duration) (n int, worst time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.late {
		if l.End > from && l.End <= to {
			n++
			worst = max(worst, l.Length)
		}
	}
	return n, worst
}
