package mixer

import "time"

const (
	// rateShare of an estimate is what a picture is coded at: encoders overshoot
	// a little, and lost packets are sent again.
	rateShare = 0.95
	// rateRise is how fast a bitrate goes up again, as a share of the nominal
	// in a second: all who watch pay for one who cannot keep up with it.
	rateRise = 0.08
	// rateHold is how long somebody must want less before those who watch with
	// him get less: a link that collapses passes by here within less, on its
	// way to a lower tier, and costs nobody else anything. Who watches alone is
	// followed after adaptConfirm.
	rateHold = 500 * time.Millisecond
	// rateStep is the least change that an encoder is told of, as a share of
	// the nominal: telling it costs it time.
	rateStep = 0.03
)

// tierRate is the bitrate of one rendition, which follows those who watch it.
// It is pure.
type tierRate struct {
	nominal int
	now     float64       // the present target, bit/s
	at      time.Duration // when now was brought up to date
	started bool
	low     bool // somebody wants less, since lowFrom
	lowFrom time.Duration
	told    int
}

func newTierRate(nominal int) *tierRate {
	return &tierRate{nominal: nominal, now: float64(nominal), told: nominal}
}

// follow brings the bitrate up to date. lowest is the lowest estimate of those
// who have a say, 0 when nobody has; shared says that others watch as well. It
// returns the target, and whether the encoder is to be told.
func (t *tierRate) follow(now time.Duration, lowest int, shared bool) (bps int, changed bool) {
	nominal := float64(t.nominal)
	target := nominal
	if lowest > 0 {
		target = min(max(rateShare*float64(lowest), adaptFloor*nominal), nominal)
	}
	passed := now - t.at
	if !t.started {
		// The key frame that it begins with is to fit as well.
		t.started, passed, t.now = true, 0, target
	}
	t.at = now
	if target >= t.now {
		t.low = false
		t.now = min(target, t.now+rateRise*nominal*passed.Seconds())
	} else {
		if !t.low {
			t.low, t.lowFrom = true, now
		}
		hold := adaptConfirm
		if shared {
			hold = rateHold
		}
		if now-t.lowFrom >= hold {
			t.now = target
		}
	}
	bps = int(t.now)
	changed = abs(bps-t.told) >= int(rateStep*nominal) || bps != t.told && t.now == nominal
	if changed {
		t.told = bps
	}
	return t.told, changed
}

// settled reports whether the bitrate is where it will stay; otherwise it is to
// be followed on.
func (t *tierRate) settled() bool { return !t.low && t.told == t.nominal }

func abs(n int) int { return max(n, -n) }
