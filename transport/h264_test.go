package transport

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/h264/h264test"
	"mixdown/codec/h264/nal"
)

// picture264 makes picture n of a stream, as an encoder would: a key frame with
// its parameter sets, each slice of as many bytes as sizes says. ref says whether
// others refer to it.
func picture264(n int, key, ref bool, sizes ...int) []byte {
	var units [][]byte
	if key {
		units = append(units, h264test.SPS(640, 360), []byte{0x68, 0xce, 0x3c, 0x80})
	}
	head := byte(0x41)
	switch {
	case key:
		head = 0x65
	case !ref:
		head = 0x01
	}
	random := rand.New(rand.NewPCG(uint64(n), 1))
	for i, size := range sizes {
		unit := make([]byte, size)
		for j := range unit {
			unit[j] = byte(1 + random.IntN(255)) // no start codes
		}
		unit[0], unit[1] = head, unit[1]&0x7f
		if i == 0 {
			unit[1] |= 0x80 // first_mb_in_slice is 0
		}
		units = append(units, unit)
	}
	return h264test.Frame(units...)
}

func frame264(n int, key bool, sizes ...int) *codec.EncodedFrame {
	data := picture264(n, key, true, sizes...)
	f := codec.NewEncodedFrame(len(data))
	f.Data = append(f.Data, data...)
	f.Codec, f.Stream, f.Key, f.PTS = codec.H264, 1, key, time.Duration(n)*33*ms
	return f
}

// cut264 packetises pictures and returns their packets and their data.
func cut264(frames ...*codec.EncodedFrame) (packets [][]simPacket, data [][]byte) {
	return cut264To(1000, frames...)
}

// cut264To is cut264 with packets of at most so many bytes.
func cut264To(most int, frames ...*codec.EncodedFrame) (packets [][]simPacket, data [][]byte) {
	p := videoPacketiser{max: most, seq: 65530, timeBase: 99}
	for _, f := range frames {
		data = append(data, bytes.Clone(f.Data))
		p.start(f, f.PTS)
		var list []simPacket
		for v, ok := p.next(0); ok; v, ok = p.next(0) {
			var pkt outPacket
			v.write(&pkt, simVideoSSRC, 102)
			list = append(list, simPacket{header: pkt.Header.Clone(), payload: slices.Clone(pkt.Payload)})
			v.frame.Release()
		}
		packets = append(packets, list)
	}
	return packets, data
}

// TestH264Packets: what is cut is put together again, in packets as RFC 6184 has
// them.
func TestH264Packets(t *testing.T) {
	for _, tc := range []struct {
		name  string
		frame *codec.EncodedFrame
		kinds []unitKind
	}{
		{"small key frame", frame264(0, true, 300), []unitKind{unitAggregate, unitSingle}},
		{"large key frame", frame264(0, true, 2500), []unitKind{unitAggregate, unitFragment, unitFragment, unitFragment}},
		{"one packet exactly", frame264(0, true, 1000), []unitKind{unitAggregate, unitSingle}},
		{"one byte more", frame264(0, true, 1001), []unitKind{unitAggregate, unitFragment, unitFragment}},
		{"slices", frame264(0, true, 900, 1500, 20), []unitKind{unitAggregate, unitSingle, unitFragment, unitFragment, unitSingle}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			packets, data := cut264(tc.frame)
			var kinds []unitKind
			for i, p := range packets[0] {
				var h h264Packet
				if err := h.parse(p.payload); err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, h.kind)
				if len(p.payload) > 1002 {
					t.Errorf("packet %d has %d bytes", i, len(p.payload))
				}
				if last := i == len(packets[0])-1; p.header.Marker != last {
					t.Errorf("packet %d: marker %v", i, p.header.Marker)
				}
			}
			if !slices.Equal(kinds, tc.kinds) {
				t.Errorf("packets %v, want %v", kinds, tc.kinds)
			}
			r := newRig264(t)
			r.push(packets[0]...)
			r.want(data[0])
			if f := &r.last; !f.Key || f.Width != 640 || f.Height != 360 || f.Codec != codec.H264 || f.Discardable {
				t.Errorf("came as %+v", f)
			}
		})
	}
}

