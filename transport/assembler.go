package transport

import (
	"sync"
	"time"

	"github.com/pion/rtp"

	"mixdown/codec"
)

const (
	// defaultMaxPackets bounds what an assembler holds: 600 kB, more than the
	// longest wait at 20 Mb/s.
	defaultMaxPackets = 512
	// defaultMaxFrameBytes is far above any key frame of 1920x1088 in real
	// time, and is the largest pooled frame.
	defaultMaxFrameBytes = 1 << 20
	// maxPayload is the longest RTP payload that is taken: an Ethernet MTU.
	maxPayload = 1500
	// maxOvertaken is by how many packets the first one that is seen may have
	// overtaken the real first.
	maxOvertaken = 16
	// pliInterval is the shortest time between two requests to one source. A
	// key frame needs about a round trip and its own sending time to come.
	pliInterval = 500 * time.Millisecond
)

// assemblerConfig says what was negotiated and what to hold at most.
type assemblerConfig struct {
	// NACK says that the sender repairs what is asked for. Without it a gap is
	// given up after the reorder window.
	NACK bool
	// RTX says that repairs come by RFC 4588 and so are told from originals.
	RTX bool
	// Codec defaults to VP8.
	Codec codec.Codec
	// MaxPackets is rounded up to a power of two; defaults to 512.
	MaxPackets int
	// MaxFrameBytes defaults to 1 MiB.
	MaxFrameBytes int
}

// assemblerStats counts since the assembler was made.
type assemblerStats struct {
	Packets, Bytes uint64 // taken, payload only, repairs included
	Padding        uint64 // packets without payload
	Malformed      uint64 // bad payload descriptor, or a payload over 1500 bytes
	Duplicates     uint64
	Late           uint64 // after their frame was delivered or given up
	Stray          uint64 // far off in sequence numbers, ignored
	Restarts       uint64 // senders that started anew
	Overflows      uint64 // more than MaxPackets or MaxFrameBytes: all was dropped
	Missing        uint64 // gaps seen, in packets; reordering included
	Repaired       uint64 // gaps filled by a repair (known with RTX only)
	Lost           uint64 // gaps given up, in packets
	NACKs          uint64 // sequence numbers asked for, repetitions included
	PLIs           uint64
	Frames, Keys   uint64 // delivered
	HeldBack       uint64 // frames (or parts) not delivered: undecodable
	Skipped        uint64 // gaps passed over that held nothing referenced
	Breaks         uint64 // losses of a reference: a key frame was needed
}

type slotState uint8

const (
	slotEmpty slotState = iota
	slotMissing
	slotHave
	slotLost // given up; since stays, to learn how late it comes
	slotDone // was held; its timestamp stays, to tell where the next frame begins
)

type packetBuf [maxPayload]byte

var packetBufs = sync.Pool{New: func() any { return new(packetBuf) }}

// slot is one packet, held or missed.
type slot struct {
	seq     int64
	state   slotState
	marker  bool
	padding bool // nothing to decode in it
	start   bool // first packet of a frame
	key     bool // of a key frame (start only)
	nacks   uint8
	desc    vp8Descriptor
	unit    h264Packet // of H.264; desc then says NonReference only
	ts      uint32
	off, n  int // coded data in buf
	size    int // bytes that it adds to the frame
	buf     *packetBuf
	arrival time.Duration // held
	since   time.Duration // missed
	asked   time.Duration // last NACK
}

