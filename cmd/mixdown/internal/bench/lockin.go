package bench

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"

	"mixdown/codec"
	"mixdown/codec/opus"
)

// lockIn compares what two people heard, of which other begins shift samples
// later than own, as a lock-in amplifier does: what the other hears of own's probe
// says at each moment which phase it has by now, whatever sender, clock and jitter
// buffer have done to it, and by that own is summed up, coherently from end to end.
// What is not that tone averages out, by 3 dB for twice the time.
//
// A coder swallows most of what lies under its noise, so that a leak is softer in
// what comes out than it is in the mix. How much of it is tried: own is coded again
// with a leak of plantedDB, and what is read is corrected by what is read of that.
func lockIn(own, other []int16, shift int, p probe) (v ownVoice, err error) {
	if shift < 0 {
		other = other[min(-shift, len(other)):]
	} else {
		own = own[min(shift, len(own)):]
	}
	n := min(len(own), len(other))
	own = own[:n]
	r, windows := newReference(other[:n], p.hz)
	// Most of the time that it sounds.
	if float64(windows) < max(p.duty()*float64(len(r.phase))/2, 1) {
		return v, nil
	}
	r.weigh(own)
	x := r.baseband(own, p.hz)
	leak := r.share(x, 0)
	// Beside the tone there is only what disturbs. What was found is taken out
	// first: it sounds in bursts, so that it has side bands.
	for i := range x {
		x[i] -= leak * r.phase[i]
	}
	var beside float64
	for _, away := range besideHz {
		beside += power(r.share(x, away)) + power(r.share(x, -away))
	}
	beside = math.Sqrt(beside / float64(2*len(besideHz)))
	loss, err := r.swallowed(own)
	if err != nil {
		return v, err
	}
	v.heard = true
	v.lossDB = max(-decibels(loss), 0)
	v.belowDB, v.floorDB = -decibels(cmplx.Abs(leak))-v.lossDB, -decibels(beside)-v.lossDB
	return v, nil
}

// A leak is planted as loud as matters (what is louder is swallowed less), in so many
// phases, one after the other: then all that is there anyway cancels.
const (
	plantedDB   = -60
	plantPhases = 6
)

// besideHz is where there is only noise, on both sides: farther away than a
// second's resolution, near enough for a window to let it through.
var besideHz = []float64{1.05, 1.35, 1.65, 1.95, 2.25, 2.55}

// unheard is the amplitude, of full scale, below which a probe was not in the mix
// at all (only so many are heard at one time), and so was everybody.
const unheard = 0.01

// Sound is looked at through windows of a quarter of a second, forty a second: what
// is 16 Hz away is 92 dB down in each, before anything is summed up.
const (
	lockWindow = codec.SampleRate / 4
	lockStep   = codec.SampleRate / 40
)

// reference is what somebody hears of another's probe, window by window.
type reference struct {
	hz     float64
	phase  []complex128 // and amplitude; 0 between its turns
	weight []float64    // of each window; 0 between its turns
	energy float64      // of phase, weighted
}

// newReference looks for a probe, and returns in how many windows it is.
func newReference(pcm []int16, hz float64) (r *reference, windows int) {
	r = &reference{hz: hz, weight: make([]float64, max((len(pcm)-lockWindow)/lockStep+1, 0))}
	for i := range r.weight {
		r.weight[i] = 1
	}
	r.phase = r.baseband(pcm, hz)
	var loudest float64
	for _, s := range r.phase {
		loudest = max(loudest, power(s))
	}
	// Between its turns there is nothing but noise.
	for i, s := range r.phase {
		if power(s) < max(loudest/10, unheard*unheard) {
			r.phase[i], r.weight[i] = 0, 0
		} else {
			windows++
		}
	}
	return r, windows
}

// weigh has windows count the more, the less noise there is around the probe in
// pcm. What is missing there has none: a window counts four times as much as the
// median at most.
func (r *reference) weigh(pcm []int16) {
	noise := make([]float64, len(r.phase))
	for _, away := range []float64{-44, -22, 22, 44} {
		for i, s := range r.baseband(pcm, r.hz+away) {
			noise[i] += power(s)
		}
	}
	const around = 5 // windows that overlap by half and more
	smooth := make([]float64, len(noise))
	var all []float64
	for i := range noise {
		if r.weight[i] == 0 {
			continue
		}
		n := 0
		for k := max(i-around, 0); k <= min(i+around, len(noise)-1); k++ {
			if r.weight[k] > 0 {
				smooth[i] += noise[k]
				n++
			}
		}
		smooth[i] /= float64(n)
		all = append(all, smooth[i])
	}
	slices.Sort(all)
	median := max(all[len(all)/2], 1e-12)
	r.energy = 0
	for i, s := range r.phase {
		if r.weight[i] > 0 {
			r.weight[i] = median / max(smooth[i], median/4)
			r.energy += r.weight[i] * power(s)
		}
	}
}

// share is how much of the reference is in x, and in which phase. What there is
// away Hz from it tells how much one finds where there is nothing.
func (r *reference) share(x []complex128, away float64) (sum complex128) {
	for i, w := range r.weight {
		if w > 0 {
			turn := cmplx.Rect(w, -2*math.Pi*away*float64(i)*lockStep/codec.SampleRate)
			sum += x[i] * cmplx.Conj(r.phase[i]) * turn
		}
	}
	return sum / complex(r.energy, 0)
}

