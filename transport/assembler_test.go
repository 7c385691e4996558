package transport

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"mixdown/codec"
)

const ms = time.Millisecond

// cut makes n frames of the layers pattern, the first one a key frame, and
// cuts each into packets.
func cut(t testing.TB, layers string, n int, firstSeq uint16, firstTime uint32) (*simEncoder, [][]simPacket) {
	t.Helper()
	enc := &simEncoder{layers: layers}
	p := videoPacketiser{max: 1000, seq: firstSeq, timeBase: firstTime, pictureID: 0x7ffe, tl0: 254}
	frames := make([][]simPacket, 0, n)
	for i := range n {
		f := enc.frame(time.Duration(i)*33*ms, i == 0)
		p.start(f, f.PTS)
		frames = append(frames, nil)
		for v, ok := p.next(0); ok; v, ok = p.next(0) {
			var pkt outPacket
			v.write(&pkt, simVideoSSRC, 96)
			frames[i] = append(frames[i], simPacket{header: pkt.Header.Clone(), payload: slices.Clone(pkt.Payload)})
			v.frame.Release()
		}
	}
	return enc, frames
}

// rig drives an assembler packet by packet.
type rig struct {
	t     testing.TB
	asm   *assembler
	check *decodeChecker
	now   time.Duration
	got   []int
	last  codec.EncodedFrame // fields of the last frame, without its data
}

func newRig(t testing.TB, enc *simEncoder, cfg assemblerConfig) *rig {
	r := &rig{t: t, asm: newAssembler(cfg), check: newDecodeChecker(enc), now: time.Second}
	r.asm.setRTT(40 * ms)
	t.Cleanup(r.asm.close)
	return r
}

func (r *rig) push(pkts ...simPacket) {
	r.t.Helper()
	for _, p := range pkts {
		r.asm.push(&p.header, p.payload, r.now, p.rtx)
		r.pop()
	}
}

func (r *rig) pop() {
	r.t.Helper()
	for f := r.asm.pop(r.now); f != nil; f = r.asm.pop(r.now) {
		for _, fault := range r.check.frame(f) {
			r.t.Errorf("delivered %s", fault)
		}
		r.got = append(r.got, r.check.last)
		r.last.PTS, r.last.Capture, r.last.Arrival = f.PTS, f.Capture, f.Arrival
		r.last.Key, r.last.Width, r.last.Height = f.Key, f.Width, f.Height
		r.last.Discardable, r.last.Temporal, r.last.LayerSync = f.Discardable, f.Temporal, f.LayerSync
		r.last.Stream, r.last.Codec = f.Stream, f.Codec
		f.Release()
	}
}

// pass lets time go by in steps of 1 ms.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	for end := r.now + d; r.now < end; {
		r.now += ms
		r.pop()
	}
}

func (r *rig) want(frames ...int) {
	r.t.Helper()
	if !slices.Equal(r.got, frames) {
		r.t.Errorf("got frames %v, want %v; %+v", r.got, frames, r.asm.stats)
	}
}

func (r *rig) wantPLI(want bool) {
	r.t.Helper()
	if got := r.asm.takePLI(r.now); got != want {
		r.t.Errorf("takePLI = %v, want %v", got, want)
	}
}

var nackAndRTX = assemblerConfig{NACK: true, RTX: true}