// An assembler makes whole frames of RTP packets: it puts them in order,
// asks for what is missing, waits for that within bounds, and when it gives up
// holds everything back until the next frame that can be decoded.
//
// What is given up: a gap that holds no reference (by TL0PICIDX, or PictureID
// and the N bit; H.264 has nothing of the kind) costs just that frame, and is not
// waited for beyond the reorder window. Any other gap is waited for (see [assembler.patience]), then
// a key frame is asked for, at once and each 500 ms until one comes.
//
// Bound: MaxPackets packets and MaxFrameBytes a frame; beyond, everything held
// is dropped and a key frame asked for (counted as Overflows). It is not safe
// for concurrent use; time is an argument; it does not block.
type assembler struct {
	cfg   assemblerConfig
	stats assemblerStats

	seq    seqTracker
	media  mediaClock
	sender senderClock
	stream codec.StreamID
	rtt    time.Duration
	reord  reorderWindow

	slots   []slot
	next    int64 // first packet not yet consumed
	highest int64 // highest packet seen
	scan    int64 // packets [next, scan) are the head frame's, all held
	size    int   // their VP8 bytes
	missing int   // missing slots in [next, highest]
	started bool

	// fresh until anything was consumed: an overtaken first packet may still
	// come, until then a frame without a start is left alone.
	fresh      bool
	freshUntil time.Duration

	sets     parameterSets // of H.264
	last     vp8Descriptor // of the last frame delivered, or passed over
	lastSet  bool
	layers   uint8  // bit t: layer t lost a frame and waits for a LayerSync
	broken   uint32 // timestamp of the frame whose rest is being dropped
	isBroken bool

	needKey  bool // nothing but a key frame can be delivered
	keyAsked bool // the consumer wants a key frame
	active   bool // packets came since the last PLI
	asked    time.Duration
	hasAsked bool
}

func newAssembler(cfg assemblerConfig) *assembler {
	if cfg.Codec == 0 {
		cfg.Codec = codec.VP8
	}
	if cfg.MaxPackets <= 0 {
		cfg.MaxPackets = defaultMaxPackets
	}
	if cfg.MaxFrameBytes <= 0 {
		cfg.MaxFrameBytes = defaultMaxFrameBytes
	}
	n := 1
	for n < cfg.MaxPackets {
		n *= 2
	}
	return &assembler{
		cfg:     cfg,
		media:   mediaClock{rate: videoClockRate},
		sender:  senderClock{rate: videoClockRate},
		slots:   make([]slot, n),
		needKey: true,
	}
}

func (a *assembler) at(seq int64) *slot { return &a.slots[seq&int64(len(a.slots)-1)] }

// setRTT tells the round trip time to the sender.
func (a *assembler) setRTT(rtt time.Duration) { a.rtt = rtt }

// senderReport tells the pair of a sender report (RFC 3550 section 6.4.1).
func (a *assembler) senderReport(ntp codec.NTPTime, rtpTime uint32) { a.sender.report(ntp, rtpTime) }

// requestKey makes takePLI ask for a key frame although nothing was lost: the
// decoder wants one. Frames are delivered on.
func (a *assembler) requestKey() { a.keyAsked = true }

// push takes one packet, without its padding; payload is copied. isRTX says
// that it is a repair that was unwrapped from RFC 4588. Call pop until it
// returns nil afterwards.
func (a *assembler) push(h *rtp.Header, payload []byte, now time.Duration, isRTX bool) {
	var desc vp8Descriptor
	var unit h264Packet
	var off int
	if len(payload) > 0 {
		var err error
		if a.cfg.Codec == codec.H264 {
			err = unit.parse(payload)
			desc.NonReference = unit.slice && !unit.ref
		} else {
			off, err = desc.parse(payload)
		}
		if err != nil || len(payload) > maxPayload {
			a.stats.Malformed++
			return
		}
	}
	seq, ok := a.place(h.SequenceNumber, now, isRTX)
	if !ok {
		return
	}
	s := a.at(seq)
	if s.state == slotHave {
		a.stats.Duplicates++
		return
	}
	if s.state == slotMissing {
		a.missing--
		a.reord.found(now-s.since, isRTX, s.nacks > 0, a.cfg.RTX)
		if isRTX {
			a.stats.Repaired++
		}
	}
	a.stats.Packets++
	a.stats.Bytes += uint64(len(payload))
	a.active = true
	*s = slot{seq: seq, state: slotHave, marker: h.Marker, ts: h.Timestamp, arrival: now}
	if len(payload) == 0 {
		// Chromium probes with padding on the media's own numbers.
		a.stats.Padding++
		s.padding = true
		return
	}
	s.desc, s.unit, s.off, s.n = desc, unit, off, len(payload)
	if a.cfg.Codec == codec.H264 {
		s.start, s.size = unit.start, unit.size
		s.key = a.beginsKey(s)
	} else {
		s.start, s.size = desc.frameStart(), s.n-off
		s.key = s.start && vp8IsKey(payload[off:])
	}
	s.buf = packetBufs.Get().(*packetBuf)
	copy(s.buf[:], payload)
}

