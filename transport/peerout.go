package transport

import (
	"fmt"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// outbound is the way to the client.
type outbound struct {
	mu     sync.Mutex
	pacer  *pacer // under mu
	closed bool   // under mu

	// The rest is set by Accept and then only read.
	audioSSRC, videoSSRC uint32
	audio, video         *outTrack // nil: not negotiated

	packet outPacket // the dispatcher's scratch
	path   pathReport
}

func (o *outbound) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.pacer.close()
}

// outTrack is the webrtc.TrackLocal by which pion gives us a stream's SSRC and
// the way into SRTP. What is written there goes out at once, on our numbers:
// the peer has no interceptors.
type outTrack struct {
	kind      webrtc.RTPCodecType
	mime      string
	stream    string // the msid, which is the CNAME too
	pt        uint8
	ssrc, rtx uint32
	writer    webrtc.TrackLocalWriter
	started   bool // something was sent; the dispatcher's
}

// Bind implements webrtc.TrackLocal; it is called while Accept sets the answer.
func (t *outTrack) Bind(ctx webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	for _, c := range ctx.CodecParameters() {
		if uint8(c.PayloadType) == t.pt && c.MimeType == t.mime {
			t.ssrc, t.rtx = uint32(ctx.SSRC()), uint32(ctx.SSRCRetransmission())
			t.writer = ctx.WriteStream()
			return c, nil
		}
	}
	return webrtc.RTPCodecParameters{}, fmt.Errorf("%s %d was not negotiated", t.mime, t.pt)
}

// Unbind implements webrtc.TrackLocal.
func (t *outTrack) Unbind(webrtc.TrackLocalContext) error { return nil }

// ID implements webrtc.TrackLocal.
func (t *outTrack) ID() string { return t.kind.String() }

// RID implements webrtc.TrackLocal.
func (t *outTrack) RID() string { return "" }

// StreamID implements webrtc.TrackLocal.
func (t *outTrack) StreamID() string { return t.stream }

// Kind implements webrtc.TrackLocal.
func (t *outTrack) Kind() webrtc.RTPCodecType { return t.kind }

// send gives everything that is due to the socket and returns how long until
// more is. Only the dispatcher calls it. The pacer is asked under its lock, the
// packet, which is a copy, is written outside of it.
func (p *Peer) send() time.Duration {
	pkt := &p.out.packet
	for {
		now := codec.Now()
		var fb codec.Feedback
		var tell bool
		p.out.mu.Lock()
		ok, wait := p.out.pacer.next(pkt, now)
		if !ok && !p.out.closed {
			fb, tell = p.out.pacer.news(now)
		}
		p.out.mu.Unlock()
		if !ok {
			if tell {
				p.tellPath(fb)
			}
			if wait < 0 {
				return time.Hour // a push wakes us
			}
			return wait
		}
		track := p.out.video
		if pkt.Kind == audioPacket {
			track = p.out.audio
		}
		n, err := track.writer.WriteRTP(&pkt.Header, pkt.Payload)
		if err != nil {
			p.counts.sendErrors.Add(1)
			continue
		}
		if !track.started {
			// The client cannot put sound and picture together before the
			// first report of each.
			track.started, p.rtcp.reportAt = true, 0
		}
		p.counts.sentPackets.Add(1)
		p.counts.sentBytes.Add(uint64(n))
	}
}

// tellPath tells the Handler what changed of the path. The caller holds no lock
// of out.
func (p *Peer) tellPath(fb codec.Feedback) {
	p.counts.estimateBps.Store(int64(fb.EstimateBps))
	p.counts.queueDelay.Store(int64(fb.QueueDelay))
	p.handler.Feedback(fb)
}
