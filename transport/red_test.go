package transport

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/transport/v4/packetio"

	"mixdown/codec"
)

const redPT, redOpus = 63, 111

// redPayload builds a payload; blocks are oldest first, the primary last.
func redPayload(blocks ...redBlock) []byte {
	var b []byte
	for _, r := range blocks[:len(blocks)-1] {
		n := len(r.data)
		b = append(b, 0x80|r.pt, byte(r.offset>>6), byte(r.offset<<2)|byte(n>>8), byte(n))
	}
	b = append(b, blocks[len(blocks)-1].pt)
	for _, r := range blocks {
		b = append(b, r.data...)
	}
	return b
}

func TestParseRED(t *testing.T) {
	long := make([]byte, 1023)
	blocks := []redBlock{{111, 16383, long}, {111, 960, []byte{1, 2}}, {13, 480, nil}, {111, 0, []byte{3}}}
	got, ok := parseRED(nil, redPayload(blocks...))
	if !ok || len(got) != len(blocks) {
		t.Fatalf("%d blocks, %v", len(got), ok)
	}
	for i, b := range got {
		if b.pt != blocks[i].pt || b.offset != blocks[i].offset || !slices.Equal(b.data, blocks[i].data) {
			t.Errorf("block %d is %d, %d, %d bytes", i, b.pt, b.offset, len(b.data))
		}
	}
	// A primary alone, which is what comes after a pause.
	if got, ok := parseRED(nil, []byte{111, 7}); !ok || len(got) != 1 || string(got[0].data) != "\x07" {
		t.Errorf("a primary alone: %v, %v", got, ok)
	}
	var many []redBlock
	for range maxREDBlocks + 1 {
		many = append(many, redBlock{111, 1, []byte{1}})
	}
	whole := redPayload(blocks[1:]...)
	for name, payload := range map[string][]byte{
		"empty":                nil,
		"header cut off":       whole[:3],
		"no primary":           whole[:4],
		"block cut off":        whole[:10],
		"longer than a packet": {0x80 | 111, 0, 3, 0xff, 111, 1, 2, 3},
		"too many blocks":      redPayload(many...),
	} {
		if got, ok := parseRED(nil, payload); ok || len(got) != 0 {
			t.Errorf("%s: taken as %v", name, got)
		}
	}
}

// opusPacket is 20 ms of Opus whose content is a number.
func opusPacket(n int) []byte { return []byte{0xf8, byte(n >> 8), byte(n)} }

// redScene sends packets with redundancy through a receiver.
type redScene struct {
	r     *audioReceiver
	times []uint32 // RTP timestamp of each packet
	depth int      // redundant blocks
	got   []*codec.EncodedFrame
}

// push delivers packet n.
func (s *redScene) push(n int) {
	var blocks []redBlock
	for d := s.depth; d > 0; d-- {
		if old := n - d; old >= 0 && s.times[n]-s.times[old] < 1<<14 {
			blocks = append(blocks, redBlock{redOpus, s.times[n] - s.times[old], opusPacket(old)})
		}
	}
	blocks = append(blocks, redBlock{redOpus, 0, opusPacket(n)})
	h := rtp.Header{PayloadType: redPT, SequenceNumber: uint16(65530 + n), Timestamp: s.times[n]}
	level := codec.AudioLevel{DBov: 9, Valid: true}
	s.got = append(s.got, s.r.pushRED(&h, redPayload(blocks...), redOpus, level, time.Duration(n+1)*20*ms)...)
}

// steady is n timestamps 20 ms apart that wrap.
func steady(n int) []uint32 {
	var times []uint32
	for i := range n {
		times = append(times, 1<<32-5*960+uint32(i)*960)
	}
	return times
}