// place finds the packet's slot, marks what is missing before it, and makes
// room. ok is false when the packet is not wanted.
func (a *assembler) place(seq16 uint16, now time.Duration, isRTX bool) (seq int64, ok bool) {
	if isRTX {
		if seq, ok = a.seq.near(seq16); !ok {
			a.stats.Stray++
			return 0, false
		}
	} else {
		var v seqVerdict
		switch seq, v = a.seq.unwrap(seq16); v {
		case seqStray:
			a.stats.Stray++
			return 0, false
		case seqRestart:
			a.stats.Restarts++
			a.restart()
			// The packet before was taken for a stray: ask for it again.
			a.begin(seq-1, now)
		}
	}
	if !a.started {
		a.begin(seq, now)
	}
	if seq < a.next {
		if !a.fresh || a.next-seq > maxOvertaken || a.highest-seq >= int64(len(a.slots)) {
			a.stats.Late++
			if s := a.at(seq); s.seq == seq && s.state == slotLost {
				a.reord.found(now-s.since, isRTX, s.nacks > 0, a.cfg.RTX)
				s.state = slotEmpty
			}
			return 0, false
		}
		a.markMissing(seq, a.next, now)
		a.next, a.scan, a.size = seq, seq, 0
	}
	if seq-a.next >= int64(len(a.slots)) {
		a.stats.Overflows++
		a.consume(a.highest + 1)
		a.lose()
		a.next, a.scan, a.highest = seq, seq, seq-1
	}
	if seq > a.highest {
		a.markMissing(a.highest+1, seq, now)
		a.highest = seq
	}
	return seq, true
}

// markMissing marks [from, to).
func (a *assembler) markMissing(from, to int64, now time.Duration) {
	for q := from; q < to; q++ {
		*a.at(q) = slot{seq: q, state: slotMissing, since: now}
		a.missing++
		a.stats.Missing++
	}
}

// begin starts a stream with the packet seq.
func (a *assembler) begin(seq int64, now time.Duration) {
	a.started, a.fresh = true, true
	a.freshUntil = now + a.reord.window()
	a.stream = codec.NewStreamID()
	a.next, a.scan, a.highest = seq, seq, seq-1
}

// restart forgets everything that belongs to the sender's earlier life.
func (a *assembler) restart() {
	a.close()
	a.started, a.lastSet, a.isBroken, a.layers = false, false, false, 0
	a.needKey = true
	a.media.restart()
	a.sender.valid = false
}

// close releases what is held.
func (a *assembler) close() {
	if a.started {
		a.consume(a.highest + 1)
	}
}

// consume is done with all packets before to.
func (a *assembler) consume(to int64) {
	for ; a.next < to; a.next++ {
		s := a.at(a.next)
		switch s.state {
		case slotMissing:
			a.missing--
			a.stats.Lost++
			s.state = slotLost
			a.reord.lost()
			continue
		case slotHave:
			if s.buf != nil {
				packetBufs.Put(s.buf)
			}
			s.buf, s.state = nil, slotDone
			continue
		}
		s.buf, s.state = nil, slotEmpty
	}
	a.scan, a.size, a.fresh = a.next, 0, false
}

// pop returns the next frame, whose one reference is the caller's, or nil.
// Call it until it returns nil, after each push and when nextDeadline says so:
// it is what gives up waiting.
func (a *assembler) pop(now time.Duration) *codec.EncodedFrame {
	if !a.started {
		return nil
	}
	// Each turn but the last consumes at least one packet, so this ends.
	for a.next <= a.highest {
		head := a.at(a.next)
		switch {
		case head.state == slotMissing:
			if !a.skip(a.next, now) {
				return nil
			}
		case head.padding:
			a.consume(a.next + 1)
		case !a.starts(a.next):
			if a.fresh && now < a.freshUntil {
				return nil
			}
			if !a.isBroken || head.ts != a.broken {
				// Its start was never sent, or is from before we came.
				a.lose()
			}
			a.drop(head.ts)
		case a.needKey && a.noKey(a.next):
			a.stats.HeldBack++
			a.drop(head.ts)
		default:
			end, state := a.scanFrame()
			switch state {
			case scanOpen:
				return nil
			case scanBlocked:
				if !a.skip(a.scan, now) {
					return nil
				}
			case scanTooLarge:
				a.stats.Overflows++
				a.lose()
				a.drop(head.ts)
			case scanWhole:
				if f := a.deliver(end); f != nil {
					return f
				}
			}
		}
	}
	return nil
}

