package audiotest

import (
	"math"
	"math/cmplx"

	"mixdown/codec"
)

// The constants of ESTOI, as its authors give them.
const (
	estoiRate    = 10000 // Hz
	estoiFrame   = 256   // samples
	estoiHop     = estoiFrame / 2
	estoiFFT     = 512
	estoiBands   = 15    // third octaves
	estoiLowest  = 150.0 // Hz, the centre of the first
	estoiSegment = 30    // frames, 384 ms
	estoiRange   = 40.0  // dB under the loudest frame is silence
)

// ESTOI estimates how much of speech is understood: 1 is all of what there is
// to understand, 0 nothing. clean and heard are 48 kHz, equally long and
// aligned to within some ms; only what sounds in clean counts. It returns NaN
// for sounds of different lengths and of less than 0.4 s of speech.
//
// This is the extended short-time objective intelligibility of J. Jensen and
// C. H. Taal, "An Algorithm for Predicting the Intelligibility of Speech Masked
// by Modulated Noise Maskers", IEEE/ACM Transactions on Audio, Speech, and
// Language Processing 24(11), 2016: both sounds as spectrograms of 15 third
// octaves; each 384 ms of those normalised, first along each band, then across
// the bands of each frame; and the mean of their products.
func ESTOI(clean, heard []int16) float64 {
	if len(clean) != len(heard) {
		return math.NaN()
	}
	return estoi(resample(clean), resample(heard))
}

// estoi works on two equally long sounds at 10 kHz.
func estoi(clean, heard []float64) float64 {
	clean, heard = dropSilence(clean, heard)
	x, y := thirdOctaves(clean), thirdOctaves(heard)
	if len(x) < estoiSegment {
		return math.NaN()
	}
	sum := 0.0
	for end := estoiSegment; end <= len(x); end++ {
		a, b := normalise(x[end-estoiSegment:end]), normalise(y[end-estoiSegment:end])
		for t := range a {
			for band := range a[t] {
				sum += a[t][band] * b[t][band]
			}
		}
	}
	return sum / estoiSegment / float64(len(x)-estoiSegment+1)
}

// spectrum is one frame's magnitudes in bands.
type spectrum [estoiBands]float64

// normalise makes each band of a segment zero-mean and of unit norm over time,
// and after that each frame over the bands.
func normalise(in []spectrum) (out [estoiSegment]spectrum) {
	copy(out[:], in)
	for band := range estoiBands {
		mean, energy := 0.0, 0.0
		for t := range out {
			mean += out[t][band] / estoiSegment
		}
		for t := range out {
			out[t][band] -= mean
			energy += out[t][band] * out[t][band]
		}
		for t := range out {
			out[t][band] /= math.Max(math.Sqrt(energy), 1e-12)
		}
	}
	for t := range out {
		mean, energy := 0.0, 0.0
		for _, v := range out[t] {
			mean += v / estoiBands
		}
		for band := range out[t] {
			out[t][band] -= mean
			energy += out[t][band] * out[t][band]
		}
		for band := range out[t] {
			out[t][band] /= math.Max(math.Sqrt(energy), 1e-12)
		}
	}
	return out
}

// hann is the window without its zeros at both ends.
var hann = func() (w [estoiFrame]float64) {
	for i := range w {
		w[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i+1)/(estoiFrame+1))
	}
	return w
}()

// dropSilence leaves out of both sounds the frames that are silent in x, and
// puts the others together again.
func dropSilence(x, y []float64) (xs, ys []float64) {
	var energies []float64
	loudest := math.Inf(-1)
	for at := 0; at+estoiFrame < len(x); at += estoiHop {
		e := 0.0
		for i, w := range hann {
			e += w * x[at+i] * w * x[at+i]
		}
		db := 10 * math.Log10(e+1e-30)
		energies = append(energies, db)
		loudest = math.Max(loudest, db)
	}
	xs, ys = make([]float64, 0, len(x)), make([]float64, 0, len(y))
	end := 0
	for k, db := range energies {
		if db <= loudest-estoiRange {
			continue
		}
		xs, ys = append(xs, make([]float64, end+estoiFrame-len(xs))...), append(ys, make([]float64, end+estoiFrame-len(ys))...)
		for i, w := range hann {
			xs[end+i] += w * x[k*estoiHop+i]
			ys[end+i] += w * y[k*estoiHop+i]
		}
		end += estoiHop
	}
	return xs, ys
}

// thirdOctaves returns a frame every 12.8 ms.
func thirdOctaves(x []float64) (frames []spectrum) {
	var edges [estoiBands][2]int
	for band := range edges {
		for side := range 2 {
			hz := estoiLowest * math.Pow(2, float64(2*band-1+2*side)/6)
			edges[band][side] = int(math.Round(hz * estoiFFT / estoiRate))
		}
	}
	var buf [estoiFFT]complex128
	for at := 0; at+estoiFrame < len(x); at += estoiHop {
		buf = [estoiFFT]complex128{}
		for i, w := range hann {
			buf[i] = complex(w*x[at+i], 0)
		}
		fft(buf[:])
		var s spectrum
		for band, e := range edges {
			for _, c := range buf[e[0]:e[1]] {
				s[band] += real(c)*real(c) + imag(c)*imag(c)
			}
			s[band] = math.Sqrt(s[band])
		}
		frames = append(frames, s)
	}
	return frames
}

// fft transforms in place; the length is a power of two.
func fft(x []complex128) {
	n := len(x)
	for i, j := 1, 0; i < n; i++ {
		bit := n >> 1
		for ; j&bit != 0; bit >>= 1 {
			j ^= bit
		}
		j ^= bit
		if i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for size := 2; size <= n; size *= 2 {
		step := cmplx.Rect(1, -2*math.Pi/float64(size))
		for start := 0; start < n; start += size {
			w := complex(1, 0)
			for i := start; i < start+size/2; i++ {
				a, b := x[i], x[i+size/2]*w
				x[i], x[i+size/2] = a+b, a-b
				w *= step
			}
		}
	}
}

// resample goes from 48 kHz to 10 kHz, by a Kaiser-windowed sinc that is 60 dB
// down from 5 kHz on.
func resample(x []int16) []float64 {
	const (
		up, down  = 5, codec.SampleRate / (estoiRate / 5)
		rejection = 60.0
		cutoff    = 1.0 / (2 * down)
		rollOff   = cutoff / 10
		beta      = 0.1102 * (rejection - 8.7)
	)
	half := int(math.Ceil((rejection - 8) / (28.714 * rollOff)))
	h := make([]float64, 2*half+1)
	sum := 0.0
	for i := range h {
		t, r := float64(i-half), float64(i-half)/float64(half)
		h[i] = bessel(beta*math.Sqrt(1-r*r)) / bessel(beta)
		if t != 0 {
			h[i] *= math.Sin(2*math.Pi*cutoff*t) / (2 * math.Pi * cutoff * t)
		}
		sum += h[i]
	}
	out := make([]float64, (len(x)*up+down-1)/down)
	for k := range out {
		// Of x with up-1 zeros after each sample, those under the filter.
		centre := k * down
		first := max((centre-half+up-1)/up, 0)
		acc := 0.0
		for n, at := first, centre-first*up+half; n < len(x) && at >= 0; n, at = n+1, at-up {
			acc += float64(x[n]) * h[at]
		}
		out[k] = acc * up / sum / 32768
	}
	return out
}

// bessel is the modified Bessel function of the first kind and order zero.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-17; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}
