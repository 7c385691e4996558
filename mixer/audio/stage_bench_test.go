package audio

import (
	"fmt"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// Benchmarks called Stage are the steps of a tick, each alone:
//
//	go test -run '^$' -bench Stage ./...
//
// is the table of all of them.

// voiceOver is a Puller that costs nothing: decoding is a stage of its own.
type voiceOver struct {
	frames []codec.AudioFrame
	levels []uint8
	at     int
}

func newVoiceOver(x []int16, at int) *voiceOver {
	v := &voiceOver{frames: ticksOf(x), at: at}
	for i := range v.frames {
		v.levels = append(v.levels, Level(v.frames[i][:]))
	}
	return v
}

func (v *voiceOver) Pull(dst *codec.AudioFrame, _ time.Duration, _ uint8) Info {
	i := v.at % len(v.frames)
	v.at++
	*dst = v.frames[i]
	return Info{Level: v.levels[i], Silent: v.levels[i] == codec.Silence}
}

// crowd is a mix with so many members, of whom some talk without a pause.
func crowd(t testing.TB, members, talking int) *Mix {
	m, err := NewMix(MixConfig{NewEncoder: func() (codec.AudioEncoder, error) { return opus.NewEncoder(opus.EncoderConfig{FEC: true}) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	speech, silence := audiotest.Tone(210, 6000, second), make([]int16, second)
	for i := range members {
		x := silence
		if i < talking {
			x = speech
		}
		if _, err := m.Join(uint32(i+1), newVoiceOver(x, i)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func tickOf(t testing.TB, m *Mix) func() {
	n := 0
	tick := func() {
		at := time.Duration(n) * codec.FrameDuration
		if err := m.Tick(at, at); err != nil {
			t.Fatal(err)
		}
		n++
	}
	for range 50 { // the gates open
		tick()
	}
	return tick
}

// BenchmarkStageMix is a tick of the mix: gates, sum, limiters, encodes.
func BenchmarkStageMix(b *testing.B) {
	for _, c := range []struct{ members, talking int }{{2, 1}, {2, 2}, {9, 2}, {9, 9}, {50, 2}, {500, 2}, {500, 0}} {
		b.Run(fmt.Sprintf("members=%d/talking=%d", c.members, c.talking), func(b *testing.B) {
			m := crowd(b, c.members, c.talking)
			tick := tickOf(b, m)
			before := m.Stats()
			b.ReportAllocs()
			for b.Loop() {
				tick()
			}
			s := m.Stats()
			b.ReportMetric(float64(s.Encodes-before.Encodes)/float64(s.Ticks-before.Ticks), "encodes/op")
		})
	}
}

func TestBigMixAllocatesNothing(t *testing.T) {
	for _, members := range []int{2, 50, 500} {
		tick := tickOf(t, crowd(t, members, 2))
		if n := testing.AllocsPerRun(100, tick); n != 0 && !raceEnabled {
			t.Errorf("%d members: %v allocations a tick", members, n)
		}
	}
}

// BenchmarkStagePlayout is a packet that comes and a tick that wants it, with the
// decoder; the silent sender says that he is silent, and so is not decoded.
func BenchmarkStagePlayout(b *testing.B) {
	for _, c := range []struct {
		name  string
		sound []int16
		level codec.AudioLevel
		quiet uint8
	}{
		{"talking", audiotest.Tone(210, 6000, second), codec.AudioLevel{DBov: 20, Valid: true}, 60},
		{"silent", make([]int16, second), codec.AudioLevel{DBov: codec.Silence, Valid: true}, 60},
		{"silent/decoded", make([]int16, second), codec.AudioLevel{}, codec.Silence + 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			packets := coded(b, c.sound)
			p, err := NewPlayout(PlayoutConfig{Decoder: realDecoder(b)})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			var frame codec.AudioFrame
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				now := time.Duration(n) * codec.FrameDuration
				data := packets[n%len(packets)]
				f := codec.NewEncodedFrame(len(data))
				f.Data, f.Seq, f.PTS, f.Level = append(f.Data, data...), int64(n), now, c.level
				p.Push(f, now)
				p.Pull(&frame, now, c.quiet)
				n++
			}
		})
	}
}
