package mixer

import "time"

// maxCatchUp is how many late ticks are made up for at once. Five audio ticks
// are 100 ms: about what a client's jitter buffer holds, so that catching up
// is heard as nothing, and more would be heard as a burst.
const maxCatchUp = 5

// pace says which ticks of one clock are due. Tick n is due n periods after
// the epoch, computed from n each time, so that nothing accumulates. It holds
// no clock: time is an argument.
type pace struct {
	epoch time.Duration // of tick 0, on the process's clock
	// rate is ticks per second; periods need not be whole nanoseconds.
	rate int64
	next int64 // the first tick that has not been given out
}

// at returns when tick n is due.
func (p *pace) at(n int64) time.Duration {
	return p.epoch + p.pts(n)
}

// pts returns the media time of tick n: its distance from the epoch.
func (p *pace) pts(n int64) time.Duration {
	return time.Duration(n/p.rate)*time.Second + time.Duration(n%p.rate)*time.Second/time.Duration(p.rate)
}

// due returns the ticks [first, first+count) that are due at now, and how many
// were skipped because too many were late: the clock jumps over those.
func (p *pace) due(now time.Duration) (first int64, count int, skipped int64) {
	last := p.index(now)
	if last < p.next {
		return p.next, 0, 0
	}
	if last-p.next >= maxCatchUp {
		skipped = last - p.next
		p.next = last
	}
	first = p.next
	p.next = last + 1
	return first, int(p.next - first), skipped
}

// restart makes the tick after now the next one, without counting what was
// passed over: nobody was there.
func (p *pace) restart(now time.Duration) {
	p.next = max(p.next, p.index(now)+1)
}

// index returns the last tick that is due at now; -1 before the epoch.
func (p *pace) index(now time.Duration) int64 {
	d := now - p.epoch
	if d < 0 {
		return -1
	}
	n := int64(d/time.Second)*p.rate + int64(d%time.Second)*p.rate/int64(time.Second)
	if p.pts(n+1) <= d { // the division above rounds down twice
		n++
	}
	return n
}
