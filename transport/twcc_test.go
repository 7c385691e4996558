package transport

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

// allCame is feedback that n packets from base on came, each twccTick times step
// after the one before.
func allCame(dst []byte, base uint16, n int, reference uint32, step byte) []byte {
	dst = append(dst[:0], 2<<6|twccFormat, twccType, 0, 0, 0, 0, 0, 9, 0, 0, 0, 20)
	dst = binary.BigEndian.AppendUint16(dst, base)
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	dst = binary.BigEndian.AppendUint32(dst, reference<<8)
	dst = binary.BigEndian.AppendUint16(dst, 1<<13|uint16(n))
	for range n {
		dst = append(dst, step)
	}
	for len(dst)%4 != 0 {
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint16(dst[2:], uint16(len(dst)/4-1))
	return dst
}

// TestTWCCAsOthersWriteIt reads what another's recorder writes: runs, vectors of
// either kind, gaps, and packets that overtook each other.
func TestTWCCAsOthersWriteIt(t *testing.T) {
	rec := twcc.NewRecorder(5)
	want := make(map[uint16]time.Duration)
	lost := 0
	seq, at := uint16(65000), time.Second
	for i := range 4000 {
		seq++
		switch {
		case i%97 < 20 && i > 2000:
			lost++ // runs
			continue
		case i%7 == 3 && i < 1000:
			lost++
			continue
		case i%50 == 0:
			at += 300 * ms // large deltas
		}
		at += time.Duration(i%9) * twccTick
		want[seq] = at
		rec.Record(20, seq, at.Microseconds())
		if i%60 != 0 {
			continue
		}
		for _, p := range rec.BuildFeedbackPacket() {
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			r, ok := parseTWCC(b)
			if !ok {
				t.Fatalf("refused: %v", p)
			}
			reference := time.Duration(r.reference) * twccReference
			told := 0
			for w := r.walk(); w.next(); told += w.n {
				for n := range w.n {
					number := r.base + uint16(w.index+n)
					came, ok := want[number]
					if ok != w.received {
						t.Fatalf("packet %d: received is %v", number, w.received)
					}
					if d := came - reference - w.arrival; ok && (!w.timed || d < 0 || d >= twccTick) {
						t.Fatalf("packet %d came at %v, read %v", number, came, reference+w.arrival)
					}
					delete(want, number)
					if !w.received {
						lost--
					}
				}
			}
			if told != r.count {
				t.Fatalf("%d of %d packets were told of", told, r.count)
			}
		}
	}
	if len(want) > 60 || lost > 60 {
		t.Errorf("%d packets and %d losses were never told of", len(want), lost)
	}
}

func TestTWCCRefuses(t *testing.T) {
	good := allCame(nil, 7, 5, 3, 1)
	if _, ok := parseTWCC(good); !ok {
		t.Fatal("what is right was refused")
	}
	change := func(at int, v byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = v
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":               nil,
		"another kind":          change(0, 2<<6|1),
		"another type":          change(1, 206),
		"cut short":             good[:twccHeader-1],
		"no chunk":              good[:twccHeader],
		"deltas missing":        good[:len(good)-8],
		"a run of nothing":      change(21, 0),
		"more told than chunks": change(14, 1),
	} {
		if _, ok := parseTWCC(b); ok {
			t.Errorf("%s was taken", name)
		}
	}
	e := newEstimator(1)
	e.start = 1e6
	for range 10 {
		e.number(1000, time.Second)
	}
	if e.feedback(allCame(nil, 8, 3, 0, 1), time.Second) {
		t.Error("feedback on what was never sent was taken")
	}
	if !e.feedback(allCame(nil, 0, 3, 0, 1), time.Second) || e.log.flight != 7000 {
		t.Errorf("%d bytes are on their way, want 7000", e.log.flight)
	}
	if !e.feedback(allCame(nil, 0, 3, 0, 1), time.Second) || e.log.flight != 7000 || e.told != 3 {
		t.Error("what is told twice counts twice")
	}
}

// check says what must hold of an estimator, whatever it is told.
func (e *estimator) check(t *testing.T) {
	t.Helper()
	flight, packets := 0, 0
	for i := range e.log.ring {
		if p := &e.log.ring[i]; p.state == sentOnWay {
			flight += int(p.bytes)
			packets++
		}
	}
	if flight != e.log.flight || packets != e.log.packets {
		t.Fatalf("%d bytes in %d packets are on their way, counted %d in %d", flight, packets, e.log.flight, e.log.packets)
	}
	if e.known() && !(e.bps >= estimateMin && e.bps <= estimateMax) || math.IsNaN(e.bps) {
		t.Fatalf("the estimate is %v", e.bps)
	}
	if e.lost < 0 || e.lost > e.told || e.loss < 0 || e.loss > 1 {
		t.Fatalf("%d of %d packets are lost, %v before", e.lost, e.told, e.loss)
	}
}

// FuzzTWCC sends packets, and takes whatever comes for feedback on them.
func FuzzTWCC(f *testing.F) {
	f.Add(uint8(200), allCame(nil, 0, 100, 1, 4), allCame(nil, 100, 90, 2, 200))
	f.Add(uint8(20), []byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 14, 1, 0, 0, 0, 0xd5, 0x55, 0xaa, 0xaa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, allCame(nil, 3, 9, 0, 0))
	f.Add(uint8(255), []byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 1, 0, 0, 0, 0x1f, 0xff, 0x7f, 0xff, 0x1f, 0xff, 0x7f, 0xff}, []byte{})
	f.Fuzz(func(t *testing.T, n uint8, one, two []byte) {
		if len(one) > 2000 || len(two) > 2000 {
			return
		}
		e := newEstimator(3)
		e.start = 1e6
		now := time.Second
		for round := range 6 {
			for i := range int(n) {
				e.number(100+i*7, now)
				now += time.Duration(i%5) * ms
			}
			switch round {
			case 2:
				e.probe.start(e, 3e6, now)
			case 3:
				e.probe.close(e)
			}
			for _, b := range [][]byte{one, two} {
				if _, ok := parseTWCC(b); ok {
					// Who refuses it is pion, before we see it; what it takes means the
					// same to us.
					var theirs rtcp.TransportLayerCC
					if err := theirs.Unmarshal(b); err == nil && len(theirs.RecvDeltas) > len(b) {
						t.Fatal("more deltas than bytes")
					}
				}
				e.feedback(b, now)
				e.check(t)
			}
			e.tick(now)
			e.congested(now)
			e.check(t)
		}
		now += 10 * time.Second
		e.tick(now)
		if e.check(t); e.log.flight != 0 {
			t.Fatalf("%d bytes are on their way for ever", e.log.flight)
		}
	})
}

