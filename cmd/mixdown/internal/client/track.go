package client

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
)

const (
	// payloadBytes leaves room for IP, UDP, SRTP and header extensions in the
	// 1200 bytes that browsers keep to.
	payloadBytes = 1100
	// historySize is the packets that can be sent again, a power of two:
	// 2 s of 500 kb/s.
	historySize = 256

	videoClockRate = 90000

	// maxRED is how many earlier packets one of sound may repeat.
	maxRED = 2
	// maxREDOffset and maxREDBytes are what RFC 2198 section 3 can say of one.
	maxREDOffset = 1<<14 - 1
	maxREDBytes  = 1<<10 - 1

	// refreshAfter is how long a pause of DTX may last: after that encoders
	// describe the background noise anew, or the server would take us for gone.
	refreshAfter = 400 * time.Millisecond
)

// kind tells a client's streams apart.
type kind string

const (
	sound   kind = "audio"
	picture kind = "video"
)

// rtpWriter is where whole packets go; a link is one.
type rtpWriter interface {
	writeRTP(packet []byte) (int, error)
}

// track is one stream that the client sends.
type track struct {
	kind      kind
	clockRate int64
	source    Source
	observer  Observer // the source, or nil
	drift     drift
	ssrc, rtx uint32
	rtpStart  uint32    // timestamp of media time zero
	out       rtpWriter // set before run, and before anything can come

	mu struct { // packets leave in order of their numbers, resent ones between
		sync.Mutex
		seq, rtxSeq uint16
		pictureID   uint16
		levels      bool // RFC 6464 was negotiated
		red         int  // earlier packets that each repeats; 0: not negotiated
		canRTX      bool
		// held says that the server wants no picture for now, needKey that what
		// comes next must begin with a key frame.
		held, needKey bool

		packet  []byte // scratch: the packet being sent
		history []sentPacket
		repeats [maxRED]sentSound // of the last packets of sound, by number
		stats   SentStats
		// silent says that the last unit was DTX, paused that it was not sent.
		silent, paused bool
		pausedFor      time.Duration

		lastRTPTime uint32        // of the latest unit that was sent
		lastSent    time.Time     // when that unit was due
		handed      time.Duration // when the latest packet went to the socket
	}
}

// sentPacket is one packet of the picture as it was sent, from the RTP header
// on; its memory is used again.
type sentPacket struct {
	seq    uint16
	packet []byte
}

// sentSound is one packet of sound for repetition; its memory is used again.
type sentSound struct {
	timestamp uint32
	data      []byte
}

func newTrack(k kind, source Source) *track {
	t := &track{kind: k, source: source, clockRate: codec.SampleRate, ssrc: rand.Uint32() | 1}
	t.observer, _ = source.(Observer)
	m := &t.mu
	if k == picture {
		t.clockRate, t.rtx = videoClockRate, t.ssrc+1
		m.history = make([]sentPacket, historySize)
	}
	// Random starts (RFC 3550 section 5.1); numbers in the lower half, since a
	// receiver guesses the rollover counter from the first packet that it gets.
	m.seq, m.rtxSeq, t.rtpStart = uint16(rand.Uint32()>>17), uint16(rand.Uint32()>>17), rand.Uint32()
	m.pictureID = uint16(rand.Uint32()) & 0x7fff
	m.lastRTPTime = t.rtpStart
	m.packet = make([]byte, 0, maxDatagram)
	return t
}

// negotiated sets up what the answer says of the track's line. red is how many
// packets to repeat where that is understood.
func (t *track) negotiated(out rtpWriter, line *answerLine, red int) error {
	want := ptOpus
	if t.kind == picture {
		want = ptVP8
	}
	if !line.takes || !line.has(want) {
		return badAnswer("it takes no %s", t.kind)
	}
	t.out = out
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.canRTX = t.kind == picture && line.has(ptRTX)
	t.mu.levels = t.kind == sound && slices.Contains(line.extensions, extLevel)
	if t.kind == sound && line.has(ptRED) {
		t.mu.red = red
	}
	return nil
}

