package audio

import (
	"bytes"
	"math"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// relayedPair is two who talk without a pause, each at his own tone, and have each
// other's packets.
func relayedPair(t *testing.T) (k *talk, a, b *client) {
	k = newTalk(t)
	a = k.join(1, audiotest.Tone(440, 4200, 20*second), opus.EncoderConfig{})
	b = k.join(2, audiotest.Tone(620, 4200, 20*second), opus.EncoderConfig{})
	k.run(50)
	if !a.Relayed() || !b.Relayed() {
		t.Fatalf("a second after they came: %v, %v", a.Relayed(), b.Relayed())
	}
	return k, a, b
}

// sent reports whether what p was lent last is a packet of another's.
func (p *client) isLent(from *client) bool {
	last := p.got[len(p.got)-1]
	for _, sent := range from.packets {
		if len(last) > 2 && bytes.Equal(last, sent) {
			return true
		}
	}
	return false
}

// hears is how loud p has heard a tone in the last 200 ms, in dBov.
func (p *client) hears(hz float64) float64 {
	return audiotest.TonePower(p.heard[len(p.heard)-second/5:], hz)
}

// Whoever is muted, turned off or put out is not heard from that tick on, though
// his packets go on coming, and is heard again when he may be.
func TestNobodyIsRelayedWhoMayNotBeHeard(t *testing.T) {
	for _, test := range []struct {
		name       string
		stop, undo func(k *talk, a *client)
	}{
		{"muted", func(_ *talk, a *client) { a.SetMuted(true) }, func(_ *talk, a *client) { a.SetMuted(false) }},
		{"turned off", func(_ *talk, a *client) { a.SetGain(0) }, func(_ *talk, a *client) { a.SetGain(1) }},
		{"put out", func(k *talk, a *client) { k.leave(a) }, nil},
	} {
		k, a, b := relayedPair(t)
		test.stop(k, a)
		first := b.Relayed()
		k.run(120, func() {
			if b.isLent(a) {
				t.Fatalf("%s: %d ticks later his packet is handed on", test.name, k.tick-50)
			}
			if f := b.Frame(); f != nil && len(f.Heard) > 0 {
				t.Fatalf("%s: %d ticks later he is in the mix: %v", test.name, k.tick-50, f.Heard)
			}
		})
		if power := b.hears(440); !first || power > -70 {
			t.Errorf("%s: he is heard at %.1f dBov", test.name, power)
		}
		if test.undo == nil {
			continue
		}
		test.undo(k, a)
		k.run(60)
		if power := b.hears(440); math.Abs(power+20.9) > 1.5 {
			t.Errorf("%s: afterwards he is heard at %.1f dBov", test.name, power)
		}
	}
}

// What is not to be heard as it came ends it, within half a second for what can
// wait for a pause, and everybody is heard on.
func TestRelayEnds(t *testing.T) {
	var third *client
	for _, test := range []struct {
		name   string
		end    func(k *talk, a, b *client)
		within int     // ticks
		gain   float64 // dB, at which a is heard then
	}{
		{"louder", func(_ *talk, a, _ *client) { a.SetGain(2) }, relaySoon, 6},
		{"loss", func(_ *talk, _, b *client) { b.SetRelayLimit(0) }, relaySoon, 0},
		{"rate", func(_ *talk, _, b *client) { b.SetRelayLimit(20_000) }, relaySoon, 0},
		{"echo", func(_ *talk, a, _ *client) { a.SetEchoDetection(false); a.SetEcho(true) }, relaySoon, 0},
		{"recorder", func(k *talk, _, _ *client) { k.SetOutside(1) }, relaySoon, 0},
		{"third", func(k *talk, _, _ *client) {
			third = k.join(3, audiotest.Tone(830, 4200, 20*second), opus.EncoderConfig{})
		}, relaySoon, 0},
	} {
		k, a, b := relayedPair(t)
		test.end(k, a, b)
		ends := 0
		k.run(60, func() {
			if ends == 0 && !b.Relayed() {
				ends = k.tick - 50
			}
			if b.Frame() == nil {
				t.Fatalf("%s: nothing %d ticks later", test.name, k.tick-50)
			}
		})
		if ends == 0 || ends > test.within+1 {
			t.Errorf("%s: it ended after %d ticks, want %d", test.name, ends, test.within)
		}
		if power := b.hears(440); math.Abs(power+20.9-test.gain) > 1.5 {
			t.Errorf("%s: the other is heard at %.1f dBov", test.name, power)
		}
		if power := b.hears(620); power > -60 {
			t.Errorf("%s: he hears himself at %.1f dBov", test.name, power)
		}
		switch test.name {
		case "third":
			for _, power := range []float64{a.hears(830), b.hears(830), third.hears(440), third.hears(620), a.hears(620)} {
				if math.Abs(power+20.9) > 2 {
					t.Errorf("with a third somebody is heard at %.1f dBov", power)
				}
			}
			// There is no pause in which it could begin again.
			k.leave(third)
			k.run(200, func() {
				if a.Relayed() || b.Relayed() {
					t.Fatal("packets are handed on in mid-word")
				}
			})
		case "recorder":
			if f := k.Shared(); f == nil || len(f.Heard) != 2 {
				t.Errorf("recorders get %+v", f)
			}
		}
	}
}

// What ends in a pause ends sooner when there is more reason for it.
func TestRelayEndsSooner(t *testing.T) {
	for _, test := range []struct {
		name   string
		then   func(k *talk, a *client)
		within int // ticks
		hz     float64
	}{
		{"third", func(k *talk, _ *client) {
			k.join(3, audiotest.Tone(830, 4200, 20*second), opus.EncoderConfig{})
		}, relaySoon, 830},
		{"unfit", func(_ *talk, a *client) {
			good := a.way.edit
			a.way.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
				f = good(f)
				f.Level = codec.AudioLevel{}
				return f
			}
		}, 5, 440}, // what waits in the playout is played first
	} {
		k, a, b := relayedPair(t)
		a.SetLevelling(true)
		a.leveller.gainDB = -6 // he is too loud
		k.run(10)
		if b.relay.state != relayLeaving || b.relay.left < 2*relaySoon {
			t.Fatalf("%s: in state %d, for %d ticks", test.name, b.relay.state, b.relay.left)
		}
		test.then(k, a)
		k.run(test.within + 2)
		if b.Relayed() {
			t.Errorf("%s: packets are handed on still after %d ticks", test.name, test.within+2)
		}
		k.run(20)
		if power := b.hears(test.hz); power < -30 {
			t.Errorf("%s: %g Hz is heard at %.1f dBov", test.name, test.hz, power)
		}
	}
}

