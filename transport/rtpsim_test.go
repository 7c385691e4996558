package transport

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"

	"mixdown/codec"
	"mixdown/transport/transporttest"
)

// simFrame is what the simulated encoder knows of a frame it made.
type simFrame struct {
	key  bool
	refs []int // frame numbers it references
	pts  time.Duration
	size int
}

// simEncoder makes frames with numbers in them, in a pattern of temporal
// layers, and remembers what references what.
type simEncoder struct {
	stream codec.StreamID
	made   []simFrame
	layers string // one letter a frame: 0 base, 1 discardable T1 with sync, s T1 with sync that the next d references, d T1 that references the T1 before
	base   int    // latest base frame
	upper  int    // latest T1 that is referenced
	keys   int
}

// frame makes the next frame. Its data is a VP8 header, its number, and a
// pattern made of the number.
func (e *simEncoder) frame(pts time.Duration, key bool) *codec.EncodedFrame {
	n := len(e.made)
	layer := e.layers[n%len(e.layers)]
	if key {
		layer = '0'
		e.keys++
	}
	size := 3000 + n*977%5000
	if key {
		size = 12_000 + n*31%8000
	} else if layer != '0' {
		size /= 3
	}
	s := simFrame{key: key, pts: pts, size: size}
	f := codec.NewEncodedFrame(size)
	f.Codec, f.Stream, f.PTS, f.Key = codec.VP8, e.stream, pts, key
	switch layer {
	case '0':
		if !key {
			s.refs = []int{e.base}
		}
		e.base = n
		if key {
			e.upper = n // a key frame is every reference
		}
	case '1':
		f.Temporal, f.LayerSync, f.Discardable = 1, true, true
		s.refs = []int{e.base}
	case 's':
		f.Temporal, f.LayerSync = 1, true
		s.refs = []int{e.base}
		e.upper = n
	case 'd':
		f.Temporal, f.Discardable = 1, true
		s.refs = []int{e.base, e.upper}
	}
	f.Data = simData(f.Data, n, size, key)
	e.made = append(e.made, s)
	return f
}

func simData(dst []byte, n, size int, key bool) []byte {
	tag := byte(0x11) // inter frame, shown
	if key {
		tag = 0x10
	}
	dst = append(dst, tag, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01) // 640x360
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	for len(dst) < size {
		dst = append(dst, byte(n*7+len(dst)))
	}
	return dst
}

// simResult is what came out of the assembler.
type simResult struct {
	assembler assemblerStats
	pacer     pacerStats
	made      []simFrame
	got       []int           // frame numbers, in order of delivery
	at        []time.Duration // when each was delivered
	longest   time.Duration   // between two deliveries
	frozen    time.Duration   // sum of all such times past 100 ms
	badness   []string
}

// simulation is a sender (encoder, pacer, history) and an assembler with a
// link in each direction.
type simulation struct {
	up, down transporttest.Spec // media, feedback
	layers   string             // see simEncoder; defaults to all base
	frames   int
	interval time.Duration // defaults to 33 ms
	noNACK   bool
	noRTX    bool // repairs come as they were
	rtt      time.Duration
	seed     uint64
	mangle   func(h *rtp.Header, payload []byte) []byte // changes packets on the way
}

type simFeedback struct {
	nacks []uint16
	pli   bool
}

type simPacket struct {
	header  rtp.Header
	payload []byte
	rtx     bool
}

const (
	simVideoSSRC = 1
	simRTXSSRC   = 2
)

