package marker

import (
	"math/rand/v2"
	"testing"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/opus"
)

// through encodes and decodes pcm, whose length is whole ticks. What comes out
// is later by the codec's look-ahead.
func through(t *testing.T, pcm []int16) []int16 {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	var (
		frame  codec.AudioFrame
		packet [1275]byte
		buf    [codec.MaxPacketSamples]int16
		out    []int16
	)
	for len(pcm) > 0 {
		pcm = pcm[copy(frame[:], pcm):]
		n, err := enc.Encode(&frame, packet[:])
		if err != nil {
			t.Fatal(err)
		}
		if n, err = dec.Decode(packet[:n], buf[:]); err != nil {
			t.Fatal(err)
		}
		out = append(out, buf[:n]...)
	}
	return out
}

// quiet is a room in which nobody speaks.
func quiet(samples int, seed uint64) []int16 {
	rng := rand.New(rand.NewPCG(seed, 1))
	pcm := make([]int16, samples)
	for i := range pcm {
		pcm[i] = int16(rng.IntN(21) - 10)
	}
	return pcm
}

// gate fades the first 10 ms of the tick in which the marker begins, and drops
// what is before, as a mixer does that opens on it; where hardly anything of the
// marker is in that tick, it opens with the next.
func gate(pcm []int16, begins int) {
	tick := (begins + 200) / codec.FrameSamples * codec.FrameSamples
	clear(pcm[:tick])
	for i := range 480 {
		pcm[tick+i] = int16(int(pcm[tick+i]) * i / 480)
	}
}

// TestSoundSurvivesTwoEncoders: as on its way through a server, and no marker is
// taken for another.
func TestSoundSurvivesTwoEncoders(t *testing.T) {
	const lookAhead = 312 // libopus', which it does not deny (OPUS_GET_LOOKAHEAD)
	for id := range 40 {
		pcm := quiet(codec.SampleRate/2, uint64(id))
		at := 9000 + id*37
		AddSound(pcm, at, id, 0.25)
		sent := through(t, pcm)
		got, fit := FindSound(sent, id)
		if off := got - at - lookAhead; off < -4 || off > 4 || fit < 0.9 {
			t.Errorf("marker %d after one encoder: off by %d samples, fit %.2f: want 4 at most, 0.90", id, off, fit)
		}
		gate(sent, got)
		received := through(t, sent)
		again, fit := FindSound(received, id)
		if off := again - got - lookAhead; off < -4 || off > 4 || fit < FoundAt+0.1 {
			t.Errorf("marker %d after two: off by %d samples, fit %.2f: want 4 at most, %.2f", id, off, fit, FoundAt+0.1)
		}
		for other := id + 1; other < id+6; other++ {
			if _, fit := FindSound(received, other); fit > FoundAt-0.1 {
				t.Errorf("marker %d fits %d, too, %.2f: want %.2f at most", id, other, fit, FoundAt-0.1)
			}
		}
	}
}

func TestSoundWhereThereIsNone(t *testing.T) {
	clip, err := clip.Load("../../../../../.cache/clips/speech-01.ogg")
	if err != nil {
		t.Fatal(err)
	}
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	var speech []int16
	var buf [codec.MaxPacketSamples]int16
	for _, u := range clip.Units[:250] {
		n, err := dec.Decode(u.Data, buf[:])
		if err != nil {
			t.Fatal(err)
		}
		speech = append(speech, buf[:n]...)
	}
	for id := range 4 {
		for name, pcm := range map[string][]int16{
			"speech": speech, "noise": quiet(codec.SampleRate, 7), "nothing": make([]int16, 9600), "too little": make([]int16, 100), "": nil,
		} {
			if at, fit := FindSound(pcm, id); fit >= FoundAt-0.1 {
				t.Errorf("marker %d found in %q at %d, fit %.2f: want %.2f at most", id, name, at, fit, FoundAt-0.1)
			}
		}
	}
}

// TestLoudness: a faint marker is measured beneath noise ten times as loud.
func TestLoudness(t *testing.T) {
	pcm := quiet(9600, 3) // ten units up and down, 3e-4
	if got := Loudness(pcm, 5); got > 4e-5 {
		t.Errorf("in noise alone: %v: want 4e-5 at most", got)
	}
	for _, amplitude := range []float64{0.25, 0.01, 1e-3} {
		marked := append([]int16(nil), pcm...)
		AddSound(marked, 3333, 5, amplitude)
		if got := Loudness(marked, 5); got < 0.9*amplitude || got > 1.1*amplitude {
			t.Errorf("amplitude %v was measured as %v", amplitude, got)
		}
	}
	if got := Loudness(pcm[:10], 5); got != 0 {
		t.Errorf("in too little sound: %v", got)
	}
}

func TestSoundAtTheEdges(t *testing.T) {
	pcm := make([]int16, SoundSamples)
	AddSound(pcm, -100, 1, 0.5) // cut on both sides: no panic
	AddSound(pcm, len(pcm)-100, 1, 0.5)
	clear(pcm)
	AddSound(pcm, 0, 1, 0.5)
	if at, fit := FindSound(pcm, 1); at != 0 || fit < 0.99 {
		t.Errorf("found at %d, fit %.2f: want 0, 1", at, fit)
	}
	AddSound(pcm, 0, 1, 2) // clips
	if pcm[100] == 0 {
		t.Error("nothing was added")
	}
}

func BenchmarkFindSound(b *testing.B) {
	pcm := quiet(codec.SampleRate/2, 1)
	AddSound(pcm, 12345, 3, 0.25)
	for b.Loop() {
		FindSound(pcm, 3)
	}
}