func TestRedundancy(t *testing.T) {
	// A pause of 200 ms after packets 4 and 8.
	pauses := steady(20)
	for i := range pauses {
		pauses[i] += uint32(min((i-1)/4, 2)) * 9600
	}
	count := func(n int, lost ...int) (arrive []int) {
		for i := range n {
			if !slices.Contains(lost, i) {
				arrive = append(arrive, i)
			}
		}
		return arrive
	}
	for _, tc := range []struct {
		name   string
		times  []uint32
		depth  int
		arrive []int
		want   []int // frames handed on, negative: as redundancy
	}{
		{"nothing lost", steady(8), 2, count(8), []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"one lost", steady(6), 1, count(6, 3), []int{0, 1, 2, -3, 4, 5}},
		{"two lost, one block", steady(6), 1, count(6, 2, 3), []int{0, 1, -3, 4, 5}},
		{"two lost, two blocks", steady(6), 2, count(6, 2, 3), []int{0, 1, -2, -3, 4, 5}},
		{"reordered", steady(6), 1, []int{0, 1, 3, 2, 4}, []int{0, 1, -2, 3, 2, 4}},
		{"twice", steady(4), 1, []int{0, 2, 2, 3}, []int{0, -1, 2, 2, 3}},
		{"first packets lost", steady(6), 2, count(6, 0, 1), []int{2, 3, 4, 5}},
		{"lost after a pause", pauses, 2, count(12, 5), []int{0, 1, 2, 3, 4, -5, 6, 7, 8, 9, 10, 11}},
		{"lost before a pause", pauses, 2, count(12, 4), []int{0, 1, 2, 3, -4, 5, 6, 7, 8, 9, 10, 11}},
		{"lost around a pause", pauses, 2, count(12, 4, 5), []int{0, 1, 2, 3, -4, -5, 6, 7, 8, 9, 10, 11}},
		{"nearly all lost", steady(80), 1, []int{0, 70, 71}, []int{0, -69, 70, 71}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &redScene{r: newAudioReceiver(), times: tc.times, depth: tc.depth}
			for _, n := range tc.arrive {
				s.push(n)
			}
			var got []int
			redundant := uint64(0)
			for _, f := range s.got {
				n := int(f.Data[1])<<8 | int(f.Data[2])
				if first := s.got[0]; f.Seq-first.Seq != int64(n-tc.arrive[0]) || f.PTS-first.PTS != durationOf(int64(tc.times[n]-tc.times[tc.arrive[0]]), audioClockRate) || f.Stream != first.Stream {
					t.Errorf("packet %d is number %d, at %v", n, f.Seq-first.Seq, f.PTS-first.PTS)
				}
				if f.Level.Valid == f.Redundant {
					t.Errorf("packet %d, redundant %v, has level %v", n, f.Redundant, f.Level)
				}
				if f.Redundant {
					redundant++
					n = -n
				}
				got = append(got, n)
			}
			for _, f := range s.got {
				f.Release()
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("handed on %v, want %v", got, tc.want)
			}
			if s.r.stats.Redundant != redundant {
				t.Errorf("%d counted, %d handed on", s.r.stats.Redundant, redundant)
			}
		})
	}
}

func TestRedundancyOfNoUse(t *testing.T) {
	r := newAudioReceiver()
	push := func(seq uint16, ts uint32, payload []byte) int {
		frames := r.pushRED(&rtp.Header{SequenceNumber: seq, Timestamp: ts}, payload, redOpus, codec.AudioLevel{}, time.Second)
		for _, f := range frames {
			f.Release()
		}
		return len(frames)
	}
	primary := redBlock{redOpus, 0, opusPacket(1)}
	push(1, 960, redPayload(primary))
	for name, payload := range map[string][]byte{
		"not Opus":         redPayload(redBlock{13, 960, opusPacket(0)}, primary),
		"empty":            redPayload(redBlock{redOpus, 960, nil}, primary),
		"broken Opus":      redPayload(redBlock{redOpus, 960, []byte{3}}, primary),
		"its own time":     redPayload(redBlock{redOpus, 0, opusPacket(0)}, primary),
		"the one before":   redPayload(redBlock{redOpus, 1920, opusPacket(0)}, primary),
		"before the start": redPayload(redBlock{redOpus, 2880, opusPacket(0)}, primary),
	} {
		if n := push(3, 2880, payload); n != 1 {
			t.Errorf("%s: %d frames, want the primary", name, n)
		}
	}
	before := r.stats.MalformedRED
	if n := push(4, 3840, redPayload(redBlock{13, 0, opusPacket(1)})); n != 0 {
		t.Errorf("a primary that is not Opus gave %d frames", n)
	}
	if n := push(4, 3840, []byte{0xff}); n != 0 || r.stats.MalformedRED != before+2 {
		t.Errorf("broken RED gave %d frames, %d counted", n, r.stats.MalformedRED-before)
	}
}