// TestFeedbackAllocations: nothing is allocated for what is sent, numbered, told
// of and judged.
func TestFeedbackAllocations(t *testing.T) {
	e, step := feedbackLoop()
	for range 300 {
		step()
	}
	if n := testing.AllocsPerRun(300, step); n > 0 {
		t.Errorf("%v allocations for 40 packets and the feedback on them", n)
	}
	if e.log.flight != 0 || e.loss != 0 || e.decreased != 0 {
		t.Errorf("%+v", e.log.flight)
	}
}

// feedbackLoop sends 40 packets in 100 ms, 3.8 Mb/s, all of which come, and has
// the client say so.
func feedbackLoop() (e *estimator, step func()) {
	e = newEstimator(1)
	e.start = 4e6
	now := 16 * twccReference
	var b []byte
	return e, func() {
		base, began := uint16(e.log.next), now
		for range 40 {
			now += 10 * twccTick
			e.number(1200, now)
		}
		b = allCame(b, base, 40, uint32(began/twccReference), 10)
		now = began + 2*twccReference
		if !e.feedback(b, now) {
			panic("refused")
		}
		e.tick(now)
	}
}

// BenchmarkFeedback is one feedback on 40 packets: a client at 3.8 Mb/s sends ten
// of them a second. The sending is in it.
func BenchmarkFeedback(b *testing.B) {
	_, step := feedbackLoop()
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