// Nobody is lent what is no packet of 20 ms in mono, however it came about, and
// who sends such is heard all the same, if it can be decoded.
func TestUnfitIsNotRelayed(t *testing.T) {
	stereo := func(f *codec.EncodedFrame) { f.Data[0] |= 4 }
	for _, test := range []struct {
		name string
		edit func(f *codec.EncodedFrame)
	}{
		{"stereo", stereo},
		{"60 ms", func(f *codec.EncodedFrame) { f.Data = append(f.Data[:0], 0x58, 1, 2, 3) }},
		{"two frames", func(f *codec.EncodedFrame) { f.Data = append(f.Data[:0], 0xe1, 1, 2, 3, 4) }},
		{"no Opus", func(f *codec.EncodedFrame) { f.Data = append(f.Data[:0], 0xff) }},
		{"cut off", func(f *codec.EncodedFrame) { f.Data = append(f.Data[:0], 0x7f, 0xc2, 200) }},
		{"padded", func(f *codec.EncodedFrame) { f.Data = append(f.Data[:0], 0x7b, 0x41, 200) }},
		{"long", func(f *codec.EncodedFrame) {
			for len(f.Data) <= maxRelayBytes {
				f.Data = append(f.Data, 1)
			}
		}},
		{"no level", func(f *codec.EncodedFrame) { f.Level = codec.AudioLevel{} }},
	} {
		k, a, b := relayedPair(t)
		from, good := k.tick+10, a.way.edit
		a.way.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
			n := int(f.Seq)
			if f = good(f); n < from {
				return f
			}
			g := codec.NewEncodedFrame(maxRelayBytes + 1)
			g.Data = append(g.Data, f.Data...)
			g.Seq, g.PTS, g.Level = f.Seq, f.PTS, f.Level
			f.Release()
			test.edit(g)
			return g
		}
		k.run(60, func() {
			// A packet of one byte is how a pause is told.
			if f := b.Frame(); b.Relayed() && f != nil && (len(f.Data) > maxRelayBytes || len(f.Data) > 1 && !opus.Plain(f.Data) ||
				len(f.Data) > 1 && !b.isLent(a)) {
				t.Fatalf("%s: handed on: % x", test.name, f.Data)
			}
		})
		if b.Relayed() || !a.Relayed() {
			t.Errorf("%s: packets are handed on: %v, and the other way: %v", test.name, b.Relayed(), a.Relayed())
		}
		if power := b.hears(440); test.name == "no level" && math.Abs(power+20.9) > 1.5 {
			t.Errorf("%s: the other is heard at %.1f dBov", test.name, power)
		}
	}
}

