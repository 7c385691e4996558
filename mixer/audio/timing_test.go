package audio

import (
	"testing"
	"time"

	"mixdown/codec"
)

// TestTiming: what is said of when sound is played is what happens: each sample
// is pulled at its PTS + Played, within half a packet that the delay has just
// changed by, whatever the jitter, and however late ticks are.
func TestTiming(t *testing.T) {
	const stream = codec.StreamID(7)
	for _, test := range []struct {
		name string
		make func(l *link)
	}{
		{"clean", func(*link) {}},
		{"jitter", func(l *link) {
			delay := uniform(1, 80*ms)
			l.delay = func(int64, time.Duration) time.Duration { return 15*ms + delay() }
		}},
		{"drift, late ticks", func(l *link) {
			l.ppm = 300
			late := uniform(2, 4*ms)
			l.late = func(int) time.Duration { return late() }
		}},
		{"loss", func(l *link) { l.lost = func(seq int64) bool { return seq%13 == 5 } }},
	} {
		l := newLink(t, talking)
		l.phase = 7 * ms
		l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
			f.Stream = stream
			return f
		}
		test.make(l)
		wrong, all := 0, 0
		for l.tick < 60*50 {
			l.run(codec.FrameDuration)
			got, info := l.playout.Timing(), l.infos[l.tick-1]
			if got.Stream != stream {
				if l.tick > 10 {
					t.Fatalf("%s, tick %d: %+v", test.name, l.tick, got)
				}
				continue
			}
			now := time.Duration(l.tick-1) * codec.FrameDuration // late ticks do not count
			all++
			if d := now - info.PTS - got.Played; d < -5*ms || d > 5*ms {
				wrong++
			}
			if added := got.Played - got.Fastest; l.tick > 100 && (added < -codec.FrameDuration || added > 150*ms) {
				t.Fatalf("%s, tick %d: playout adds %v", test.name, l.tick, added)
			}
		}
		// A delay that has grown shows after 0.4 s.
		if wrong > all/10 {
			t.Errorf("%s: %d of %d ticks are more than 5ms off", test.name, wrong, all)
		}
	}
}

// TestTimingOfStreams: a source that starts anew is played by another clock, and
// what it was before is not mixed with that.
func TestTimingOfStreams(t *testing.T) {
	p := &Playout{}
	p.timing.played(1, 100*ms, 90*ms)
	p.timing.played(1, 120*ms, 90*ms)
	if got := p.Timing(); got != (Timing{1, 100 * ms, 90 * ms}) {
		t.Errorf("%+v", got)
	}
	p.timing.played(2, time.Hour, time.Hour-5*ms)
	if got := p.Timing(); got != (Timing{2, time.Hour, time.Hour - 5*ms}) {
		t.Errorf("after a restart %+v", got)
	}
	for range 2*timingTicks + 1 {
		p.timing.played(2, time.Hour+20*ms, time.Hour)
	}
	if got := p.Timing().Played; got != time.Hour+20*ms {
		t.Errorf("more delay: %v", got-time.Hour)
	}
	p.timing.played(2, time.Hour+10*ms, time.Hour)
	if got := p.Timing().Played; got != time.Hour+10*ms {
		t.Errorf("less delay: %v", got-time.Hour)
	}
}
