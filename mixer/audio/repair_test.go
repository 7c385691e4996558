package audio

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// red adds to a link's packets the copies of the packets before that RED
// carries (RFC 2198): of each of the last so many, one. The receiver of RED
// need not know what it has already.
func (l *link) red(copies int64) {
	edit := l.edit
	if edit == nil {
		edit = func(f *codec.EncodedFrame) *codec.EncodedFrame { return f }
	}
	l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		for seq := max(f.Seq-copies, 0); seq < f.Seq; seq++ {
			g := edit(fakePacket(seq, seq*int64(l.samples), l.samples))
			g.Redundant = true
			l.playout.Push(g, l.sentAt(f.Seq*int64(l.samples))+l.delay(f.Seq, 0))
		}
		return edit(f)
	}
}

// randomLoss loses packets independently.
func randomLoss(seed uint64, percent float64) func(int64) bool {
	r := rand.New(rand.NewPCG(seed, 5))
	return func(int64) bool { return r.Float64()*100 < percent }
}

// burstLoss loses packets in bursts of a mean length (Gilbert's model).
func burstLoss(seed uint64, percent, mean float64) func(int64) bool {
	r := rand.New(rand.NewPCG(seed, 6))
	end := 1 / mean
	begin := end * percent / (100 - percent)
	bad := false
	return func(int64) bool {
		if bad {
			bad = r.Float64() >= end
		} else {
			bad = r.Float64() < begin
		}
		return bad
	}
}

// opusDelay is how much later than in the encoder a sound is in the decoder:
// 6.5 ms.
const opusDelay = codec.SampleRate * 65 / 10000

// asSent puts what was heard where it was in what was sent, by the PTS that the
// playout tells, so that sound which is judged is not judged by its delay.
func (l *link) asSent(n int) []int16 {
	x := make([]int16, n)
	for i, info := range l.infos {
		at := int(samplesOf(info.PTS)) - opusDelay
		for k, s := range l.pcm[i*codec.FrameSamples:][:codec.FrameSamples] {
			if at+k >= 0 && at+k < n {
				x[at+k] = s
			}
		}
	}
	return x
}

// repair is one way to send speech over a lossy path.
type repair struct {
	name   string
	coder  opus.EncoderConfig
	copies int64
}

// over sends speech over a link and says how much of it was understood after
// the first 5 s, in which the playout learns.
func (r repair) over(t *testing.T, x []int16, lost func(int64) bool) (estoi float64, l *link) {
	l = newRealLink(t)
	l.phase, l.lost = 5*ms, lost
	jitter := uniform(3, 3*ms)
	l.delay = func(int64, time.Duration) time.Duration { return jitter() }
	l.replay(codedWith(t, r.coder, x))
	if r.copies > 0 {
		l.red(r.copies)
	}
	l.run(durationOf(int64(len(x))))
	const learn = 5 * second
	return audiotest.ESTOI(x[learn:], l.asSent(len(x))[learn:]), l
}

