package audio

import (
	"errors"
	"testing"
	"time"

	"mixdown/codec"
)

// breaks counts the places from `from` on where pcm is not the signal `loud`
// going on by one sample.
func breaks(pcm []int16, from int) (n int) {
	for i := from + 1; i < len(pcm); i++ {
		d := pcm[i] - pcm[i-1]
		if d != 1 && d != -9972 {
			n++
		}
	}
	return n
}

func TestPlayoutIsTransparent(t *testing.T) {
	for _, samples := range []int{120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760} {
		l := newLink(t, loud)
		l.samples, l.phase = samples, 7*ms
		l.run(5 * time.Second) // after four the jitter is surely known
		before := l.playout.Stats()
		l.run(3 * time.Second)
		const start = 5 * codec.SampleRate
		if n := breaks(l.pcm, start); n != 0 {
			t.Errorf("packets of %v: the sound breaks %d times", durationOf(int64(samples)), n)
		}
		if s := l.playout.Stats(); s.Lost+s.Underruns+s.Late+s.Duplicate+s.Corrupt+s.Restarts != before.Underruns {
			t.Errorf("packets of %v: %+v", durationOf(int64(samples)), s)
		}
		if got := l.quantile(start/codec.FrameSamples, 1); got > 35*ms {
			t.Errorf("packets of %v: latency %v", durationOf(int64(samples)), got)
		}
	}
}

