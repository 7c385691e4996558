package bench

import (
	"cmp"
	"math"
	"slices"
	"time"

	"mixdown/cmd/mixdown/internal/bench/marker"
	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
)

// Latency is what the server adds, in milliseconds; see the package comment for
// what is counted.
type Latency struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Readings is how many these are of.
	Readings int `json:"readings"`
	// Excused were left out because the machine was late meanwhile, Missed were
	// not to be found or not to be read.
	Excused int `json:"excused"`
	Missed  int `json:"missed"`
}

// Skew is how much later than the sound that was taken at the same instant the
// picture is, in milliseconds; negative is earlier.
type Skew struct {
	// Arrival is between what comes, Shown between what a receiver shows that
	// goes by the server's sender reports, as browsers do.
	Arrival SkewFigures `json:"arrival"`
	Shown   SkewFigures `json:"shown"`
	// Readings, Excused and Missed are as in Latency.
	Readings int `json:"readings"`
	Excused  int `json:"excused"`
	Missed   int `json:"missed"`
}

// Skews are those of several kinds of senders and receivers; nil where there
// were none.
type Skews struct {
	// Healthy is between participants, Poor of those on poor links, Late of and
	// to somebody who joined in the middle.
	Healthy, Poor, Late *Skew
	// Recorded is in a file that was recorded meanwhile, as players play it, of
	// all of them.
	Recorded *Skew
}

// skewReadings collects what was measured of one kind.
type skewReadings struct {
	arrival, shown  []time.Duration
	excused, missed int
}

// add takes what [skewOf] gives.
func (r *skewReadings) add(arrival, shown []time.Duration, excused, missed int) {
	r.arrival, r.shown = append(r.arrival, arrival...), append(r.shown, shown...)
	r.excused, r.missed = r.excused+excused, r.missed+missed
}

// skew sums up; nil when nothing was looked for.
func (r *skewReadings) skew() *Skew {
	s := Skew{
		Arrival: skewFigures(r.arrival), Shown: skewFigures(r.shown),
		Readings: len(r.arrival), Excused: r.excused, Missed: r.missed,
	}
	if s.Readings+s.Excused+s.Missed == 0 {
		return nil
	}
	return &s
}

// SkewFigures sums up skews.
type SkewFigures struct {
	P50    float64 `json:"p50"` // with its sign
	P50Abs float64 `json:"p50Abs"`
	P95Abs float64 `json:"p95Abs"`
}

// readings collects what was measured of one kind.
type readings struct {
	values          []time.Duration
	excused, missed int
}

// add enters one reading unless the machine was late during it.
func (r *readings) add(in, out time.Duration, w *witness) {
	if w.excuses(client.Gap{End: out, Length: out - in}) {
		r.excused++
		return
	}
	r.values = append(r.values, out-in)
}

// miss enters markers that were sent and not found, unless the machine was late
// when they should have come.
func (r *readings) miss(in []time.Duration, w *witness) {
	for _, in := range in {
		if w.excuses(client.Gap{End: in + soundAfter, Length: soundAfter + soundBefore}) {
			r.excused++
		} else {
			r.missed++
		}
	}
}

// latency sums up; nil when nothing was looked for.
func (r *readings) latency() *Latency {
	if len(r.values)+r.excused+r.missed == 0 {
		return nil
	}
	v := slices.Clone(r.values)
	slices.Sort(v)
	return &Latency{
		P50: ms(quantile(v, 0.5)), P95: ms(quantile(v, 0.95)), P99: ms(quantile(v, 0.99)), Max: ms(quantile(v, 1)),
		Readings: len(v), Excused: r.excused, Missed: r.missed,
	}
}

// quantile of sorted values; 0 for none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func skewFigures(v []time.Duration) SkewFigures {
	v = slices.Clone(v)
	slices.Sort(v)
	f := SkewFigures{P50: ms(quantile(v, 0.5))}
	for i := range v {
		v[i] = v[i].Abs()
	}
	slices.Sort(v)
	f.P50Abs, f.P95Abs = ms(quantile(v, 0.5)), ms(quantile(v, 0.95))
	return f
}

// heard is one marker of sound that a reader found.
type heard struct {
	// captured is when its first sample was taken by the sender's account, in
	// when a packet with it went to the socket, out when one came; both are
	// those of the sample, not of the packet that it happens to be in.
	captured, in, out time.Duration
	// shown is the server's own instant of it.
	shown codec.NTPTime
}

// soundBefore and soundAfter is where a marker is looked for: from well before
// it was sent, for the case that this bookkeeping is wrong, until nobody would
// call it a conversation any more.
const soundBefore, soundAfter = 20 * time.Millisecond, 600 * time.Millisecond