// Speech far from the common loudness is brought there, which ends it; and what
// is near enough to be passed bit by bit is handed on.
func TestRelayLeavesLevellingToUs(t *testing.T) {
	for _, test := range []struct {
		peak  int
		stays bool
	}{{4200, true}, {900, false}, {16000, false}} {
		k := newTalk(t)
		sound := audiotest.Tone(440, test.peak, 30*second)
		for at := second / 2; at < len(sound); at += second { // phrases of 800 ms
			clear(sound[at : at+second/5])
		}
		sound = plus(sound, audiotest.Noise(3, 8, len(sound)))
		k.join(1, sound, opus.EncoderConfig{})
		b := k.join(2, audiotest.Noise(1, 8, second), opus.EncoderConfig{})
		k.run(29 * 50)
		if b.Relayed() != test.stays {
			t.Errorf("peak %d: relayed: %v", test.peak, b.Relayed())
		}
		if power := 10*math.Log10(1/0.8) + audiotest.TonePower(b.heard[len(b.heard)-10*second:], 440); math.Abs(power+21) > 3.5 {
			t.Errorf("peak %d is heard at %.1f dBov", test.peak, power)
		}
	}
}

// Who sends back what he hears is found out, though nobody decodes him most of the
// time, and his packets are not handed on any more: also if he has talked for long
// with headphones on.
func TestRelayFindsEchoes(t *testing.T) {
	for _, from := range []time.Duration{0, 15 * time.Second} {
		k := newTalk(t)
		a := k.join(1, append(speechClip(t, 1, 30*second), speechClip(t, 2, 30*second)...), opus.EncoderConfig{})
		b := k.join(2, audiotest.Noise(1, 8, second), opus.EncoderConfig{})
		a.SetLevelling(false)
		b.SetLevelling(false)
		enc, err := opus.NewEncoder(opus.EncoderConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer enc.Close()
		hiss, own := audiotest.Noise(2, 8, second), speechClip(t, 9, 30*second)
		b.way.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
			pcm := codec.AudioFrame(hiss[int(f.Seq)%50*codec.FrameSamples:])
			if at := len(b.heard) - second/8; f.PTS < from {
				for i, x := range own[int(f.Seq)*codec.FrameSamples:][:codec.FrameSamples] {
					pcm[i] += x / 2
				}
			} else if at > 0 {
				for i, x := range b.heard[at : at+codec.FrameSamples] {
					pcm[i] += x / 3
				}
			}
			var packet [maxPacketBytes]byte
			n, err := enc.Encode(&pcm, packet[:])
			if err != nil {
				t.Fatal(err)
			}
			g := codec.NewEncodedFrame(n)
			g.Data = append(g.Data, packet[:n]...)
			g.Seq, g.PTS, g.Level = f.Seq, f.PTS, codec.AudioLevel{DBov: Level(pcm[:]), Valid: true}
			f.Release()
			return g
		}
		began, early, found := false, false, time.Duration(0)
		leaked := 0 // ticks in which a hears b, of whom nothing is heard but the echo
		k.run(50*50, func() {
			if found > 0 && b.Speaking() {
				leaked++
			}
			now := time.Duration(k.tick) * codec.FrameDuration
			began = began || a.Relayed()
			early = early || now < from && b.Echo()
			if found == 0 && now >= from && b.Echo() {
				found = now - from
			}
		})
		t.Logf("found after %v, %+v", found, k.Stats())
		if !began || early || found == 0 || found > 25*time.Second || a.Relayed() || b.Relayed() {
			t.Errorf("echo from %v on: handed on at first: %v, found too early: %v, found after %v, handed on in the end: %v, %v",
				from, began, early, found, a.Relayed(), b.Relayed())
		}
		if leaked > 50 {
			t.Errorf("echo from %v on: once it was found it was heard for %d ticks", from, leaked)
		}
	}
}

