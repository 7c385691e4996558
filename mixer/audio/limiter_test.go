package audio

import (
	"math"
	"math/rand/v2"
	"testing"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

// limit runs in through a limiter.
func limit(l *Limiter, in []int32) (out []int16) {
	for ; len(in) >= codec.FrameSamples; in = in[codec.FrameSamples:] {
		var dst codec.AudioFrame
		l.Process(&dst, (*Sum)(in))
		out = append(out, dst[:]...)
	}
	return out
}

func sumOf(voices ...[]int16) []int32 {
	sum := make([]int32, len(voices[0]))
	for _, v := range voices {
		for i, s := range v {
			sum[i] += int32(s)
		}
	}
	return sum
}

func TestLimiterIsTransparentBelow(t *testing.T) {
	in := sumOf(audiotest.Tone(440, limitCeiling, codec.SampleRate))
	out := limit(new(Limiter), in)
	for i := range out[LimiterDelay:] {
		if int32(out[LimiterDelay+i]) != in[i] {
			t.Fatalf("sample %d: %d, want %d", i, out[LimiterDelay+i], in[i])
		}
	}
}

func TestLimiterNeverClips(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	talkers := make([][]int16, 50)
	for i := range talkers {
		talkers[i] = audiotest.Speech(uint64(i), 4*codec.SampleRate)
		for k := range talkers[i] {
			talkers[i][k] = int16(max(min(int(talkers[i][k])*8, 32767), -32768))
		}
	}
	impulses := make([]int32, 4*codec.SampleRate)
	for range 200 {
		impulses[r.IntN(len(impulses))] = r.Int32N(1<<23) - 1<<22
	}
	full := make([]int32, codec.SampleRate)
	for i := range full {
		full[i] = int32(1-2*(i/50%2)) * 50 * 32768
	}
	for _, test := range []struct {
		name string
		in   []int32
	}{{"50 talkers at full scale", sumOf(talkers...)}, {"impulses", impulses}, {"50 squares", full}} {
		out := limit(new(Limiter), test.in)
		high := 0
		for i, s := range out {
			// The last bit is float32's.
			if s > limitCeiling+1 || s < -limitCeiling-1 {
				t.Fatalf("%s: %d at %d", test.name, s, i)
			}
			if s > limitCeiling*9/10 {
				high++
			}
		}
		if high == 0 {
			t.Errorf("%s: never near the ceiling: turned down too far", test.name)
		}
	}
}

func TestLimiterDoesNotClick(t *testing.T) {
	// Two loud voices at once; their sum is over the ceiling now and then.
	a, b := audiotest.Speech(1, 10*codec.SampleRate), audiotest.Speech(2, 10*codec.SampleRate)
	sum := sumOf(a, b)
	for i := range sum {
		sum[i] *= 8
	}
	if p := peak(sum); p < 2*limitCeiling {
		t.Fatalf("peak %d limits nothing", p)
	}
	if clicks := audiotest.Clicks(limit(new(Limiter), sum)); len(clicks) > 0 {
		t.Errorf("clicks: %v", clicks)
	}
}

// A short shout ducks the others for a moment only, and a steady loud sum has a
// steady gain.
func TestLimiterDoesNotPump(t *testing.T) {
	in := sumOf(audiotest.Tone(1000, 8000, 2*codec.SampleRate))
	for i := codec.SampleRate / 2; i < codec.SampleRate/2+960; i++ {
		in[i] *= 8
	}
	out := limit(new(Limiter), in)
	amplitude := func(at, n int) float64 {
		return 32768 * math.Sqrt2 * math.Pow(10, audiotest.TonePower(out[at:at+n], 1000)/20)
	}
	if got := amplitude(codec.SampleRate, 4800); math.Abs(got-8000) > 200 {
		t.Errorf("480 ms after a shout the gain is %.3f", got/8000)
	}
	for i := range in {
		in[i] = int32(100000 * math.Sin(2*math.Pi*100*float64(i)/codec.SampleRate))
	}
	out = limit(new(Limiter), in)
	// 100 Hz through a fast limiter becomes square; its third harmonic tells.
	if d := audiotest.TonePower(out[9600:], 300) - audiotest.TonePower(out[9600:], 100); d > -30 {
		t.Errorf("third harmonic of a limited tone is at %.1f dB, want under -30", d)
	}
}

func TestLimiterCopies(t *testing.T) {
	in := sumOf(audiotest.Speech(1, codec.SampleRate), audiotest.Speech(2, codec.SampleRate))
	for i := range in {
		in[i] *= 6
	}
	var a Limiter
	limit(&a, in[:24000])
	b := a
	x, y := limit(&a, in[24000:]), limit(&b, in[24000:])
	for i := range x {
		if x[i] != y[i] {
			t.Fatalf("the copy differs at %d: %d, %d", i, x[i], y[i])
		}
	}
}
