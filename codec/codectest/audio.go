package codectest

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"mixdown/codec"
)

// Voice makes sounds like speech: pulses of a wandering pitch through moving
// resonances, breathy consonants, words and pauses. It is deterministic.
type Voice struct {
	// Seed makes different speakers.
	Seed uint32

	phase   float64
	noise   uint32
	n       int
	filters [3]resonance
}

// resonance is a two-pole filter.
type resonance struct{ y1, y2 float64 }

func (r *resonance) next(x, hz, bandwidth float64) float64 {
	rad := math.Exp(-math.Pi * bandwidth / codec.SampleRate)
	y := (1-rad)*x + 2*rad*math.Cos(2*math.Pi*hz/codec.SampleRate)*r.y1 - rad*rad*r.y2
	r.y2, r.y1 = r.y1, y
	return y
}

// Next writes the next 20 ms. There is silence for a third of each second.
func (v *Voice) Next(dst *codec.AudioFrame) {
	for i := range dst {
		t := float64(v.n) / codec.SampleRate
		v.n++
		seed := float64(v.Seed%13) / 13
		word := math.Sin(2*math.Pi*t) + 0.3 // a word a second
		syllable := 0.6 + 0.4*math.Sin(2*math.Pi*(4+seed)*t)
		loud := max(0, min(word*3, 1)) * syllable

		v.phase += (100 + 120*seed + 25*math.Sin(2*math.Pi*0.7*t)) / codec.SampleRate
		pulse := 0.0
		if v.phase >= 1 {
			v.phase--
			pulse = 60
		}
		v.noise = v.noise*1664525 + 1013904223 + v.Seed
		hiss := (float64(v.noise>>8)/(1<<24) - 0.5) * (0.3 + 1.5*max(0, math.Sin(2*math.Pi*2.3*t)))
		x := pulse + hiss

		y := v.filters[0].next(x, 500+250*math.Sin(2*math.Pi*3*t), 80)
		y += 0.6 * v.filters[1].next(x, 1500+500*math.Sin(2*math.Pi*2.1*t+1), 120)
		y += 0.4 * v.filters[2].next(x, 2900+300*math.Sin(2*math.Pi*1.3*t+2), 200)
		dst[i] = int16(max(-30000, min(30000, 9000*loud*(y+0.15*hiss))))
	}
}

// Frames returns the first count ticks of a new voice.
func (v Voice) Frames(count int) []codec.AudioFrame {
	list := make([]codec.AudioFrame, count)
	for i := range list {
		v.Next(&list[i])
	}
	return list
}

// NewAudioEncoder makes the encoder under test: its defaults at 32 kb/s.
type NewAudioEncoder func() (codec.AudioEncoder, error)

// NewAudioDecoder makes the decoder under test.
type NewAudioDecoder func() (codec.AudioDecoder, error)

func (n NewAudioEncoder) must(t testing.TB) codec.AudioEncoder {
	t.Helper()
	enc, err := n()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := enc.Close(); err != nil {
			t.Error(err)
		}
	})
	return enc
}

func (n NewAudioDecoder) must(t testing.TB) codec.AudioDecoder {
	t.Helper()
	dec, err := n()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dec.Close(); err != nil {
			t.Error(err)
		}
	})
	return dec
}

// EncodeAudio codes ticks one after the other.
func EncodeAudio(t testing.TB, enc codec.AudioEncoder, frames []codec.AudioFrame) [][]byte {
	t.Helper()
	var out [][]byte
	buf := make([]byte, 1275)
	for i := range frames {
		n, err := enc.Encode(&frames[i], buf)
		if err != nil {
			t.Fatalf("tick %d: %v", i, err)
		}
		out = append(out, bytes.Clone(buf[:n]))
	}
	return out
}

// Codecs code speech within this many samples: libopus' look-ahead is 6.5 ms.
const maxCodecDelay = codec.SampleRate / 50

