package audio

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// ear is a listener who knows what he would have heard, had nobody switched
// him between encoders: a witness, an encoder that goes on with the history of
// the last packet, codes what is coded for him, for the first ticks of each
// switch. What differs is the switch's doing and nothing else's.
type ear struct {
	t            *testing.T
	enc          *opus.Encoder
	dec, witness *opus.Decoder
	since        int              // ticks since the last switch
	before       codec.AudioFrame // it was coded: the last tick's sound
	heard        []int16
	packet       [maxPacketBytes]byte
	pcm, would   [codec.MaxPacketSamples]int16
}

// earTicks is how long a switch may be heard; earSettle how long after it a
// witness can tell about the next one.
const (
	earTicks  = 3
	earSettle = 10
)

func newEar(t *testing.T) *ear {
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { enc.Close() })
	return &ear{t: t, enc: enc, dec: realDecoder(t), witness: realDecoder(t)}
}

// hear takes a tick's packet, and what coder was given for it, and says whether
// there is a break: 5 ms in which the difference is louder than -40 dBov, in
// speech of -26 on the mean, and less than 10 dB below what he would have
// heard. same says that the packet is the very one.
func (e *ear) hear(packet []byte, coder *tap, switched bool) (broken, same bool) {
	if switched {
		e.since = 0
	}
	e.before = coder.last
	would := packet
	if e.since < earTicks {
		n, err := e.enc.Encode(&coder.last, e.packet[:])
		if err != nil {
			e.t.Fatal(err)
		}
		would = e.packet[:n]
	} else if err := e.enc.CopyFrom(coder.Encoder); err != nil {
		e.t.Fatal(err)
	}
	e.since++
	n, err := e.dec.Decode(packet, e.pcm[:])
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := e.witness.Decode(would, e.would[:]); err != nil {
		e.t.Fatal(err)
	}
	e.heard = append(e.heard, e.pcm[:n]...)
	if e.since > earTicks {
		return false, true
	}
	const window = second / 200
	for at := 0; at < n; at += window {
		var error [window]int16
		for i := range error {
			error[i] = int16(max(min(int(e.pcm[at+i])-int(e.would[at+i]), 32767), -32768))
		}
		broken = broken || Level(error[:]) < 40 && snr(e.would[at:at+window], e.pcm[at:at+window]) < 10
	}
	return broken, bytes.Equal(packet, would)
}

// breaksBack counts breaks on the way back to the shared mix.
func breaksBack(found []switched) (n int) {
	for _, s := range found {
		if !s.away && s.settled && s.broken {
			n++
		}
	}
	return n
}

// switched is one switch of a listener between encoders.
type switched struct {
	tick         int
	away         bool // from the shared mix
	loud         bool // amid sound: what a coder without history lacks is the last 6.5 ms
	settled      bool // long enough after the one before, so that the ear can tell
	broken, same bool // what the ear says of it
}

// conversation runs a room for so long: one tells a story, another interjects,
// both over links that lose packets, jitter and drift; and returns what that
// other hears.
func conversation(t *testing.T, length time.Duration, cold bool) (heard []int16, found []switched) {
	m, taps := realMix(t, cold)
	var story []int16
	for i := range 8 {
		if x, ok := clip(t, fmt.Sprintf("speech-%02d.ogg", 2*i+1)); ok {
			story = append(story, x...)
		}
	}
	if len(story) == 0 {
		story = audiotest.Speech(4, 240*second)
	}
	var members [2]*Member
	for i, x := range [][]int16{story, interjections(240 * second)} {
		l := newRealLink(t)
		l.phase, l.ppm = time.Duration(4+9*i)*ms, float64(300-600*i)
		jitter := uniform(uint64(i), 8*ms)
		l.delay = func(int64, time.Duration) time.Duration { return jitter() }
		l.lost = randomLoss(uint64(i), 3)
		l.replay(codedWith(t, opus.EncoderConfig{FEC: true, PacketLossPercent: 5}, x))
		l.forget = true
		mem, err := m.Join(uint32(i+1), linkPuller{l})
		if err != nil {
			t.Fatal(err)
		}
		members[i] = mem
	}
	mem, e := members[1], newEar(t)
	personal, since := false, 0
	for i := range int(length / codec.FrameDuration) {
		at := time.Duration(i) * codec.FrameDuration
		if err := m.Tick(at, at); err != nil {
			t.Fatal(err)
		}
		coder := (*taps)[0]
		if mem.Personal() {
			coder = mem.out.enc.(*tap)
		}
		is := mem.Personal() != personal
		if since++; is {
			personal = !personal
			found = append(found, switched{i, personal, Level(e.before[codec.FrameSamples-opusDelay:]) <= 32, since > earSettle, false, true})
			since = 0
		}
		if broken, same := e.hear(mem.Frame().Data, coder, is); len(found) > 0 {
			last := &found[len(found)-1]
			last.broken, last.same = last.broken || broken, last.same && same
		}
	}
	return e.heard, found
}

// voices says that a click is no louder than the sharpest consonant of the
// story, which comes by every four minutes and was 14.8 dB at most.
func voices(c audiotest.Click) bool { return c.DB < 15.5 }

// Speech over links that lose and drift, and a listener who is switched to his
// own mix and back all the time. As designed nothing clicks, neither that nor
// the links, and leaving the shared mix changes not a bit; while of switches to an
// encoder without history every one amid sound is flagged, and nothing else is.
// MIXDOWN_LONG=1 makes it an hour.
func TestSwitchesAreNotHeard(t *testing.T) {
	length := simulated(time.Minute, 2*time.Minute, time.Hour)
	heard, found := conversation(t, length, false)
	if len(found) < int(length/(2*time.Second)) {
		t.Fatalf("%d switches in %v", len(found), length)
	}
	for _, s := range found {
		if s.away && s.settled && !s.same {
			t.Errorf("tick %d: away from the shared mix with a difference", s.tick)
		}
	}
	if back := breaksBack(found); back > 0 {
		t.Errorf("%d of %d ways back with a break", back, len(found)/2)
	}
	if clicks := slices.DeleteFunc(audiotest.Clicks(heard), voices); len(clicks) > 0 {
		t.Errorf("clicks with the designed switch: %v", clicks)
	}
	t.Logf("%v: %d switches as designed, none with a break", length, len(found))

	heard, found = conversation(t, length, true)
	planted, loud, broken := 0, 0, 0
	for _, s := range found {
		if !s.away || !s.settled {
			continue
		}
		planted++
		if s.same && s.loud {
			t.Errorf("tick %d: a cold switch amid sound was not told", s.tick)
		}
		if s.loud {
			loud++
			if s.broken {
				broken++
			}
		}
	}
	clicks := audiotest.Clicks(heard)
	for _, c := range clicks {
		if !voices(c) && !slices.ContainsFunc(found, func(s switched) bool {
			at := time.Duration(s.tick) * codec.FrameDuration
			return s.away && c.At > at-10*ms && c.At < at+30*ms
		}) {
			t.Errorf("a click at %v, where nothing was switched", c.At)
		}
	}
	t.Logf("%v: %d cold switches, %d of them amid sound; the ear flags %d of these, the click detector, which knows nothing of what was sent, %d", length, planted, loud, broken, len(clicks))
	if loud < planted/5 || broken < loud {
		t.Errorf("%d cold switches, %d amid sound, %d flagged", planted, loud, broken)
	}
}