// run sends the source's units until ctx is done. start is the instant of
// media time zero, the same for all tracks of a client.
func (t *track) run(ctx context.Context, start time.Time) error {
	p := pacer{start: start, drift: t.drift}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	var wait time.Duration
	for {
		unit, err := t.source.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		due := start.Add(t.drift.clock(p.pts))
		if t.source.Live() {
			// The source's own pace is the truth: pictures are stamped when they
			// come, sound by its samples, unless the device has paused.
			due = time.Now()
			if drift := due.Sub(start) - p.pts; unit.Duration == 0 || drift > maxLate {
				p.pts += drift
			}
		}
		if t.pause(unit) {
			// Not waited for either: a client that is silent costs nothing.
			wait = p.advance(unit.Duration, time.Now())
			continue
		}
		if !t.source.Live() && wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
		ticks := int64(p.pts/time.Second)*t.clockRate + int64(p.pts%time.Second)*t.clockRate/int64(time.Second)
		sent := t.send(unit, t.rtpStart+uint32(ticks), due)
		now := time.Now()
		if t.observer != nil && sent {
			t.mu.Lock()
			at := t.mu.handed
			t.mu.Unlock()
			t.observer.Sent(codec.Now()+due.Sub(now), at)
		}
		wait = p.advance(unit.Duration, now)
		t.mu.Lock()
		t.mu.stats.Skipped = p.skipped
		t.mu.Unlock()
	}
}

// pause reports whether a unit is DTX and need not be sent: not the first of a
// row, which tells the receiver's decoder, and for no longer than encoders pause.
func (t *track) pause(u clip.Unit) bool {
	if t.kind != sound {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &t.mu
	m.pausedFor += u.Duration
	switch {
	case len(u.Data) > maxDTXBytes:
		m.silent = false
	case !m.silent:
		m.silent = true
	case m.pausedFor <= refreshAfter:
		m.paused = true
		m.stats.Silent++
		return true
	}
	m.pausedFor = 0
	return false
}

// maxDTXBytes: what is no longer need not be sent (RFC 7587 section 3.1.3).
const maxDTXBytes = 2

// send packetises one unit and writes it, or reports that there is nothing to be
// sent.
func (t *track) send(u clip.Unit, rtpTime uint32, due time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &t.mu
	if t.kind == picture && (len(u.Data) == 0 || t.withhold(u.Key)) {
		return false // an encoder that left a picture out lets time pass
	}
	m.lastRTPTime, m.lastSent = rtpTime, due
	m.stats.Units++
	if t.kind == sound {
		t.sendSound(u, rtpTime)
		return true
	}
	if u.Key {
		m.stats.Keyframes++
	}
	// RFC 7741 section 4.2: X, then I with a 15 bit PictureID.
	m.pictureID = (m.pictureID + 1) & 0x7fff
	for rest, first := u.Data, true; len(rest) > 0; first = false {
		n := min(len(rest), payloadBytes)
		b := appendHeader(m.packet[:0], t.ssrc, ptVP8, m.seq, rtpTime, n == len(rest))
		start := byte(0x80)
		if first {
			start = 0x90
		}
		b = append(b, start, 0x80, 0x80|byte(m.pictureID>>8), byte(m.pictureID))
		m.packet = append(b, rest[:n]...)
		rest = rest[n:]
		slot := &m.history[m.seq%historySize]
		slot.seq, slot.packet = m.seq, append(slot.packet[:0], m.packet...)
		t.write()
	}
	return true
}

// sendSound writes one packet of sound, with its level, and what was sent before
// once more where that was negotiated. The caller holds mu.
func (t *track) sendSound(u clip.Unit, rtpTime uint32) {
	m := &t.mu
	pt := byte(ptOpus)
	if m.red > 0 {
		pt = ptRED
	}
	// The first after a pause is marked (RFC 7587 section 4.2).
	b := appendHeader(m.packet[:0], t.ssrc, pt, m.seq, rtpTime, m.paused || m.stats.Packets == 0)
	m.paused = false
	if m.levels && u.Level.Valid {
		level := u.Level.DBov & 0x7f
		if u.Level.Voice {
			level |= 0x80
		}
		b[0] |= 0x10 // RFC 8285 section 4.2: one word of one-byte elements
		b = append(b, 0xbe, 0xde, 0, 1, extLevel<<4, level, 0, 0)
	}
	if m.red > 0 {
		b = t.appendRED(b, u.Data, rtpTime)
	}
	m.packet = append(b, u.Data...)
	t.write()
}

// appendRED writes everything of a redundant payload but the primary's data
// (RFC 2198 section 3). The caller holds mu.
func (t *track) appendRED(b, data []byte, rtpTime uint32) []byte {
	m := &t.mu
	var repeated [maxRED][]byte
	room := payloadBytes - len(data)
	for d := m.red; d > 0; d-- {
		old := &m.repeats[int(m.seq-uint16(d))%maxRED]
		offset, n := rtpTime-old.timestamp, len(old.data)
		if n == 0 || n > maxREDBytes || offset == 0 || offset > maxREDOffset || n > room {
			continue // nothing yet, or it is too long ago
		}
		room -= n
		repeated[d-1] = old.data
		b = append(b, 0x80|ptOpus, byte(offset>>6), byte(offset<<2)|byte(n>>8), byte(n))
	}
	b = append(b, ptOpus)
	for d := m.red; d > 0; d-- {
		b = append(b, repeated[d-1]...)
	}
	slot := &m.repeats[int(m.seq)%maxRED]
	slot.timestamp, slot.data = rtpTime, append(slot.data[:0], data...)
	return b
}

// appendHeader writes a fixed RTP header (RFC 3550 section 5.1).
func appendHeader(b []byte, ssrc uint32, pt byte, seq uint16, timestamp uint32, marker bool) []byte {
	if marker {
		pt |= 0x80
	}
	b = append(b, 0x80, pt)
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, timestamp)
	return binary.BigEndian.AppendUint32(b, ssrc)
}