func TestAssemblerFields(t *testing.T) {
	enc, f := cut(t, "01", 4, 100, 1<<32-2000) // the timestamp wraps with frame 1
	r := newRig(t, enc, nackAndRTX)
	// The sender's clock said noon at the timestamp of frame 0.
	noon := codec.NTPTimeOf(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	r.asm.senderReport(noon, 1<<32-2000)
	r.push(f[0]...)
	if r.last.Codec != codec.VP8 || !r.last.Key || r.last.Width != 640 || r.last.Height != 360 ||
		r.last.Capture != noon || r.last.PTS != 0 || r.last.Arrival != r.now || r.last.Stream == 0 {
		t.Errorf("key frame came as %+v", &r.last)
	}
	stream := r.last.Stream
	r.push(f[1][:1]...)
	r.now += 7 * ms
	r.push(f[1][1:]...)
	if r.last.Key || !r.last.Discardable || r.last.Temporal != 1 || !r.last.LayerSync || r.last.Width != 0 ||
		r.last.PTS != 33*ms || r.last.Arrival != r.now || r.last.Stream != stream {
		t.Errorf("T1 frame came as %+v", &r.last)
	}
	if d := r.last.Capture.Sub(noon) - 33*ms; d < -time.Microsecond || d > time.Microsecond {
		t.Errorf("captured %v after noon, want 33 ms", r.last.Capture.Sub(noon))
	}
}

// TestAssemblerRestart: a sender that starts anew with the same SSRC.
func TestAssemblerRestart(t *testing.T) {
	enc, f := cut(t, "0", 3, 100, 1000)
	r := newRig(t, enc, nackAndRTX)
	r.push(slices.Concat(f...)...)
	stream, pts := r.last.Stream, r.last.PTS
	r.now += 200 * ms
	enc2, g := cut(t, "0", 3, 40000, 77)
	r.check = newDecodeChecker(enc2)
	r.push(slices.Concat(g...)...)
	// The first packet of the new life was taken for a stray: asked for again.
	r.pass(10 * ms)
	nacks := r.asm.appendNACKs(nil, r.now)
	if !slices.Equal(nacks, []uint16{40000}) {
		t.Fatalf("asked for %v, want the first packet", nacks)
	}
	again := g[0][0]
	again.rtx = true
	r.push(again)
	r.want(0, 1, 2, 0, 1, 2)
	if r.last.Stream == stream {
		t.Error("the new life has the old stream id")
	}
	if r.last.PTS <= pts+200*ms-time.Millisecond {
		t.Errorf("PTS went from %v to %v across the restart", pts, r.last.PTS)
	}
}

// TestAssemblerNACKs follows the requests for one packet through their life.
func TestAssemblerNACKs(t *testing.T) {
	enc, f := cut(t, "0", 3, 10, 0)
	r := newRig(t, enc, nackAndRTX)
	r.push(f[0]...)
	lost := f[1][2].header.SequenceNumber
	r.push(slices.Delete(slices.Clone(f[1]), 2, 3)...)
	r.push(f[2]...)
	start := r.now
	var asked []time.Duration
	for r.now < start+time.Second {
		if n := r.asm.appendNACKs(nil, r.now); len(n) > 0 {
			if !slices.Equal(n, []uint16{lost}) {
				t.Fatalf("asked for %v, want %d", n, lost)
			}
			asked = append(asked, r.now-start)
		}
		at, ok := r.asm.nextDeadline(r.now)
		if !ok {
			break
		}
		if at <= r.now {
			t.Fatalf("nextDeadline is %v at %v", at, r.now)
		}
		r.now = at
		r.pop()
		if r.asm.needKey {
			break
		}
	}
	// After the reorder window, after a round trip and a margin, and no more:
	// the third would come after it was given up.
	if want := []time.Duration{5 * ms, 55 * ms}; !slices.Equal(asked, want) {
		t.Errorf("asked at %v, want %v", asked, want)
	}
	if gone := r.now - start; gone != 5*ms+100*ms {
		t.Errorf("gave up after %v, want the reorder window and 2.5 round trips", gone)
	}
	r.wantPLI(true)
}

// TestAssemblerAsksNothingForDiscardable: nobody waits for the answer.
func TestAssemblerAsksNothingForDiscardable(t *testing.T) {
	enc, f := cut(t, "01", 2, 10, 0)
	r := newRig(t, enc, nackAndRTX)
	r.push(f[0]...)
	if len(f[1]) < 2 {
		t.Fatal("the frame has one packet")
	}
	r.push(f[1][0])
	r.push(simPacket{header: rtp.Header{SequenceNumber: f[1][1].header.SequenceNumber + 1}}) // padding
	r.pass(50 * ms)
	if n := r.asm.appendNACKs(nil, r.now); len(n) != 0 {
		t.Errorf("asked for %v of a discardable frame", n)
	}
}

func TestAssemblerWithoutNACK(t *testing.T) {
	enc, f := cut(t, "0", 3, 10, 0)
	r := newRig(t, enc, assemblerConfig{})
	r.push(f[0]...)
	r.push(f[1][1:]...)
	r.push(f[2]...)
	r.pass(10 * ms)
	if n := r.asm.appendNACKs(nil, r.now); len(n) != 0 {
		t.Errorf("asked for %v though NACK was not negotiated", n)
	}
	r.wantPLI(true)
}

// TestAssemblerPLI: at once, then each 500 ms while packets come and no key
// frame does; never into silence.
func TestAssemblerPLI(t *testing.T) {
	enc, f := cut(t, "0", 100, 10, 0)
	r := newRig(t, enc, nackAndRTX)
	var at []time.Duration
	start := r.now
	for i := 1; i < 60; i++ { // the key frame never came
		r.push(f[i]...)
		for range 33 {
			if r.asm.takePLI(r.now) {
				at = append(at, r.now-start)
			}
			r.pass(ms)
		}
	}
	if len(at) != 4 || at[0] > 5*ms {
		t.Fatalf("asked at %v, want at once and then three times in 1.9 s", at)
	}
	for i := 1; i < len(at); i++ {
		if d := at[i] - at[i-1]; d < pliInterval || d > pliInterval+40*ms {
			t.Errorf("%v between two requests", d)
		}
	}
	r.pass(2 * time.Second)
	r.asm.takePLI(r.now) // of what came last
	r.pass(2 * time.Second)
	r.wantPLI(false)
	if _, ok := r.asm.nextDeadline(r.now); ok {
		t.Error("a deadline though nothing comes")
	}
}

// TestAssemblerRequestKey: the decoder's wish goes out, at most each 500 ms,
// until a key frame has come; frames are delivered meanwhile.
func TestAssemblerRequestKey(t *testing.T) {
	enc, f := cut(t, "0", 3, 10, 0)
	r := newRig(t, enc, nackAndRTX)
	r.push(f[0]...)
	r.wantPLI(false)
	r.asm.requestKey()
	r.wantPLI(true)
	r.push(f[1]...)
	r.wantPLI(false)
	r.pass(pliInterval)
	r.wantPLI(true)
	r.want(0, 1)
}

// TestAssemblerKeyOnTheWay: no request while a key frame is coming in.
func TestAssemblerKeyOnTheWay(t *testing.T) {
	enc, f := cut(t, "0", 1, 10, 0)
	r := newRig(t, enc, nackAndRTX)
	for _, p := range f[0][:len(f[0])-1] {
		r.push(p)
		r.pass(30 * ms)
		r.wantPLI(false)
	}
	r.push(f[0][len(f[0])-1])
	r.want(0)
}

// TestAssemblerResumesAtKey: a key frame ends every wait for what was before.
func TestAssemblerResumesAtKey(t *testing.T) {
	enc := &simEncoder{layers: "0"}
	p := videoPacketiser{max: 1000}
	var f [][]simPacket
	for i := range 4 {
		fr := enc.frame(time.Duration(i)*33*ms, i%2 == 0)
		p.start(fr, fr.PTS)
		f = append(f, nil)
		for v, ok := p.next(0); ok; v, ok = p.next(0) {
			var pkt outPacket
			v.write(&pkt, 1, 96)
			f[i] = append(f[i], simPacket{header: pkt.Header.Clone(), payload: slices.Clone(pkt.Payload)})
			v.frame.Release()
		}
	}
	r := newRig(t, enc, nackAndRTX)
	r.push(f[0]...)
	r.push(f[1][1:]...)
	r.push(f[2]...)
	r.pass(6 * ms)
	r.push(f[3]...)
	r.want(0, 2, 3)
	r.wantPLI(false)
}

func TestAssemblerBounds(t *testing.T) {
	enc, f := cut(t, "0", 60, 10, 0)
	pkts := slices.Concat(f...)
	t.Run("packets", func(t *testing.T) {
		r := newRig(t, enc, assemblerConfig{NACK: true, RTX: true, MaxPackets: 64})
		r.asm.setRTT(time.Second)
		r.push(f[0]...)
		r.push(pkts[len(f[0])+1:]...) // all at one instant
		if r.asm.stats.Overflows == 0 {
			t.Error("no overflow was counted")
		}
		if held := r.asm.highest - r.asm.next; held > 64 {
			t.Errorf("%d packets are held", held)
		}
		r.wantPLI(true)
	})
	t.Run("frame bytes", func(t *testing.T) {
		r := newRig(t, enc, assemblerConfig{NACK: true, MaxFrameBytes: 10_000})
		r.push(f[0]...) // 12,000 bytes
		r.push(f[1]...)
		r.want()
		if r.asm.stats.Overflows != 1 {
			t.Errorf("%+v", r.asm.stats)
		}
		r.wantPLI(true)
	})
	t.Run("far ahead", func(t *testing.T) {
		r := newRig(t, enc, nackAndRTX)
		r.push(f[0]...)
		far := f[1][0]
		far.header.SequenceNumber += 2000
		r.push(far)
		if r.asm.stats.Overflows != 1 || r.asm.missing != 0 {
			t.Errorf("%d missing, %+v", r.asm.missing, r.asm.stats)
		}
	})
}

// TestAssemblerCorruptKey: a key frame without its start code is no key frame.
func TestAssemblerCorruptKey(t *testing.T) {
	enc, f := cut(t, "0", 2, 10, 0)
	r := newRig(t, enc, nackAndRTX)
	f[0][0].payload[vp8DescriptorSize+3] = 0
	r.push(f[0]...)
	r.push(f[1]...)
	r.want()
	r.wantPLI(true)
}

// TestReorderWindowLearns: on a path that reorders by 20 ms the assembler soon
// stops asking for what is only late.
func TestReorderWindowLearns(t *testing.T) {
	res := simulation{
		up: spec(t, "delay=20ms,jitter=20ms,order=free"), down: spec(t, "delay=20ms"),
		frames: 1000, rtt: 50 * ms, seed: 1,
	}.run(t)
	if share := float64(res.assembler.NACKs) / float64(res.assembler.Packets); share > 0.05 {
		t.Errorf("%.3f of the packets were asked for though none was lost", share)
	}
}

func TestAssemblerAllocs(t *testing.T) {
	_, f := cut(t, "01", 200, 10, 0)
	asm := newAssembler(nackAndRTX)
	defer asm.close()
	asm.setRTT(40 * ms)
	now := time.Second
	nacks := make([]uint16, 0, 64)
	i := 0
	step := func() {
		for k, p := range f[i%len(f)] {
			if k == 1 && i%7 == 3 {
				continue // now and then a loss
			}
			asm.push(&p.header, p.payload, now, false)
		}
		i++
		for fr := asm.pop(now); fr != nil; fr = asm.pop(now) {
			fr.Release()
		}
		nacks = asm.appendNACKs(nacks[:0], now)
		asm.takePLI(now)
		asm.nextDeadline(now)
		now += 33 * ms
	}
	for range 50 {
		step()
	}
	// The pools may be emptied by a collection in between, and under the race
	// detector they forget at random: then a frame may cost one each time.
	most := 0.5
	if raceDetector {
		most = 1
	}
	if n := testing.AllocsPerRun(100, step); n > most {
		t.Errorf("%v allocations a frame, want at most %v", n, most)
	}
}

// BenchmarkStageAssemble is one packet of ten that make a picture.
func BenchmarkStageAssemble(b *testing.B) {
	_, f := cut(b, "0", 1, 10, 0)
	asm := newAssembler(nackAndRTX)
	defer asm.close()
	var seq uint16
	b.ReportAllocs()
	for i := range b.N {
		p := f[0][i%len(f[0])]
		p.header.SequenceNumber = seq
		seq++
		asm.push(&p.header, p.payload, time.Duration(i), false)
		if fr := asm.pop(time.Duration(i)); fr != nil {
			fr.Release()
		}
	}
}
