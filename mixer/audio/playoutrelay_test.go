package audio

import (
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// handed is what a playout handed out in a tick.
type handed struct {
	seq   int64 // -1: nothing
	state PacketState
}

// handOut runs a link whose packets are handed on, undecoded unless always says
// so, and returns what was handed out, tick by tick.
func handOut(l *link, length time.Duration, always bool) (out []handed) {
	l.forget = true
	l.quiet = func(int) uint8 { return wantNothing }
	if always {
		l.quiet = func(int) uint8 { return DecodeAlways }
	}
	l.playout.SetRelay(RelayOn)
	for range int(length / codec.FrameDuration) {
		l.run(codec.FrameDuration)
		f, state := l.playout.Packet()
		h := handed{-1, state}
		if f != nil {
			h.seq = f.Seq
		}
		out = append(out, h)
	}
	return out
}

// spoken is speech with its levels, as a link's packets.
func spoken(t *testing.T, l *link, x []int16) (levels []uint8) {
	l.replay(coded(t, x))
	levels = levelsOf(x)
	l.edit = said(levels, l.edit)
	return levels
}

// Every packet is handed out once and in order, whatever the clocks and the
// network do; what is put in or left out to hold the delay is put in and left out
// in pauses.
func TestPacketsAreHandedOutInOrder(t *testing.T) {
	length := simulated(30*time.Second, 2*time.Minute, 10*time.Minute)
	x := audiotest.Speech(8, 30*second)
	for _, test := range []struct {
		name   string
		ppm    float64
		jitter time.Duration
	}{
		{"clean", 0, ms}, {"slow", 300, 3 * ms}, {"fast", -300, 3 * ms}, {"jitter", 0, 40 * ms},
	} {
		for _, always := range []bool{false, true} {
			l := newRealLink(t)
			l.ppm, l.phase = test.ppm, 5*ms
			levels := spoken(t, l, x)
			jitter := uniform(1, test.jitter)
			l.delay = func(int64, time.Duration) time.Duration { return jitter() }
			last, holes, left, loud := int64(-1), 0, 0, 0
			out := handOut(l, length, always)
			for i, h := range out[100:] {
				if h.seq < 0 {
					holes++
					if last >= 0 && levels[last%int64(len(levels))] < 45 {
						loud++
					}
					continue
				}
				if last >= 0 && h.seq <= last {
					t.Fatalf("%s: tick %d: packet %d after %d", test.name, i+100, h.seq, last)
				}
				if h.state != PacketFit {
					t.Fatalf("%s: tick %d: state %d", test.name, i+100, h.state)
				}
				for n := last + 1; last >= 0 && n < h.seq; n++ {
					if left++; levels[n%int64(len(levels))] < 45 {
						loud++
					}
				}
				last = h.seq
			}
			s := l.playout.Stats()
			t.Logf("%s, decoded %v: %d holes, %d left out, %d of these in speech; %+v", test.name, always, holes, left, loud, s)
			// Clocks that are 300 ppm apart are so by 18 ms a minute.
			if most := 4 + int(length/time.Minute) + int(s.Late); holes+left > most || loud > int(s.Late) || s.Delay > 80*ms {
				t.Errorf("%s, decoded %v: %d holes, %d packets left out, %d of these in speech, delay %v", test.name, always, holes, left, loud, s.Delay)
			}
			if !always && l.infos[0].Decoded > 0 {
				t.Errorf("%s: decoded", test.name)
			}
		}
	}
}

// Where nobody ever pauses the delay cannot be held by whole packets: that is
// said, and it is said of nothing else.
func TestHandingOutIsStrained(t *testing.T) {
	for _, ppm := range []float64{0, 2000, -2000} {
		l := newRealLink(t)
		l.ppm, l.phase = ppm, 5*ms
		spoken(t, l, audiotest.Tone(300, 4000, second))
		strained := 0
		for _, h := range handOut(l, time.Minute, false) {
			if h.state == PacketEnding {
				strained++
			}
		}
		if (strained > 0) != (ppm != 0) {
			t.Errorf("%v ppm: %d ticks strained", ppm, strained)
		}
	}
}

// Lost packets are holes, and what redundancy brings is handed on in its place.
func TestHandingOutWithLoss(t *testing.T) {
	l := newRealLink(t)
	l.phase = 5 * ms
	spoken(t, l, audiotest.Speech(8, 10*second))
	l.lost = func(seq int64) bool { return seq%50 == 7 }
	good := l.edit
	l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		if f = good(f); f.Seq%100 == 8 { // brings along the one before
			g := codec.NewEncodedFrame(len(f.Data))
			g.Data = append(g.Data, f.Data...)
			g.Seq, g.PTS, g.Redundant = f.Seq-1, f.PTS-codec.FrameDuration, true
			l.playout.Push(g, time.Duration(l.tick)*codec.FrameDuration)
		}
		return f
	}
	missing, copies := 0, 0
	for _, h := range handOut(l, 20*time.Second, false)[250:] {
		switch {
		case h.state == PacketMissing:
			missing++
		case h.seq%50 == 7 && h.state == PacketFit:
			copies++
		}
	}
	if missing < 5 || missing > 9 || copies < 5 {
		t.Errorf("%d holes, %d copies handed on: %+v", missing, copies, l.playout.Stats())
	}
}

// Nothing is handed out, and nothing is kept, unless somebody asked.
func TestHandingOutIsAskedFor(t *testing.T) {
	l := newRealLink(t)
	spoken(t, l, audiotest.Speech(8, second))
	l.run(time.Second)
	if f, _ := l.playout.Packet(); f != nil {
		t.Error("handed out without being asked for")
	}
	l.playout.SetRelay(RelayOffer)
	l.run(time.Second)
	f, state := l.playout.Packet()
	if f == nil || state != PacketFit || !opus.Plain(f.Data) {
		t.Errorf("%+v, %d", f, state)
	}
	l.playout.SetRelay(RelayOff)
	if f, _ := l.playout.Packet(); f != nil {
		t.Error("handed out after the end")
	}
}