func (s simulation) run(t testing.TB) simResult {
	t.Helper()
	if s.layers == "" {
		s.layers = "0"
	}
	if s.interval == 0 {
		s.interval = 33 * time.Millisecond
	}
	cfg := pacerConfig{VideoSSRC: simVideoSSRC, VideoPT: 96, RTXSSRC: simRTXSSRC, RTXPT: 97, Seed: s.seed}
	if s.noRTX {
		cfg.RTXSSRC, cfg.RTXPT = 0, 0
	}
	sender := newPacer(cfg)
	sender.setRTT(s.rtt)
	defer sender.close()
	asm := newAssembler(assemblerConfig{NACK: !s.noNACK, RTX: !s.noRTX})
	asm.setRTT(s.rtt)
	defer asm.close()
	up := transporttest.NewLink[simPacket](s.up, s.seed)
	down := transporttest.NewLink[simFeedback](s.down, s.seed+1)
	enc := &simEncoder{stream: codec.NewStreamID(), layers: s.layers}
	check := newDecodeChecker(enc)
	var res simResult
	wantKey := true
	var pkt outPacket
	const step = time.Millisecond
	end := time.Duration(s.frames)*s.interval + 2*time.Second
	// The clock starts above 0: zero times in the state must not be special.
	for now := time.Second; now < time.Second+end; now += step {
		elapsed := now - time.Second
		if n := int(elapsed / s.interval); elapsed%s.interval == 0 && n < s.frames {
			f := enc.frame(elapsed, wantKey)
			switch sender.pushVideo(f, now) {
			case codec.Sent:
				wantKey = false
			case codec.NeedKey:
				wantKey = true
			}
			f.Release()
		}
		for {
			ok, _ := sender.next(&pkt, now)
			if !ok {
				break
			}
			p := simPacket{header: pkt.Header.Clone(), payload: append([]byte(nil), pkt.Payload...)}
			if p.rtx = pkt.Header.SSRC == simRTXSSRC; p.rtx {
				// RFC 4588, as pion unwraps it.
				p.header.SequenceNumber = binary.BigEndian.Uint16(p.payload)
				p.payload = p.payload[2:]
			}
			if s.mangle != nil {
				p.payload = s.mangle(&p.header, p.payload)
			}
			up.Push(p, pkt.size(), now)
		}
		pop := func() {
			for f := asm.pop(now); f != nil; f = asm.pop(now) {
				res.badness = append(res.badness, check.frame(f)...)
				if n := len(res.at); n > 0 {
					gap := now - res.at[n-1]
					res.longest = max(res.longest, gap)
					if gap > 100*time.Millisecond {
						res.frozen += gap
					}
				}
				res.got, res.at = append(res.got, check.last), append(res.at, now)
				f.Release()
			}
		}
		for p, ok := up.Pop(now); ok; p, ok = up.Pop(now) {
			asm.push(&p.header, p.payload, now, p.rtx)
			pop()
		}
		pop()
		res.badness = append(res.badness, asm.overdue(now)...)
		fb := simFeedback{nacks: asm.appendNACKs(nil, now), pli: asm.takePLI(now)}
		if fb.nacks != nil || fb.pli {
			down.Push(fb, 60, now)
		}
		for fb, ok := down.Pop(now); ok; fb, ok = down.Pop(now) {
			wantKey = wantKey || fb.pli
			sender.nack(fb.nacks, now)
		}
	}
	res.assembler, res.pacer, res.made = asm.stats, sender.stats, enc.made
	return res
}

// decodeChecker says whether what comes out could be decoded without fault.
type decodeChecker struct {
	enc  *simEncoder
	have map[int]bool
	last int
}

func newDecodeChecker(enc *simEncoder) *decodeChecker {
	return &decodeChecker{enc: enc, have: make(map[int]bool), last: -1}
}

func (c *decodeChecker) frame(f *codec.EncodedFrame) (faults []string) {
	if len(f.Data) < 14 {
		return []string{"a frame that is too short to hold its number"}
	}
	n := int(binary.BigEndian.Uint32(f.Data[10:]))
	if n >= len(c.enc.made) || n <= c.last {
		return []string{"a frame out of order, or one that was never made"}
	}
	c.last = n
	made := c.enc.made[n]
	want := simData(nil, n, made.size, made.key)
	if string(want) != string(f.Data) {
		faults = append(faults, "a frame with wrong bytes")
	}
	if f.Key != made.key || f.Key && (f.Width != 640 || f.Height != 360) {
		faults = append(faults, "wrong Key or size")
	}
	for _, r := range made.refs {
		if !c.have[r] {
			faults = append(faults, "a frame whose reference is missing")
		}
	}
	if len(faults) == 0 {
		c.have[n] = true
	}
	return faults
}

// overdue says whether the assembler waits for longer than its policy allows.
func (a *assembler) overdue(now time.Duration) []string {
	first := a.next
	if first <= a.highest && a.at(first).state == slotHave {
		first = a.scan
	}
	if first > a.highest || a.at(first).state != slotMissing {
		return nil
	}
	if now > a.at(first).since+reorderMax+a.patience() {
		return []string{"nothing, waiting longer than the policy allows"}
	}
	return nil
}
