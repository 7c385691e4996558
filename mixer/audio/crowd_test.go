package audio

import (
	"math"
	"slices"
	"testing"

	"mixdown/mixer/audio/audiotest"
)

// Twelve people talk at once, eight can be heard: who is heard changes slowly,
// always among the loudest, and the loudness of the mix stays what it was.
func TestTwelveTalkAtOnce(t *testing.T) {
	const people, length = 12, 30
	tb := newTable(t, 0)
	var members []*Member
	for i := range people {
		// The voices' own ups and downs decide, all are equally loud.
		x := speechClip(t, i+1, length*second)
		members = append(members, tb.join(uint32(i+1), louder(x, -12)))
	}
	listener := tb.join(99, nil)
	var out []int16
	changes, short := 0, 0
	since := make([]int, people)
	was := make([]bool, people)
	for n := range length * 50 {
		tb.ticks(1)
		pcm := tb.hears(listener.Frame())
		out = append(out, pcm[:]...)
		if open := tb.Stats().Open; open > defaultMaxOpen || n > 100 && open < defaultMaxOpen-2 {
			t.Errorf("tick %d: %d gates open", n, open)
		}
		for i, mem := range members {
			if mem.Speaking() != was[i] {
				if was[i] = !was[i]; n > 100 {
					changes++
					if n-since[i] < 20 && !was[i] {
						short++
					}
				}
				since[i] = n
			}
		}
	}
	low, high, steps := envelopeRange(out[2*second:])
	t.Logf("%d changes of who is heard in %d s, %d of them after less than 400 ms; loudness of seconds %.1f..%.1f dBov, largest step %.1f dB",
		changes, length-2, short, low, high, steps)
	if changes > length-2 {
		t.Errorf("%d changes in %d s", changes, length-2)
	}
	if short > 0 {
		t.Errorf("%d were let in for less than 400 ms", short)
	}
	if high-low > 6 {
		t.Errorf("the loudness of the mix goes from %.1f to %.1f dBov", low, high)
	}
	if clicks := audiotest.Clicks(out); len(clicks) > 0 {
		t.Errorf("clicks: %v", clicks)
	}
}

// envelopeRange is the loudness of whole seconds: the least, the most, and the
// largest step from one half second to the next.
func envelopeRange(x []int16) (low, high, step float64) {
	low, high = 0, -127
	last := math.NaN()
	for at := 0; at+second <= len(x); at += second / 2 {
		var e float64
		for _, s := range x[at : at+second] {
			e += float64(s) * float64(s)
		}
		db := 10 * math.Log10(e/second/(32768*32768)+1e-13)
		low, high = min(low, db), max(high, db)
		if !math.IsNaN(last) {
			step = max(step, math.Abs(db-last))
		}
		last = db
	}
	return low, high, step
}

// truePeak is the largest magnitude between samples too: four points for each
// by a windowed sinc, as ITU-R BS.1770 annex 2 has it.
func truePeak(x []int16) float64 {
	const taps = 24
	var kernel [4][taps]float64
	for p := range kernel {
		for k := range taps {
			d := float64(k-taps/2+1) - float64(p)/4
			w := 0.5 + 0.5*math.Cos(math.Pi*d/(taps/2))
			if kernel[p][k] = w; d != 0 {
				kernel[p][k] = w * math.Sin(math.Pi*d) / (math.Pi * d)
			}
		}
	}
	peak := 0.0
	for i := taps; i+taps < len(x); i++ {
		for p := range kernel {
			var y float64
			for k, h := range kernel[p] {
				y += h * float64(x[i-taps/2+1+k])
			}
			peak = max(peak, math.Abs(y))
		}
	}
	return peak
}