// similarity is the largest normalised correlation of two sounds, the second one
// late by at most maxCodecDelay.
func similarity(a, b []int16) float64 {
	best := 0.0
	for lag := range maxCodecDelay {
		var ab, aa, bb float64
		for i := range len(a) - maxCodecDelay {
			x, y := float64(a[i]), float64(b[i+lag])
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		if aa > 0 && bb > 0 {
			best = max(best, ab/math.Sqrt(aa*bb))
		}
	}
	return best
}

func flatten(frames []codec.AudioFrame) (pcm []int16) {
	for i := range frames {
		pcm = append(pcm, frames[i][:]...)
	}
	return pcm
}

// energy is the mean square of a sound.
func energy(pcm []int16) (sum float64) {
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum / float64(max(1, len(pcm)))
}

// AudioCodec runs every test of a [codec.AudioEncoder] and a [codec.AudioDecoder].
func AudioCodec(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	for name, test := range map[string]func(*testing.T, NewAudioEncoder, NewAudioDecoder){
		"sounds alike":          soundsAlike,
		"obeys the bitrate":     audioObeysBitrate,
		"copies bit for bit":    copiesExactly,
		"copies in mid-stream":  copiesOften,
		"conceals":              conceals,
		"stays inside pcm":      staysInside,
		"survives damage":       audioSurvivesDamage,
		"refuses bad arguments": audioRefuses,
		"resets":                audioResets,
		"closes":                audioCloses,
		"allocates nothing":     audioAllocatesNothing,
	} {
		t.Run(name, func(t *testing.T) { test(t, newEnc, newDec) })
	}
}

func decodeAll(t *testing.T, dec codec.AudioDecoder, packets [][]byte) (pcm []int16) {
	t.Helper()
	buf := make([]int16, codec.MaxPacketSamples)
	for i, p := range packets {
		n, err := dec.Decode(p, buf)
		if err != nil || n != codec.FrameSamples {
			t.Fatalf("packet %d: %d samples, %v", i, n, err)
		}
		pcm = append(pcm, buf[:n]...)
	}
	return pcm
}

func soundsAlike(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	frames := Voice{Seed: 3}.Frames(100)
	got := decodeAll(t, newDec.must(t), EncodeAudio(t, newEnc.must(t), frames))
	s := similarity(flatten(frames), got)
	t.Logf("correlation %.3f", s)
	if s < 0.9 {
		t.Errorf("correlation with what went in is %.3f, want 0.9", s)
	}
}

func audioObeysBitrate(t *testing.T, newEnc NewAudioEncoder, _ NewAudioDecoder) {
	enc, voice := newEnc.must(t), Voice{Seed: 1}
	for _, bps := range []int{32_000, 20_000, 48_000} {
		if err := enc.SetBitrate(bps); err != nil {
			t.Fatal(err)
		}
		bits := 0
		frames := make([]codec.AudioFrame, 250)
		for i := range frames {
			voice.Next(&frames[i])
		}
		for _, p := range EncodeAudio(t, enc, frames) {
			bits += 8 * len(p)
		}
		// It is a mean over speech and pauses, so it may well be less.
		if got := bits / 5; got > bps*115/100 || got < bps*50/100 {
			t.Errorf("asked for %d b/s, got %d", bps, got)
		}
	}
}

// copiesExactly is what lets a mixer switch a listener between encoders.
func copiesExactly(t *testing.T, newEnc NewAudioEncoder, _ NewAudioDecoder) {
	a, b := newEnc.must(t), newEnc.must(t)
	other, shared, frames := Voice{Seed: 9}, Voice{Seed: 2}, make([]codec.AudioFrame, 100)
	for i := range frames { // two histories that have nothing in common
		other.Next(&frames[i])
	}
	EncodeAudio(t, b, frames)
	for i := range frames {
		shared.Next(&frames[i])
	}
	EncodeAudio(t, a, frames)
	if err := b.CopyFrom(a); err != nil {
		t.Fatal(err)
	}
	frames = make([]codec.AudioFrame, 300)
	for i := range frames {
		shared.Next(&frames[i])
	}
	want, got := EncodeAudio(t, a, frames), EncodeAudio(t, b, frames)
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("packet %d after the copy differs", i)
		}
	}
	if err := b.CopyFrom(b); err != nil {
		t.Errorf("copy from itself: %v", err)
	}
}

