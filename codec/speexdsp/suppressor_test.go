package speexdsp

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/ogg"
	"mixdown/codec/opus"
)

// speech returns 20 s of a human voice.
func speech(t testing.TB) []codec.AudioFrame {
	t.Helper()
	f, err := os.Open("../../.cache/clips/speech-05.ogg")
	if err != nil {
		t.Fatalf("%v: `make clips` fetches what the tests need", err)
	}
	defer f.Close()
	r, err := ogg.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	frames := make([]codec.AudioFrame, 1000)
	for i := range frames {
		p, err := r.Next()
		if err == io.EOF {
			return frames[:i]
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := dec.Decode(p.Data, frames[i][:]); err != nil {
			t.Fatal(err)
		}
	}
	return frames
}

func newSuppressor(t testing.TB, c Config) *Suppressor {
	t.Helper()
	s, err := NewSuppressor(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func power(x []int16) float64 {
	var e float64
	for _, s := range x {
		e += float64(s) * float64(s)
	}
	return e / float64(len(x))
}

// judge compares what comes out with the clean voice: the mean ratio of voice
// to whatever else there is in ticks of voice, before and after (segmental
// SNR, each tick within -10..35 dB); by how much pauses and voice change.
func judge(clean, in, out []codec.AudioFrame) (before, after, pauseDB, voiceDB float64) {
	var c, x, y []int16
	for i := range clean {
		c, x, y = append(c, clean[i][:]...), append(x, in[i][:]...), append(y, out[i][:]...)
	}
	y = y[Delay:]
	ratio := func(voice float64, c, x []int16) float64 {
		var rest float64
		for i := range c {
			d := float64(x[i]) - float64(c[i])
			rest += d * d
		}
		return min(max(10*math.Log10(voice/(rest/float64(len(c))+1e-9)), -10), 35)
	}
	var voiced, pauseIn, pauseOut, voiceIn, voiceOut float64
	const n, settle = codec.FrameSamples, 150 * codec.FrameSamples
	for i := settle; i+n <= len(y); i += n {
		v := power(c[i : i+n])
		switch level := 10 * math.Log10(v/32768/32768+1e-12); {
		case level > -45:
			voiced++
			before += ratio(v, c[i:i+n], x[i:i+n])
			after += ratio(v, c[i:i+n], y[i:i+n])
			voiceIn += v
			voiceOut += power(y[i : i+n])
		case level < -65:
			pauseIn += power(x[i : i+n])
			pauseOut += power(y[i : i+n])
		}
	}
	return before / voiced, after / voiced, 10 * math.Log10((pauseOut+1)/(pauseIn+1)), 10 * math.Log10(voiceOut/voiceIn)
}

func TestSuppressorHelps(t *testing.T) {
	clean := speech(t)
	var total float64
	for i := range clean {
		total += power(clean[i][:]) / float64(len(clean))
	}
	for _, tc := range []struct {
		name          string
		snr           float64 // of the input, in dB
		colour        float64 // 0 is white; near 1 is a fan
		gain, pauseDB float64 // at least, and at most
	}{
		{"white noise", 10, 0, 6, -10},
		{"a fan", 10, 0.95, 2, -8},
		{"a fan far away", 20, 0.95, 0.5, -8},
		{"no noise", 200, 0, -6, 0},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		scale := math.Sqrt(total) * math.Pow(10, -tc.snr/20) * math.Sqrt(1-tc.colour*tc.colour)
		in, out := make([]codec.AudioFrame, len(clean)), make([]codec.AudioFrame, len(clean))
		s := newSuppressor(t, Config{})
		var noise float64
		for i := range clean {
			for k, v := range clean[i] {
				noise = tc.colour*noise + scale*r.NormFloat64()
				in[i][k] = int16(math.Round(min(max(float64(v)+noise, -32768), 32767)))
			}
			out[i] = in[i]
			s.Process(&out[i])
		}
		before, after, pauseDB, voiceDB := judge(clean, in, out)
		t.Logf("%s: segmental SNR %.1f -> %.1f dB, pauses %.1f dB, voice %.2f dB", tc.name, before, after, pauseDB, voiceDB)
		if after-before < tc.gain || pauseDB > tc.pauseDB || math.Abs(voiceDB) > 0.5 {
			t.Errorf("%s: want %.1f dB better, pauses by %.0f dB quieter, the voice as loud as it was", tc.name, tc.gain, -tc.pauseDB)
		}
	}
}

func TestSuppressionIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, db := range []int{6, 20} {
		s := newSuppressor(t, Config{SuppressionDB: db})
		var in, out float64
		for i := range 200 {
			var f codec.AudioFrame
			for k := range f {
				f[k] = int16(600 * r.NormFloat64())
			}
			x := power(f[:])
			s.Process(&f)
			if i >= 100 {
				in += x
				out += power(f[:])
			}
		}
		if got := 10 * math.Log10(in/out); math.Abs(got-float64(db)) > 3 {
			t.Errorf("SuppressionDB %d: noise is %.1f dB quieter", db, got)
		}
	}
}

func TestSuppressorDoesNotWrap(t *testing.T) {
	voice := codectest.Voice{Seed: 3}
	s := newSuppressor(t, Config{})
	var last, lastIn int
	var jump, jumpIn int
	for range 250 {
		var f codec.AudioFrame
		voice.Next(&f)
		for i := range f {
			f[i] = int16(min(max(int(f[i])*4, -32768), 32767))
			jumpIn = max(jumpIn, int(f[i])-lastIn, lastIn-int(f[i]))
			lastIn = int(f[i])
		}
		s.Process(&f)
		for _, x := range f {
			jump = max(jump, int(x)-last, last-int(x))
			last = int(x)
		}
	}
	if jump > jumpIn*5/4 {
		t.Errorf("from one sample to the next it jumps by %d, what came in by %d at most", jump, jumpIn)
	}
}

func TestSilenceStaysSilence(t *testing.T) {
	s := newSuppressor(t, Config{})
	for range 50 {
		var f codec.AudioFrame
		s.Process(&f)
		if f != (codec.AudioFrame{}) {
			t.Fatal("silence became sound")
		}
	}
}

func TestSuppressorAllocatesNothing(t *testing.T) {
	s := newSuppressor(t, Config{})
	voice := codectest.Voice{Seed: 1}
	var f codec.AudioFrame
	voice.Next(&f)
	if n := testing.AllocsPerRun(100, func() { s.Process(&f) }); n != 0 {
		t.Errorf("%.1f allocations a tick: want none", n)
	}
}

func TestConfigAndClose(t *testing.T) {
	for _, db := range []int{-1, 41} {
		if _, err := NewSuppressor(Config{SuppressionDB: db}); !errors.Is(err, codec.ErrBadConfig) || !strings.Contains(err.Error(), "SuppressionDB") {
			t.Errorf("SuppressionDB %d: error %v: want ErrBadConfig that names it", db, err)
		}
	}
	s := newSuppressor(t, Config{})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	f := codec.AudioFrame{1, 2, 3}
	if s.Process(&f); f != (codec.AudioFrame{1, 2, 3}) {
		t.Error("Process changed sound after Close")
	}
}

// FuzzSuppressor must survive any sound.
func FuzzSuppressor(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, uint8(15))
	f.Add([]byte{0x80, 0, 0x7f, 0xff}, uint8(40))
	f.Fuzz(func(t *testing.T, seed []byte, db uint8) {
		s, err := NewSuppressor(Config{SuppressionDB: int(db%40) + 1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var frame codec.AudioFrame
		for tick := range 10 {
			for i := range frame {
				frame[i] = 0
				if len(seed) > 0 {
					at := tick*len(frame) + 2*i
					frame[i] = int16(seed[at%len(seed)])<<8 | int16(seed[(at+1)%len(seed)])
				}
			}
			s.Process(&frame)
		}
	})
}

func BenchmarkSuppressor(b *testing.B) {
	frames := speech(b)
	s := newSuppressor(b, Config{})
	var f codec.AudioFrame
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f = frames[i%len(frames)]
		s.Process(&f)
	}
}
