package audio

import (
	"math"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

// replay gives a link's packets the content of coded sound.
func (l *link) replay(packets [][]byte) {
	l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		data := packets[int(f.Seq)%len(packets)]
		g := codec.NewEncodedFrame(len(data))
		g.Data = append(g.Data, data...)
		g.Seq, g.PTS = f.Seq, f.PTS
		f.Release()
		return g
	}
}

// Real packets of speech over links that do all that links do: what comes out
// never breaks.
func TestPlayoutDoesNotClick(t *testing.T) {
	const length = 40 * time.Second
	packets := coded(t, audiotest.Speech(8, int(length/time.Second)*second))
	for _, test := range []struct {
		name   string
		ppm    float64
		jitter time.Duration
		loss   int // percent
		stalls bool
	}{
		{"clean", 0, ms, 0, false},
		{"drift", 300, 3 * ms, 0, false},
		{"drift back", -300, 3 * ms, 0, false},
		{"jitter", 0, 60 * ms, 0, false},
		{"loss and jitter", 0, 30 * ms, 5, false},
		{"stalls", 0, ms, 0, true},
	} {
		l := newLink(t, loud)
		p, err := NewPlayout(PlayoutConfig{Decoder: realDecoder(t)})
		if err != nil {
			t.Fatal(err)
		}
		l.playout, l.ppm = p, test.ppm
		l.replay(packets)
		jitter, dice := uniform(1, test.jitter), uniform(2, 100)
		l.delay = func(_ int64, at time.Duration) time.Duration {
			if in := at % (10 * time.Second); test.stalls && in > 5*time.Second && in < 6*time.Second {
				return 6*time.Second - in
			}
			return jitter()
		}
		l.lost = func(int64) bool { return int(dice()) < test.loss }
		l.run(length)
		s := p.Stats()
		t.Logf("%s: latency p50 %v p99 %v, %d of %d ticks concealed, %+v", test.name,
			l.quantile(100, 0.5), l.quantile(100, 0.99), l.concealedSince(100), l.tick, s)
		if clicks := audiotest.Clicks(l.pcm); len(clicks) > 0 {
			t.Errorf("%s: clicks at %v", test.name, clicks)
		}
		if s.Late*100 > s.Packets {
			t.Errorf("%s: %d of %d packets late", test.name, s.Late, s.Packets)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Six people in a room, two of them behind bad links: everybody hears all
// others at their level and of himself only what the codec makes of the others'
// tones, and nobody on a good link is concealed.
func TestRoomWithBadLinks(t *testing.T) {
	const people, bad, length = 6, 2, 8
	m, _ := realMix(t, false)
	hz := func(i int) float64 { return 300 + 130*float64(i) }
	var (
		members [people]*Member
		links   [people]*link
		heard   [people][]int16
	)
	pcm := make([]int16, codec.MaxPacketSamples)
	var decoders [people]codec.AudioDecoder
	for i := range people {
		l := newLink(t, loud)
		p, err := NewPlayout(PlayoutConfig{Decoder: realDecoder(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		l.playout, l.phase = p, time.Duration(3*i)*ms
		l.replay(coded(t, audiotest.Tone(hz(i), 3000, second)))
		if i < bad {
			jitter, dice := uniform(uint64(i), 30*ms), uniform(uint64(i)+9, 100)
			l.delay = func(int64, time.Duration) time.Duration { return jitter() }
			l.lost = func(int64) bool { return dice() < 5 }
		}
		links[i], decoders[i] = l, realDecoder(t)
		if members[i], err = m.Join(uint32(i+1), linkPuller{l}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range length * 50 {
		at := time.Duration(n) * codec.FrameDuration
		if err := m.Tick(at, at); err != nil {
			t.Fatal(err)
		}
		for i, mem := range members {
			got, err := decoders[i].Decode(mem.Frame().Data, pcm)
			if err != nil {
				t.Fatal(err)
			}
			heard[i] = append(heard[i], pcm[:got]...)
		}
	}
	for i := range people {
		x := heard[i][2*second:]
		for k := range people {
			power := audiotest.TonePower(x, hz(k))
			switch {
			case k == i && power > -55:
				t.Errorf("%d hears himself at %.1f dBov", i, power)
			case k != i && k >= bad && math.Abs(power+23.8) > 1.5:
				t.Errorf("%d hears %d at %.1f dBov, want -23.8", i, k, power)
			case k != i && k < bad && math.Abs(power+23.8) > 4:
				t.Errorf("%d hears %d (bad link) at %.1f dBov, want about -23.8", i, k, power)
			}
		}
	}
	for i := bad; i < people; i++ {
		if n := links[i].concealedSince(50); n > 0 {
			t.Errorf("%d, on a good link, was concealed %d times", i, n)
		}
	}
}

// linkPuller is a member's source that is fed by a simulated link.
type linkPuller struct{ *link }

func (l linkPuller) Pull(dst *codec.AudioFrame, _ time.Duration, _ uint8) Info {
	l.run(codec.FrameDuration)
	copy(dst[:], l.pcm[len(l.pcm)-codec.FrameSamples:])
	return l.infos[len(l.infos)-1]
}

// A reader pushes while the tick pulls and somebody asks for counters.
func TestPushWhilePulling(t *testing.T) {
	p, err := NewPlayout(PlayoutConfig{Decoder: &fakeDecoder{signal: wave}})
	if err != nil {
		t.Fatal(err)
	}
	const packets = 2000
	var wg sync.WaitGroup
	wg.Go(func() {
		for seq := range int64(packets) {
			p.Push(fakePacket(seq, seq*codec.FrameSamples, codec.FrameSamples), time.Duration(seq)*codec.FrameDuration)
		}
	})
	wg.Go(func() {
		for p.Stats().Packets < packets {
			p.Stats()
		}
	})
	var dst codec.AudioFrame
	for i := range packets {
		p.Pull(&dst, time.Duration(i)*codec.FrameDuration, DecodeAlways)
	}
	wg.Wait()
	if err := p.Close(); err != nil || p.Stats().Packets != packets {
		t.Errorf("%v, %+v", err, p.Stats())
	}
}