// copiesOften hands one sound from encoder to encoder and expects what one
// alone would have made.
func copiesOften(t *testing.T, newEnc NewAudioEncoder, _ NewAudioDecoder) {
	frames := Voice{Seed: 5}.Frames(300)
	want := EncodeAudio(t, newEnc.must(t), frames)
	ring := []codec.AudioEncoder{newEnc.must(t), newEnc.must(t), newEnc.must(t)}
	for i := range frames {
		from, to := ring[i%3], ring[(i+1)%3]
		if got := EncodeAudio(t, from, frames[i:i+1]); !bytes.Equal(got[0], want[i]) {
			t.Fatalf("packet %d differs after %d copies", i, i)
		}
		if err := to.CopyFrom(from); err != nil {
			t.Fatal(err)
		}
	}
}

func conceals(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	packets := EncodeAudio(t, newEnc.must(t), Voice{Seed: 4}.Frames(40))
	dec := newDec.must(t)
	pcm := make([]int16, codec.FrameSamples)
	if err := dec.Conceal(pcm); err != nil || energy(pcm) != 0 {
		t.Errorf("before the first packet: %v, energy %.0f, want silence", err, energy(pcm))
	}
	played := decodeAll(t, dec, packets[:20])
	if err := dec.Conceal(pcm); err != nil {
		t.Fatal(err)
	}
	last := played[len(played)-codec.FrameSamples:]
	if e, before := energy(pcm), energy(last); e < before/30 || e > before*3 {
		t.Errorf("concealment has energy %.0f after %.0f", e, before)
	}
	if err := dec.DecodeFEC(packets[22], pcm); err != nil {
		t.Error(err)
	}
	decodeAll(t, dec, packets[22:])
	for range 100 { // two seconds of nothing end in silence
		if err := dec.Conceal(pcm); err != nil {
			t.Fatal(err)
		}
	}
	if e := energy(pcm); e > 100 {
		t.Errorf("still energy %.0f after 2 s without a packet", e)
	}
}

// staysInside looks for writes past the end of what was handed in.
func staysInside(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	packets := EncodeAudio(t, newEnc.must(t), Voice{}.Frames(5))
	dec := newDec.must(t)
	mem := make([]int16, 2*codec.MaxPacketSamples)
	check := func(what string, n int, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for i, s := range mem[n:] {
			if s != 12345 {
				t.Fatalf("%s wrote sample %d of %d", what, n+i, n)
			}
		}
	}
	fill := func() {
		for i := range mem {
			mem[i] = 12345
		}
	}
	fill()
	n, err := dec.Decode(packets[0], mem[:codec.FrameSamples])
	check("Decode", n, err)
	fill()
	check("DecodeFEC", codec.FrameSamples, dec.DecodeFEC(packets[2], mem[:codec.FrameSamples]))
	fill()
	check("Conceal", 120, dec.Conceal(mem[:120]))
	fill()
	if _, err := dec.Decode(packets[1], mem[:codec.FrameSamples-1]); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("too little room: %v, want ErrBadConfig", err)
	}
	check("a refused Decode", 0, nil)
}

func audioSurvivesDamage(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	packets := EncodeAudio(t, newEnc.must(t), Voice{Seed: 7}.Frames(30))
	dec, pcm := newDec.must(t), make([]int16, codec.MaxPacketSamples)
	if _, err := dec.Decode(nil, pcm); !errors.Is(err, codec.ErrCorrupt) {
		t.Errorf("empty packet: %v, want ErrCorrupt", err)
	}
	try := func(p []byte) {
		t.Helper()
		n, err := dec.Decode(p, pcm)
		if err != nil && !errors.Is(err, codec.ErrCorrupt) || n < 0 || n > len(pcm) {
			t.Fatalf("%x: %d samples, %v", p, n, err)
		}
		if err := dec.DecodeFEC(p, pcm[:codec.FrameSamples]); err != nil && !errors.Is(err, codec.ErrCorrupt) {
			t.Fatalf("FEC of %x: %v", p, err)
		}
	}
	for _, p := range packets {
		for cut := 1; cut < len(p); cut += 7 {
			try(bytes.Clone(p[:cut]))
		}
		for i := 0; i < len(p); i += 5 {
			bad := bytes.Clone(p)
			bad[i] ^= 0x55
			try(bad)
		}
	}
	for toc := range 256 { // every configuration and frame count code
		try([]byte{byte(toc)})
		try([]byte{byte(toc), 3, 1, 2, 3, 4, 5, 6})
		try([]byte{byte(toc), 0xff, 0xff, 0xff, 4, 5, 6})
	}
	decodeAll(t, dec, packets)
}

