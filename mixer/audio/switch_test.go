package audio

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// tap is a real encoder that notes what it was last given. cold makes it what
// it must not be: one that starts without the history of the shared one.
type tap struct {
	*opus.Encoder
	last codec.AudioFrame
	cold bool
}

func (e *tap) Encode(pcm *codec.AudioFrame, dst []byte) (int, error) {
	e.last = *pcm
	return e.Encoder.Encode(pcm, dst)
}

func (e *tap) CopyFrom(src codec.AudioEncoder) error {
	if !e.cold {
		return e.Encoder.CopyFrom(src.(*tap).Encoder)
	}
	fresh, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		return err
	}
	e.Encoder.Close()
	e.Encoder = fresh
	return nil
}

// realMix is a mix with real encoders, in order of creation.
func realMix(t testing.TB, cold bool) (*Mix, *[]*tap) {
	taps := new([]*tap)
	m, err := NewMix(MixConfig{NewEncoder: func() (codec.AudioEncoder, error) {
		enc, err := opus.NewEncoder(opus.EncoderConfig{})
		if err != nil {
			return nil, err
		}
		*taps = append(*taps, &tap{Encoder: enc, cold: cold})
		return (*taps)[len(*taps)-1], nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, taps
}

func realDecoder(t testing.TB) *opus.Decoder {
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dec.Close() })
	return dec
}

// interjections is short words of somebody who mostly listens: a new one each
// two seconds.
func interjections(n int) []int16 {
	x := make([]int16, n)
	for at := second; at+second/5 < n; at += 2 * second {
		copy(x[at:], audiotest.Tone(180, 6000, second/5))
	}
	return x
}

// listen runs a room in which one tells a story and another interjects, and
// returns what that other hears, where he left the shared mix and where he
// came back.
func listen(t *testing.T, story []int16, cold bool) (heard []int16, left, back []int) {
	m, _ := realMix(t, cold)
	if _, err := m.Join(1, &player{ticksOf(story)}); err != nil {
		t.Fatal(err)
	}
	mem, err := m.Join(2, &player{ticksOf(interjections(len(story)))})
	if err != nil {
		t.Fatal(err)
	}
	dec := realDecoder(t)
	pcm := make([]int16, codec.MaxPacketSamples)
	personal := false
	for i := range len(story) / codec.FrameSamples {
		at := time.Duration(i) * codec.FrameDuration
		if err := m.Tick(at, at); err != nil {
			t.Fatal(err)
		}
		if mem.Personal() != personal {
			personal = !personal
			if personal {
				left = append(left, i)
			} else {
				back = append(back, i)
			}
		}
		n, err := dec.Decode(mem.Frame().Data, pcm)
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, pcm[:n]...)
	}
	return heard, left, back
}