// TestRedundancyThroughAPeer: both payload types are the same stream, known or
// not by its SSRC, and the redundancy comes before the packet that brought it.
func TestRedundancyThroughAPeer(t *testing.T) {
	for name, ssrc := range map[string]uint32{"declared": 2573355466, "undeclared": 4711} {
		t.Run(name, func(t *testing.T) {
			h := newRecorder(t)
			p := offlinePeer(t, h)
			defer p.in.close()
			defer p.out.close()
			sink := p.buffer(packetio.RTPBufferPacket, ssrc)
			send := func(n int, pt uint8, payload []byte) {
				pkt := soundPacket(n)
				pkt.SSRC, pkt.PayloadType, pkt.Payload = ssrc, pt, payload
				if err := errors.Join(pkt.SetExtension(1, []byte{17}), pkt.SetExtension(4, []byte("0"))); err != nil {
					t.Fatal(err)
				}
				b, err := pkt.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				_, _ = sink.Write(b) // takes everything
			}
			send(10, redPT, redPayload(redBlock{redOpus, 0, opusPacket(10)}))
			send(11, redOpus, opusPacket(11)) // a sender may leave redundancy out
			send(13, redPT, redPayload(redBlock{redOpus, 960, opusPacket(12)}, redBlock{redOpus, 0, opusPacket(13)}))
			if len(h.audio) != 4 {
				t.Fatalf("%d frames", len(h.audio))
			}
			for i, f := range h.audio {
				if f.Seq-h.audio[0].Seq != int64(i) || int(f.Data[2]) != 10+i || f.Redundant != (i == 2) || !f.Redundant && f.Level.DBov != 17 {
					t.Errorf("frame %d is %+v", i, f)
				}
			}
			p.publish()
			if s := p.Stats(); s.AudioRecovered != 1 || s.Unknown != 0 || s.Malformed != 0 {
				t.Errorf("%+v", s)
			}
			// The report still says what the path lost.
			if b := p.receptionBlocks(codec.Now()); len(b) != 1 || b[0].TotalLost != 1 {
				t.Errorf("reported as %+v", b)
			}
		})
	}
}

func TestRedundancyAllocs(t *testing.T) {
	s := &redScene{r: newAudioReceiver(), times: steady(3000), depth: 2}
	payload := redPayload(redBlock{redOpus, 1920, make([]byte, 80)}, redBlock{redOpus, 960, make([]byte, 80)}, redBlock{redOpus, 0, make([]byte, 80)})
	var h rtp.Header
	bound := 0.5
	if raceDetector {
		bound = 3 // of two frames, some are not found again in the pool
	}
	if n := testing.AllocsPerRun(1000, func() {
		h.SequenceNumber += 2 // each second packet is lost
		h.Timestamp += 2 * 960
		for _, f := range s.r.pushRED(&h, payload, redOpus, codec.AudioLevel{}, time.Second) {
			f.Release()
		}
	}); n > bound {
		t.Errorf("%v allocations a packet", n)
	}
	if s.r.stats.Redundant < 900 {
		t.Errorf("%d redundant packets", s.r.stats.Redundant)
	}
}

// FuzzRED: whatever comes, frames have numbers that rise within a packet, none
// comes as redundancy that was there already, and all is within the payload.
func FuzzRED(f *testing.F) {
	f.Add(append([]byte{1, 20}, redPayload(redBlock{redOpus, 1920, opusPacket(1)}, redBlock{redOpus, 960, opusPacket(2)}, redBlock{redOpus, 0, opusPacket(3)})...))
	f.Add([]byte{1, 3, 111, 0xf8, 1, 3, 4, 0x80 | 111, 15, 0, 2, 111, 0xf8, 1, 0xf8, 2})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newAudioReceiver()
		came := make(map[int64]bool)
		var stream codec.StreamID
		h := rtp.Header{SequenceNumber: 65500, Timestamp: 1<<32 - 9600}
		for now := time.Second; len(script) >= 2; now += 20 * ms {
			// The step in sequence and time, then how much of the script is payload.
			step := int8(script[0])
			h.SequenceNumber += uint16(step)
			h.Timestamp += uint32(int32(step) * 960)
			n := min(int(script[1]), len(script)-2)
			payload := script[2 : 2+n]
			script = script[2+n:]
			frames := r.pushRED(&h, payload, redOpus, codec.AudioLevel{Valid: true}, now)
			last := int64(0)
			for i, fr := range frames {
				if fr.Stream != stream {
					clear(came)
					stream = fr.Stream
				}
				if fr.Seq <= last || fr.Redundant == fr.Level.Valid || fr.Redundant != (i < len(frames)-1) || len(fr.Data) == 0 || len(fr.Data) > n {
					t.Fatalf("frame %d of %d is %+v after %d", i, len(frames), fr, last)
				}
				if fr.Redundant && came[fr.Seq] {
					t.Fatalf("number %d came twice", fr.Seq)
				}
				last, came[fr.Seq] = fr.Seq, true
				fr.Release()
			}
		}
	})
}