// rig264 drives an assembler of H.264.
type rig264 struct {
	t    testing.TB
	asm  *assembler
	now  time.Duration
	got  [][]byte
	last codec.EncodedFrame
}

func newRig264(t testing.TB) *rig264 {
	r := &rig264{t: t, asm: newAssembler(assemblerConfig{Codec: codec.H264, NACK: true, RTX: true}), now: time.Second}
	r.asm.setRTT(40 * ms)
	t.Cleanup(r.asm.close)
	return r
}

func (r *rig264) push(pkts ...simPacket) {
	for _, p := range pkts {
		r.asm.push(&p.header, p.payload, r.now, p.rtx)
		r.pop()
	}
}

func (r *rig264) pop() {
	for f := r.asm.pop(r.now); f != nil; f = r.asm.pop(r.now) {
		r.got = append(r.got, bytes.Clone(f.Data))
		r.last.Key, r.last.Width, r.last.Height, r.last.Codec, r.last.Discardable = f.Key, f.Width, f.Height, f.Codec, f.Discardable
		f.Release()
	}
}

func (r *rig264) pass(d time.Duration) {
	for end := r.now + d; r.now < end; {
		r.now += ms
		r.pop()
	}
}

func (r *rig264) want(data ...[]byte) {
	r.t.Helper()
	if !slices.EqualFunc(r.got, data, bytes.Equal) {
		var got, want []int
		for _, g := range r.got {
			got = append(got, len(g))
		}
		for _, w := range data {
			want = append(want, len(w))
		}
		r.t.Errorf("got %d pictures of %v bytes, want %d of %v; %+v", len(got), got, len(want), want, r.asm.stats)
	}
}

// TestH264Order: what comes in any order comes out in the right one.
func TestH264Order(t *testing.T) {
	packets, data := cut264(frame264(0, true, 2500), frame264(1, false, 700), frame264(2, false, 1800, 900), frame264(3, false, 30))
	r := newRig264(t)
	r.push(packets[0]...)
	rest := slices.Concat(packets[1:]...)
	slices.Reverse(rest)
	r.push(rest...)
	r.want(data...)
}

// TestH264Loss: after a loss that is not repaired nothing is delivered but a key
// frame, and that one at once.
func TestH264Loss(t *testing.T) {
	packets, data := cut264(frame264(0, true, 2500), frame264(1, false, 1700), frame264(2, false, 800), frame264(3, true, 1900), frame264(4, false, 20))
	for lost := range packets[1] {
		r := newRig264(t)
		r.push(packets[0]...)
		r.push(slices.Delete(slices.Clone(packets[1]), lost, lost+1)...)
		r.push(packets[2]...)
		r.want(data[0])
		r.pass(time.Second)
		r.want(data[0])
		if !r.asm.takePLI(r.now) {
			t.Error("no key frame is asked for")
		}
		r.push(packets[3]...)
		r.push(packets[4]...)
		r.want(data[0], data[3], data[4])
	}
	// A repair in time and nothing is lost.
	r := newRig264(t)
	r.push(packets[0]...)
	r.push(packets[1][0])
	r.push(packets[2]...)
	r.now += 50 * ms
	repair := packets[1][1]
	repair.rtx = true
	r.push(repair)
	r.want(data[0], data[1], data[2])
}

// TestH264LateJoin: who comes in the middle waits for a key frame, and parts of
// one are none.
func TestH264LateJoin(t *testing.T) {
	packets, data := cut264(frame264(0, false, 1700), frame264(1, true, 2500), frame264(2, true, 2500))
	r := newRig264(t)
	r.push(packets[0]...)
	r.push(packets[1][1:]...) // its parameter sets are lost
	r.pass(time.Second)
	r.want()
	r.push(packets[2]...)
	r.want(data[2])
}