// drop consumes the head packets that carry the timestamp, and remembers it:
// what else comes of that frame is dropped too.
func (a *assembler) drop(ts uint32) {
	to := a.next
	for to <= a.highest && a.at(to).state == slotHave && a.at(to).ts == ts {
		to++
	}
	a.broken, a.isBroken = ts, true
	a.consume(to)
}

// lose notes that a reference is gone: only a key frame helps.
func (a *assembler) lose() {
	if !a.needKey {
		a.stats.Breaks++
	}
	a.needKey = true
}

type scanState uint8

const (
	scanOpen    scanState = iota // more is to come
	scanBlocked                  // the packet at a.scan is missing
	scanTooLarge
	scanWhole
)

// scanFrame looks how far the head frame is there. end is one past its last
// packet. It goes on where it stopped the last time.
func (a *assembler) scanFrame() (end int64, state scanState) {
	ts := a.at(a.next).ts
	for ; a.scan <= a.highest; a.scan++ {
		s := a.at(a.scan)
		if s.state == slotMissing {
			return 0, scanBlocked
		}
		if s.ts != ts || (s.start && a.scan != a.next && a.cfg.Codec != codec.H264) {
			return a.scan, scanWhole // a sender that sets no marker
		}
		if s.padding {
			continue
		}
		if a.size += s.size; a.size > a.cfg.MaxFrameBytes {
			return 0, scanTooLarge
		}
		if s.marker {
			return a.scan + 1, scanWhole
		}
	}
	return 0, scanOpen
}

// deliver makes the frame [next, end), or returns nil when it cannot be
// decoded.
func (a *assembler) deliver(end int64) *codec.EncodedFrame {
	head := a.at(a.next)
	d := head.desc
	if !a.decodable(&d, head.key) { // never of H.264, which has no layers here
		a.stats.HeldBack++
		a.follow(d)
		a.consume(end)
		return nil
	}
	f, ok := a.join(end)
	if !ok {
		f.Release()
		a.stats.Malformed++
		a.lose()
		a.consume(end)
		return nil
	}
	if f.Key {
		a.stats.Keys++
		a.needKey, a.keyAsked, a.layers = false, false, 0
	}
	f.PTS = a.media.pts(head.ts, f.Arrival)
	f.Capture = a.sender.capture(head.ts)
	a.isBroken = false
	a.follow(d)
	a.consume(end)
	a.stats.Frames++
	return f
}

// join puts the packets [next, end) together. ok is false when they are no frame.
func (a *assembler) join(end int64) (f *codec.EncodedFrame, ok bool) {
	if a.cfg.Codec == codec.H264 {
		return a.joinUnits(end)
	}
	head := a.at(a.next)
	d := &head.desc
	f = codec.NewEncodedFrame(a.size)
	for q := a.next; q < end; q++ {
		if s := a.at(q); !s.padding {
			f.Data = append(f.Data, s.buf[s.off:s.n]...)
			f.Arrival = max(f.Arrival, s.arrival)
		}
	}
	f.Codec, f.Stream, f.Key = codec.VP8, a.stream, head.key
	f.Discardable, f.Temporal, f.LayerSync = d.NonReference, d.TID, d.LayerSync
	if f.Key {
		f.Width, f.Height, ok = vp8KeySize(f.Data)
		return f, ok
	}
	return f, true
}

// decodable says whether all that the frame may reference was delivered.
// Layer 0 is intact whenever needKey is not set.
func (a *assembler) decodable(d *vp8Descriptor, key bool) bool {
	if key || !d.HasTID || d.TID == 0 {
		return true
	}
	if d.LayerSync {
		a.layers &^= 1 << d.TID
		return true
	}
	upTo := uint8(1)<<(d.TID+1) - 1
	return a.layers&upTo == 0
}

// follow remembers the latest frame, to judge gaps by.
func (a *assembler) follow(d vp8Descriptor) { a.last, a.lastSet = d, true }