// Fifty loud people, all heard at once: nothing clips, and what the limiter does
// is a gain that changes slowly, not a distortion.
func TestFiftyLoudTalkers(t *testing.T) {
	const people, length = 50, 10
	tb := newTable(t, 50)
	var first *Member
	sum := make([]int32, length*second)
	for i := range people {
		at := (i * 7919) % (20 * second)
		x := louder(speechClip(t, i%numClips+1, 30*second)[at:at+length*second], 6)
		mem := tb.join(uint32(i+1), x)
		if i == 0 {
			first = mem
		}
		for k, s := range x {
			sum[k] += int32(s)
		}
	}
	listener := tb.join(99, nil)
	var out, own []int16
	for range length * 50 {
		tb.ticks(1)
		pcm := tb.hears(listener.Frame())
		out = append(out, pcm[:]...)
		pcm = tb.hears(first.Frame())
		own = append(own, pcm[:]...)
	}
	over := 0
	for _, s := range sum {
		if s > 32767 || s < -32768 {
			over++
		}
	}
	for name, x := range map[string][]int16{"listener": out, "talker": own} {
		var most int16
		for _, s := range x {
			most = max(most, s, -s)
		}
		t.Logf("%s: %.0f%% of the samples of the sum would clip; peak %.2f dBFS, true peak %.2f dBFS", name,
			100*float64(over)/float64(len(sum)), 20*math.Log10(float64(most)/32768), 20*math.Log10(truePeak(x)/32768))
		if most > limitCeiling+1 {
			t.Errorf("%s: peak %d", name, most)
		}
		if p := truePeak(x); p > 32768*1.06 {
			t.Errorf("%s: true peak %.2f dBFS, want under 0.5", name, 20*math.Log10(p/32768))
		}
		if clicks := audiotest.Clicks(x); len(clicks) > 0 {
			t.Errorf("%s: clicks %v", name, clicks)
		}
	}
	// The output against the sum times the gain, smoothed over 10 ms: what is
	// left is distortion.
	snr := limiterSNR(sum[second:], out[second+LimiterDelay:])
	clipped := make([]int16, len(sum))
	for i, s := range sum {
		clipped[i] = int16(min(max(s, -32768), 32767))
	}
	plain := limiterSNR(sum[second:], clipped[second:])
	t.Logf("distortion %.1f dB under the sound; with clipping %.1f dB", snr, plain)
	if snr < 20 || snr < plain+10 {
		t.Errorf("distortion is %.1f dB under the sound, with clipping %.1f", snr, plain)
	}
}

// limiterSNR fits a gain to each 10 ms, goes from one to the next in a line, and
// tells how far below the sound the rest is.
func limiterSNR(in []int32, out []int16) float64 {
	const block = second / 100
	n := min(len(in), len(out)) / block
	gains := make([]float64, n)
	for b := range gains {
		var xy, xx float64
		for i := b * block; i < (b+1)*block; i++ {
			x, y := float64(in[i]), float64(out[i])
			xy, xx = xy+x*y, xx+x*x
		}
		gains[b] = xy / max(xx, 1)
	}
	var signal, noise float64
	for b := 1; b+1 < n; b++ {
		for i := range block {
			at := b*block + i
			t := (float64(i) + 0.5) / block
			g := gains[b-1] + (gains[b]-gains[b-1])*(t+0.5)
			if t >= 0.5 {
				g = gains[b] + (gains[b+1]-gains[b])*(t-0.5)
			}
			y := float64(out[at])
			e := y - g*float64(in[at])
			signal, noise = signal+y*y, noise+e*e
		}
	}
	return 10 * math.Log10(signal/max(noise, 1))
}

// Below its threshold the limiter is not there.
func TestLoudRoomUnderTheCeilingIsExact(t *testing.T) {
	tb := newTable(t, 0)
	var sounds [][]int16
	for i := range 3 {
		x := louder(speechClip(t, i+1, 10*second), -10)
		sounds = append(sounds, x)
		tb.join(uint32(i+1), x)
	}
	listener := tb.join(9, nil)
	exact := 0
	for range 500 {
		tb.ticks(1)
		if tb.Stats().Open < 3 || tb.n < 10 || tb.members[0].Gate() != GateOpen || tb.members[1].Gate() != GateOpen || tb.members[2].Gate() != GateOpen {
			continue
		}
		if want := delayed(tb.n-1, sounds...); equal(tb.hears(listener.Frame()), want) {
			exact++
		} else if exact > 0 && tb.room.limiter.busy {
			t.Fatalf("tick %d: limited, peak %d", tb.n, slices.Max(want[:]))
		}
	}
	if exact < 300 {
		t.Errorf("%d exact ticks", exact)
	}
}
