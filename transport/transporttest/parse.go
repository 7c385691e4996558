package transporttest

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseSpec reads a specification like
//
//	loss=5%,burst=3,delay=30ms,jitter=30ms,order=free,reorder=1%,duplicate=1%,rate=500kbps,queue=300ms
//
// in which everything may be left out; the empty string is the zero Spec.
// order is keep (the default) or free. These may be given several times, since
// they tell of instants, counted from the link's beginning:
//
//	rate=3Mbps,rate=300kbps@10s,rate=3Mbps@25s   another rate from then on
//	drop=2s@10s                                  down for 2 s from 10 s on
//	drop=2s/30s                                  the same at 30 s, 60 s, 90 s ...
//	drop=2s@10s/30s                              the same at 10 s, 40 s, 70 s ...
//	rebind=15s                                   a new source address
//
// drift=300ppm is of the client's clock; see [Spec.DriftPPM]. Errors name the
// key.
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
		if seen[key] && key != "drop" && key != "rebind" && (key != "rate" || !strings.Contains(value, "@")) {
			return Spec{}, fmt.Errorf("%s: given twice", key)
		}
		seen[key] = true
		if err := s.set(key, value); err != nil {
			return Spec{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	return s, s.Validate()
}

// set reads one value.
func (s *Spec) set(key, value string) (err error) {
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
		err = s.setRate(value)
	case "queue":
		s.Queue, err = time.ParseDuration(value)
	case "drop":
		var o Outage
		o, err = parseOutage(value)
		s.Outages = append(s.Outages, o)
	case "rebind":
		var at time.Duration
		at, err = time.ParseDuration(value)
		s.Rebinds = append(s.Rebinds, at)
	case "drift":
		s.DriftPPM, err = parsePPM(value)
	default:
		err = errors.New("unknown: want loss, burst, delay, jitter, order, reorder, duplicate, rate, queue, drop, rebind or drift")
	}
	return err
}

func (s *Spec) setRate(value string) error {
	text, at, later := strings.Cut(value, "@")
	bps, err := parseRate(text)
	if err != nil {
		return err
	}
	if !later {
		s.RateBps = bps
		return nil
	}
	instant, err := time.ParseDuration(at)
	if err != nil {
		return err
	}
	s.Rates = append(s.Rates, RateStep{instant, bps})
	return nil
}

// parseOutage reads "2s@10s", "2s/30s" or "2s@10s/30s".
func parseOutage(v string) (o Outage, err error) {
	rest, every, repeats := strings.Cut(v, "/")
	length, at, placed := strings.Cut(rest, "@")
	if !repeats && !placed {
		return o, fmt.Errorf("%q says not when: want something like 2s@10s or 2s/30s", v)
	}
	if o.For, err = time.ParseDuration(length); err != nil {
		return o, err
	}
	if repeats {
		if o.Every, err = time.ParseDuration(every); err != nil {
			return o, err
		}
		if o.Every == 0 {
			return o, errors.New("each 0s: want it up in between")
		}
		o.At = o.Every
	}
	if placed {
		o.At, err = time.ParseDuration(at)
	}
	return o, err
}

// parsePPM reads "300ppm" or "-50ppm".
func parsePPM(v string) (float64, error) {
	number, ok := strings.CutSuffix(v, "ppm")
	f, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || math.IsNaN(f) {
		return 0, fmt.Errorf("%q is no drift: want something like 300ppm or -50ppm", v)
	}
	return f, nil
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
	} else if n := strings.TrimRight(number, "mM"); len(n) == len(number)-1 {
		number, unit = n, 1e6 // a thousandth of a bit per second is not meant
	}
	f, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(f >= 0 && f*unit <= maxRateBps) {
		return 0, fmt.Errorf("%q is no rate: want something like 500kbps or 1.5Mbps", v)
	}
	return int(f * unit), nil
}

// String returns the spec in a form that [ParseSpec] reads.
func (s Spec) String() string {
	var items []string
	add := func(given bool, key, value string) {
		if given {
			items = append(items, key+"="+value)
		}
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	add(s.Loss != 0, "loss", number(s.Loss))
	add(s.Burst != 0, "burst", number(s.Burst))
	add(s.Delay != 0, "delay", s.Delay.String())
	add(s.Jitter != 0, "jitter", s.Jitter.String())
	add(s.Free, "order", "free")
	add(s.Reorder != 0, "reorder", number(s.Reorder))
	add(s.Duplicate != 0, "duplicate", number(s.Duplicate))
	add(s.RateBps != 0, "rate", rateText(s.RateBps))
	for _, r := range s.Rates {
		add(true, "rate", rateText(r.Bps)+"@"+r.At.String())
	}
	add(s.Queue != 0, "queue", s.Queue.String())
	for _, o := range s.Outages {
		text := o.For.String() + "@" + o.At.String()
		if o.Every > 0 {
			text += "/" + o.Every.String()
		}
		add(true, "drop", text)
	}
	for _, at := range s.Rebinds {
		add(true, "rebind", at.String())
	}
	add(s.DriftPPM != 0, "drift", number(s.DriftPPM)+"ppm")
	return strings.Join(items, ",")
}

func rateText(bps int) string {
	if bps > 0 && bps%1000 == 0 {
		return strconv.Itoa(bps/1000) + "kbps"
	}
	return strconv.Itoa(bps) + "bps"
}
