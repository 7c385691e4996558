package transport

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v4/packetio"

	"mixdown/codec"
)

// Bounds on the inbound side.
const (
	// maxStreams is how many SSRCs a client may use in its RTP, and how many
	// it may name in its RTCP. Six are declared for two cameras with RTX and a
	// microphone; a client that restarts encoders uses some more.
	maxStreams = 64
	// takeoverAfter is how long a stream must be silent before another SSRC
	// replaces it on the same m-line.
	takeoverAfter = time.Second
)

// inbound is the way from the client.
//
// mu serialises pion's RTP reader, its RTCP reader and the peer's loop (which
// serves timeouts): the cores below it are not safe for concurrent use, and
// the Handler gets each source's frames one at a time, in order. It is
// therefore held while the Handler is called, which must not block anyway;
// nothing that a Handler may call takes it.
type inbound struct {
	mu     sync.Mutex
	closed bool
	lines  []*inLine
	packet rtp.Packet // scratch
	ssrcs  map[uint32]binding
	mids   map[string]*inLine
	police policer
	twcc   *twcc.Recorder // nil: not negotiated
	// twccAt is when feedback is due; 0: nothing came since the last.
	twccAt time.Duration
	past   Stats // of the receivers that were replaced
	// outbox is what the dispatcher is to send to the client: at most maxOutbox.
	outbox []rtcp.Packet
	nacks  []uint16 // scratch

	// deadline is when the dispatcher must serve assemblers, in codec.Now's time;
	// readable without mu.
	deadline atomic.Int64
}

type binding struct {
	line *inLine
	rtx  bool
}

// inLine is one m-line that the client sends on.
type inLine struct {
	*mediaLine
	current *rtpSink // the stream that is listened to
	lastAt  time.Duration
	log     *receptionLog
	audio   *audioReceiver // of audio lines
	video   *assembler     // of video lines
}

// never is a deadline that is not reached.
const never = time.Duration(1<<63 - 1)

func (in *inbound) init(plan *offerPlan, cfg *Config, ssrc uint32) {
	in.ssrcs, in.mids = make(map[uint32]binding), make(map[string]*inLine)
	in.police = policer{maxPackets: cfg.MaxUplinkPackets, maxBytes: cfg.MaxUplinkBps / 8}
	in.deadline.Store(int64(never))
	for _, l := range plan.lines {
		if !l.recv {
			continue
		}
		line := &inLine{mediaLine: l}
		line.reset(0, &in.past)
		in.lines = append(in.lines, line)
		in.mids[l.mid] = line
		for _, s := range l.ssrcs {
			in.ssrcs[s.ssrc] = binding{line, s.rtx}
		}
		if l.ext.twcc != 0 && l.has("transport-cc") && in.twcc == nil {
			in.twcc = twcc.NewRecorder(ssrc)
		}
	}
}

// carries reports whether a payload type is the line's media, with or without
// redundancy around it, and not a repair.
func (l *inLine) carries(pt uint8) bool {
	return pt == l.pt || l.redPT != 0 && pt == l.redPT
}

// captured takes what a packet says of when its media were captured.
func (l *inLine) captured(at codec.NTPTime, timestamp uint32) {
	if l.kind == kindAudio {
		l.audio.sender.captured(at, timestamp)
	} else {
		l.video.sender.captured(at, timestamp)
	}
}

// reset starts a line anew, for a stream that has nothing to do with the one
// before, whose counters go into past.
func (l *inLine) reset(ssrc uint32, past *Stats) {
	past.addLine(l)
	if l.kind == kindAudio {
		l.audio = newAudioReceiver()
		l.log = newReceptionLog(ssrc, audioClockRate)
		return
	}
	if l.video != nil {
		l.video.close()
	}
	l.video = newAssembler(assemblerConfig{Codec: l.codec, NACK: l.has("nack"), RTX: l.rtxPT != 0})
	l.log = newReceptionLog(ssrc, videoClockRate)
}

func (in *inbound) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for _, l := range in.lines {
		if l.video != nil {
			l.video.close()
		}
	}
}

// policer bounds packets and bytes per second; beyond, packets are dropped.
type policer struct {
	maxPackets, maxBytes int
	packets, bytes       int
	window               time.Duration // start of the current second
}

func (p *policer) pass(n int, now time.Duration) bool {
	if now-p.window >= time.Second {
		p.window, p.packets, p.bytes = now, 0, 0
	}
	p.packets++
	p.bytes += n
	return p.packets <= p.maxPackets && p.bytes <= p.maxBytes
}

// buffer is the SettingEngine's BufferFactory: pion asks for a place to put the
// packets of each new SSRC, once they are decrypted and authentic. What it gets
// hands each packet on in the very call, on the SRTP session's own goroutine:
// no queue, no second goroutine and no copy a packet, and no part for pion's
// guesses about undeclared streams.
func (p *Peer) buffer(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	if kind == packetio.RTCPBufferPacket {
		if p.counts.controlStreams.Add(1) > maxStreams {
			p.end(fmt.Errorf("%w: %w in RTCP", ErrMisbehaved, errTooManyStreams))
		}
		return &rtcpSink{p, ssrc}
	}
	if p.counts.streams.Add(1) > maxStreams {
		p.end(fmt.Errorf("%w: %w in RTP", ErrMisbehaved, errTooManyStreams))
	}
	return &rtpSink{peer: p, ssrc: ssrc}
}

// rtpSink is where pion puts the decrypted packets of one SSRC.
type rtpSink struct {
	peer  *Peer
	ssrc  uint32
	bound bool // to which line is known; under in.mu
	to    binding
}

