package client

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"mixdown/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEndpoint(t *testing.T) {
	for _, tc := range []struct {
		url, name, want string
		role            Role
	}{
		{"http://h:1/r/standup", "", "http://h:1/v1/rooms/standup/participants", Participant},
		{"http://h:1/r/standup/", "A B", "http://h:1/v1/rooms/standup/participants?name=A+B", Participant},
		{"https://h/r/a%2Eb#token=x", "", "https://h/v1/rooms/a%2Eb/participants", Participant},
		{"http://h/v1/rooms/r/participants?maxWidth=640", "N", "http://h/v1/rooms/r/participants?maxWidth=640&name=N", Participant},
		{"http://h/whip/r", "", "http://h/whip/r", Publisher},
		{"http://h/whep/r", "", "http://h/whep/r", Viewer},
	} {
		got, role, err := Endpoint(tc.url, tc.name)
		if err != nil || got != tc.want || role != tc.role {
			t.Errorf("Endpoint(%q, %q) = %q, %v, %v: want %q, %v", tc.url, tc.name, got, role, err, tc.want, tc.role)
		}
	}
	for _, url := range []string{"", "h:1/r/x", "ftp://h/r/x", "http:///r/x", "http://h/", "http://h/r", "http://h/r/a/b", "http://h/v1/rooms/r", "http://h/x/y", ":"} {
		if got, _, err := Endpoint(url, ""); err == nil {
			t.Errorf("Endpoint(%q) = %q: want an error", url, got)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	silent := Loop(nil)
	for name, cfg := range map[string]Config{
		"no URL":                 {},
		"a viewer that sends":    {URL: "http://h/whep/r", Audio: silent},
		"a publisher of nothing": {URL: "http://h/whip/r"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestPacerKeepsMediaTime(t *testing.T) {
	start := time.Unix(1000, 0)
	p := pacer{start: start}
	now := start
	for i := 1; i <= 3000; i++ {
		wait := p.advance(time.Second/30, now)
		now = now.Add(wait)
		if i%7 == 0 {
			now = now.Add(13 * time.Millisecond) // we were held up
		}
		if want := time.Duration(i) * (time.Second / 30); p.pts != want {
			t.Fatalf("unit %d at %v: want %v", i, p.pts, want)
		}
	}
	if p.skipped != 0 {
		t.Errorf("%v skipped without need", p.skipped)
	}
	// Beyond the bound time is left out, not sent in a burst.
	now = now.Add(3 * time.Second)
	if wait := p.advance(time.Second/30, now); wait != 0 {
		t.Errorf("late by 3 s, still waits %v", wait)
	}
	if p.skipped < 2*time.Second || p.skipped > 3*time.Second {
		t.Errorf("%v skipped: want most of 3 s", p.skipped)
	}
}

func TestPausesOfTheSenderAreNoGaps(t *testing.T) {
	var a Arrivals
	a.add(100, 0)
	a.add(520, 400) // DTX: 400 of these 420 were meant
	a.add(540, 0)
	var lengths []time.Duration
	for _, g := range a.GapsBetween(90, 560) {
		lengths = append(lengths, g.Length)
	}
	if want := []time.Duration{10, 20, 20}; !slices.Equal(lengths, want) {
		t.Errorf("gaps %v: want %v", lengths, want)
	}
}

func TestGapsBetween(t *testing.T) {
	var a Arrivals
	for _, t := range []int{10, 20, 50, 60, 100} {
		a.add(time.Duration(t), 0)
	}
	var lengths []time.Duration
	for _, g := range a.GapsBetween(15, 80) {
		lengths = append(lengths, g.Length)
	}
	// From the start of the window, between arrivals, and to its end.
	if want := []time.Duration{5, 30, 10, 20}; !slices.Equal(lengths, want) {
		t.Errorf("gaps %v: want %v", lengths, want)
	}
	if q := Quantile(a.GapsBetween(15, 80), 1); q != 30 {
		t.Errorf("longest %v: want 30", q)
	}
	if q := Quantile(nil, 0.5); q != 0 {
		t.Errorf("quantile of nothing %v", q)
	}
	for range maxArrivals {
		a.add(1000, 0)
	}
	if len(a.at) > maxArrivals {
		t.Errorf("%d arrivals are kept: want at most %d", len(a.at), maxArrivals)
	}
}

// sim feeds an assembler with packets of frames.
type sim struct {
	stats  ReceivedStats
	asm    *assembler
	frames []Frame
	pleas  int
}

func newSim() *sim {
	s := &sim{}
	s.asm = newAssembler(&s.stats, func(f Frame) {
		f.Data = slices.Clone(f.Data)
		s.frames = append(s.frames, f)
	}, func() { s.pleas++ })
	return s
}

// packetsOf cuts a frame in packets of 4 bytes. tl0 and tid go into the descriptor.
func packetsOf(key bool, seq uint16, ts uint32, tl0, tid byte, count int) []*rtp.Packet {
	frame := []byte{0x10 | 1, 0, 0, 0}
	if key {
		frame = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0, 0}
	}
	for len(frame) < 4*count {
		frame = append(frame, byte(len(frame)))
	}
	// The size of the first partition: what is behind the frame's head.
	head := 3
	if key {
		head = 10
	}
	size := len(frame) - head
	frame[0] |= byte(size&7) << 5
	frame[1], frame[2] = byte(size>>3), byte(size>>11)
	var out []*rtp.Packet
	for i := 0; len(frame) > 0; i++ {
		n := min(4, len(frame))
		d := []byte{0x80, 0x80 | 0x40 | 0x20, 0x80, byte(ts / 3000), tl0, tid << 6}
		if i == 0 {
			d[0] |= 0x10
		}
		out = append(out, &rtp.Packet{
			Header:  rtp.Header{SequenceNumber: seq + uint16(i), Timestamp: ts, Marker: n == len(frame)},
			Payload: append(d, frame[:n]...),
		})
		frame = frame[n:]
	}
	return out
}

func (s *sim) push(now time.Duration, packets ...*rtp.Packet) {
	for _, p := range packets {
		s.asm.push(p, now)
	}
}

func TestAssembler(t *testing.T) {
	key := packetsOf(true, 65534, 0, 7, 0, 3) // across the wrap: 65534, 65535, 0
	a := packetsOf(false, 1, 3000, 7, 1, 2)
	b := packetsOf(false, 3, 6000, 8, 0, 2)
	c := packetsOf(false, 5, 9000, 8, 1, 2)
	later := packetsOf(false, 7, 12000, 9, 0, 1)
	const late = 2 * giveUpAfter

	t.Run("in order", func(t *testing.T) {
		s := newSim()
		s.push(1, slices.Concat(key, a, b, c)...)
		if len(s.frames) != 4 || !s.frames[0].Key || s.frames[0].Width != 640 || s.frames[3].PTS != 100*time.Millisecond {
			t.Fatalf("frames %+v", s.frames)
		}
		if len(s.frames[0].Data) != 12 || len(s.frames[1].Data) != 8 {
			t.Errorf("%d and %d bytes: want 12 and 8", len(s.frames[0].Data), len(s.frames[1].Data))
		}
	})
	t.Run("reordered and twice", func(t *testing.T) {
		s := newSim()
		s.push(1, key...)
		s.push(1, b[1], a[1], b[0], b[0], a[0], key[0])
		if len(s.frames) != 3 || s.stats.Reordered != 3 || s.stats.Duplicates != 2 || s.stats.Lost != 0 {
			t.Fatalf("%d frames, %+v: want 3, 3 reordered, 2 duplicates", len(s.frames), s.stats)
		}
	})
	t.Run("waits for what is sent again", func(t *testing.T) {
		s := newSim()
		s.push(1, key...)
		s.push(1, a[0])
		s.push(1+giveUpAfter/2, b...)
		if len(s.frames) != 1 {
			t.Fatalf("%d frames while one packet is missing: want 1", len(s.frames))
		}
		s.push(1+giveUpAfter/2, a[1])
		if len(s.frames) != 3 || s.stats.Missing != 1 || s.stats.Lost != 0 {
			t.Errorf("%d frames, %+v: want 3, 1 missing, none lost", len(s.frames), s.stats)
		}
	})
	t.Run("loss of the upper layer costs one frame", func(t *testing.T) {
		s := newSim()
		s.push(1, key...)
		s.pleas = 0
		s.push(1, a[0])
		s.push(1, b...)
		s.push(1+late, c...)
		if len(s.frames) != 3 || s.pleas != 0 || s.stats.Broken != 1 || s.stats.Lost != 1 {
			t.Errorf("%d frames, %d pleas for a key frame, %+v: want 3, none, 1 broken", len(s.frames), s.pleas, s.stats)
		}
	})
	t.Run("loss of the base layer needs a key frame", func(t *testing.T) {
		s := newSim()
		s.push(1, slices.Concat(key, a)...)
		s.pleas = 0
		s.push(1, b[0])
		s.push(1, c...)
		s.push(1+late, later...)
		if len(s.frames) != 2 || s.pleas == 0 || s.stats.Undecodable != 2 {
			t.Errorf("%d frames, %d pleas, %+v: want 2, some, 2 undecodable", len(s.frames), s.pleas, s.stats)
		}
		s.push(1+late, packetsOf(true, 8, 15000, 1, 0, 3)...)
		if len(s.frames) != 3 || !s.frames[2].Key {
			t.Errorf("%d frames after a key frame: want 3", len(s.frames))
		}
	})
	t.Run("a jump of the sender", func(t *testing.T) {
		s := newSim()
		s.push(1, key...)
		s.push(1, packetsOf(true, 30000, 90000, 1, 0, 3)...)
		if len(s.frames) != 2 {
			t.Errorf("%d frames: want the one behind the jump too", len(s.frames))
		}
	})
}

func FuzzAssembler(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0x90, 0x80, 1, 2, 3, 1, 1, 0x91})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newSim()
		now := time.Duration(1)
		for len(data) >= 3 {
			n := min(int(data[2]&31), len(data)-3)
			p := &rtp.Packet{Header: rtp.Header{
				SequenceNumber: uint16(data[0]) << 2, Timestamp: uint32(data[1]) * 3000, Marker: data[2]&0x80 != 0,
			}, Payload: data[3 : 3+n]}
			s.push(now, p)
			now += time.Duration(data[1]) * time.Millisecond
			data = data[3+n:]
		}
		if s.stats.Frames != uint64(len(s.frames)) {
			t.Fatalf("%d frames counted, %d handed out", s.stats.Frames, len(s.frames))
		}
	})
}

func TestSenderClock(t *testing.T) {
	c := senderClock{ntp: codec.NTPTime(100 << 32), rtp: 100_000, rate: 48000}
	if got := c.capture(100_000 + 24_000).Sub(c.ntp); got != 500*time.Millisecond {
		t.Errorf("half a second of samples is %v", got)
	}
	if got := c.capture(100_000 - 48_000).Sub(c.ntp); got != -time.Second {
		t.Errorf("a second before the report is %v", got)
	}
	if got := (&senderClock{rate: 48000}).capture(5); got != 0 {
		t.Errorf("without a report: %v", got)
	}
}