// write sends m.packet, which has the next number. The caller holds mu.
func (t *track) write() {
	m := &t.mu
	m.seq++
	m.handed = codec.Now()
	n, err := t.out.writeRTP(m.packet)
	if err != nil {
		m.stats.Errors++
		return
	}
	m.stats.Packets++
	m.stats.Bytes += uint64(n)
}

// resend answers a NACK.
func (t *track) resend(seq uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &t.mu
	if t.kind != picture {
		return // nobody asks for sound: it would come too late
	}
	slot := &m.history[seq%historySize]
	if slot.seq != seq || len(slot.packet) == 0 {
		return
	}
	m.stats.Resent++
	if !m.canRTX {
		_, _ = t.out.writeRTP(slot.packet) // it is asked for again
		return
	}
	// RFC 4588 section 4: the original number before the payload.
	old := slot.packet
	b := appendHeader(m.packet[:0], t.rtx, ptRTX, m.rtxSeq, binary.BigEndian.Uint32(old[4:]), old[1]&0x80 != 0)
	m.packet = append(append(b, byte(seq>>8), byte(seq)), old[rtpHeaderBytes:]...)
	m.rtxSeq++
	_, _ = t.out.writeRTP(m.packet)
}

// rtpHeaderBytes is an RTP header without extensions.
const rtpHeaderBytes = 12

// report returns this stream's sender report (RFC 3550 section 6.4.1), or nil
// before the first packet. The timestamp is that of the report's own instant.
func (t *track) report(now time.Time) *rtcp.SenderReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &t.mu
	if m.stats.Packets == 0 {
		return nil
	}
	ahead := int64(t.drift.media(now.Sub(m.lastSent))) * t.clockRate / int64(time.Second)
	return &rtcp.SenderReport{
		SSRC: t.ssrc, NTPTime: uint64(codec.NTPTimeOf(now)), RTPTime: m.lastRTPTime + uint32(ahead),
		PacketCount: uint32(m.stats.Packets), OctetCount: uint32(m.stats.Bytes),
	}
}

// takeKeyframeRequest serves PLI and FIR.
func (t *track) takeKeyframeRequest() {
	t.mu.Lock()
	t.mu.stats.KeyframeRequests++
	t.mu.Unlock()
	t.source.RequestKeyframe()
}

func (t *track) stats() SentStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.stats
}