// Write implements io.Writer. b is only valid during the call.
func (s *rtpSink) Write(b []byte) (int, error) {
	s.peer.takeRTP(s, b)
	return len(b), nil
}

// Read says that there is nothing to read: pion looks into streams that it
// does not know, and gives up at this.
func (s *rtpSink) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (s *rtpSink) Close() error { return nil }

// takeRTP handles one packet.
func (p *Peer) takeRTP(s *rtpSink, b []byte) {
	now := codec.Now()
	p.counts.received.Add(1)
	p.counts.receivedBytes.Add(uint64(len(b)))
	in := &p.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return
	}
	if !in.police.pass(len(b), now) {
		p.counts.policed.Add(1)
		return
	}
	pkt := &in.packet
	if err := pkt.Unmarshal(b); err != nil {
		p.counts.malformed.Add(1)
		return
	}
	if !s.bound {
		s.to, s.bound = in.bind(&pkt.Header)
	}
	line := s.to.line
	if line == nil {
		p.counts.unknown.Add(1)
		return
	}
	if in.twcc != nil && line.ext.twcc != 0 {
		if ext := pkt.GetExtension(line.ext.twcc); len(ext) >= 2 {
			in.twcc.Record(s.ssrc, uint16(ext[0])<<8|uint16(ext[1]), now.Microseconds())
			if in.twccAt == 0 {
				in.twccAt = now + twccInterval
				in.wakeAt(p, in.twccAt)
			}
		}
	}
	switch {
	case line.carries(pkt.PayloadType) && !s.to.rtx:
		if !line.listen(s, now, &in.past) {
			p.counts.unknown.Add(1)
			return
		}
		line.log.push(&pkt.Header, now)
		if line.ext.capture != 0 {
			if at, ok := parseCaptureTime(pkt.GetExtension(line.ext.capture)); ok {
				line.captured(at, pkt.Timestamp)
			}
		}
		if line.kind == kindAudio {
			p.takeAudio(line, pkt, now)
			return
		}
		line.video.push(&pkt.Header, pkt.Payload, now, false)
	case pkt.PayloadType == line.rtxPT && line.rtxPT != 0 && line.current != nil:
		if len(pkt.Payload) < 2 {
			return // padding, to probe the path
		}
		// RFC 4588 section 4: the original sequence number comes first.
		pkt.SequenceNumber = uint16(pkt.Payload[0])<<8 | uint16(pkt.Payload[1])
		line.video.push(&pkt.Header, pkt.Payload[2:], now, true)
	default:
		p.counts.unknown.Add(1)
		return
	}
	p.deliver(line, now)
	if p.request(line, now) {
		in.wakeAt(p, now)
	}
	if at, ok := line.video.nextDeadline(now); ok {
		in.wakeAt(p, at)
	}
}

// bind finds the line of a stream by its first packet, and whether that is
// certain. A size of the line's picture that was not taken has none.
func (in *inbound) bind(h *rtp.Header) (b binding, ok bool) {
	b, ok = in.find(h)
	if b.line != nil && b.line.other(h) {
		return binding{}, true
	}
	return b, ok
}

// find goes by what the offer declared, else by the MID (RFC 9143 section 9.2),
// else by the payload type.
func (in *inbound) find(h *rtp.Header) (b binding, ok bool) {
	if b, ok := in.ssrcs[h.SSRC]; ok {
		return b, true
	}
	for _, l := range in.lines {
		if l.ext.mid == 0 {
			continue
		}
		if line := in.mids[string(h.GetExtension(l.ext.mid))]; line != nil {
			return binding{line, line.rtxPT != 0 && h.PayloadType == line.rtxPT}, true
		}
	}
	for _, l := range in.lines {
		if l.carries(h.PayloadType) || l.rtxPT != 0 && h.PayloadType == l.rtxPT {
			// Not for good: a MID may still come.
			return binding{l, !l.carries(h.PayloadType)}, l.ext.mid == 0
		}
	}
	return binding{}, false
}

// listen reports whether the stream is the one that is listened to on the
// line. Another takes over when the old one has gone silent.
func (l *inLine) listen(s *rtpSink, now time.Duration, past *Stats) bool {
	if l.current != s {
		if l.current != nil && now-l.lastAt < takeoverAfter {
			return false
		}
		l.reset(s.ssrc, past)
		l.current = s
	}
	l.lastAt = now
	return true
}

func (p *Peer) takeAudio(line *inLine, pkt *rtp.Packet, now time.Duration) {
	var level codec.AudioLevel
	if line.ext.level != 0 {
		level = parseAudioLevel(pkt.GetExtension(line.ext.level))
	}
	if pkt.PayloadType == line.pt {
		if f := line.audio.push(&pkt.Header, pkt.Payload, level, now); f != nil {
			p.handler.WriteAudio(f)
		}
		return
	}
	for _, f := range line.audio.pushRED(&pkt.Header, pkt.Payload, line.pt, level, now) {
		p.handler.WriteAudio(f)
	}
}

// deliver hands on the frames of a line that are complete. The caller holds
// in.mu.
func (p *Peer) deliver(line *inLine, now time.Duration) {
	for f := line.video.pop(now); f != nil; f = line.video.pop(now) {
		p.handler.WriteVideo(line.source, f)
	}
}

// wakeAt has the inbound side served at that time at the latest.
func (in *inbound) wakeAt(p *Peer, at time.Duration) {
	if int64(at) < in.deadline.Load() {
		in.deadline.Store(int64(at))
		p.poke()
	}
}
