// Package tone marks sound with pure tones and finds them again: who is heard
// in a mix, and who is not.
package tone

import (
	"errors"
	"fmt"
	"math"
	"math/cmplx"
	"time"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/opus"
)

// Spec says what [Make] makes.
type Spec struct {
	// Hz is the tone; 0 is none. A whole number makes the loop seamless when
	// Duration is whole seconds.
	Hz float64
	// Level is the tone's amplitude, 0..1 of full scale.
	Level float64
	// Speech, when set, is decoded and added, SpeechGain times as loud as it is.
	Speech     *clip.Clip
	SpeechGain float64
	// Add, when set, adds to each 20 ms of the result before they are coded;
	// from is the number of the first sample.
	Add func(pcm []int16, from int)
	// Noise is the amplitude of white noise, 0..1: a silent room is not zero.
	Noise float64
	// Duration is that of the result, cut to whole 20 ms; 0 is that of Speech.
	Duration time.Duration
	// Encoder says how to encode; the zero value is 32 kb/s.
	Encoder opus.EncoderConfig
}

// Make encodes the sound that s describes into packets of 20 ms that know
// their level. It takes 0.15 ms of CPU a packet.
func Make(s Spec) (*clip.Clip, error) {
	if s.Duration == 0 && s.Speech != nil {
		s.Duration = s.Speech.Duration()
	}
	frames := int(s.Duration / codec.FrameDuration)
	if frames <= 0 {
		return nil, fmt.Errorf("tone: duration %v: want 20ms or more", s.Duration)
	}
	enc, err := opus.NewEncoder(s.Encoder)
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	var speech *voice
	if s.Speech != nil {
		if speech, err = newVoice(s.Speech); err != nil {
			return nil, err
		}
		defer speech.dec.Close()
	}
	out := &clip.Clip{Codec: codec.Opus, Units: make([]clip.Unit, 0, frames)}
	var (
		pcm    codec.AudioFrame
		packet [1275]byte
		noise  = uint32(0x9e3779b9)
	)
	for n := range frames {
		if speech != nil {
			if err := speech.read(pcm[:]); err != nil {
				return nil, err
			}
		}
		for i := range pcm {
			at := float64(n*codec.FrameSamples+i) / codec.SampleRate
			noise = noise*1664525 + 1013904223
			v := float64(pcm[i])*s.SpeechGain +
				32767*s.Level*math.Sin(2*math.Pi*s.Hz*at) +
				32767*s.Noise*(float64(noise>>8)/(1<<23)-1)
			pcm[i] = int16(min(max(math.Round(v), -32768), 32767))
		}
		if s.Add != nil {
			s.Add(pcm[:], n*codec.FrameSamples)
		}
		size, err := enc.Encode(&pcm, packet[:])
		if err != nil {
			return nil, err
		}
		out.Units = append(out.Units, clip.Unit{
			Data: append([]byte(nil), packet[:size]...), Duration: codec.FrameDuration, Key: true, Level: clip.LevelOf(pcm[:]),
		})
	}
	return out, nil
}

// voice decodes a clip in pieces of 20 ms, whatever its packets' length.
type voice struct {
	dec    *opus.Decoder
	player *clip.Player
	buf    [codec.MaxPacketSamples]int16
	left   []int16
}

func newVoice(c *clip.Clip) (*voice, error) {
	if c.Codec != codec.Opus {
		return nil, errors.New("tone: Speech is no sound")
	}
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	return &voice{dec: dec, player: c.Play()}, nil
}

func (v *voice) read(dst []int16) error {
	for len(dst) > 0 {
		if len(v.left) == 0 {
			n, err := v.dec.Decode(v.player.Next().Data, v.buf[:])
			if err != nil {
				return err
			}
			v.left = v.buf[:n]
		}
		n := copy(dst, v.left)
		dst, v.left = dst[n:], v.left[n:]
	}
	return nil
}

// LevelsDB returns how loud each frequency is in pcm (48 kHz), in dB relative
// to a sine of full scale: one bin of a Fourier transform under a Hann window,
// so that loud neighbours 4/T away (T the length of pcm) do not leak in.
func LevelsDB(pcm []int16, hz []float64) []float64 {
	windowed := make([]float64, len(pcm))
	for i, s := range pcm {
		windowed[i] = float64(s) * (0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(pcm))))
	}
	levels := make([]float64, len(hz))
	for j, f := range hz {
		turn := cmplx.Rect(1, 2*math.Pi*f/codec.SampleRate)
		var sum complex128
		for start := 0; start < len(windowed); start += block {
			// The phase is set anew for each block: a million multiplications
			// would carry the rounding away.
			at := math.Mod(f*float64(start)/codec.SampleRate, 1)
			phase := cmplx.Rect(1, 2*math.Pi*at)
			for _, v := range windowed[start:min(start+block, len(windowed))] {
				sum += complex(v*real(phase), v*imag(phase))
				phase *= turn
			}
		}
		// The window's mean is 1/2, a sine's correlation 1/2.
		amplitude := cmplx.Abs(sum) * 4 / float64(len(pcm)) / 32767
		levels[j] = 20 * math.Log10(max(amplitude, 1e-9))
	}
	return levels
}

const block = 1024
