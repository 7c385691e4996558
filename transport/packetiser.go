package transport

import (
	"time"

	"github.com/pion/rtp"

	"mixdown/codec"
)

const (
	// packetBudget is the longest RTP packet that is sent, everything between
	// UDP and the media included: what passes tunnels and VPNs everywhere.
	packetBudget = 1200
	// packetOverhead is what is kept free of it: the fixed header (12), a
	// block of header extensions added on the way (16), the SRTP tag (16), and
	// the original sequence number of a repair (2).
	packetOverhead = 12 + 16 + 16 + 2
	// defaultMaxPayload is the VP8 data in one packet, at most.
	defaultMaxPayload = packetBudget - packetOverhead - vp8DescriptorSize

	// maxCSRC contributors are named in an audio packet: who is heard, not who
	// is present.
	maxCSRC = 5
)

// videoPacket says how to make one packet of a frame: what history keeps in
// place of the packet.
type videoPacket struct {
	frame   *codec.EncodedFrame
	off, n  int32 // the frame's bytes that it carries
	ts      uint32
	seq     uint16
	marker  bool
	desc    vp8Descriptor // of VP8
	unit    unitPart      // of H.264
	sentAt  time.Duration // the first time
	againAt time.Duration // the last time it was repaired
	queued  bool          // waits to be repaired
}

// write materialises the packet in pkt.
func (v *videoPacket) write(pkt *outPacket, ssrc uint32, pt uint8) {
	pkt.reset(ssrc, pt, v.seq, v.ts)
	pkt.Header.Marker = v.marker
	pkt.Payload = pkt.buf[:v.payload(pkt.buf[:])]
}

// payload writes what comes after the header to dst and returns its length.
func (v *videoPacket) payload(dst []byte) int {
	data := v.frame.Data[v.off : v.off+v.n]
	if v.frame.Codec == codec.H264 {
		return v.unit.marshal(dst, data)
	}
	n := v.desc.marshal(dst)
	return n + copy(dst[n:], data)
}

// writeRTX materialises the packet as a repair (RFC 4588 section 4): numbers
// of the repair stream, the original number in front of the payload.
func (v *videoPacket) writeRTX(pkt *outPacket, ssrc uint32, pt uint8, seq uint16) {
	pkt.reset(ssrc, pt, seq, v.ts)
	pkt.Header.Marker = v.marker
	pkt.buf[0], pkt.buf[1] = byte(v.seq>>8), byte(v.seq)
	pkt.Payload = pkt.buf[:2+v.payload(pkt.buf[2:])]
}

// outPacket is the scratch into which one packet is written. It is reused:
// Header and Payload are valid until the next call that fills it.
type outPacket struct {
	Header  rtp.Header
	Payload []byte
	// Kind is what it is, for counting.
	Kind packetKind

	buf    [maxPayload]byte
	csrc   [maxCSRC]uint32
	levels [maxCSRC]byte
	twcc   [2]byte
	// Before SRTP: what these take is in packetOverhead.
	capture [8]byte
	delay   [3]byte
	ext     [3]rtp.Extension
}

// packetKind tells packets apart in the order in which they are sent.
type packetKind uint8

const (
	audioPacket packetKind = iota
	rtxPacket
	videoDataPacket
	probePacket
)

func (p *outPacket) reset(ssrc uint32, pt uint8, seq uint16, ts uint32) {
	p.Header = rtp.Header{
		Version: 2, PayloadType: pt, SequenceNumber: seq, Timestamp: ts, SSRC: ssrc,
		CSRC: p.csrc[:0], Extensions: p.ext[:0],
	}
}

// size is the packet's bytes on the wire above UDP, without SRTP's tag.
func (p *outPacket) size() int {
	return p.Header.MarshalSize() + len(p.Payload) + int(p.Header.PaddingSize)
}

// sentCounts is what a sender report tells (RFC 3550 section 6.4.1); the
// counters wrap.
type sentCounts struct {
	Packets, Bytes uint32 // payload bytes
}

// A videoPacketiser cuts frames into packets and numbers them. Numbers are
// counted over what is sent, so frames may be left out anywhere before it.
type videoPacketiser struct {
	max       int // coded bytes a packet
	seq       uint16
	timeBase  uint32
	pictureID uint16
	tl0       uint8

	frame *codec.EncodedFrame // being cut; retained
	off   int
	parts int // packets left of it
	part  int // bytes of each but the last
	used  int // bytes of the frame that the last call of next was done with
	desc  vp8Descriptor
	cut   unitCutter // of H.264, in place of parts, part and desc
	ts    uint32
}

