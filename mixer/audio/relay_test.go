package audio

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// client is somebody in a mix who sends coded sound over a simulated link and
// decodes what he is lent.
type client struct {
	way *link
	*Member
	packets [][]byte
	got     [][]byte // what he was lent; nil where there was nothing
	dtx     []bool
	relayed []bool
	heard   []int16
	dec     *opus.Decoder
}

// Pull, SetRelay and Packet make a client a Relayer.
func (c *client) Pull(dst *codec.AudioFrame, _ time.Duration, quiet uint8) Info {
	c.way.quiet = func(int) uint8 { return quiet }
	c.way.run(codec.FrameDuration)
	copy(dst[:], c.way.pcm[len(c.way.pcm)-codec.FrameSamples:])
	return c.way.infos[len(c.way.infos)-1]
}
func (c *client) SetRelay(mode RelayMode)                    { c.way.playout.SetRelay(mode) }
func (c *client) Packet() (*codec.EncodedFrame, PacketState) { return c.way.playout.Packet() }

// talk is a mix of such people.
type talk struct {
	t *testing.T
	*Mix
	people []*client
	tick   int
}

func newTalk(t *testing.T) *talk {
	m, _ := realMix(t, false)
	return &talk{t: t, Mix: m}
}

// join lets somebody in who sends sound, with its levels, coded so.
func (k *talk) join(csrc uint32, sound []int16, c opus.EncoderConfig) *client {
	k.t.Helper()
	p := &client{way: newRealLink(k.t), packets: codedWith(k.t, c, sound), dec: realDecoder(k.t)}
	p.way.phase = -5 * ms
	p.way.forget = true
	p.way.tick, p.way.seq = k.tick, int64(k.tick)
	p.way.replay(p.packets)
	p.way.edit = said(levelsOf(sound), p.way.edit)
	mem, err := k.Join(csrc, p)
	if err != nil {
		k.t.Fatal(err)
	}
	mem.SetRelayLimit(64_000)
	p.Member = mem
	k.people = append(k.people, p)
	return p
}

func (k *talk) leave(p *client) {
	k.Leave(p.Member)
	for i, o := range k.people {
		if o == p {
			k.people = append(k.people[:i:i], k.people[i+1:]...)
		}
	}
}

// run ticks; each is called after every tick.
func (k *talk) run(ticks int, each ...func()) {
	k.t.Helper()
	var pcm [codec.MaxPacketSamples]int16
	for range ticks {
		at := time.Duration(k.tick) * codec.FrameDuration
		if err := k.Tick(at, at); err != nil {
			k.t.Fatal(err)
		}
		k.tick++
		for _, p := range k.people {
			f := p.Frame()
			p.relayed = append(p.relayed, p.Relayed())
			if f == nil {
				p.got, p.dtx = append(p.got, nil), append(p.dtx, false)
				if err := p.dec.Conceal(pcm[:codec.FrameSamples]); err != nil {
					k.t.Fatal(err)
				}
				p.heard = append(p.heard, pcm[:codec.FrameSamples]...)
				continue
			}
			p.got, p.dtx = append(p.got, append([]byte(nil), f.Data...)), append(p.dtx, f.DTX)
			n, err := p.dec.Decode(f.Data, pcm[:])
			if err != nil || n != codec.FrameSamples {
				k.t.Fatalf("tick %d: %d is lent %d bytes that decode to %d samples: %v", k.tick-1, p.csrc, len(f.Data), n, err)
			}
			p.heard = append(p.heard, pcm[:n]...)
		}
		for _, f := range each {
			f()
		}
	}
}

// twoVoices is one of four pairs who talk for 30 s: two made ones, two recorded ones.
func twoVoices(t *testing.T, n int) (x, y []int16) {
	if n < 2 {
		return audiotest.Speech(uint64(n), 30*second), audiotest.Speech(uint64(n)+100, 30*second)
	}
	return speechClip(t, n-1, 30*second), speechClip(t, n+7, 30*second)
}