// blackmanHarris is a window of four terms, whose sum is 1.
var blackmanHarris = func() (w [lockWindow]float64) {
	for i := range w {
		at := 2 * math.Pi * (float64(i) + 0.5) / lockWindow
		w[i] = (1 - 0.48829/0.35875*math.Cos(at) + 0.14128/0.35875*math.Cos(2*at) - 0.01168/0.35875*math.Cos(3*at)) / lockWindow
	}
	return w
}()

// baseband returns pcm as it is around hz: its complex amplitude, of full scale, in
// each window that counts.
func (r *reference) baseband(pcm []int16, hz float64) []complex128 {
	out := make([]complex128, len(r.weight))
	turn := cmplx.Rect(1, -2*math.Pi*hz/codec.SampleRate)
	turned := make([]complex128, len(pcm))
	done := 0
	for i, w := range r.weight {
		if w == 0 {
			continue
		}
		from := i * lockStep
		for at := max(done, from); at < from+lockWindow; {
			// The phase is set anew, before rounding adds up.
			phase := cmplx.Rect(1, -2*math.Pi*math.Mod(hz*float64(at)/codec.SampleRate, 1))
			for end := min(at+lockStep, from+lockWindow); at < end; at++ {
				turned[at] = phase * complex(float64(pcm[at]), 0)
				phase *= turn
			}
		}
		done = from + lockWindow
		var re, im float64
		for k, v := range turned[from:done] {
			re += blackmanHarris[k] * real(v)
			im += blackmanHarris[k] * imag(v)
		}
		// A real sine is half at hz and half at -hz.
		out[i] = complex(re*2/32767, im*2/32767)
	}
	return out
}

// swallowed is how much of a leak is left when pcm has been coded, 0..1.
func (r *reference) swallowed(pcm []int16) (float64, error) {
	gain := math.Pow(10, plantedDB/20)
	var sum complex128
	for k := range plantPhases {
		phase := cmplx.Rect(1, 2*math.Pi*float64(k)/plantPhases)
		coded, err := r.recode(r.plant(pcm, complex(gain, 0)*phase))
		if err != nil {
			return 0, err
		}
		sum += r.share(r.baseband(coded, r.hz), 0) * cmplx.Conj(phase)
	}
	// Windows of what was seen through windows: not quite what it was.
	whole := r.share(r.baseband(r.plant(make([]int16, len(pcm)), 1), r.hz), 0)
	return cmplx.Abs(sum) / (plantPhases * gain * cmplx.Abs(whole)), nil
}

// plant adds so much of the reference to a copy of pcm.
func (r *reference) plant(pcm []int16, gain complex128) []int16 {
	out := slices.Clone(pcm)
	dither := rand.New(rand.NewPCG(1, 0x706c616e74))
	for i := lockWindow / 2; i < len(out); i++ {
		// A window tells of its middle.
		at, part := (i-lockWindow/2)/lockStep, float64((i-lockWindow/2)%lockStep)/lockStep
		if at+1 >= len(r.phase) {
			break
		}
		if r.weight[at] == 0 && r.weight[at+1] == 0 {
			continue
		}
		a := r.phase[at]*complex(1-part, 0) + r.phase[at+1]*complex(part, 0)
		v := 32767 * real(gain*a*cmplx.Rect(1, 2*math.Pi*math.Mod(r.hz*float64(i)/codec.SampleRate, 1)))
		out[i] = int16(min(max(math.Floor(float64(out[i])+v+dither.Float64()), -32768), 32767))
	}
	return out
}

// recodeBefore is for how long a coder runs before what counts, to have settled.
const recodeBefore = codec.SampleRate / 5

// recode returns what a coder like the server's makes of sound, where it counts, and
// silence elsewhere.
func (r *reference) recode(pcm []int16) ([]int16, error) {
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	var (
		out    = make([]int16, len(pcm))
		packet [1275]byte
		buf    [codec.MaxPacketSamples]int16
	)
	counts := make([]bool, len(pcm)/codec.FrameSamples)
	for i, w := range r.weight {
		if w > 0 {
			first, last := max(i*lockStep-recodeBefore, 0)/codec.FrameSamples, (i*lockStep+lockWindow)/codec.FrameSamples
			for f := first; f <= min(last, len(counts)-1); f++ {
				counts[f] = true
			}
		}
	}
	for f, ok := range counts {
		if !ok {
			continue
		}
		at := f * codec.FrameSamples
		n, err := enc.Encode((*codec.AudioFrame)(pcm[at:]), packet[:])
		if err != nil {
			return nil, err
		}
		if n, err = dec.Decode(packet[:n], buf[:]); err != nil {
			return nil, err
		}
		copy(out[at:], buf[:n])
	}
	return out, nil
}

func power(c complex128) float64 { return real(c)*real(c) + imag(c)*imag(c) }

// decibels of an amplitude, -180 at least.
func decibels(a float64) float64 { return 20 * math.Log10(max(a, 1e-9)) }

// loudness is the root mean square of sound, of full scale.
func loudness(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum/float64(max(len(pcm), 1))) / 32768
}
