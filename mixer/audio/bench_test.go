package audio

import (
	"fmt"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// loop replays coded sound for ever, as a sender's packets.
type loop struct {
	packets [][]byte
	at      int
	playout *Playout
	level   codec.AudioLevel
}

// coded encodes sound once.
func coded(t testing.TB, x []int16) (packets [][]byte) {
	return codedWith(t, opus.EncoderConfig{}, x)
}

func codedWith(t testing.TB, c opus.EncoderConfig, x []int16) (packets [][]byte) {
	enc, err := opus.NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	buf := make([]byte, maxPacketBytes)
	for _, f := range ticksOf(x) {
		n, err := enc.Encode(&f, buf)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, append([]byte(nil), buf[:n]...))
	}
	return packets
}

func (l *loop) push(tick int, now time.Duration) {
	data := l.packets[(tick+l.at)%len(l.packets)]
	f := codec.NewEncodedFrame(len(data))
	f.Data = append(f.Data, data...)
	f.Seq, f.PTS, f.Level = int64(tick), time.Duration(tick)*codec.FrameDuration, l.level
	l.playout.Push(f, now)
}

// room is people with real codecs all the way, `talking` of whom speak without
// pauses and the rest are quiet.
type room struct {
	*Mix
	loops []*loop
	tick  int
}

func newRoom(t testing.TB, people, talking int) *room {
	m, _ := realMix(t, false)
	r := &room{Mix: m}
	speech := coded(t, audiotest.Tone(210, 6000, second))
	quiet := coded(t, audiotest.Noise(1, 8, second))
	for i := range people {
		p, err := NewPlayout(PlayoutConfig{Decoder: realDecoder(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		l := &loop{packets: quiet, at: i, playout: p}
		if i < talking {
			l.packets = speech
		}
		r.loops = append(r.loops, l)
		if _, err := m.Join(uint32(i+1), p); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		r.step(t)
	}
	return r
}

func (r *room) step(t testing.TB) {
	now := time.Duration(r.tick) * codec.FrameDuration
	for _, l := range r.loops {
		l.push(r.tick, now-5*time.Millisecond)
	}
	if err := r.Tick(now, now); err != nil {
		t.Fatal(err)
	}
	r.tick++
}

func TestTickAllocatesNothing(t *testing.T) {
	for _, talking := range []int{0, 2, 9} {
		r := newRoom(t, 9, talking)
		if n := testing.AllocsPerRun(200, func() { r.step(t) }); n != 0 && !raceEnabled {
			t.Errorf("9 people, %d talking: %v allocations a tick", talking, n)
		}
	}
}

// BenchmarkTick is one tick, packets in to packets out. Beside it stand the
// encodes and decodes that it contains.
func BenchmarkTick(b *testing.B) {
	for _, c := range []struct{ people, talking int }{{9, 9}, {9, 2}, {30, 2}, {50, 50}} {
		b.Run(fmt.Sprintf("people=%d/talking=%d", c.people, c.talking), func(b *testing.B) {
			r := newRoom(b, c.people, c.talking)
			before := r.Stats()
			b.ReportAllocs()
			for b.Loop() {
				r.step(b)
			}
			s := r.Stats()
			ticks := float64(s.Ticks - before.Ticks)
			b.ReportMetric(float64(s.Encodes-before.Encodes)/ticks, "encodes/op")
			b.ReportMetric(float64(s.Decoded-before.Decoded)/ticks, "decodes/op")
		})
	}
}

// BenchmarkStageCodec is what one raw encode and decode cost: the floor of a tick
// is its counts times these.
func BenchmarkStageCodec(b *testing.B) {
	x := ticksOf(audiotest.Tone(210, 6000, second))
	b.Run("encode", func(b *testing.B) {
		enc, err := opus.NewEncoder(opus.EncoderConfig{})
		if err != nil {
			b.Fatal(err)
		}
		defer enc.Close()
		buf := make([]byte, maxPacketBytes)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := enc.Encode(&x[i%len(x)], buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		packets, dec, pcm := coded(b, audiotest.Tone(210, 6000, second)), realDecoder(b), make([]int16, codec.MaxPacketSamples)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := dec.Decode(packets[i%len(packets)], pcm); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkStages are the steps of a tick between decoding and coding, for one
// member each.
func BenchmarkStages(b *testing.B) {
	var frame codec.AudioFrame
	copy(frame[:], audiotest.Speech(1, second)[second/2:])
	var sum, voice, others Sum
	voice.setScaled(&frame, 1, 1)
	b.Run("level", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Level(frame[:])
		}
	})
	b.Run("gate", func(b *testing.B) {
		b.ReportAllocs()
		var g Gate
		for i := 0; b.Loop(); i++ {
			g.Step(g.Hear(uint8(20 + i%64)))
		}
	})
	b.Run("scale+add", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			voice.setScaled(&frame, 1, 1)
			sum.Add(&voice)
		}
	})
	b.Run("mixminus", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			others.Minus(&sum, &voice)
		}
	})
	b.Run("limiter/idle", func(b *testing.B) {
		b.ReportAllocs()
		var l Limiter
		for b.Loop() {
			l.Process(&frame, &voice)
		}
	})
	b.Run("limiter/busy", func(b *testing.B) {
		b.ReportAllocs()
		for i := range voice {
			voice[i] *= 50
		}
		var l Limiter
		for b.Loop() {
			l.Process(&frame, &voice)
		}
	})
	b.Run("playout", func(b *testing.B) {
		p, err := NewPlayout(PlayoutConfig{Decoder: &fakeDecoder{signal: func(n int64) int16 { return int16(n) }}})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		seq := int64(0)
		b.ReportAllocs()
		for b.Loop() {
			now := time.Duration(seq) * codec.FrameDuration
			p.Push(fakePacket(seq, seq*codec.FrameSamples, codec.FrameSamples), now)
			p.Pull(&frame, now, DecodeAlways)
			seq++
		}
	})
	b.Run("bestLag", func(b *testing.B) {
		var f fifo
		f.init()
		x := f.room(2000)
		copy(x, audiotest.Tone(200, 5000, 2000))
		f.append(2000)
		b.ReportAllocs()
		for b.Loop() {
			f.bestLag(lagMax, overlapMost)
		}
	})
}