func audioRefuses(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	enc, dec := newEnc.must(t), newDec.must(t)
	packet := EncodeAudio(t, enc, Voice{}.Frames(1))[0]
	var frame codec.AudioFrame
	_, noRoom := enc.Encode(&frame, nil)
	for name, err := range map[string]error{
		"no room": noRoom, "bitrate": enc.SetBitrate(0), "loss": enc.SetPacketLoss(101),
		"copy of another kind": enc.CopyFrom(nil),
		"conceal nothing":      dec.Conceal(nil), "odd gap": dec.Conceal(make([]int16, 100)),
		"long gap": dec.Conceal(make([]int16, codec.MaxPacketSamples+120)), "odd FEC": dec.DecodeFEC(packet, make([]int16, 7)),
	} {
		if !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%s: %v, want ErrBadConfig", name, err)
		}
	}
}

func audioResets(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	packets := EncodeAudio(t, newEnc.must(t), Voice{Seed: 8}.Frames(20))
	used, fresh := newDec.must(t), newDec.must(t)
	decodeAll(t, used, packets[10:])
	if err := used.Reset(); err != nil {
		t.Fatal(err)
	}
	a, b := decodeAll(t, used, packets), decodeAll(t, fresh, packets)
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("sample %d differs from a new decoder's", i)
		}
	}
}

func audioCloses(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	enc, other, dec := newEnc.must(t), newEnc.must(t), newDec.must(t)
	frames := Voice{}.Frames(1)
	packet := EncodeAudio(t, enc, frames)[0]
	for range 2 {
		if err := errors.Join(enc.Close(), dec.Close()); err != nil {
			t.Error(err)
		}
	}
	pcm := make([]int16, codec.MaxPacketSamples)
	_, encode := enc.Encode(&frames[0], make([]byte, 1275))
	_, decode := dec.Decode(packet, pcm)
	for name, err := range map[string]error{
		"Encode": encode, "CopyFrom": enc.CopyFrom(other), "CopyFrom a closed one": other.CopyFrom(enc),
		"SetBitrate": enc.SetBitrate(24_000), "SetPacketLoss": enc.SetPacketLoss(5),
		"Decode": decode, "DecodeFEC": dec.DecodeFEC(packet, pcm[:960]), "Conceal": dec.Conceal(pcm[:960]), "Reset": dec.Reset(),
	} {
		if !errors.Is(err, codec.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

func audioAllocatesNothing(t *testing.T, newEnc NewAudioEncoder, newDec NewAudioDecoder) {
	enc, other, dec := newEnc.must(t), newEnc.must(t), newDec.must(t)
	frames, n := Voice{}.Frames(50), 0
	buf, pcm := make([]byte, 1275), make([]int16, codec.MaxPacketSamples)
	if allocs := testing.AllocsPerRun(len(frames)-1, func() {
		size, err := enc.Encode(&frames[n], buf)
		if err == nil {
			_, err = dec.Decode(buf[:size], pcm)
		}
		if err = errors.Join(err, dec.DecodeFEC(buf[:size], pcm[:960]), dec.Conceal(pcm[:480]), other.CopyFrom(enc)); err != nil {
			t.Error(err)
		}
		n++
	}); allocs != 0 {
		t.Errorf("%v allocations per tick", allocs)
	}
}