// Two who talk at once are decoded for a while, to see that neither is the other's
// echo, and then not for long.
func TestRelayLooksForEchoesNowAndThen(t *testing.T) {
	k, a, b := relayedPair(t)
	a.SetEchoDetection(true) // begin anew
	before := k.Stats().Decoded
	k.run(relayLook + 10)
	looked := k.Stats().Decoded - before
	if looked < 300 || a.offer.trusted == 0 || b.offer.trusted == 0 {
		t.Errorf("%d packets decoded, looked at a for %d ticks, at b for %d", looked, a.offer.looked, b.offer.looked)
	}
	before = k.Stats().Decoded
	k.run(500)
	if n := k.Stats().Decoded - before; n > 20 || !a.Relayed() || !b.Relayed() {
		t.Errorf("%d packets decoded in the 10 s afterwards", n)
	}
}

// Who says that he is fainter than he is, is found out by what is decoded now and
// then.
func TestRelayedLevelsAreChecked(t *testing.T) {
	k, a, b := relayedPair(t)
	a.SetLevelling(false) // which would end it sooner
	good := a.way.edit
	a.way.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		f = good(f)
		f.Level.DBov = 45
		return f
	}
	k.run(3*trustTicks<<trustDoublings + 2*relaySoon)
	if s := k.Stats(); b.Relayed() || s.Distrusted != 1 {
		t.Errorf("handed on: %v, %+v", b.Relayed(), s)
	}
}

// A sender's pauses are pauses to his listener, and each word after one is as whole
// as when it is coded anew, or better.
func TestRelayedDTX(t *testing.T) {
	story := audiotest.Speech(7, 30*second)
	for at := 3 * second; at+5*second < len(story); at += 6 * second {
		clear(story[at : at+3*second])
	}
	for _, c := range []opus.EncoderConfig{{}, {DTX: true}} {
		var scores [2]float64
		for i, maxBps := range []int{0, 64_000} {
			k := newTalk(t)
			a := k.join(1, story, c)
			b := k.join(2, audiotest.Noise(1, 8, second), opus.EncoderConfig{})
			a.SetLevelling(false)
			b.SetRelayLimit(maxBps)
			good, seq, paused := a.way.edit, int64(0), false
			a.way.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
				f = good(f)
				before := paused
				if paused = len(f.Data) <= 2; before && paused { // browsers send the first
					f.Release()
					return nil
				}
				f.Seq = seq
				seq++
				return f
			}
			holes, rests := 0, 0
			k.run(29*50, func() {
				switch f := b.Frame(); {
				case f == nil:
					holes++
				case f.DTX:
					rests++
				}
			})
			if s := k.Stats(); b.Relayed() != (i == 1) || holes > 0 || rests < 300 || i == 1 && s.Encodes > 50 {
				t.Errorf("%+v, %d b/s: relayed: %v, %d holes, %d ticks need not be sent, %+v", c, maxBps, b.Relayed(), holes, rests, s)
			}
			scores[i] = audiotest.ESTOI(story[:25*second], b.heard[align(story, b.heard):][:25*second])
		}
		t.Logf("%+v: ESTOI %.3f coded anew, %.3f handed on", c, scores[0], scores[1])
		if scores[1] < scores[0] {
			t.Errorf("%+v: ESTOI %.3f coded anew, %.3f handed on", c, scores[0], scores[1])
		}
	}
}