// time is the RTP timestamp of a PTS.
func (p *videoPacketiser) time(pts time.Duration) uint32 {
	return p.timeBase + uint32(ticksOf(pts, videoClockRate))
}

// start begins a frame, whose reference it takes over, with the PTS at which it
// is sent. The one before must be finished.
func (p *videoPacketiser) start(f *codec.EncodedFrame, pts time.Duration) {
	p.pictureID = (p.pictureID + 1) & 0x7fff
	if f.Temporal == 0 {
		p.tl0++
	}
	p.frame, p.off, p.ts = f, 0, p.time(pts)
	if f.Codec == codec.H264 {
		p.cut.begin(f.Data)
		return
	}
	p.parts = (len(f.Data) + p.max - 1) / p.max
	// Equal parts, so that a burst holds no short packet that could overtake,
	// and goes to the socket in one piece.
	p.part = (len(f.Data) + p.parts - 1) / max(p.parts, 1)
	p.desc = vp8Descriptor{
		NonReference: f.Discardable, Start: true,
		HasPictureID: true, LongPicture: true, PictureID: p.pictureID,
		HasTL0: true, TL0: p.tl0,
		HasTID: true, TID: f.Temporal & 3, LayerSync: f.LayerSync,
	}
}

// next cuts the next packet off the frame. Its reference is one that the
// caller owns. ok is false between frames.
func (p *videoPacketiser) next(now time.Duration) (v videoPacket, ok bool) {
	if p.frame == nil {
		return videoPacket{}, false
	}
	if p.frame.Codec == codec.H264 {
		return p.nextUnit(now), true
	}
	n := min(p.part, len(p.frame.Data)-p.off-(p.parts-1)) // a byte is left for each
	v = videoPacket{
		frame: p.frame, off: int32(p.off), n: int32(n), ts: p.ts, seq: p.seq,
		marker: p.parts == 1, desc: p.desc, sentAt: now,
	}
	p.seq++
	p.off += n
	p.used = n
	p.desc.Start = false
	if p.parts--; p.parts == 0 {
		p.frame = nil
	} else {
		v.frame.Retain()
	}
	return v, true
}

// nextUnit is next for H.264 (RFC 6184, packetization mode 1).
func (p *videoPacketiser) nextUnit(now time.Duration) videoPacket {
	data := p.frame.Data
	part, off, n, last := p.cut.next(data, p.max)
	v := videoPacket{
		frame: p.frame, off: int32(off), n: int32(n), ts: p.ts, seq: p.seq,
		marker: last, unit: part, sentAt: now,
	}
	to := off + n
	if last {
		to, p.frame = len(data), nil
	} else {
		v.frame.Retain()
	}
	p.seq++
	p.used, p.off = to-p.off, to
	return v
}

// An audioPacketiser numbers Opus packets.
type audioPacketiser struct {
	seq      uint16
	timeBase uint32
	levelID  uint8 // RFC 6465 extension; 0 is none
	marked   bool
}

// time is the RTP timestamp of a PTS.
func (p *audioPacketiser) time(pts time.Duration) uint32 {
	return p.timeBase + uint32(ticksOf(pts, audioClockRate))
}

// write materialises f in pkt, with whom one hears in it. spurt says that
// nothing was sent before it for a while, on purpose.
func (p *audioPacketiser) write(pkt *outPacket, f *codec.EncodedFrame, ssrc uint32, pt uint8, spurt bool) {
	pkt.reset(ssrc, pt, p.seq, p.time(f.PTS))
	p.seq++
	// Set on the first packet of a talk spurt, which is one that follows
	// packets that were not sent (RFC 7587 section 4.2, RFC 3551 section 4.1).
	pkt.Header.Marker = spurt || !p.marked
	p.marked = true
	n := min(len(f.Heard), maxCSRC)
	for i, c := range f.Heard[:n] {
		pkt.csrc[i], pkt.levels[i] = c.CSRC, c.LevelDBov&0x7f
	}
	pkt.Header.CSRC = pkt.csrc[:n]
	if p.levelID != 0 && n > 0 {
		// One byte a contributor, in the order of the CSRCs (RFC 6465
		// section 3). Extensions has room, so that nothing is allocated; the
		// id was checked when it was negotiated.
		_ = pkt.Header.SetExtension(p.levelID, pkt.levels[:n])
	}
	pkt.Payload = pkt.buf[:copy(pkt.buf[:], f.Data)]
}