// TestH264SetsApart: a sender that sends its parameter sets once has them put in
// front of its later key frames.
func TestH264SetsApart(t *testing.T) {
	packets, data := cut264(frame264(0, true, 500), frame264(1, true, 700), frame264(2, false, 300), frame264(3, true, 1500))
	seq := packets[0][0].header.SequenceNumber
	for n := range packets {
		if n == 1 || n == 3 {
			packets[n] = packets[n][1:] // which is what has the sets
		}
		for i := range packets[n] {
			packets[n][i].header.SequenceNumber = seq
			seq++
		}
	}
	r := newRig264(t)
	r.push(packets[0]...)
	r.push(packets[1]...)
	r.want(data[0], data[1])
	r.push(packets[3]...) // the third is lost
	r.want(data[0], data[1])
	r.pass(time.Second)
	r.want(data[0], data[1], data[3])
	if !r.last.Key || r.last.Width != 640 {
		t.Errorf("came as %+v", &r.last)
	}
}

// TestH264Senders: what other senders do that we do not.
func TestH264Senders(t *testing.T) {
	data := picture264(0, true, true, 900)
	var units [][]byte
	for unit, rest := nal.Next(data); unit != nil; unit, rest = nal.Next(rest) {
		units = append(units, unit)
	}
	aud, sei, prefix := []byte{0x09, 0xf0}, []byte{0x06, 5, 1, 0x80}, []byte{0x6e, 0x40, 1, 2}
	for _, tc := range []struct {
		name     string
		payloads [][]byte
		want     []byte
	}{
		{"a packet a unit", units, data},
		{"delimiter and information", slices.Concat([][]byte{aud, sei}, units), h264test.Frame(slices.Concat([][]byte{aud, sei}, units)...)},
		{"extensions are left out", slices.Insert(slices.Clone(units), 2, prefix), data},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig264(t)
			next := picture264(1, false, true, 40)
			want := [][]byte{}
			for n, payloads := range [][][]byte{tc.payloads, {next[4:]}} {
				for i, p := range payloads {
					pkt := simPacket{payload: p}
					pkt.header.SequenceNumber = uint16(n*20 + i)
					if n == 1 {
						pkt.header.SequenceNumber = uint16(len(tc.payloads))
					}
					pkt.header.Timestamp = uint32(n * 3000)
					pkt.header.Marker = i == len(payloads)-1
					r.push(pkt)
				}
			}
			want = append(want, tc.want, next)
			r.want(want...)
		})
	}
}

// TestH264Malformed: what makes no sense is counted and dropped.
func TestH264Malformed(t *testing.T) {
	for name, payload := range map[string][]byte{
		"forbidden bit":     {0x81, 1, 2},
		"cut off aggregate": {24, 0, 9, 1, 2},
		"empty aggregate":   {24},
		"empty unit":        {24, 0, 0},
		"empty fragment":    {28, 0x85},
		"whole fragment":    {28, 0xc5, 1},
	} {
		r := newRig264(t)
		r.push(simPacket{payload: payload})
		if r.asm.stats.Malformed != 1 || r.asm.stats.Packets != 0 {
			t.Errorf("%s: %+v", name, r.asm.stats)
		}
	}
	// A fragment that does not go on with what began.
	packets, data := cut264(frame264(0, true, 2500), frame264(1, true, 400))
	packets[0][2].payload[1] = packets[0][2].payload[1]&^0x1f | 1
	r := newRig264(t)
	r.push(packets[0]...)
	r.push(packets[1]...)
	r.want(data[1])
	if r.asm.stats.Malformed != 1 {
		t.Errorf("%+v", r.asm.stats)
	}
}