// A sender who changes the length of his packets as he goes along.
func TestPlayoutPacketSizesChange(t *testing.T) {
	sizes := []int{960, 120, 5760, 480, 2880, 240, 1920, 960}
	p, err := NewPlayout(PlayoutConfig{Decoder: &fakeDecoder{signal: loud}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var pcm []int16
	var pts, seq int64
	for tick := range 8 * 100 {
		now := time.Duration(tick) * codec.FrameDuration
		for {
			// A packet leaves when its last sample is known.
			n := sizes[tick/100]
			at := durationOf(pts+int64(n)) + 3*ms
			if at > now {
				break
			}
			p.Push(fakePacket(seq, pts, n), at)
			seq, pts = seq+1, pts+int64(n)
		}
		var dst codec.AudioFrame
		p.Pull(&dst, now, DecodeAlways)
		pcm = append(pcm, dst[:]...)
	}
	s := p.Stats()
	if s.Lost+s.Late+s.Duplicate+s.Corrupt+s.Restarts+s.Splices != 0 {
		t.Errorf("%+v", s)
	}
	for i := range sizes {
		// Longer packets wait for their own end: that takes a while to learn.
		if n := breaks(pcm[(i*100+50)*codec.FrameSamples:(i+1)*100*codec.FrameSamples], 0); n > 3*overlapMost {
			t.Errorf("packets of %d samples after %d: the sound breaks %d times", sizes[i], sizes[max(i-1, 0)], n)
		}
	}
	if s.Delay > 150*ms {
		t.Errorf("delay %v", s.Delay)
	}
}

// edited runs a link for a second, then has its packets edited for another.
func edited(t *testing.T, edit func(l *link, f *codec.EncodedFrame) *codec.EncodedFrame) *link {
	l := newLink(t, loud)
	l.phase = 3 * ms
	l.run(time.Second)
	l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame { return edit(l, f) }
	l.run(time.Second)
	l.edit = nil
	l.run(time.Second)
	return l
}

func copyPacket(f *codec.EncodedFrame) *codec.EncodedFrame {
	g := codec.NewEncodedFrame(len(f.Data))
	g.Codec, g.Seq, g.PTS, g.Stream = f.Codec, f.Seq, f.PTS, f.Stream
	g.Data = append(g.Data, f.Data...)
	return g
}

func TestPlayoutDuplicates(t *testing.T) {
	l := edited(t, func(l *link, f *codec.EncodedFrame) *codec.EncodedFrame {
		l.playout.Push(copyPacket(f), l.sentAt(samplesOf(f.PTS)))
		return f
	})
	if n := breaks(l.pcm, codec.SampleRate/2); n != 0 {
		t.Errorf("the sound breaks %d times", n)
	}
	if s := l.playout.Stats(); s.Duplicate+s.Late != 50 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPlayoutPutsPairsInOrder(t *testing.T) {
	// 10 ms packets: the two of a tick come the wrong way round.
	l := newLink(t, loud)
	l.samples, l.phase = 480, 1*ms
	var held *codec.EncodedFrame
	l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		if f.Seq%2 == 0 {
			held = f
			return nil
		}
		l.playout.Push(f, time.Duration(l.tick)*codec.FrameDuration)
		return held
	}
	l.run(3 * time.Second)
	if n := breaks(l.pcm, codec.SampleRate); n != 0 {
		t.Errorf("the sound breaks %d times, %+v", n, l.playout.Stats())
	}
}

func TestPlayoutConcealsLoss(t *testing.T) {
	for _, run := range []int64{1, 2, 3} {
		l := edited(t, func(_ *link, f *codec.EncodedFrame) *codec.EncodedFrame {
			if f.Seq%10 < run {
				f.Release()
				return nil
			}
			return f
		})
		s := l.playout.Stats()
		if s.Lost != uint64(5*run) || s.Late != 0 || l.decoder.resets != 1 {
			t.Errorf("runs of %d: %+v, %d resets", run, s, l.decoder.resets)
		}
		// What was made up lasted exactly as long as what was lost.
		if got, want := l.latency[len(l.latency)-1], l.latency[45]; got != want {
			t.Errorf("runs of %d: latency went from %v to %v", run, want, got)
		}
	}
}

func TestPlayoutUsesFEC(t *testing.T) {
	// With 30 ms in hand the packet after a loss is there already.
	l := newLink(t, loud)
	l.decoder.fec = true
	d := uniform(1, 40*ms)
	l.delay = func(int64, time.Duration) time.Duration { return d() }
	l.run(5 * time.Second)
	l.delay = func(int64, time.Duration) time.Duration { return 0 }
	l.lost = func(seq int64) bool { return seq%10 == 5 }
	l.run(3 * time.Second)
	s := l.playout.Stats()
	if l.decoder.fecs < 10 || s.Recovered != uint64(l.decoder.fecs) || s.Recovered > s.Lost {
		t.Errorf("%d FEC decodes, %+v", l.decoder.fecs, s)
	}
	if n := breaks(l.pcm[6*codec.SampleRate:7*codec.SampleRate], 0); n > 0 {
		t.Errorf("recovered sound breaks %d times", n)
	}
}

func TestPlayoutLongLossFadesToSilence(t *testing.T) {
	l := edited(t, func(_ *link, f *codec.EncodedFrame) *codec.EncodedFrame {
		f.Release()
		return nil
	})
	if got := l.infos[60]; !got.Silent || got.Level != codec.Silence {
		t.Errorf("200 ms into a loss: %+v", got)
	}
	if n := l.concealedSince(48); n < 6 || n > 9 {
		t.Errorf("%d ticks concealed before silence, want 140 ms", n)
	}
	if l.infos[len(l.infos)-1].Silent || breaks(l.pcm, 5*codec.SampleRate/2) != 0 {
		t.Error("sound does not come back")
	}
}

func TestPlayoutPauses(t *testing.T) {
	// A sender with DTX: one byte, then for 400 ms nothing but the number
	// goes on without a gap while the time jumps.
	l := newLink(t, loud)
	l.run(time.Second)
	var skipped int64
	l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
		if f.Seq%20 != 0 {
			skipped++
			f.Release()
			return nil
		}
		f.Seq -= skipped
		f.Data = append(f.Data[:0], 0x78)
		return f
	}
	l.run(4 * time.Second)
	l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame { f.Seq -= skipped; return f }
	from := l.tick
	l.run(2 * time.Second)
	// The packets between the last whole one and the first of one byte are
	// missing without a word; they are concealed as a late packet would be.
	s := l.playout.Stats()
	if s.Lost != 0 || s.Restarts != 0 || l.concealedSince(100) != 0 {
		t.Errorf("a pause is taken for loss: %+v, %d ticks concealed", s, l.concealedSince(100))
	}
	if l.infos[100].Silent {
		t.Error("no comfort noise in the pause")
	}
	if n := breaks(l.pcm, (from+5)*codec.FrameSamples); n != 0 {
		t.Errorf("after the pause the sound breaks %d times", n)
	}
	if got := l.latency[len(l.latency)-1]; got > 40*ms {
		t.Errorf("after the pause latency is %v", got)
	}
}

func TestPlayoutRestarts(t *testing.T) {
	const far = 1 << 40
	for _, test := range []struct {
		name   string
		edit   func(f *codec.EncodedFrame)
		resets int
	}{
		{"numbers jump on", func(f *codec.EncodedFrame) { f.Seq += 100000 }, 2},
		{"numbers jump back", func(f *codec.EncodedFrame) { f.Seq -= 100000 }, 2},
		{"times jump on", func(f *codec.EncodedFrame) { f.PTS += time.Hour }, 1},
		{"times jump back", func(f *codec.EncodedFrame) { f.PTS -= time.Hour }, 1},
		{"other stream", func(f *codec.EncodedFrame) { f.Stream = 9 }, 2},
		{"everything", func(f *codec.EncodedFrame) { f.Stream, f.Seq, f.PTS = 9, f.Seq-far, f.PTS+far }, 2},
	} {
		l := newLink(t, loud)
		l.run(time.Second)
		l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame { test.edit(f); return f }
		l.run(time.Second)
		s := l.playout.Stats()
		if s.Restarts != 1 || l.decoder.resets != test.resets || s.Lost != 0 {
			t.Errorf("%s: %+v, %d decoder resets, want %d", test.name, s, l.decoder.resets, test.resets)
		}
		if n := breaks(l.pcm, codec.SampleRate*13/10); n != 0 {
			t.Errorf("%s: 300 ms later the sound still breaks %d times", test.name, n)
		}
		if d := l.infos[len(l.infos)-1].Delay; d > 40*ms {
			t.Errorf("%s: delay %v", test.name, d)
		}
	}
}

func TestPlayoutCorruptPackets(t *testing.T) {
	l := edited(t, func(_ *link, f *codec.EncodedFrame) *codec.EncodedFrame {
		if f.Seq%5 == 0 {
			f.Data = f.Data[:f.Seq%10]
		}
		return f
	})
	if s := l.playout.Stats(); s.Corrupt != 10 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
	if n := breaks(l.pcm, 5*codec.SampleRate/2); n != 0 {
		t.Errorf("afterwards the sound breaks %d times", n)
	}
}

func TestPlayoutInboxIsBounded(t *testing.T) {
	l := newLink(t, loud)
	for seq := range int64(inboxPackets + 100) {
		l.playout.Push(fakePacket(seq, seq*960, 960), time.Duration(seq)*codec.FrameDuration)
	}
	var dst codec.AudioFrame
	l.playout.Pull(&dst, (inboxPackets+100)*codec.FrameDuration, DecodeAlways)
	if s := l.playout.Stats(); s.Overflowed != 100 || s.Skipped < 480 {
		t.Errorf("%+v: want 100 dropped at the inbox, the rest skipped down to 400 ms", s)
	}
}

func TestPlayoutClose(t *testing.T) {
	if _, err := NewPlayout(PlayoutConfig{}); err == nil {
		t.Error("no decoder, no error")
	}
	l := newLink(t, loud)
	l.run(time.Second)
	f := fakePacket(50, 50*960, 960)
	l.playout.Push(f.Retain(), time.Second)
	if err := errors.Join(l.playout.Close(), l.playout.Close()); err != nil || l.decoder.closed != 1 {
		t.Errorf("close: %v, decoder closed %d times", err, l.decoder.closed)
	}
	l.playout.Push(f.Retain(), time.Second)
	dst := codec.AudioFrame{1}
	if info := l.playout.Pull(&dst, time.Second, DecodeAlways); !info.Silent || dst[0] != 0 {
		t.Errorf("after close: %+v", info)
	}
	f.Release() // the last one, or this panics
}

func TestPlayoutAllocatesNothing(t *testing.T) {
	l := newLink(t, wave)
	l.run(time.Second)
	var dst codec.AudioFrame
	n := testing.AllocsPerRun(500, func() {
		now := time.Duration(l.tick) * codec.FrameDuration
		copied := fakePacket(l.seq-1, (l.seq-1)*960, 960)
		copied.Redundant = true
		l.playout.Push(copied, now)
		if l.seq%7 != 0 {
			f := fakePacket(l.seq, l.seq*960, 960)
			f.Level = codec.AudioLevel{DBov: uint8(40 + l.seq/20%3*10), Valid: true}
			l.playout.Push(f, now)
		}
		l.seq++
		l.tick++
		l.playout.Pull(&dst, now, 50)
	})
	if n != 0 && !raceEnabled {
		t.Errorf("%v allocations a tick", n)
	}
	if s := l.playout.Stats(); s.Undecoded < 200 || s.Recovered < 20 {
		t.Errorf("%+v", s)
	}
}
