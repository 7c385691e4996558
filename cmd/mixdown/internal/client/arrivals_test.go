package client

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"mixdown/codec"
	"mixdown/transport"
	"mixdown/transport/transporttest"
)

// TestFeedbackTells compares what the feedback says with what came, as another's
// parser reads it.
func TestFeedbackTells(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name string
		seqs []uint16
		at   []time.Duration
	}{
		{"one", []uint16{7}, []time.Duration{time.Hour}},
		{"holes and a wrap", []uint16{65533, 65534, 1, 2, 9}, []time.Duration{100 * ms, 101 * ms, 102 * ms, 102 * ms, 140 * ms}},
		{"out of order, far apart", []uint16{5, 8, 7, 6, 30}, []time.Duration{100 * ms, 800 * ms, 801 * ms, 805 * ms, 3 * time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var l transportLog
			want := make(map[uint16]time.Duration)
			for i, seq := range tc.seqs {
				l.came(seq, 77, tc.at[i])
				want[seq] = tc.at[i]
			}
			var got rtcp.TransportLayerCC
			l.write(99, time.Hour, func(b []byte) {
				if err := got.Unmarshal(b); err != nil {
					t.Fatal(err)
				}
			})
			if got.SenderSSRC != 99 || got.MediaSSRC != 77 || got.BaseSequenceNumber != tc.seqs[0] {
				t.Fatalf("%v", got)
			}
			at, seq := time.Duration(got.ReferenceTime)*feedbackReference, got.BaseSequenceNumber
			deltas := got.RecvDeltas
			for _, chunk := range got.PacketChunks {
				for _, symbol := range chunk.(*rtcp.StatusVectorChunk).SymbolList {
					came, ok := want[seq]
					if ok != (symbol != 0) {
						t.Fatalf("packet %d: told %d", seq, symbol)
					}
					if ok {
						at += time.Duration(deltas[0].Delta) * time.Microsecond
						deltas = deltas[1:]
						if d := came - at; d < 0 || d >= feedbackTick {
							t.Errorf("packet %d came at %v, told %v", seq, came, at)
						}
					}
					seq++
				}
			}
			if len(deltas) > 0 || int(got.PacketStatusCount) != int(uint16(tc.seqs[len(tc.seqs)-1]-tc.seqs[0]))+1 {
				t.Errorf("%d deltas are left, %d packets are told of", len(deltas), got.PacketStatusCount)
			}
			l.write(99, time.Hour, func([]byte) { t.Error("told twice") })
		})
	}
}

// TestFeedbackIsBounded: numbers may do what they like.
func TestFeedbackIsBounded(t *testing.T) {
	var l transportLog
	seq, now := uint16(1), time.Second
	send := func(b []byte) {
		var got rtcp.TransportLayerCC
		if err := got.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
	}
	step := func() {
		seq = seq*25173 + 13849
		now += time.Duration(seq) * time.Microsecond
		if l.came(seq>>(seq&7), 1, now) {
			l.write(1, now, send)
		}
	}
	for range 100_000 {
		step()
	}
	send = func([]byte) {}
	if n := testing.AllocsPerRun(1000, step); n > 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// TestPathIsFound: the server finds out by the client's feedback that the path
// carries larger pictures, and what it does for that is no fault of the stream.
func TestPathIsFound(t *testing.T) {
	s := startServer(t, transport.Config{})
	path := transporttest.Spec{Delay: 10 * time.Millisecond, RateBps: 6_000_000}
	c, stop := run(t, Config{URL: s.url, Conn: transporttest.WrapPacketConn(udpSocket(t), path, transporttest.Spec{}, 3)})
	s.peer.PaceVideo(600_000, 1_500_000)
	key := true
	for i := 0; ; i++ {
		f := mix(i, false)
		s.peer.WriteAudio(f)
		f.Release()
		v := codec.NewEncodedFrame(3100)
		u := pictureClip(1).Units[1]
		if key || i%50 == 0 { // it answers no requests
			u = pictureClip(1).Units[0]
		}
		v.Codec, v.Stream, v.PTS, v.Key = codec.VP8, 9, time.Duration(i)*codec.FrameDuration, u.Key
		v.Data = append(v.Data, u.Data...)
		if i%2 == 0 { // 600 kb/s
			key = s.peer.WriteVideo(v) == codec.NeedKey
		}
		v.Release()
		if s.peer.Stats().EstimateBps > 1_500_000 {
			break
		}
		if i > int(patience/codec.FrameDuration) {
			t.Fatalf("the estimate is %d", s.peer.Stats().EstimateBps)
		}
		time.Sleep(codec.FrameDuration) // real media, on a real path
	}
	s.until(t, "word of it", func() bool {
		return len(s.reports) > 0 && s.reports[len(s.reports)-1].EstimateBps > 1_500_000
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	if st := c.Stats().VideoReceived; st.Probes == 0 || st.Frames == 0 || st.Duplicates > 0 || st.Lost > 0 {
		t.Errorf("%+v", st)
	}
}
