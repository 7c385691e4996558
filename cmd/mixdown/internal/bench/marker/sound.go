package marker

import (
	"math"
	"math/rand/v2"

	"mixdown/codec"
)

const (
	// SoundSamples is how long a marker of sound is: 100 ms at 48 kHz. Long
	// enough to be found beneath coding noise and when a gate opens on it a tick
	// late, short enough to be over before a jitter buffer cuts into it.
	SoundSamples = 4800
	// FoundAt is the correlation from which on [FindSound] is believed. Through
	// two encoders and such a gate it is 0.75 or more; other markers, and speech,
	// stay below 0.55.
	FoundAt = 0.65

	// The band of markers, in Hz: what every Opus mode and bitrate keeps, and
	// what any processing made for voices lets through.
	bandLow, bandHigh = 300.0, 3400.0
	// coarse is the factor by which both are decimated for the first look.
	coarse = 6
)

// Sound returns the marker of that id, with a peak of 1: five chirps one after
// the other, each through a part of the band, up or down, so that no two ids
// are alike and each can be placed to a sample.
func Sound(id int) []float64 {
	rng := rand.New(rand.NewPCG(uint64(id), 0x6265_6570))
	const chirps = 5
	const length = SoundSamples / chirps
	wave := make([]float64, SoundSamples)
	phase := 0.0
	for c := range chirps {
		from := bandLow + rng.Float64()*(bandHigh-bandLow)
		to := bandLow + rng.Float64()*(bandHigh-bandLow)
		// At least half of the band, or the place is vague.
		if half := (bandHigh - bandLow) / 2; math.Abs(to-from) < half {
			if to = from + half; to > bandHigh {
				to = from - half
			}
		}
		for i := range length {
			x := float64(i) / length
			phase += 2 * math.Pi * (from + (to-from)*x) / codec.SampleRate
			wave[c*length+i] = math.Sin(phase) * math.Sqrt(math.Sin(math.Pi*x))
		}
	}
	return wave
}

// AddSound adds the marker to pcm from sample at on, with that amplitude (0..1
// of full scale). What lies outside pcm is left out.
func AddSound(pcm []int16, at, id int, amplitude float64) {
	if at >= len(pcm) || at <= -SoundSamples {
		return
	}
	for i, v := range Sound(id) {
		if n := at + i; n >= 0 && n < len(pcm) {
			pcm[n] = int16(min(max(float64(pcm[n])+math.Round(v*amplitude*32767), -32768), 32767))
		}
	}
}

// FindSound looks for the marker everywhere in pcm and returns the sample at
// which it fits best and how well: the normalised correlation, 0..1. Below
// [FoundAt] it is not there. It takes about a millisecond per 100 ms of pcm.
func FindSound(pcm []int16, id int) (at int, fit float64) {
	wave := Sound(id)
	if len(pcm) < len(wave) {
		return 0, 0
	}
	fine := make([]float64, len(pcm))
	for i, s := range pcm {
		fine[i] = float64(s)
	}
	at, _ = best(decimate(fine), decimate(wave), 0, math.MaxInt)
	return best(fine, wave, at*coarse-2*coarse, at*coarse+2*coarse+1)
}

// Loudness returns the largest amplitude (0..1 of full scale) with which the
// marker may be anywhere in pcm: what is there of it, or what noise looks like
// it. It takes about 10 ms per 100 ms of pcm.
func Loudness(pcm []int16, id int) float64 {
	wave := Sound(id)
	energy, loudest := 0.0, 0.0
	for _, v := range wave {
		energy += v * v
	}
	for o := 0; o+len(wave) <= len(pcm); o++ {
		sum := 0.0
		for i, v := range wave {
			sum += v * float64(pcm[o+i])
		}
		loudest = max(loudest, math.Abs(sum))
	}
	return loudest / energy / 32767
}

// best slides wave over signal, from offset low to below high, and returns the
// offset of the largest correlation.
func best(signal, wave []float64, low, high int) (at int, fit float64) {
	low, high = max(low, 0), min(high, len(signal)-len(wave)+1)
	waveEnergy := 0.0
	for _, v := range wave {
		waveEnergy += v * v
	}
	energy := 0.0
	for i := low; i < low+len(wave) && i < len(signal); i++ {
		energy += signal[i] * signal[i]
	}
	for o := low; o < high; o++ {
		sum := 0.0
		part := signal[o : o+len(wave)]
		for i, v := range wave {
			sum += v * part[i]
		}
		// A marker drowned in nothing would fit by chance: a little energy has
		// to be there, -60 dBFS.
		if norm := math.Sqrt(waveEnergy * max(energy, float64(len(wave))*32*32)); sum/norm > fit {
			at, fit = o, sum/norm
		}
		if o+len(wave) < len(signal) {
			energy += signal[o+len(wave)]*signal[o+len(wave)] - signal[o]*signal[o]
		}
	}
	return at, fit
}

// decimate keeps a mean of each few samples, which is filter enough: markers
// have nothing above 3400 Hz, and this is the first look only.
func decimate(v []float64) []float64 {
	out := make([]float64, len(v)/coarse)
	for i := range out {
		sum := 0.0
		for _, s := range v[i*coarse : (i+1)*coarse] {
			sum += s
		}
		out[i] = sum
	}
	return out
}