// With two people nobody hears the shared mix while both talk, and the one who
// talks alone hears silence: neither is coded. Of those who leave and come back to
// a mix that has no other listener nothing is to be noticed at all.
func TestOnlyWhatIsHeardIsCoded(t *testing.T) {
	const ticks = 20 * 50
	story := audiotest.Speech(1, 20*second)
	run := func(words []int16, tellerListens bool) (packets [][]byte, stats MixStats) {
		m, _ := realMix(t, false)
		teller, err := m.Join(1, &player{ticksOf(story)})
		if err != nil {
			t.Fatal(err)
		}
		teller.SetListening(tellerListens)
		mem, err := m.Join(2, &player{ticksOf(words)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range ticks {
			at := time.Duration(i) * codec.FrameDuration
			if err := m.Tick(at, at); err != nil {
				t.Fatal(err)
			}
			packets = append(packets, bytes.Clone(mem.Frame().Data))
		}
		return packets, m.Stats()
	}
	want, _ := run(nil, false)
	got, stats := run(interjections(len(story)), false)
	if stats.ToShared < 3 {
		t.Fatalf("came back %d times: that tells nothing", stats.ToShared)
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("tick %d of %d: the packet is another than without his own words", i, ticks)
		}
	}
	if stats.Encodes > ticks {
		t.Errorf("one listener: %d encodes in %d ticks", stats.Encodes, ticks)
	}
	// Before a silence rests it is coded for a while, and so it is now and then.
	_, stats = run(nil, true)
	if rest := uint64(ticks/dtxRefresh) + stats.ToPersonal*(dtxAfter+1); stats.Encodes > ticks+rest {
		t.Errorf("one talks: %d encodes in %d ticks, %d may be silence", stats.Encodes, ticks, rest)
	}
	if _, stats = run(audiotest.Speech(2, 20*second), true); stats.Encodes > 2*ticks {
		t.Errorf("both talk: %d encodes in %d ticks", stats.Encodes, ticks)
	}
}

// Whoever leaves the shared mix gets, from the first packet on, exactly what
// one encoder that never switched would have sent him.
func TestSwitchIsBitExact(t *testing.T) {
	m, taps := realMix(t, false)
	story := audiotest.Speech(1, 24*second)
	// Before some of the interjections nobody speaks for so long that nothing is
	// coded: then he leaves a mix that rests.
	for at := 3 * second; at+3*second/2 < len(story); at += 4 * second {
		clear(story[at : at+2*second])
	}
	words := interjections(24 * second)
	for at := 3 * second; at+3*second/2 < len(words); at += 8 * second {
		clear(words[at : at+second/2])
	}
	if _, err := m.Join(1, &player{ticksOf(story)}); err != nil {
		t.Fatal(err)
	}
	mem, err := m.Join(2, &player{ticksOf(words)})
	if err != nil {
		t.Fatal(err)
	}
	tapOf := func(enc codec.AudioEncoder) *tap { return enc.(*tap) }
	shared := (*taps)[0]
	var witness *opus.Encoder // follows what the listener hears, never switched
	packet := make([]byte, maxPacketBytes)
	switches, compared, rested, personal := 0, 0, 0, false
	for i := range 24 * 50 {
		at := time.Duration(i) * codec.FrameDuration
		if err := m.Tick(at, at); err != nil {
			t.Fatal(err)
		}
		if personal && !mem.Personal() {
			// Back on the shared mix, which is another history: a new witness
			// follows that one, from its own beginning.
			witness = nil
		}
		personal = mem.Personal()
		if witness == nil {
			if witness, err = opus.NewEncoder(opus.EncoderConfig{}); err != nil {
				t.Fatal(err)
			}
			defer witness.Close()
			if err := witness.CopyFrom(shared.Encoder); err != nil {
				t.Fatal(err)
			}
			continue // the copy has this tick behind it
		}
		if mem.Frame().DTX {
			// Nothing is coded, by nobody: the witness rests as well.
			rested++
			continue
		}
		in := &shared.last
		if personal {
			in = &tapOf(mem.out.enc).last
		}
		n, err := witness.Encode(in, packet)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(packet[:n], mem.Frame().Data) {
			t.Fatalf("tick %d (personal %v): not the packet of an encoder that never switched", i, personal)
		}
		compared++
		if personal && mem.Gate() == GateOpening {
			switches++
		}
	}
	if switches < 8 || compared < 700 || rested < 100 {
		t.Errorf("%d switches, %d packets compared, %d ticks of rest", switches, compared, rested)
	}
}

// The switch as designed is not heard; one to an encoder without history is.
func TestColdSwitchClicksAndOursDoesNot(t *testing.T) {
	story := audiotest.Speech(4, 80*second)
	heard, left, back := listen(t, story, false)
	if len(left) < 25 || len(back) < 25 {
		t.Fatalf("%d switches away, %d back", len(left), len(back))
	}
	if clicks := audiotest.Clicks(heard); len(clicks) > 0 {
		t.Errorf("clicks with the designed switch: %v (left at %v, came back at %v)", clicks, left, back)
	}

	heard, left, _ = listen(t, story, true)
	clicks := audiotest.Clicks(heard)
	loud, caught := 0, 0
	for _, tick := range left {
		if Level(story[(tick-1)*codec.FrameSamples:][:2*codec.FrameSamples]) > 32 {
			continue // nothing is cut in a pause
		}
		loud++
		at := time.Duration(tick) * codec.FrameDuration
		if slices.ContainsFunc(clicks, func(c audiotest.Click) bool {
			return c.At > at-10*time.Millisecond && c.At < at+30*time.Millisecond
		}) {
			caught++
		}
	}
	t.Logf("%d switches in loud speech to a cold encoder, %d of them caught", loud, caught)
	if loud < 10 || caught*3 < loud {
		t.Errorf("%d of %d cold switches in loud speech were caught", caught, loud)
	}
}

// The way back is taken in a pause, after two seconds in a lesser one, after half
// a minute in any case, and never while his voice is in the sum.
func TestReturnToShared(t *testing.T) {
	for _, test := range []struct {
		name  string
		story []int16
		gain  float64
		after int // ticks after the fade
	}{
		{"quiet room", make([]int16, 4*second), 1, returnAfter},
		{"music far away", audiotest.Tone(440, 4000, 32*second), 0.045, returnSoon + returnTicks - 1},
		{"music", audiotest.Tone(440, 4000, 32*second), 1, returnLate},
	} {
		tb := newTable(t, 0)
		tb.join(1, test.story).SetGain(test.gain)
		mem := tb.join(2, audiotest.Tone(300, 6000, second))
		closed, returned := -1, -1
		for i := range 1580 {
			tb.ticks(1)
			if mem.Gate() != GateClosed && !mem.Personal() {
				t.Fatalf("%s: tick %d: his voice is in the sum that he hears", test.name, i)
			}
			if mem.Gate() == GateClosing {
				closed = i
			}
			if closed >= 0 && returned < 0 && !mem.Personal() {
				returned = i
			}
		}
		if returned-closed != test.after {
			t.Errorf("%s: back %d ticks after the fade, want %d", test.name, returned-closed, test.after)
		}
	}
}

// After the codec there is at a talker's own frequency nothing but what the
// codec makes of the others' tones.
func TestOwnVoiceAfterTheCodec(t *testing.T) {
	m, _ := realMix(t, false)
	const people = 4
	var members [people]*Member
	var decoders [people]*opus.Decoder
	var heard [people][]int16
	hz := func(i int) float64 { return 400 + 310*float64(i) }
	for i := range members {
		mem, err := m.Join(uint32(i+1), &player{ticksOf(audiotest.Tone(hz(i), 4000, 5*second))})
		if err != nil {
			t.Fatal(err)
		}
		members[i], decoders[i] = mem, realDecoder(t)
	}
	pcm := make([]int16, codec.MaxPacketSamples)
	for i := range 250 {
		at := time.Duration(i) * codec.FrameDuration
		if err := m.Tick(at, at); err != nil {
			t.Fatal(err)
		}
		for k, mem := range members {
			n, err := decoders[k].Decode(mem.Frame().Data, pcm)
			if err != nil {
				t.Fatal(err)
			}
			heard[k] = append(heard[k], pcm[:n]...)
		}
	}
	for k := range members {
		x := heard[k][second/2:]
		own, others := audiotest.TonePower(x, hz(k)), math.Inf(1)
		for i := range members {
			if i != k {
				others = min(others, audiotest.TonePower(x, hz(i)))
			}
		}
		t.Logf("member %d: own tone %.1f dBov, the others' %.1f", k, own, others)
		if others < -25 || own > others-40 {
			t.Errorf("member %d hears himself at %.1f dBov, the others at %.1f or more", k, own, others)
		}
	}
}
