package transporttest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Spec says what a [Link] does to packets. The zero value does nothing: every
// packet comes out at once, in order.
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
	// Queue is how much of RateBps may wait, as the time it takes to send;
	// packets beyond are lost. Defaults to 300 ms.
	Queue time.Duration
}

// defaultQueue is in the range of home routers.
const defaultQueue = 300 * time.Millisecond

// minHold is how long a packet chosen by Reorder is held back at least.
const minHold = 10 * time.Millisecond

// Zero reports whether the link does nothing.
func (s Spec) Zero() bool { return s == Spec{} }

// Validate reports the first field that is out of range.
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
	if s.RateBps < 0 {
		return fmt.Errorf("rate: %d bps: want 0 (no limit) or more", s.RateBps)
	}
	return nil
}

// ParseSpec reads a specification like
//
//	loss=5%,burst=3,delay=30ms,jitter=30ms,order=free,reorder=1%,duplicate=1%,rate=500kbps,queue=300ms
//
// in which everything may be left out; the empty string is the zero Spec.
// order is keep (the default) or free. Errors name the key.
func ParseSpec(text string) (Spec, error) {
	var s Spec
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			return Spec{}, fmt.Errorf("%s: want %s=value", item, item)
		}
		if seen[key] {
			return Spec{}, fmt.Errorf("%s: given twice", key)
		}
		seen[key] = true
		var err error
		switch key {
		case "loss":
			s.Loss, err = parseShare(value)
		case "burst":
			s.Burst, err = strconv.ParseFloat(value, 64)
		case "delay":
			s.Delay, err = time.ParseDuration(value)
		case "jitter":
			s.Jitter, err = time.ParseDuration(value)
		case "order":
			if value != "keep" && value != "free" {
				err = fmt.Errorf("%q: want keep or free", value)
			}
			s.Free = value == "free"
		case "reorder":
			s.Reorder, err = parseShare(value)
		case "duplicate":
			s.Duplicate, err = parseShare(value)
		case "rate":
			s.RateBps, err = parseRate(value)
		case "queue":
			s.Queue, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("unknown: want loss, burst, delay, jitter, order, reorder, duplicate, rate or queue")
		}
		if err != nil {
			return Spec{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	return s, s.Validate()
}

// parseShare reads "5%" or "0.05".
func parseShare(v string) (float64, error) {
	number, percent := strings.CutSuffix(v, "%")
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no share: want something like 5%% or 0.05", v)
	}
	if percent {
		f /= 100
	}
	return f, nil
}

// parseRate reads "500kbps", "1.5Mbps" or "64000bps".
func parseRate(v string) (int, error) {
	number, ok := strings.CutSuffix(v, "bps")
	unit := 1.0
	if n, is := strings.CutSuffix(number, "k"); is {
		number, unit = n, 1e3
	} else if n, is := strings.CutSuffix(number, "M"); is {
		number, unit = n, 1e6
	}
	f, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(f >= 0 && f*unit <= 1e12) {
		return 0, fmt.Errorf("%q is no rate: want something like 500kbps or 1.5Mbps", v)
	}
	return int(f * unit), nil
}
