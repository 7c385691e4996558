package transporttest

import (
	"fmt"
	"time"
)

// Spec says what a [Link] does to packets. The zero value does nothing: every
// packet comes out at once, in order. Instants count from the link's beginning,
// which is 0 on the clock that Push and Pop are given.
type Spec struct {
	// Loss is the share of packets that vanish, 0..1, in the long run.
	Loss float64
	// Burst is the mean number of packets lost in a row. Defaults to 1/(1-Loss),
	// which is loss without memory.
	Burst float64
	// Delay is the time that every packet takes.
	Delay time.Duration
	// Jitter is added to Delay, uniform in [0, Jitter). Order is kept (a packet
	// waits for those before it) unless Free is set.
	Jitter time.Duration
	// Free lets every packet have its jitter on its own, so that packets
	// overtake each other.
	Free bool
	// Reorder is the share of packets, 0..1, that are held back by Jitter, but
	// at least by 10 ms, on top of all else, without holding up those behind.
	Reorder float64
	// Duplicate is the share of packets, 0..1, that come out twice.
	Duplicate float64
	// RateBps is what the link carries; 0 is without limit.
	RateBps int
	// Rates change RateBps, each from its instant on; the instants ascend.
	Rates []RateStep
	// Queue is how long a packet may wait for its turn at the rate, or the
	// rates to come; those that would wait longer are lost. It bounds time, not
	// bytes, so a fall of the rate makes the queue short, not the wait long.
	// Defaults to 300 ms.
	Queue time.Duration
	// Outages are when the link is down: what is sent into it then is lost,
	// what is on its way still arrives.
	Outages []Outage

	// Rebinds are the instants, ascending, at which packets begin to come from
	// a new address, as behind a NAT that has forgotten. A [Link] knows no
	// addresses: [PacketConn] does it.
	Rebinds []time.Duration
	// DriftPPM is how fast the sender's media clock runs, in millionths;
	// negative is slow. No network does that: it is for whoever makes the
	// packets, and stands here so that one text describes a bad client.
	DriftPPM float64
}

// RateStep is the rate of a link from At on; 0 is without limit.
type RateStep struct {
	At  time.Duration
	Bps int
}

// Outage is when a link is down: from At on for For, and again each Every, when
// that is not 0.
type Outage struct {
	At, For, Every time.Duration
}

// covers reports whether the link is down at now.
func (o Outage) covers(now time.Duration) bool {
	since := now - o.At
	if since >= 0 && o.Every > 0 {
		since %= o.Every
	}
	return since >= 0 && since < o.For
}

const (
	// defaultQueue is in the range of home routers.
	defaultQueue = 300 * time.Millisecond
	// minHold is how long a packet chosen by Reorder is held back at least.
	minHold = 10 * time.Millisecond
	// maxEvents is how many changes of rate, outages and addresses there may
	// be, each.
	maxEvents = 64
	// maxInstant is the latest instant at which something may change.
	maxInstant = 24 * time.Hour
	// maxDriftPPM is far beyond any crystal.
	maxDriftPPM = 10_000
	// maxRateBps is beyond any link, and far from overflow.
	maxRateBps = 1e12
)

// Zero reports whether the spec changes nothing.
func (s Spec) Zero() bool {
	return s.Loss == 0 && s.Burst == 0 && s.Delay == 0 && s.Jitter == 0 && !s.Free && s.Reorder == 0 && s.Duplicate == 0 &&
		s.RateBps == 0 && len(s.Rates) == 0 && s.Queue == 0 && len(s.Outages) == 0 && len(s.Rebinds) == 0 && s.DriftPPM == 0
}

// Validate reports the first field that is out of range, by its key.
func (s Spec) Validate() error {
	for _, share := range []struct {
		name string
		v    float64
	}{{"loss", s.Loss}, {"reorder", s.Reorder}, {"duplicate", s.Duplicate}} {
		if !(share.v >= 0 && share.v <= 1) {
			return fmt.Errorf("%s: %v is not a share: want 0%%..100%%", share.name, share.v)
		}
	}
	if s.Burst != 0 && !(s.Burst >= 1 && s.Burst <= 1e6) {
		return fmt.Errorf("burst: %v packets in a row: want 1 or more", s.Burst)
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"delay", s.Delay}, {"jitter", s.Jitter}, {"queue", s.Queue}} {
		if d.v < 0 || d.v > time.Minute {
			return fmt.Errorf("%s: %v: want 0s..1m", d.name, d.v)
		}
	}
	if !(s.DriftPPM >= -maxDriftPPM && s.DriftPPM <= maxDriftPPM) {
		return fmt.Errorf("drift: %v ppm: want -%dppm..%dppm", s.DriftPPM, maxDriftPPM, maxDriftPPM)
	}
	return s.validateEvents()
}

// validateEvents is Validate for what has instants.
func (s Spec) validateEvents() error {
	for _, n := range []struct {
		name string
		n    int
	}{{"rate", len(s.Rates)}, {"drop", len(s.Outages)}, {"rebind", len(s.Rebinds)}} {
		if n.n > maxEvents {
			return fmt.Errorf("%s: given %d times: want %d at most", n.name, n.n, maxEvents)
		}
	}
	if s.RateBps < 0 || s.RateBps > maxRateBps {
		return fmt.Errorf("rate: %d bps: want 0 (no limit) to 1e12", s.RateBps)
	}
	last := time.Duration(0)
	for _, r := range s.Rates {
		if r.Bps < 0 || r.Bps > maxRateBps {
			return fmt.Errorf("rate: %d bps: want 0 (no limit) to 1e12", r.Bps)
		}
		if r.At <= last || r.At > maxInstant {
			return fmt.Errorf("rate: a change at %v: want each after the one before it, and after 0s, within a day", r.At)
		}
		last = r.At
	}
	for _, o := range s.Outages {
		switch {
		case o.For <= 0 || o.For > maxInstant:
			return fmt.Errorf("drop: for %v: want more than 0s", o.For)
		case o.At < 0 || o.At > maxInstant:
			return fmt.Errorf("drop: at %v: want 0s or later, within a day", o.At)
		case o.Every != 0 && o.Every <= o.For || o.Every > maxInstant:
			return fmt.Errorf("drop: %v each %v: want it up in between", o.For, o.Every)
		}
	}
	last = 0
	for _, at := range s.Rebinds {
		if at <= last || at > maxInstant {
			return fmt.Errorf("rebind: at %v: want each after the one before it, and after 0s, within a day", at)
		}
		last = at
	}
	return nil
}
