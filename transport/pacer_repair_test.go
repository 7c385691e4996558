package transport

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"mixdown/codec"
)

// TestPacerRepairs: RFC 4588, within the spacing.
func TestPacerRepairs(t *testing.T) {
	p := testPacer(t, nil)
	p.setRTT(50 * ms)
	send(t, p, time.Second, paceVideo(1, 0, 5000, "key"), codec.Sent)
	out, now := drain(t, p, time.Second)
	lost := out[2]
	p.nack([]uint16{lost.SequenceNumber, lost.SequenceNumber, lost.SequenceNumber + 1000}, now)
	again, _ := drain(t, p, now)
	if len(again) != 1 {
		t.Fatalf("%d repairs, want 1; %+v", len(again), p.stats)
	}
	r := again[0]
	if r.SSRC != 30 || r.PayloadType != 97 || r.Timestamp != lost.Timestamp || r.Marker != lost.Marker ||
		binary.BigEndian.Uint16(r.payload) != lost.SequenceNumber || !bytes.Equal(r.payload[2:], lost.payload) {
		t.Errorf("repair %+v of %+v", r.Header, lost.Header)
	}
	now = r.at
	p.nack([]uint16{lost.SequenceNumber}, now+49*ms)
	if again, _ = drain(t, p, now+49*ms); len(again) != 0 {
		t.Error("repaired twice within a round trip")
	}
	p.nack([]uint16{lost.SequenceNumber}, now+50*ms)
	if again, _ = drain(t, p, now+50*ms); len(again) != 1 || again[0].SequenceNumber != r.SequenceNumber+1 {
		t.Errorf("second repair: %+v", again)
	}
	want := pacerStats{NACKed: 5, NACKUnknown: 1, NACKSpaced: 2, RepairPackets: 2}
	got := pacerStats{NACKed: p.stats.NACKed, NACKUnknown: p.stats.NACKUnknown, NACKSpaced: p.stats.NACKSpaced, RepairPackets: p.stats.RepairPackets}
	if got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	now += 2 * historyAge
	p.nack([]uint16{lost.SequenceNumber}, now)
	if again, _ = drain(t, p, now); len(again) != 0 || p.stats.NACKUnknown != 2 {
		t.Error("repaired what is long gone")
	}
}

// TestPacerRepairsWithoutRTX repeats the packet bit for bit.
func TestPacerRepairsWithoutRTX(t *testing.T) {
	p := testPacer(t, func(c *pacerConfig) { c.RTXPT, c.RTXSSRC = 0, 0 })
	send(t, p, 0, paceVideo(1, 0, 5000, "key"), codec.Sent)
	out, now := drain(t, p, 0)
	p.nack([]uint16{out[1].SequenceNumber}, now)
	again, _ := drain(t, p, now)
	if len(again) != 1 || again[0].kind != rtxPacket {
		t.Fatalf("%+v", again)
	}
	a, _ := out[1].Marshal()
	b, _ := again[0].Marshal()
	if !bytes.Equal(a, b) || !bytes.Equal(out[1].payload, again[0].payload) {
		t.Error("the repeated packet differs")
	}
}

// TestPacerRepairOrder: after sound, before new video.
func TestPacerRepairOrder(t *testing.T) {
	p := testPacer(t, nil)
	send(t, p, 0, paceVideo(1, 0, 3000, "key"), codec.Sent)
	out, now := drain(t, p, 0)
	send(t, p, now, paceVideo(1, 33*ms, 3000, "T0"), codec.Sent)
	p.nack([]uint16{out[0].SequenceNumber}, now)
	f := paceAudio(0)
	p.pushAudio(f, now)
	f.Release()
	more, _ := drain(t, p, now+time.Second)
	if more[0].kind != audioPacket || more[1].kind != rtxPacket || more[2].kind != videoDataPacket {
		t.Errorf("sent in the order %v %v %v", more[0].kind, more[1].kind, more[2].kind)
	}
}

// TestPacerRepairBudget: however much is asked for, repairs stay within their
// share of the target and what was saved up.
func TestPacerRepairBudget(t *testing.T) {
	const target = 1_000_000
	p := testPacer(t, func(c *pacerConfig) { c.TargetBps = target })
	now := time.Second
	repaired := 0
	for i := range 300 {
		kind := "T0"
		if i == 0 {
			kind = "key"
		}
		send(t, p, now, paceVideo(1, time.Duration(i)*33*ms, 4000, kind), codec.Sent)
		out, _ := drain(t, p, now)
		all := make([]uint16, 0, historySize)
		for back := range uint16(historySize) {
			all = append(all, out[len(out)-1].SequenceNumber-back)
		}
		p.nack(all, now)
		out, _ = drain(t, p, now)
		for _, s := range ofKind(out, rtxPacket) {
			repaired += len(s.payload)
		}
		now += 33 * ms
	}
	seconds := (300 * 33 * ms).Seconds()
	limit := int(repairShare * target / 8 * (seconds + 1) * 1.02)
	if repaired > limit || repaired < limit*8/10 {
		t.Errorf("%d bytes of repairs, want at most %d", repaired, limit)
	}
	if p.stats.NACKOverBudget == 0 {
		t.Error("nothing was over the budget")
	}
}
