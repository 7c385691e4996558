package audio

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// The recordings that are used say different sentences: two who say the same
// at the same time are an echo to anybody.
var echoVoices = [...]int{1, 2, 9, 12}

// overOpus codes and decodes.
func overOpus(t testing.TB, x []int16) []int16 {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{Complexity: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	dec := newDecoder(t)
	defer dec.Close()
	out := make([]int16, len(x))
	var packet [maxPacketBytes]byte
	for i := 0; i+codec.FrameSamples <= len(x); i += codec.FrameSamples {
		n, err := enc.Encode((*codec.AudioFrame)(x[i:]), packet[:])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dec.Decode(packet[:n], out[i:i+codec.FrameSamples]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// fan is noise with the given RMS in dBov, mostly low.
func fan(seed uint64, dBov float64, n int) []int16 {
	r := rand.New(rand.NewPCG(seed, 3))
	rms := 32768 * math.Pow(10, dBov/20)
	out := make([]int16, n)
	var y float64
	for i := range out {
		y = 0.9*y + math.Sqrt(1-0.81)*rms*r.NormFloat64()
		out[i] = int16(math.Round(y))
	}
	return out
}

// echoOf is what a microphone hears of a loudspeaker: late, without low
// frequencies, distorted where it is loud, with 40 reflections within 120 ms,
// and noise at -70 dBov.
func echoOf(x []int16, delay time.Duration, gainDB float64) []int16 {
	r := rand.New(rand.NewPCG(5, 9))
	late := int(samplesOf(delay))
	gain := math.Pow(10, gainDB/20)
	at, taps := []int{late}, []float64{gain}
	for range 40 {
		s := r.Float64() * 0.12
		at = append(at, late+int(s*codec.SampleRate))
		taps = append(taps, gain*0.5*r.NormFloat64()*math.Pow(10, -3*s/0.3))
	}
	speaker := make([]float64, len(x))
	var y, last float64
	for i, v := range x {
		y = math.Exp(-2*math.Pi*300/codec.SampleRate) * (y + float64(v) - last)
		last = float64(v)
		speaker[i] = 15000 * math.Tanh(y/15000)
	}
	out := fan(7, -70, len(x))
	for i := range out {
		s := float64(out[i])
		for k, a := range at {
			if a <= i {
				s += taps[k] * speaker[i-a]
			}
		}
		out[i] = int16(math.Round(min(max(s, -32768), 32767)))
	}
	return out
}

func bothOf(a, b []int16) []int16 {
	out := make([]int16, len(a))
	for i := range out {
		out[i] = int16(min(max(int(a[i])+int(b[i]), -32768), 32767))
	}
	return out
}

// turns cuts two voices so that they speak by turns.
func turns(a, b []int16, each time.Duration) (x, y []int16) {
	r := rand.New(rand.NewPCG(uint64(each), 5))
	voices, out, from := [2][]int16{a, b}, [2][]int16{make([]int16, len(a)), make([]int16, len(b))}, [2]int{}
	who := 0
	for i := 0; i < len(a); who = 1 - who {
		v := voices[who]
		p := from[who]
		for p+codec.FrameSamples < len(v) && Level(v[p:p+codec.FrameSamples]) > 45 {
			p += codec.FrameSamples
		}
		n := min(int(float64(samplesOf(each))*(0.7+0.6*r.Float64())), len(v)-p, len(a)-i)
		copy(out[who][i:i+n], v[p:])
		from[who] = p + n
		i += n + r.IntN(codec.SampleRate/5) + 1
	}
	return out[0], out[1]
}

// follow feeds a detector and calls each after every tick.
func follow(d *EchoDetector, sent, got []int16, each func(at time.Duration, got []int16)) {
	var s, g Envelope
	for i := 0; i+codec.FrameSamples <= len(sent); i += codec.FrameSamples {
		s.Measure((*codec.AudioFrame)(sent[i:]))
		g.Measure((*codec.AudioFrame)(got[i:]))
		d.Feed(&s, &g)
		each(durationOf(int64(i+codec.FrameSamples)), got[i:i+codec.FrameSamples])
	}
}

func TestEchoIsFound(t *testing.T) {
	for i, tc := range []struct {
		gainDB float64
		delay  time.Duration
		within time.Duration
	}{
		{-10, 20 * time.Millisecond, 3 * time.Second},
		{-10, 550 * time.Millisecond, 3 * time.Second},
		{-20, 100 * time.Millisecond, 3 * time.Second},
		{-20, 300 * time.Millisecond, 3 * time.Second},
		{-30, 60 * time.Millisecond, 3 * time.Second},
		{-30, 400 * time.Millisecond, 3 * time.Second},
		{-40, 200 * time.Millisecond, 6 * time.Second}, // hardly above the room's noise
	} {
		sent := speechClip(t, echoVoices[i%len(echoVoices)], 12*codec.SampleRate)
		got := overOpus(t, echoOf(overOpus(t, sent), tc.delay, tc.gainDB))
		var d EchoDetector
		var found time.Duration
		lost, loud, passed := 0, 0, 0
		follow(&d, sent, got, func(at time.Duration, tick []int16) {
			switch {
			case d.Echo() && found == 0:
				found = at
			case found > 0 && !d.Echo():
				lost++
			}
			if found > 0 && Level(tick) < 55 {
				loud++
				if !d.Only() {
					passed++
				}
			}
		})
		name := fmt.Sprintf("%v dB after %v", tc.gainDB, tc.delay)
		if found == 0 || found > tc.within || lost > 0 {
			t.Errorf("%s: found after %v, lost again for %d ticks: want it within %v, for good", name, found, lost, tc.within)
		}
		// Opus adds 13 ms both ways together.
		if late := d.Delay() - tc.delay; late < -10*time.Millisecond || late > 40*time.Millisecond {
			t.Errorf("%s: delay %v", name, d.Delay())
		}
		if loss := d.LossDB() + tc.gainDB; loss < -10 || loss > 5 {
			t.Errorf("%s: loss %.0f dB", name, d.LossDB())
		}
		if passed > loud/50 {
			t.Errorf("%s: %d of %d loud ticks passed for his own", name, passed, loud)
		}
	}
}

func TestNoFalseEcho(t *testing.T) {
	const n = 15 * codec.SampleRate
	check := func(name string, sent, got []int16) {
		t.Helper()
		var d EchoDetector
		wrong := 0
		follow(&d, sent, got, func(time.Duration, []int16) {
			if d.Echo() || d.Only() {
				wrong++
			}
		})
		if wrong > 0 {
			t.Errorf("%s: taken for an echo in %d ticks", name, wrong)
		}
	}
	for i, v := range echoVoices {
		a := speechClip(t, v, n)
		for _, w := range echoVoices[i+1:] {
			b := speechClip(t, w, n)
			check(fmt.Sprintf("%d and %d at once", v, w), a, b)
			check(fmt.Sprintf("%d and %d at once, over Opus", w, v), b, overOpus(t, a))
			for _, each := range []time.Duration{800 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second} {
				x, y := turns(a, b, each)
				check(fmt.Sprintf("%d and %d in turns of %v", v, w, each), x, y)
			}
		}
		check(fmt.Sprintf("%d and a fan", v), a, fan(uint64(v), -45, n))
		check(fmt.Sprintf("%d and nothing", v), a, make([]int16, n))
		check(fmt.Sprintf("nothing and %d", v), make([]int16, n), a)
		check(fmt.Sprintf("%d in noise and noise", v), bothOf(a, fan(1, -50, n)), fan(2, -50, n))
	}
	check("two voices", audiotest.Speech(1, n), audiotest.Speech(2, n))
	check("two fans", fan(1, -40, n), fan(2, -40, n))
	check("two hisses", audiotest.Noise(1, 300, n), audiotest.Noise(2, 300, n))
	check("one hum at both ends", audiotest.Tone(50, 3000, n), audiotest.Tone(50, 1000, n))
	check("nothing", make([]int16, n), make([]int16, n))
}

// Somebody with an open loudspeaker speaks in between: he is let through, his
// echo is not.
func TestOwnVoicePassesTheEcho(t *testing.T) {
	for i, gainDB := range []float64{-10, -20, -30} {
		a := speechClip(t, echoVoices[i], 24*codec.SampleRate)
		b := speechClip(t, echoVoices[i+1], 24*codec.SampleRate)
		sent, own := turns(a, b, 4*time.Second)
		got := overOpus(t, bothOf(own, echoOf(overOpus(t, sent), 200*time.Millisecond, gainDB)))
		var d EchoDetector
		var ownTicks, ownPassed, echoTicks, echoPassed, tick int
		follow(&d, sent, got, func(at time.Duration, x []int16) {
			was := own[tick*codec.FrameSamples:][:codec.FrameSamples]
			tick++
			switch {
			case at < 6*time.Second || Level(x) > 55:
			case Level(was) < 40:
				ownTicks++
				if !d.Only() {
					ownPassed++
				}
			case Level(was) > 70:
				echoTicks++
				if !d.Only() {
					echoPassed++
				}
			}
		})
		if ownTicks < 200 || ownPassed < ownTicks*9/10 {
			t.Errorf("%v dB: his own voice passed in %d of %d ticks: want 90%%", gainDB, ownPassed, ownTicks)
		}
		if echoTicks < 50 || echoPassed > echoTicks/10 {
			t.Errorf("%v dB: the echo passed in %d of %d ticks: want 10%% at most", gainDB, echoPassed, echoTicks)
		}
	}
}

func TestEchoFollowsItsDelay(t *testing.T) {
	sent := speechClip(t, echoVoices[2], 24*codec.SampleRate)
	played := overOpus(t, sent)
	half := len(sent) / 2
	got := append(echoOf(played, 150*time.Millisecond, -20)[:half], echoOf(played, 320*time.Millisecond, -20)[half:]...)
	var d EchoDetector
	lost := 0
	follow(&d, sent, got, func(at time.Duration, _ []int16) {
		if at > 3*time.Second && !d.Echo() {
			lost++
		}
	})
	if late := d.Delay() - 320*time.Millisecond; lost > 0 || late < -10*time.Millisecond || late > 40*time.Millisecond {
		t.Errorf("a playout buffer that grew: delay %v, echo lost for %d ticks", d.Delay(), lost)
	}
}

func TestEchoIsForgotten(t *testing.T) {
	sent := speechClip(t, echoVoices[3], 24*codec.SampleRate)
	half := 8 * codec.SampleRate
	own := speechClip(t, echoVoices[0], 24*codec.SampleRate)
	echo := echoOf(sent, 150*time.Millisecond, -20)
	for name, then := range map[string][]int16{
		"headphones": fan(1, -70, len(sent)), "headphones, and he talks": own, "muted": make([]int16, len(sent)),
	} {
		got := append(append([]int16(nil), echo[:half]...), then[half:]...)
		var d EchoDetector
		found := false
		follow(&d, sent, got, func(at time.Duration, _ []int16) { found = found || d.Echo() })
		if !found || d.Echo() {
			t.Errorf("%s: an echo before: %v, after: %v", name, found, d.Echo())
		}
	}
}

func TestSilenceMayBeNil(t *testing.T) {
	sent := speechClip(t, echoVoices[0], 6*codec.SampleRate)
	clear(sent[2*codec.SampleRate : 3*codec.SampleRate])
	got := echoOf(sent, 100*time.Millisecond, -20)
	clear(got[4*codec.SampleRate : 5*codec.SampleRate])
	var all, some EchoDetector
	var s, g Envelope
	for i := 0; i < len(sent); i += codec.FrameSamples {
		x, y := (*codec.AudioFrame)(sent[i:]), (*codec.AudioFrame)(got[i:])
		s.Measure(x)
		g.Measure(y)
		all.Feed(&s, &g)
		ps, pg := &s, &g
		if *x == (codec.AudioFrame{}) {
			ps = nil
		}
		if *y == (codec.AudioFrame{}) {
			pg = nil
		}
		some.Feed(ps, pg)
	}
	if all != some {
		t.Error("nil is not the same as silence")
	}
}

// Sums that decay must not become denormal numbers, which are slow.
func TestEchoSumsStayNormal(t *testing.T) {
	var d EchoDetector
	var s Envelope
	x := audiotest.Speech(1, codec.SampleRate)
	for i := range 60_000 {
		s.Measure((*codec.AudioFrame)(x[i%50*codec.FrameSamples:]))
		if i < 500 {
			d.Feed(&s, &s)
		} else {
			d.Feed(&s, nil)
		}
	}
	for lag, c := range d.cross {
		if math.Abs(float64(c)) < 1e-30 || d.energy[lag] < 1e-30 || d.own < 1e-30 {
			t.Fatalf("lag %d: cross %g, energy %g, own %g", lag, c, d.energy[lag], d.own)
		}
	}
	if d.Echo() {
		t.Error("an echo of which nothing has come for 20 min")
	}
}

func TestEchoDetectorAllocatesNothing(t *testing.T) {
	var d EchoDetector
	var s, g Envelope
	x := audiotest.Speech(1, codec.SampleRate)
	if n := testing.AllocsPerRun(100, func() {
		s.Measure((*codec.AudioFrame)(x))
		g.Measure((*codec.AudioFrame)(x[codec.SampleRate/2:]))
		d.Feed(&s, &g)
		_ = d.Only()
	}); n != 0 {
		t.Errorf("%.1f allocations a tick: want none", n)
	}
}

func BenchmarkEcho(b *testing.B) {
	x := audiotest.Speech(1, 10*codec.SampleRate)
	ticks := len(x) / codec.FrameSamples
	env := make([]Envelope, ticks)
	for i := range env {
		env[i].Measure((*codec.AudioFrame)(x[i*codec.FrameSamples:]))
	}
	b.Run("measure", func(b *testing.B) {
		var e Envelope
		for i := 0; b.Loop(); i++ {
			e.Measure((*codec.AudioFrame)(x[i%ticks*codec.FrameSamples:]))
		}
	})
	b.Run("feed", func(b *testing.B) {
		var d EchoDetector
		for i := 0; b.Loop(); i++ {
			d.Feed(&env[i%ticks], &env[(i+ticks-10)%ticks])
		}
	})
}