// Repair pays: what is understood at 10% random loss with the codec's own FEC,
// and at 20% in bursts with RED, against concealment alone. The table in the
// README is this test's on all clips, with MIXDOWN_LONG=1.
func TestRepairIsUnderstood(t *testing.T) {
	var x []int16
	for i := range int(simulated(1, 1, 8)) {
		if y, ok := clip(t, fmt.Sprintf("speech-%02d.ogg", 2*i+1)); ok {
			x = append(x, y...)
		}
	}
	least := 0.05
	if len(x) == 0 {
		// A voice that is made has less for FEC to know.
		x, least = audiotest.Speech(31, 40*second), 0.03
	}
	plain := opus.EncoderConfig{}
	none, fec := repair{"concealment", plain, 0}, repair{"FEC", opus.EncoderConfig{FEC: true, PacketLossPercent: 10}, 0}
	red1, red2 := repair{"RED, 1 copy", plain, 1}, repair{"RED, 2 copies", plain, 2}
	for _, path := range []struct {
		name  string
		lost  func() func(int64) bool
		ways  []repair
		must  []float64 // more than concealment
		delay []time.Duration
	}{
		{"no loss", func() func(int64) bool { return func(int64) bool { return false } },
			[]repair{none, fec}, []float64{0, -0.02}, []time.Duration{30 * ms, 30 * ms}},
		{"10% random", func() func(int64) bool { return randomLoss(1, 10) },
			[]repair{none, fec, red1, red2}, []float64{0, least, 0.05, 0.05}, []time.Duration{30 * ms, 50 * ms, 50 * ms, 70 * ms}},
		{"20% in bursts of 3", func() func(int64) bool { return burstLoss(2, 20, 3) },
			[]repair{none, fec, red1, red2}, []float64{0, 0, 0.05, 0.08}, []time.Duration{30 * ms, 50 * ms, 50 * ms, 70 * ms}},
	} {
		concealed := 0.0
		for i, way := range path.ways {
			estoi, l := way.over(t, x, path.lost())
			if i == 0 {
				concealed = estoi
			}
			s := l.playout.Stats()
			p50 := l.quantile(250, 0.5)
			t.Logf("%-20s %-14s ESTOI %.3f (%+.3f), latency p50 %v, %d lost, %d recovered", path.name, way.name, estoi,
				estoi-concealed, p50.Round(ms), s.Lost, s.Recovered)
			if estoi < concealed+path.must[i] {
				t.Errorf("%s, %s: ESTOI %.3f, want %.2f more than %.3f", path.name, way.name, estoi, path.must[i], concealed)
			}
			if p50 > path.delay[i] {
				t.Errorf("%s, %s: median latency %v, want at most %v", path.name, way.name, p50, path.delay[i])
			}
			if clicks := audiotest.Clicks(l.pcm); len(clicks) > 0 {
				t.Errorf("%s, %s: clicks at %v", path.name, way.name, clicks)
			}
		}
	}
}

// A copy of what came already, or of what was long played, changes nothing; nor
// do copies without the packets that they belong to.
func TestRedundantCopies(t *testing.T) {
	clean := newLink(t, loud)
	clean.run(3 * time.Second)
	l := newLink(t, loud)
	l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		for _, seq := range []int64{f.Seq - 1, f.Seq - 3, f.Seq - 30, f.Seq - 100000, f.Seq + 100000} {
			g := fakePacket(seq, seq*960, 960)
			g.Redundant = true
			if seq == f.Seq-30 {
				g.Stream = 7
			}
			l.playout.Push(g, l.sentAt(f.Seq*960))
		}
		return f
	}
	l.run(3 * time.Second)
	if !slices.Equal(l.pcm, clean.pcm) {
		t.Error("copies of what is there change the sound")
	}
	s := l.playout.Stats()
	if s.Duplicate+s.Late+s.Lost+s.Recovered+s.Restarts != 0 || s.Redundant != 5*150 && s.Redundant != 5*151 {
		t.Errorf("%+v", s)
	}
	// The copy comes first, then the packet: late, not lost.
	l = newLink(t, loud)
	l.delay = func(seq int64, _ time.Duration) time.Duration {
		if seq%10 == 5 {
			return 30 * ms
		}
		return 0
	}
	l.red(1)
	l.run(6 * time.Second)
	if s := l.playout.Stats(); s.Duplicate != 0 || s.Restarts != 0 {
		t.Errorf("packets overtaken by their copies: %+v", s)
	}
	if n := breaks(l.pcm, 5*second); n > 0 {
		t.Errorf("packets overtaken by their copies: the sound breaks %d times, %+v", n, l.playout.Stats())
	}
}

// What is lost and comes with the next packet is not heard at all, once the
// playout has seen that packets get lost.
func TestRedundancyFillsHoles(t *testing.T) {
	for _, run := range []int64{1, 2} {
		l := newLink(t, loud)
		l.lost = func(seq int64) bool { return seq > 100 && seq%12 < run }
		l.red(run)
		l.run(20 * time.Second)
		if n := breaks(l.pcm, 10*second); n > 0 {
			t.Errorf("runs of %d: the sound breaks %d times, %+v", run, n, l.playout.Stats())
		}
		if d := l.quantile(500, 1); d > 45*ms+time.Duration(run-1)*codec.FrameDuration {
			t.Errorf("runs of %d: latency %v", run, d)
		}
		// Nothing is lost any more: down again.
		l.lost = func(int64) bool { return false }
		l.run(20 * time.Second)
		t.Logf("runs of %d: latency %v with loss, %v after", run, l.latency[900], l.latency[l.tick-1])
		if d := l.latency[l.tick-1]; d > 30*ms {
			t.Errorf("runs of %d: latency %v, 20 s after the last loss", run, d)
		}
	}
}