// listen looks in what a reader heard for all markers that one sender sounded
// before until. missed is when those were sent that were not to be found.
func listen(t *timeline, b *beep, log []sent, until time.Duration) (found []heard, missed []time.Duration) {
	var captured time.Duration
	for _, s := range log {
		if int(s.unit) == b.input/codec.FrameSamples {
			captured = s.due + durationOf(b.input%codec.FrameSamples)
		}
		if int(s.unit) != b.coded/codec.FrameSamples || captured == 0 || s.at > until {
			continue
		}
		h := heard{captured: captured, in: s.at + durationOf(b.coded%codec.FrameSamples)}
		captured = 0
		pcm, from := t.between(h.in-soundBefore, h.in+soundAfter)
		at, fit := marker.FindSound(pcm, b.id)
		p, ok := t.pieceAt(from + at)
		if fit < marker.FoundAt || !ok {
			missed = append(missed, h.in)
			continue
		}
		offset := durationOf(from + at - p.at)
		h.out = p.arrival + offset
		if p.capture != 0 {
			h.shown = after(p.capture, offset)
		}
		found = append(found, h)
	}
	return found, missed
}

// ownMarkers returns how far below the amplitude that he sounded his marker with
// a sender finds it in what he hears, in dB, for each time that the machine was
// not late (the others' markers then come when they should not); where there is
// none, noise bounds it.
func ownMarkers(t *timeline, b *beep, log []sent, until time.Duration, w *witness) (below []float64) {
	for _, s := range log {
		if int(s.unit) != b.coded/codec.FrameSamples || s.at > until {
			continue
		}
		in := s.at + durationOf(b.coded%codec.FrameSamples)
		// Until the next one's, for which a turn is left free.
		pcm, _ := t.between(in-soundBefore, in+2*beaconSlot-soundBefore)
		if len(pcm) < marker.SoundSamples || w.excuses(client.Gap{End: in + 2*beaconSlot, Length: 4 * beaconSlot}) {
			continue
		}
		below = append(below, 20*math.Log10(beepAmplitude/max(marker.Loudness(pcm, b.id), 1e-7)))
	}
	return below
}

// after returns n plus d.
func after(n codec.NTPTime, d time.Duration) codec.NTPTime {
	return n + codec.NTPTime(int64(math.Round(d.Seconds()*(1<<32))))
}

// pictureLate is a latency that is none any more: the reading is wrong, or the
// sender was cut off.
const pictureLate = 2 * time.Second

// watchPictures turns what a reader saw of one sender into latencies.
func watchPictures(r *readings, views []sighting, log []sent, w *witness) {
	for _, v := range views {
		s, ok := sentBefore(log, v)
		if !ok {
			r.missed++
			continue
		}
		r.add(s.at, v.arrival, w)
	}
}

// sentBefore returns when the picture that v shows was sent; ok is false when it
// was not, or twice so that it could be either.
func sentBefore(log []sent, v sighting) (s sent, ok bool) {
	end, _ := slices.BinarySearchFunc(log, v.arrival, func(l sent, at time.Duration) int { return cmp.Compare(l.at, at) })
	for _, l := range slices.Backward(log[:end]) {
		switch {
		case v.arrival-l.at > pictureLate:
			return s, ok
		case int(l.unit) == v.number && ok:
			return s, false
		case int(l.unit) == v.number:
			s, ok = l, true
		}
	}
	return s, ok
}

// nearby is how far from the sound a picture may be taken that is compared with
// it: two pictures of 30 a second.
const nearby = 67 * time.Millisecond

// skewOf compares each marker of sound with the picture that the same sender
// took nearest to it, and which the same reader saw.
func skewOf(sounds []heard, views []sighting, log []sent, w *witness) (arrival, shown []time.Duration, excused, missed int) {
	for _, h := range sounds {
		best, distance := sighting{}, nearby
		var taken time.Duration
		for _, v := range views {
			if v.arrival < h.captured || v.arrival > h.captured+pictureLate {
				continue
			}
			s, ok := sentBefore(log, v)
			if d := (s.due - h.captured).Abs(); ok && d <= distance {
				best, distance, taken = v, d, s.due
			}
		}
		if best.arrival == 0 {
			missed++
			continue
		}
		from, to := min(h.captured, taken), max(h.out, best.arrival)
		if w.excuses(client.Gap{End: to, Length: to - from}) {
			excused++
			continue
		}
		apart := taken - h.captured
		arrival = append(arrival, best.arrival-h.out-apart)
		if best.capture != 0 && h.shown != 0 {
			shown = append(shown, best.capture.Sub(h.shown)-apart)
		}
	}
	return arrival, shown, excused, missed
}
