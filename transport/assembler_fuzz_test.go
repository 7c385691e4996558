package transport

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"mixdown/codec"
)

// invariants checks what holds of an assembler between any two calls.
func (a *assembler) invariants(t *testing.T, now time.Duration) {
	t.Helper()
	if !a.started {
		return
	}
	if held := a.highest - a.next + 1; held < 0 || held > int64(len(a.slots)) {
		t.Fatalf("window of %d packets, bound %d", held, len(a.slots))
	}
	missing, bufs := 0, 0
	for q := a.next; q <= a.highest; q++ {
		switch s := a.at(q); {
		case s.seq != q:
			t.Fatalf("slot of %d holds %d", q, s.seq)
		case s.state == slotMissing:
			missing++
		case s.state != slotHave:
			t.Fatalf("packet %d in the window is in state %d", q, s.state)
		}
	}
	if missing != a.missing {
		t.Fatalf("%d missing, counted %d", missing, a.missing)
	}
	for i := range a.slots {
		s := &a.slots[i]
		if s.buf != nil {
			bufs++
			if s.seq < a.next || s.seq > a.highest {
				t.Fatalf("packet %d is held outside the window [%d, %d]", s.seq, a.next, a.highest)
			}
		}
	}
	if a.highest >= a.next && a.at(a.highest).state != slotHave {
		t.Fatal("the highest packet is not held")
	}
	if at, ok := a.nextDeadline(now); ok && at <= now {
		t.Fatalf("deadline %v is not after %v", at, now)
	}
}

// FuzzAssembler reads a script of packets: per packet a step of the sequence
// number, one of the timestamp, flags, a step of time, and payload.
func FuzzAssembler(f *testing.F) {
	const (
		marker = 1 << iota
		rtx
		absolute // the sequence step is times 97
		back     // the steps go back
		valid    // a well-formed descriptor is put in front
		ask      // NACKs and PLI are fetched
	)
	f.Add([]byte{1, 1, marker | valid, 1, 20, 1, 1, marker | valid, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{9, 1, marker | valid | absolute, 1, 3, 0, 0, 0, 9, 1, marker | valid | absolute | back, 1, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		a := newAssembler(assemblerConfig{NACK: true, RTX: len(script)%2 == 0, MaxPackets: 32, MaxFrameBytes: 4096})
		var h rtp.Header
		now := time.Second
		haveKey := false
		var stream codec.StreamID
		drain := func() {
			for fr := a.pop(now); fr != nil; fr = a.pop(now) {
				if fr.Stream != stream {
					stream, haveKey = fr.Stream, false
				}
				haveKey = haveKey || fr.Key
				if !haveKey {
					t.Fatal("a frame came before any key frame")
				}
				if len(fr.Data) == 0 || len(fr.Data) > 4096 {
					t.Fatalf("a frame of %d bytes", len(fr.Data))
				}
				if fr.Key && (fr.Width <= 0 || fr.Height <= 0) {
					t.Fatalf("a key frame of %dx%d", fr.Width, fr.Height)
				}
				fr.Release()
				a.invariants(t, now)
			}
		}
		payload := make([]byte, 0, 2048)
		for len(script) >= 5 {
			seqStep, timeStep, flags, wait, n := script[0], script[1], script[2], script[3], int(script[4])
			script = script[5:]
			n = min(n, len(script))
			step := uint16(seqStep)
			if flags&absolute != 0 {
				step *= 97
			}
			if flags&back != 0 {
				step, timeStep = -step, -timeStep
			}
			h.SequenceNumber += step
			h.Timestamp += uint32(timeStep) * 1000
			h.Marker = flags&marker != 0
			payload = payload[:0]
			if flags&valid != 0 {
				d := vp8Descriptor{
					Start: n%3 != 0, NonReference: wait%5 == 0, HasPictureID: true, LongPicture: true,
					PictureID: h.SequenceNumber / 3, HasTL0: true, TL0: uint8(h.SequenceNumber / 5),
					HasTID: true, TID: wait >> 6, LayerSync: wait&0x20 != 0,
				}
				payload = payload[:d.marshal(payload[:vp8DescriptorSize])]
				if wait&0x10 != 0 {
					payload = append(payload, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01)
				}
			}
			payload = append(payload, script[:n]...)
			script = script[n:]
			now += time.Duration(wait&0x0f) * 3 * time.Millisecond
			a.push(&h, payload, now, flags&rtx != 0)
			drain()
			if flags&ask != 0 {
				a.setRTT(time.Duration(wait) * time.Millisecond)
				a.appendNACKs(nil, now)
				a.takePLI(now)
			}
			a.invariants(t, now)
		}
		// Whatever is held, no wait is without an end.
		for range 1000 {
			at, ok := a.nextDeadline(now)
			if !ok {
				break
			}
			now = at
			drain()
			a.appendNACKs(nil, now)
			a.takePLI(now)
		}
		if _, ok := a.nextDeadline(now); ok {
			t.Fatal("deadlines without end")
		}
		a.close()
		for i := range a.slots {
			if a.slots[i].buf != nil {
				t.Fatal("a packet is held after close")
			}
		}
	})
}

// FuzzAudioReceiver: any packet gives a frame or nothing.
func FuzzAudioReceiver(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 3, 192, 1, 2, 0, 2, 0, 0, 7, 128, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newAudioReceiver()
		now := time.Second
		var last time.Duration
		var h rtp.Header
		for len(script) >= 7 {
			h.SequenceNumber = uint16(script[0])<<8 | uint16(script[1])
			h.Timestamp = uint32(script[2])<<24 | uint32(script[3])<<16 | uint32(script[4])<<8 | uint32(script[5])
			n := min(int(script[6]), len(script)-7)
			fr := r.push(&h, script[7:7+n], parseAudioLevel(script[:1]), now)
			script = script[7+n:]
			now += time.Millisecond
			if fr == nil {
				continue
			}
			if len(fr.Data) != n || n == 0 || fr.Seq <= 0 || !fr.Level.Valid || fr.Arrival <= last {
				t.Fatalf("frame %+v of %d bytes", fr, n)
			}
			last = fr.Arrival
			fr.Release()
		}
	})
}
