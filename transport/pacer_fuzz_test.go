package transport

import (
	"testing"
	"time"

	"mixdown/codec"
)

// FuzzPacer pushes, asks and sends as a script says.
func FuzzPacer(f *testing.F) {
	f.Add([]byte{0, 9, 3, 50, 4, 1, 1, 200, 3, 9, 2, 5, 3, 255})
	f.Add([]byte{0, 255, 5, 1, 1, 255, 1, 255, 1, 255, 3, 255, 6, 3, 0, 10})
	f.Add([]byte{8, 0x35, 0, 255, 3, 50, 5, 60, 7, 20, 3, 255, 5, 250, 8, 0x35, 3, 255, 7, 60, 6, 1, 3, 9, 7, 3, 5, 200, 5, 200, 3, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		p := newPacer(pacerConfig{AudioSSRC: 1, VideoSSRC: 2, RTXSSRC: 3, RTXPT: uint8(len(script) % 2), VideoTWCC: uint8(len(script) / 2 % 2), AudioTWCC: 1, TargetBps: 300_000, Seed: uint64(len(script))})
		now, pts, stream := time.Second, time.Duration(0), codec.StreamID(1)
		var pkt outPacket
		seq, seen := uint16(0), false
		for len(script) >= 2 {
			op, v := script[0], int(script[1])
			script = script[2:]
			switch op % 9 {
			case 0, 1, 2:
				f := paceVideo(stream, pts, v*100, [...]string{"key", "T0", "T1"}[op%9])
				p.pushVideo(f, now)
				f.Release()
				pts += time.Duration(v%4) * 10 * ms
			case 3:
				for range v {
					ok, _ := p.next(&pkt, now)
					if !ok {
						break
					}
					if pkt.size() > packetBudget-16 {
						t.Fatalf("a packet of %d bytes", pkt.size())
					}
					if pkt.Kind == videoDataPacket {
						if seen && pkt.Header.SequenceNumber != seq+1 {
							t.Fatalf("sequence %d after %d", pkt.Header.SequenceNumber, seq)
						}
						seq, seen = pkt.Header.SequenceNumber, true
					}
				}
			case 4:
				p.nack([]uint16{seq - uint16(v), seq, uint16(v) * 257}, now)
			case 5:
				now += time.Duration(v) * ms
				p.setTarget(v*10_000, now)
				p.setRTT(time.Duration(v) * ms)
			case 6:
				stream = codec.StreamID(v%3 + 1)
				f := paceAudio(pts)
				p.pushAudio(f, now)
				f.Release()
			}
			switch op % 9 {
			case 7: // as a client says it, true or not
				n := min(int(p.path.est.log.next), v)
				p.twcc(allCame(nil, uint16(p.path.est.log.next)-uint16(n), v, uint32(now/twccReference)+uint32(v%3), byte(v)), now)
				p.news(now)
			case 8:
				p.setPace(v%16*100_000, v/16*300_000, now)
				p.report(float64(v)/255, time.Duration(v)*ms, now)
				p.remb(float64(v)*20_000, now)
			}
			p.path.est.check(t)
			queuedBytes := 0
			for i := range p.videoQ.n {
				queuedBytes += len(p.videoQ.ring[(p.videoQ.first+i)%len(p.videoQ.ring)].frame.Data)
			}
			if p.video.frame != nil {
				queuedBytes += len(p.video.frame.Data) - p.video.off
			}
			if queuedBytes != p.queuedN {
				t.Fatalf("%d bytes wait, counted %d", queuedBytes, p.queuedN)
			}
			if p.hist.count > historySize || p.hist.bytes > historyBytes || p.audioQ.len() > audioQueueMax {
				t.Fatal("a bound is broken")
			}
		}
		p.close()
		if p.hist.bytes != 0 || p.hist.count != 0 {
			t.Fatal("the history holds something after close")
		}
	})
}
