package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

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

	audioLevelURI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
)

// track is one stream that the client sends. It implements webrtc.TrackLocal.
type track struct {
	kind      webrtc.RTPCodecType
	clockRate int64
	streamID  string
	source    Source
	observer  Observer // the source, or nil
	drift     drift
	bound     chan struct{} // closed by the first Bind

	mu struct { // packets leave in order of their numbers, resent ones between
		sync.Mutex
		writer      webrtc.TrackLocalWriter
		header      rtp.Header // of the next packet
		levelID     uint8      // header extension, 0 when not negotiated
		rtx         rtp.Header // SSRC 0 when not negotiated
		pictureID   uint16
		history     [historySize]sentPacket
		scratch     []byte
		stats       SentStats
		lastRTPTime uint32        // of the latest unit
		lastSent    time.Time     // when that unit was due
		handed      time.Duration // when the latest packet went to the socket
	}
}

// sentPacket is one packet as it was sent; payload's memory is used again.
type sentPacket struct {
	header  rtp.Header
	payload []byte
	valid   bool
}

func newTrack(kind webrtc.RTPCodecType, source Source, streamID string) *track {
	t := &track{kind: kind, source: source, streamID: streamID, clockRate: 90000, bound: make(chan struct{})}
	t.observer, _ = source.(Observer)
	if kind == webrtc.RTPCodecTypeAudio {
		t.clockRate = codec.SampleRate
	}
	// Random starts, RFC 3550 section 5.1.
	t.mu.header = rtp.Header{Version: 2, SequenceNumber: uint16(rand.Uint32()), Timestamp: rand.Uint32()}
	t.mu.pictureID = uint16(rand.Uint32()) & 0x7fff
	t.mu.lastRTPTime = t.mu.header.Timestamp
	return t
}

func (t *track) ID() string                { return t.kind.String() }
func (t *track) RID() string               { return "" }
func (t *track) StreamID() string          { return t.streamID }
func (t *track) Kind() webrtc.RTPCodecType { return t.kind }

// Bind is called by pion when the answer is known.
func (t *track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	want := webrtc.MimeTypeVP8
	if t.kind == webrtc.RTPCodecTypeAudio {
		want = webrtc.MimeTypeOpus
	}
	var chosen, rtx *webrtc.RTPCodecParameters
	for _, p := range c.CodecParameters() {
		switch p.MimeType {
		case want:
			chosen = &p
		case webrtc.MimeTypeRTX:
			rtx = &p
		}
	}
	if chosen == nil {
		return webrtc.RTPCodecParameters{}, errors.New("the answer takes no " + want)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.writer = c.WriteStream()
	t.mu.header.SSRC, t.mu.header.PayloadType = uint32(c.SSRC()), uint8(chosen.PayloadType)
	if ssrc := c.SSRCRetransmission(); ssrc != 0 && rtx != nil {
		t.mu.rtx = rtp.Header{Version: 2, SSRC: uint32(ssrc), PayloadType: uint8(rtx.PayloadType), SequenceNumber: uint16(rand.Uint32())}
	}
	for _, e := range c.HeaderExtensions() {
		if e.URI == audioLevelURI {
			t.mu.levelID = uint8(e.ID)
		}
	}
	close(t.bound)
	return *chosen, nil
}

// Unbind is called by pion when the connection closes.
func (t *track) Unbind(webrtc.TrackLocalContext) error { return nil }

// run sends the source's units until ctx is done. start is the instant of
// media time zero, the same for all tracks of a client.
func (t *track) run(ctx context.Context, start time.Time) error {
	p := pacer{start: start, drift: t.drift}
	rtpStart := t.mu.header.Timestamp
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
		} else if wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
		ticks := int64(p.pts/time.Second)*t.clockRate + int64(p.pts%time.Second)*t.clockRate/int64(time.Second)
		t.send(unit, rtpStart+uint32(ticks), due)
		now := time.Now()
		if t.observer != nil {
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

// send packetises one unit and writes it.
func (t *track) send(u clip.Unit, rtpTime uint32, due time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &t.mu
	m.lastRTPTime, m.lastSent = rtpTime, due
	m.header.Timestamp = rtpTime
	m.stats.Units++
	if u.Key && t.kind == webrtc.RTPCodecTypeVideo {
		m.stats.Keyframes++
	}
	if t.kind == webrtc.RTPCodecTypeAudio {
		h := m.header
		if m.levelID != 0 && u.Level.Valid {
			level := u.Level.DBov
			if u.Level.Voice {
				level |= 0x80
			}
			// A fresh slice each time: the history keeps headers.
			_ = h.SetExtension(m.levelID, []byte{level})
		}
		t.write(h, u.Data)
		return
	}
	// RFC 7741 section 4.2: X, then I with a 15 bit PictureID.
	m.pictureID = (m.pictureID + 1) & 0x7fff
	for rest, first := u.Data, true; len(rest) > 0; first = false {
		n := min(len(rest), payloadBytes)
		m.scratch = append(m.scratch[:0], 0x80, 0x80, 0x80|byte(m.pictureID>>8), byte(m.pictureID))
		if first {
			m.scratch[0] |= 0x10
		}
		m.scratch = append(m.scratch, rest[:n]...)
		rest = rest[n:]
		h := m.header
		h.Marker = len(rest) == 0
		t.write(h, m.scratch)
	}
}

// write sends one packet and remembers it. The caller holds mu.
func (t *track) write(h rtp.Header, payload []byte) {
	m := &t.mu
	slot := &m.history[h.SequenceNumber%historySize]
	slot.header, slot.valid = h, true
	slot.payload = append(slot.payload[:0], payload...)
	m.header.SequenceNumber++
	m.handed = codec.Now()
	n, err := m.writer.WriteRTP(&h, payload)
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
	slot := &m.history[seq%historySize]
	if !slot.valid || slot.header.SequenceNumber != seq {
		return
	}
	m.stats.Resent++
	if m.rtx.SSRC == 0 {
		h := slot.header
		_, _ = m.writer.WriteRTP(&h, slot.payload)
		return
	}
	// RFC 4588 section 4: the original number before the payload.
	h := m.rtx
	h.Timestamp, h.Marker = slot.header.Timestamp, slot.header.Marker
	m.rtx.SequenceNumber++
	m.scratch = append(m.scratch[:0], byte(seq>>8), byte(seq))
	m.scratch = append(m.scratch, slot.payload...)
	_, _ = m.writer.WriteRTP(&h, m.scratch)
}

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
		SSRC: m.header.SSRC, NTPTime: uint64(codec.NTPTimeOf(now)), RTPTime: m.lastRTPTime + uint32(ahead),
		PacketCount: uint32(m.stats.Packets), OctetCount: uint32(m.stats.Bytes),
	}
}

// readRTCP serves what the server asks of this stream, until the sender stops.
func (t *track) readRTCP(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				t.mu.Lock()
				t.mu.stats.KeyframeRequests++
				t.mu.Unlock()
				t.source.RequestKeyframe()
			case *rtcp.TransportLayerNack:
				for _, pair := range p.Nacks {
					pair.Range(func(seq uint16) bool {
						t.resend(seq)
						return true
					})
				}
			}
		}
	}
}

func (t *track) stats() SentStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.stats
}