// Who hears just one person gets the packets that this one sent, byte by byte, and
// nothing is decoded or coded.
func TestRelayedIsWhatWasSent(t *testing.T) {
	k := newTalk(t)
	a := k.join(1, audiotest.Tone(440, 4200, 4*second), opus.EncoderConfig{})
	b := k.join(2, audiotest.Tone(620, 4200, 4*second), opus.EncoderConfig{BitrateBps: 48_000})
	k.run(5)
	before := k.Stats()
	k.run(150, func() {
		for _, p := range []*client{a, b} {
			f := p.Frame()
			if !p.Relayed() || f == nil || f.DTX {
				t.Fatalf("tick %d: %d is lent %+v, relayed: %v", k.tick-1, p.csrc, f, p.Relayed())
			}
			if f.PTS != time.Duration(k.tick-1)*codec.FrameDuration || f.Codec != codec.Opus || f.Stream == 0 {
				t.Fatalf("tick %d: the frame is %+v", k.tick-1, f)
			}
			if other := a.csrc + b.csrc - p.csrc; len(f.Heard) != 1 || f.Heard[0].CSRC != other || f.Heard[0].LevelDBov > 30 {
				t.Fatalf("tick %d: %d is told of %+v", k.tick-1, p.csrc, f.Heard)
			}
		}
		if !a.Speaking() || !b.Speaking() {
			t.Fatalf("tick %d: not both are taken to speak", k.tick-1)
		}
	})
	for _, pair := range [][2]*client{{a, b}, {b, a}} {
		from, to := pair[0], pair[1]
		got := to.got[5:]
		at := slices.IndexFunc(from.packets, func(p []byte) bool { return bytes.Equal(p, got[0]) })
		if at < 0 || at > 6 || !slices.EqualFunc(got, from.packets[at:at+len(got)], bytes.Equal) {
			t.Fatalf("%d is not lent what %d sent (from packet %d)", to.csrc, from.csrc, at)
		}
		// And so it sounds, as soon as the decoder has forgotten what was before.
		dec, want := realDecoder(t), make([]int16, 0, len(to.heard))
		for _, p := range from.packets[:at+len(got)] {
			var pcm codec.AudioFrame
			if _, err := dec.Decode(p, pcm[:]); err != nil {
				t.Fatal(err)
			}
			want = append(want, pcm[:]...)
		}
		n := len(got)*codec.FrameSamples - second/2
		if db := snr(want[len(want)-n:], to.heard[len(to.heard)-n:]); db < 60 {
			t.Errorf("%d hears %d with an SNR of %.1f dB", to.csrc, from.csrc, db)
		}
	}
	s := k.Stats()
	if s.Encodes != before.Encodes || s.Relayed-before.Relayed != 300 || s.ToRelay != 2 || s.FromRelay != 0 {
		t.Errorf("%+v, before %+v: want no encodes, and 300 packets handed on", s, before)
	}
	if k.Dominant() == nil {
		t.Error("nobody has the floor")
	}
}

// Somebody who hears nothing but one other's packets comes and goes between these
// and our encoder's, often in mid-word, and nothing of it is heard; an encoder that
// takes over without having coded along is.
func TestRelaySwitchesDoNotClick(t *testing.T) {
	pairs := []int{0, 1, 2, 3}
	if raceEnabled {
		pairs = pairs[1:3] // which takes long enough
	}
	exits, cold, caught := 0, 0, 0
	for _, n := range pairs {
		x, y := twoVoices(t, n)
		dice := rand.New(rand.NewPCG(uint64(n), 1))
		k := newTalk(t)
		a, b := k.join(1, x, opus.EncoderConfig{}), k.join(2, y, opus.EncoderConfig{})
		a.SetLevelling(false)
		b.SetLevelling(false)
		for k.tick < 27*50 {
			k.run(55 + dice.IntN(20))
			c := k.join(3, make([]int16, second), opus.EncoderConfig{})
			k.run(30)
			if b.Relayed() || a.Relayed() {
				t.Fatalf("tick %d: 600 ms after a third came, packets are handed on", k.tick)
			}
			k.leave(c)
		}
		for _, p := range k.people {
			if clicks := audiotest.Clicks(p.heard); len(clicks) > 0 {
				t.Errorf("voices %d: %d hears clicks at %v", n, p.csrc, clicks)
			}
		}
		exits += int(k.Stats().FromRelay)

		// The same without any care.
		k = newTalk(t)
		a, b = k.join(1, x, opus.EncoderConfig{}), k.join(2, y, opus.EncoderConfig{})
		a.SetLevelling(false)
		b.SetLevelling(false)
		var at []time.Duration
		for k.tick < 27*50 {
			k.run(55 + dice.IntN(20))
			if b.Relayed() && a.Level() < 32 {
				k.endRelay(b.Member)
				at = append(at, time.Duration(k.tick)*codec.FrameDuration)
			}
		}
		clicks := audiotest.Clicks(b.heard)
		for _, at := range at {
			if slices.ContainsFunc(clicks, func(c audiotest.Click) bool {
				return c.At > at-10*ms && c.At < at+40*ms
			}) {
				caught++
			}
		}
		cold += len(at)
	}
	t.Logf("%d switches back; of %d cold ones %d were caught", exits, cold, caught)
	if exits < 12*len(pairs) || cold < 5*len(pairs) || caught*2 < cold {
		t.Errorf("%d switches back, %d cold ones, %d of them caught", exits, cold, caught)
	}
}
