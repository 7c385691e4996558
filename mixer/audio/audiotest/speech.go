// Package audiotest makes sound for tests and judges it: speech-like signals
// and tones that are the same on every machine, the power of a tone in a
// recording, a detector for clicks, and how much of speech is understood. It is
// for tests only.
package audiotest

import (
	"math"
	"math/rand/v2"

	"mixdown/codec"
)

// Tone returns n samples of a sine with the given peak, 0..32767.
func Tone(hz float64, peak, n int) []int16 {
	x := make([]int16, n)
	for i := range x {
		x[i] = int16(math.Round(float64(peak) * math.Sin(2*math.Pi*hz*float64(i)/codec.SampleRate)))
	}
	return x
}

// Noise returns n samples of white noise with the given RMS.
func Noise(seed uint64, rms float64, n int) []int16 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]int16, n)
	for i := range x {
		x[i] = clip(rms * r.NormFloat64())
	}
	return x
}

// TonePower returns the mean power of one frequency in x by Goertzel's
// algorithm, in dBov: a full-scale sine gives -3.
func TonePower(x []int16, hz float64) float64 {
	w := 2 * math.Pi * hz / codec.SampleRate
	k := 2 * math.Cos(w)
	var s1, s2 float64
	for i, v := range x {
		// A Hann window keeps other tones out.
		h := 0.5 - 0.5*math.Cos(2*math.Pi*(float64(i)+0.5)/float64(len(x)))
		s1, s2 = float64(v)/32768*h+k*s1-s2, s1
	}
	power := s1*s1 + s2*s2 - k*s1*s2
	amplitude := 4 * math.Sqrt(max(power, 0)) / float64(len(x))
	return 20 * math.Log10(max(amplitude, 1e-9)/math.Sqrt2)
}

// A vowel is three formants in Hz.
var vowels = [...][3]float64{
	{730, 1090, 2440}, {270, 2290, 3010}, {530, 1840, 2480}, {570, 840, 2410}, {300, 870, 2240}, {660, 1720, 2410},
}

// Speech returns n samples that are to codecs and gates what a voice is: a
// buzz with a gliding pitch through moving formants, hisses and bursts between,
// syllables of 100 to 250 ms, phrases of one to three seconds, and pauses with
// a faint noise. Its mean loudness within phrases is about -26 dBov. The same
// seed gives the same voice.
func Speech(seed uint64, n int) []int16 {
	r := rand.New(rand.NewPCG(seed, 2))
	pitch := 90 + 130*r.Float64()
	x := make([]float64, 0, n+codec.SampleRate)
	silence := func(ms float64) {
		for range int(ms * codec.SampleRate / 1000) {
			x = append(x, 0)
		}
	}
	v := voice{r: r, from: vowels[r.IntN(len(vowels))]}
	silence(50 + 100*r.Float64())
	for len(x) < n {
		for range 5 + r.IntN(8) {
			switch r.IntN(4) {
			case 0:
				x = v.hiss(x, 60+60*r.Float64())
			case 1:
				silence(20 + 30*r.Float64())
				x = v.hiss(x, 8+6*r.Float64())
			}
			x = v.syllable(x, pitch*(0.8+0.4*r.Float64()), 100+150*r.Float64())
		}
		silence(200 + 600*r.Float64())
	}
	out := make([]int16, n)
	for i := range out {
		out[i] = clip(x[i]*1000 + 4*r.NormFloat64())
	}
	return out
}

// voice is a small formant synthesiser.
type voice struct {
	r     *rand.Rand
	from  [3]float64 // the formants where the last syllable ended
	phase float64
	y     [3][2]float64 // the resonators' memory
}

func (v *voice) syllable(x []float64, pitch, ms float64) []float64 {
	to := vowels[v.r.IntN(len(vowels))]
	n := int(ms * codec.SampleRate / 1000)
	for i := range n {
		t := float64(i) / float64(n)
		v.phase += pitch * (1 + 0.1*math.Sin(math.Pi*t)) * (1 + 0.01*v.r.NormFloat64()) / codec.SampleRate
		v.phase -= math.Floor(v.phase)
		// A glottal pulse: opens smoothly, closes fast.
		source := -0.3
		if v.phase < 0.6 {
			source = math.Sin(math.Pi * v.phase * v.phase / 0.36)
		}
		source += 0.02 * v.r.NormFloat64()
		var s float64
		for k := range to {
			hz := v.from[k] + (to[k]-v.from[k])*min(1, 2*t)
			s += v.resonate(k, source, hz, 60+40*float64(k)) / float64(k+1)
		}
		x = append(x, s*math.Sin(math.Pi*min(1, t*6)/2)*math.Sin(math.Pi*min(1, (1-t)*4)/2))
	}
	v.from = to
	return x
}

func (v *voice) resonate(k int, in, hz, width float64) float64 {
	r := math.Exp(-math.Pi * width / codec.SampleRate)
	y := (1-r)*2*in + 2*r*math.Cos(2*math.Pi*hz/codec.SampleRate)*v.y[k][0] - r*r*v.y[k][1]
	v.y[k][1], v.y[k][0] = v.y[k][0], y
	return y
}

func (v *voice) hiss(x []float64, ms float64) []float64 {
	n := int(ms * codec.SampleRate / 1000)
	var last float64
	for i := range n {
		w := v.r.NormFloat64()
		x = append(x, 0.9*(w-0.8*last)*math.Sin(math.Pi*float64(i)/float64(n)))
		last = w
	}
	return x
}

func clip(x float64) int16 { return int16(math.Round(max(min(x, 32767), -32768))) }
