package transport

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"mixdown/codec"
)

// TestSilenceIsNotSent: of silence only the beginning goes out, and its last
// packet before somebody speaks again; numbers go on without a gap, time does
// not stop, and what follows a pause is marked (RFC 7587 section 4.2).
func TestSilenceIsNotSent(t *testing.T) {
	type spot struct {
		tick   int
		marker bool
	}
	// A tick each: s is sound, r is sound in which nobody is heard, d is silence.
	for _, tc := range []struct {
		name, ticks string
		all         bool
		want        []spot
	}{
		{"speech", "ssss", false, []spot{{0, true}, {1, false}, {2, false}, {3, false}}},
		{"a pause", "sdddds", false, []spot{{0, true}, {1, false}, {4, true}, {5, false}}},
		{"one silent frame", "sdsds", false, []spot{{0, true}, {1, false}, {2, false}, {3, false}, {4, false}}},
		{"background refreshed", "sdddrdddss", false, []spot{{0, true}, {1, false}, {4, true}, {5, false}, {7, true}, {8, false}, {9, false}}},
		{"silent from the start", "ddddss", false, []spot{{0, true}, {3, true}, {4, false}, {5, false}}},
		{"not wanted", "sddds", true, []spot{{0, true}, {1, false}, {2, false}, {3, false}, {4, false}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := testPacer(t, func(c *pacerConfig) { c.AllAudio = tc.all })
			var out []sent
			for i, c := range tc.ticks {
				now := time.Duration(i) * codec.FrameDuration
				f := paceAudio(now)
				if f.DTX = c == 'd'; c == 's' {
					f.Heard = append(f.Heard, codec.Contributor{CSRC: 77, LevelDBov: 20})
				}
				before := p.stats.AudioSilent
				p.pushAudio(f, now)
				f.Release()
				if p.stats.AudioSilent < before {
					t.Errorf("tick %d: the count of silence goes back to %d", i, p.stats.AudioSilent)
				}
				packets, _ := drain(t, p, now)
				out = append(out, packets...)
			}
			var got []spot
			for i, pkt := range out {
				got = append(got, spot{int(pkt.Timestamp-p.audioTime(0)) / codec.FrameSamples, pkt.Marker})
				if pkt.SequenceNumber != out[0].SequenceNumber+uint16(i) {
					t.Errorf("packet %d has number %d after %d", i, pkt.SequenceNumber, out[0].SequenceNumber)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("sent %v, want %v", got, tc.want)
			}
			p.unhold() // what was held to the end is not sent either
			if n := uint64(len(tc.ticks) - len(out)); p.stats.AudioSilent != n {
				t.Errorf("%d counted as silent, want %d", p.stats.AudioSilent, n)
			}
			// In silence as at any time the report is computed, not remembered.
			epoch := time.Unix(1e9, 0)
			r := senderReports(p, "cn", epoch, epoch.Add(time.Hour))[0].(*rtcp.SenderReport)
			if r.RTPTime != p.audioTime(time.Hour) || int(r.PacketCount) != len(out) {
				t.Errorf("report says %d after %d packets", r.RTPTime, r.PacketCount)
			}
		})
	}
}

// TestSilenceToAClient is the same through a connection, which stays up.
func TestSilenceToAClient(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, p, _ := join(t, e, h, RoleViewer, clientConfig{audio: "recvonly"})
	for i := range 102 {
		f := audioFrame(time.Duration(i) * codec.FrameDuration)
		f.DTX = i > 0 && i < 101
		p.WriteAudio(f)
		f.Release()
	}
	c.wait(t, "four packets", func() bool { return len(c.packets["audio"]) == 4 })
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.packets["audio"]
	if d := got[3].Timestamp - got[0].Timestamp; d != 101*codec.FrameSamples || got[3].SequenceNumber != got[0].SequenceNumber+3 ||
		!got[2].Marker || got[3].Marker || got[2].Timestamp != got[3].Timestamp-codec.FrameSamples {
		t.Errorf("after silence came %+v and %+v, %d ticks on", got[2].Header, got[3].Header, d)
	}
	if s := p.Stats(); s.AudioSilent > 99 { // published once a second
		t.Errorf("%d packets of silence", s.AudioSilent)
	}
}

// TestLevelsOfTheHeard: where RFC 6465 is negotiated, each packet says who is
// heard and how loud.
func TestLevelsOfTheHeard(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
	id := p.plan.lines[0].ext.csrcLevel
	if id == 0 {
		t.Fatal("not negotiated")
	}
	const n = 20
	play(p, n)
	c.wait(t, "sound", func() bool { return len(c.packets["audio"]) == n })
	for i, pkt := range c.packets["audio"] {
		if level := pkt.GetExtension(id); !slices.Equal(pkt.CSRC, []uint32{77}) || !slices.Equal(level, []byte{20}) {
			t.Errorf("packet %d: CSRCs %v, levels %v", i, pkt.CSRC, level)
		}
	}
}