// align finds by how many samples, up to 60 ms, y is later than x.
func align(x, y []int16) (late int) {
	var best float64
	for d := range 3 * codec.FrameSamples {
		var sum float64
		for i := second; i < 2*second; i += 7 {
			sum += float64(x[i]) * float64(y[i+d])
		}
		if sum > best {
			best, late = sum, d
		}
	}
	return late
}

// Whose packets come no more is not taken to speak on.
func TestRelayedSenderVanishes(t *testing.T) {
	k, a, b := relayedPair(t)
	a.way.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		f.Release()
		return nil
	}
	k.run(60)
	if a.Speaking() || a.Level() != codec.Silence || b.hears(440) > -70 {
		t.Errorf("1.2 s later: speaking: %v, level %d, heard at %.1f dBov", a.Speaking(), a.Level(), b.hears(440))
	}
}

func TestRelayAllocatesNothing(t *testing.T) {
	r := relayedRoom(t, 64_000)
	before := r.Stats()
	if n := testing.AllocsPerRun(200, func() { r.step(t) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations a tick", n)
	}
	if s := r.Stats(); s.Relayed-before.Relayed < 400 {
		t.Errorf("%d packets handed on", s.Relayed-before.Relayed)
	}
}

// relayedRoom is two who talk and whose links take so much.
func relayedRoom(t testing.TB, maxBps int) *room {
	r := newRoom(t, 2, 2)
	for i, mem := range r.members {
		mem.SetRelayLimit(maxBps)
		mem.SetLevelling(false)
		r.loops[i].level = codec.AudioLevel{DBov: 18, Valid: true}
	}
	for i := range 2 * relayLook {
		if i == 10 {
			// There is no pause in which it could begin.
			for _, mem := range r.members {
				mem.relay.quiet = returnTicks
			}
		}
		r.step(t)
	}
	return r
}

// BenchmarkRelay is one tick of two who talk.
func BenchmarkRelay(b *testing.B) {
	for _, maxBps := range []int{0, 64_000} {
		b.Run(map[int]string{0: "coded", 64_000: "relayed"}[maxBps], func(b *testing.B) {
			r := relayedRoom(b, maxBps)
			b.ReportAllocs()
			for b.Loop() {
				r.step(b)
			}
		})
	}
}

// Who comes while the other talks has that one's packets from the first that he is
// lent, also when it is late.
func TestRelayFromTheFirst(t *testing.T) {
	k := newTalk(t)
	a := k.join(1, audiotest.Tone(440, 4200, 4*second), opus.EncoderConfig{})
	k.run(50)
	good := a.way.edit
	a.way.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		if f = good(f); f.Seq == 50 || f.Seq == 51 {
			f.Release()
			return nil
		}
		return f
	}
	b := k.join(2, audiotest.Noise(1, 8, second), opus.EncoderConfig{})
	k.run(100, func() {
		if !b.Relayed() {
			t.Fatalf("tick %d: not relayed", k.tick-1)
		}
	})
	if power := b.hears(440); math.Abs(power+20.9) > 1.5 {
		t.Errorf("heard at %.1f dBov", power)
	}
}
