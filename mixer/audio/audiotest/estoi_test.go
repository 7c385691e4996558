package audiotest

import (
	"math"
	"testing"

	"mixdown/codec"
)

// lcg is noise that any language makes alike: -1..1.
type lcg uint32

func (s *lcg) next() float64 {
	*s = *s*1664525 + 1013904223
	return float64(*s)/(1<<31) - 1
}

// buzz is 25 harmonics of a gliding pitch, each under an envelope of its own,
// with a pause of half a second in each 2.5 s.
func buzz(rate, i int) float64 {
	if i*10/rate%25 >= 20 {
		return 0
	}
	t := float64(i) / float64(rate)
	phase := 2 * math.Pi * (120*t + 10*math.Sin(2*math.Pi*0.7*t)/0.7)
	x := 0.0
	for k := 1.0; k <= 25; k++ {
		x += math.Sin(k*phase) * (1 + math.Sin(2*math.Pi*(2+0.37*k)*t+k)) / math.Sqrt(k)
	}
	return 0.05 * x
}

func to16(x float64) int16 {
	return int16(math.Floor(max(min(x, 0.99996), -1)*32767 + 0.5))
}

// The figures are what pystoi 0.4.1 (github.com/mpariente/pystoi, the usual
// reference, tested against the authors' own Matlab) says of the same sounds:
// stoi(x, y, rate, extended=True), under numpy 1.24.2 and scipy 1.10.1. x is
// buzz, y what the case makes of it, both rounded to 16 bits and divided by
// 32,768; the noise is lcg from seed 7.
func TestESTOIAgreesWithTheReference(t *testing.T) {
	sounds := map[int][]int16{estoiRate: nil, codec.SampleRate: nil}
	for rate := range sounds {
		x := make([]int16, 4*rate)
		for i := range x {
			x[i] = to16(buzz(rate, i))
		}
		sounds[rate] = x
	}
	for _, test := range []struct {
		name            string
		damage          func(i, rate int, x, noise float64) float64
		at10kHz, at48Hz float64
	}{
		{"same", func(_, _ int, x, _ float64) float64 { return x }, 1, 1},
		{"some noise", func(_, _ int, x, noise float64) float64 { return x + 0.05*noise }, 0.878728, 0.941874},
		{"noise", func(_, _ int, x, noise float64) float64 { return x + 0.2*noise }, 0.483416, 0.757267},
		{"much noise", func(_, _ int, x, noise float64) float64 { return x + 0.8*noise }, 0.093340, 0.254817},
		{"clipped", func(_, _ int, x, _ float64) float64 { return max(min(x, 0.05), -0.05) }, 0.691651, 0.693757},
		{"holes", func(i, rate int, x, _ float64) float64 {
			if i*50/rate%5 == 0 {
				return 0
			}
			return x
		}, 0.743479, 0.749065},
		{"noise alone", func(_, _ int, _, noise float64) float64 { return 0.2 * noise }, 0.022023, -0.011456},
	} {
		for rate, clean := range sounds {
			noise := lcg(7)
			heard := make([]int16, len(clean))
			for i := range clean {
				heard[i] = to16(test.damage(i, rate, float64(clean[i])/32768, noise.next()))
			}
			got, want := ESTOI(clean, heard), test.at48Hz
			if rate == estoiRate {
				got, want = estoi(floats(clean), floats(heard)), test.at10kHz
			}
			if !(math.Abs(got-want) < 1e-4) {
				t.Errorf("%s at %d Hz: %.6f, the reference says %.6f", test.name, rate, got, want)
			}
		}
	}
}

func floats(x []int16) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v) / 32768
	}
	return out
}

func TestESTOIOfTooLittle(t *testing.T) {
	x := Speech(1, codec.SampleRate)
	if got := ESTOI(x, x[1:]); !math.IsNaN(got) {
		t.Errorf("different lengths: %v", got)
	}
	if got := ESTOI(x[:10000], x[:10000]); !math.IsNaN(got) {
		t.Errorf("0.2 s: %v", got)
	}
	if got := ESTOI(nil, nil); !math.IsNaN(got) {
		t.Errorf("nothing: %v", got)
	}
	if got := ESTOI(x, make([]int16, len(x))); got != 0 {
		t.Errorf("silence is understood: %v", got)
	}
}