func TestH264AssemblerAllocatesNothing(t *testing.T) {
	var frames []*codec.EncodedFrame
	for n := range 40 {
		frames = append(frames, frame264(n, n == 0, 2500))
	}
	packets, _ := cut264(frames...)
	asm := newAssembler(assemblerConfig{Codec: codec.H264, NACK: true, RTX: true})
	defer asm.close()
	n := 0
	run := func() {
		for i := range packets[n] {
			asm.push(&packets[n][i].header, packets[n][i].payload, time.Second, false)
			if f := asm.pop(time.Second); f != nil {
				f.Release()
			}
		}
		n++
	}
	run()
	run()
	if allocs := testing.AllocsPerRun(len(packets)-3, run); allocs >= 1 {
		t.Errorf("%v allocations a picture", allocs)
	}
	if asm.stats.Frames != uint64(len(packets)) {
		t.Errorf("%+v", asm.stats)
	}
}

// TestPacerH264: the queue's bytes add up, whatever the packets hold of them.
func TestPacerH264(t *testing.T) {
	p := newPacer(pacerConfig{VideoSSRC: 2, VideoPT: 102, RTXSSRC: 3, RTXPT: 103})
	defer p.close()
	now := time.Second
	var pkt outPacket
	for n := range 5 {
		f := frame264(n, n == 0, 2500, 700)
		if v := p.pushVideo(f, now); v != codec.Sent {
			t.Fatal(v)
		}
		f.Release()
		for ok, wait := p.next(&pkt, now); ok || wait >= 0; ok, wait = p.next(&pkt, now) {
			now += max(wait, 0)
		}
		now += 33 * ms
	}
	if p.queuedN != 0 || p.stats.VideoFrames != 5 {
		t.Errorf("%d bytes are left; %+v", p.queuedN, p.stats)
	}
	seq := p.video.seq - 2
	p.nack([]uint16{seq}, now)
	if ok, _ := p.next(&pkt, now); !ok || pkt.Kind != rtxPacket || pkt.Header.SSRC != 3 {
		t.Errorf("no repair: %+v", pkt.Header)
	}
}

// FuzzH264Packet: no payload makes the assembler do anything but deliver pictures
// that begin with a key frame.
func FuzzH264Packet(f *testing.F) {
	seed := func(frames ...*codec.EncodedFrame) {
		packets, _ := cut264To(30, frames...)
		var script []byte
		for n, list := range packets {
			for i, p := range list {
				flags := byte(0)
				if i == 0 && n > 0 {
					flags |= 1
				}
				if p.header.Marker {
					flags |= 2
				}
				script = append(append(script, 1, flags, byte(len(p.payload))), p.payload...)
			}
		}
		f.Add(script)
	}
	seed(frame264(0, true, 20))
	seed(frame264(0, true, 50), frame264(1, false, 40))
	seed(frame264(0, true, 20, 20), frame264(1, false, 10), frame264(2, true, 10))
	f.Fuzz(func(t *testing.T, script []byte) {
		a := newAssembler(assemblerConfig{Codec: codec.H264, NACK: true, RTX: true, MaxPackets: 32, MaxFrameBytes: 8192})
		defer a.close()
		now, seq, ts := time.Second, uint16(7), uint32(0)
		key := false
		var stream codec.StreamID
		for len(script) >= 3 {
			step, flags, n := script[0], script[1], int(script[2])
			script = script[3:]
			n = min(n, len(script))
			seq += uint16(int8(step))
			ts += uint32(flags&1) * 3000
			p := simPacket{payload: script[:n]}
			p.header.SequenceNumber, p.header.Timestamp, p.header.Marker = seq, ts, flags&2 != 0
			a.push(&p.header, p.payload, now, flags&4 != 0)
			script = script[n:]
			now += time.Duration(flags>>4) * 5 * ms
			for fr := a.pop(now); fr != nil; fr = a.pop(now) {
				if fr.Stream != stream {
					stream, key = fr.Stream, false
				}
				key = key || fr.Key
				if got, err := nal.ParseFrame(fr.Data); err != nil || !key || got.Key != fr.Key || fr.Key && (fr.Width <= 0 || fr.Height <= 0) {
					t.Fatalf("%+v, %v of %d bytes after a key frame %v", got, err, len(fr.Data), key)
				}
				fr.Release()
				a.invariants(t, now)
			}
			a.invariants(t, now)
			a.appendNACKs(nil, now)
			a.takePLI(now)
		}
	})
}
