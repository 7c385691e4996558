package transport

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"mixdown/codec"
)

func TestAudioReceiver(t *testing.T) {
	r := newAudioReceiver()
	noon := codec.NTPTimeOf(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	r.senderReport(noon, 1<<32-960)
	var stream codec.StreamID
	var first int64
	level := codec.AudioLevel{DBov: 30, Voice: true, Valid: true}
	for i := range 5 { // both numbers wrap
		now := time.Second + time.Duration(i)*20*ms
		h := rtp.Header{SequenceNumber: 65534 + uint16(i), Timestamp: 1<<32 - 960 + uint32(i)*960}
		f := r.push(&h, []byte{byte(i), 9}, level, now)
		if f == nil {
			t.Fatalf("packet %d was not taken", i)
		}
		if i == 0 {
			stream, first = f.Stream, f.Seq
		}
		wantPTS := time.Duration(i) * 20 * ms
		if f.Codec != codec.Opus || f.Stream != stream || f.Seq != first+int64(i) || f.PTS != wantPTS ||
			f.Arrival != now || f.Level != level || string(f.Data) != string([]byte{byte(i), 9}) {
			t.Errorf("packet %d came as %+v", i, f)
		}
		if d := f.Capture.Sub(noon) - wantPTS; d < -time.Microsecond || d > time.Microsecond {
			t.Errorf("packet %d was captured %v after noon", i, f.Capture.Sub(noon))
		}
		f.Release()
	}
	if f := r.push(&rtp.Header{SequenceNumber: 4, Timestamp: 5000}, nil, codec.AudioLevel{}, 0); f != nil {
		t.Error("padding gave a frame")
	}
	if f := r.push(&rtp.Header{SequenceNumber: 5}, make([]byte, 1501), codec.AudioLevel{}, 0); f != nil {
		t.Error("1501 bytes gave a frame")
	}
	if f := r.push(&rtp.Header{SequenceNumber: 30000}, []byte{1}, codec.AudioLevel{}, 0); f != nil {
		t.Error("a stray gave a frame")
	}
	f := r.push(&rtp.Header{SequenceNumber: 30001, Timestamp: 77}, []byte{1}, codec.AudioLevel{}, 3*time.Second)
	if f == nil || f.Stream == stream || f.Seq <= first+5 || f.Capture != 0 || f.PTS < 80*ms {
		t.Fatalf("after a restart: %+v", f)
	}
	f.Release()
	want := audioReceiverStats{Packets: 6, Bytes: 11, Padding: 1, Oversize: 1, Stray: 1, Restarts: 1}
	if r.stats != want {
		t.Errorf("stats %+v, want %+v", r.stats, want)
	}
}

func TestParseAudioLevel(t *testing.T) {
	if l := parseAudioLevel(nil); l.Valid {
		t.Error("a level out of nothing")
	}
	if l := parseAudioLevel([]byte{0x80 | 33}); l != (codec.AudioLevel{DBov: 33, Voice: true, Valid: true}) {
		t.Errorf("%+v", l)
	}
	if l := parseAudioLevel([]byte{127, 0}); l != (codec.AudioLevel{DBov: codec.Silence, Valid: true}) {
		t.Errorf("two-byte form: %+v", l)
	}
}

func TestAudioReceiverAllocs(t *testing.T) {
	r := newAudioReceiver()
	payload := make([]byte, 100)
	var h rtp.Header
	if n := testing.AllocsPerRun(1000, func() {
		h.SequenceNumber++
		h.Timestamp += 960
		r.push(&h, payload, codec.AudioLevel{}, time.Second).Release()
	}); n > 0.5 {
		t.Errorf("%v allocations a packet", n)
	}
}
