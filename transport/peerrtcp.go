package transport

import (
	"io"
	"time"

	"github.com/pion/rtcp"

	"mixdown/codec"
)

const (
	// reportInterval is between two compound reports. RFC 3550 section 6.2
	// would have 5 s; browsers send one a second, and so do we: the receiver
	// needs the first ones to put sound and picture together.
	reportInterval = time.Second
	// twccInterval is between two transport-wide feedbacks.
	twccInterval = 100 * time.Millisecond
	// keyframeInterval is the shortest time between two key frame requests of
	// one client that are passed on; the Rendition coalesces further.
	keyframeInterval = 100 * time.Millisecond
	// maxNACKed sequence numbers are looked at in one packet: what the history
	// holds.
	maxNACKed = historySize
	// maxOutbox requests wait for the dispatcher; what is not asked for now is asked
	// for later.
	maxOutbox = 64
)

// rtcpState is what reports need. Fields under "dispatcher" belong to
// that goroutine, the others are under inbound.mu.
type rtcpState struct {
	ssrc uint32 // ours in feedback; set by Accept

	// dispatcher
	reportAt time.Duration
	sentCap  uint64 // REMB sent last; 0: none

	// inbound.mu
	keyframeAt time.Duration // last request passed on
	asked      bool          // keyframeAt is set
	seqs       []uint16
}

// rtcpSink is where pion puts the decrypted RTCP packets that concern one
// SSRC, ours or the client's; one that concerns several comes to each.
type rtcpSink struct {
	peer *Peer
	ssrc uint32
}

// Write implements io.Writer. b is only valid during the call.
func (s *rtcpSink) Write(b []byte) (int, error) {
	if isTWCC(b) { // pion hands out the packets of a compound one by one
		s.peer.takeTWCC(b)
		return len(b), nil
	}
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		s.peer.counts.malformed.Add(1)
		return len(b), nil
	}
	s.peer.takeRTCP(s.ssrc, packets)
	return len(b), nil
}

// Read says that there is nothing to read.
func (s *rtcpSink) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (s *rtcpSink) Close() error { return nil }

// takeRTCP handles what concerns one SSRC.
func (p *Peer) takeRTCP(ssrc uint32, packets []rtcp.Packet) {
	now := codec.Now()
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	if p.in.closed {
		return
	}
	for _, packet := range packets {
		switch m := packet.(type) {
		case *rtcp.SenderReport:
			if m.SSRC == ssrc {
				p.takeSenderReport(m, now)
			}
			p.takeReports(ssrc, m.Reports)
		case *rtcp.ReceiverReport:
			p.takeReports(ssrc, m.Reports)
		case *rtcp.PictureLossIndication:
			if m.MediaSSRC == ssrc {
				p.takeKeyframeRequest(ssrc, now)
			}
		case *rtcp.FullIntraRequest:
			for _, e := range m.FIR {
				if e.SSRC == ssrc {
					p.takeKeyframeRequest(ssrc, now)
				}
			}
		case *rtcp.TransportLayerNack:
			if m.MediaSSRC == ssrc && ssrc == p.out.videoSSRC && ssrc != 0 {
				p.takeNACK(m, now)
			}
		case *rtcp.ReceiverEstimatedMaximumBitrate:
			if m.Bitrate >= 1000 && m.Bitrate < 1e10 {
				p.takePath(func(out *pacer) { out.remb(float64(m.Bitrate), now) }, now)
			}
		}
	}
}

// takeTWCC handles transport-wide feedback, which is most of what comes.
func (p *Peer) takeTWCC(b []byte) {
	now := codec.Now()
	p.takePath(func(out *pacer) {
		if !out.twcc(b, now) {
			p.counts.malformed.Add(1)
		}
	}, now)
}

// takePath has the pacer learn something about the path, tells the Handler what
// came of it, and has the dispatcher send what may go now.
func (p *Peer) takePath(learn func(*pacer), now time.Duration) {
	p.out.mu.Lock()
	if p.out.closed {
		p.out.mu.Unlock()
		return
	}
	learn(p.out.pacer)
	fb, tell := p.out.pacer.news(now)
	waits := p.out.pacer.waits()
	p.out.mu.Unlock()
	if tell {
		p.tellPath(fb)
	}
	if waits {
		p.poke()
	}
}

func (p *Peer) takeSenderReport(m *rtcp.SenderReport, now time.Duration) {
	for _, l := range p.in.lines {
		if l.current == nil || l.current.ssrc != m.SSRC {
			continue
		}
		ntp := codec.NTPTime(m.NTPTime)
		l.log.senderReport(ntp, now)
		if l.audio != nil {
			l.audio.senderReport(ntp, m.RTPTime)
		} else {
			l.video.senderReport(ntp, m.RTPTime)
		}
	}
}

// takeReports reads what the client says of the streams that it gets. The
// Handler is told with each block: Report is about the picture, or the sound
// when there is no picture, AudioReport about the sound.
func (p *Peer) takeReports(ssrc uint32, blocks []rtcp.ReceptionReport) {
	for i := range blocks {
		b := &blocks[i]
		if b.SSRC != ssrc || !p.receiveReport(b) {
			continue
		}
		path := &p.out.path
		loss := path.VideoLoss
		if p.out.videoSSRC == 0 {
			loss = path.AudioLoss
		}
		p.counts.rtt.Store(int64(path.RTT))
		p.counts.lossPPM.Store(int64(loss * 1e6))
		for _, l := range p.in.lines {
			if l.video != nil && path.RTT > 0 {
				l.video.setRTT(path.RTT)
			}
		}
		var fb codec.Feedback
		if ssrc == p.out.audioSSRC {
			fb = codec.Feedback{AudioReport: true, AudioLossFraction: path.AudioLoss, RTT: path.RTT}
		}
		if ssrc == p.out.videoSSRC || p.out.videoSSRC == 0 {
			fb.Report, fb.LossFraction, fb.RTT = true, loss, path.RTT
			fb.EstimateBps = int(p.counts.estimateBps.Load())
			fb.Unprobed = p.out.video == nil || p.out.video.rtx == 0
			fb.QueueDelay = time.Duration(p.counts.queueDelay.Load())
		}
		p.handler.Feedback(fb)
	}
}

// receiveReport brings path up to date; false when the block is not about us.
func (p *Peer) receiveReport(b *rtcp.ReceptionReport) bool {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	path := &p.out.path
	p.counts.queueDelay.Store(int64(p.out.pacer.queueDelay(codec.Now())))
	if p.out.closed || !path.receive(p.out.pacer, b, time.Now()) {
		return false
	}
	p.missed(b)
	if path.RTT > 0 {
		p.out.pacer.setRTT(path.RTT)
	}
	switch {
	case b.SSRC == p.out.videoSSRC:
		p.out.pacer.report(path.VideoLoss, path.Trip, codec.Now())
	case p.out.videoSSRC == 0:
		p.out.pacer.report(path.AudioLoss, path.Trip, codec.Now())
	}
	p.counts.estimateBps.Store(int64(p.out.pacer.path.videoBps(codec.Now())))
	return true
}

func (p *Peer) takeKeyframeRequest(ssrc uint32, now time.Duration) {
	if ssrc != p.out.videoSSRC || ssrc == 0 {
		return
	}
	p.counts.keyframeRequests.Add(1)
	if r := &p.rtcp; !r.asked || now-r.keyframeAt >= keyframeInterval {
		r.asked, r.keyframeAt = true, now
		p.handler.Feedback(codec.Feedback{KeyframeWanted: true})
	}
}

func (p *Peer) takeNACK(m *rtcp.TransportLayerNack, now time.Duration) {
	seqs := p.rtcp.seqs[:0]
	for _, pair := range m.Nacks {
		if len(seqs) >= maxNACKed {
			p.counts.requestsCut.Add(1)
			break
		}
		pair.Range(func(seq uint16) bool {
			seqs = append(seqs, seq)
			return true
		})
	}
	p.rtcp.seqs = seqs
	p.out.mu.Lock()
	if !p.out.closed {
		p.out.pacer.nack(seqs, now)
	}
	p.out.mu.Unlock()
	p.poke()
}

// serveInbound drives what waits for time on the inbound side: repairs asked
// for, gaps given up, key frames requested, feedback. It returns how long
// until it is wanted again. Only the dispatcher calls it.
func (p *Peer) serveInbound(now time.Duration) time.Duration {
	var wanted [codec.NumSources]bool
	asked := false
	for s := range wanted {
		wanted[s] = p.wantKey[s].Load() && p.wantKey[s].Swap(false)
		asked = asked || wanted[s]
	}
	in := &p.in
	if at := time.Duration(in.deadline.Load()); !asked && now < at {
		return at - now
	}
	var packets []rtcp.Packet
	next := never
	in.mu.Lock()
	// Before the cores are asked, so that none of what comes later is missed.
	in.deadline.Store(int64(never))
	for _, l := range in.lines {
		if l.video == nil {
			continue
		}
		if wanted[l.source] {
			l.video.requestKey()
		}
		p.deliver(l, now)
		p.request(l, now)
		if at, ok := l.video.nextDeadline(now); ok {
			next = min(next, at)
		}
	}
	if in.twccAt != 0 && now >= in.twccAt {
		in.twccAt = 0
		packets = append(packets, in.twcc.BuildFeedbackPacket()...)
	} else if in.twccAt != 0 {
		next = min(next, in.twccAt)
	}
	in.deadline.Store(int64(next))
	packets = append(packets, in.outbox...)
	clear(in.outbox)
	in.outbox = in.outbox[:0]
	in.mu.Unlock()
	for i := range packets {
		p.writeFeedback(packets[i : i+1])
	}
	return max(next-codec.Now(), 0)
}

// request puts into the outbox what a line wants of its sender now, and
// reports whether there is anything. The caller holds in.mu and sees to it that
// the dispatcher sends it: no lock is held while writing.
func (p *Peer) request(l *inLine, now time.Duration) bool {
	in := &p.in
	if l.current == nil {
		return len(in.outbox) > 0
	}
	if len(in.outbox) >= maxOutbox {
		p.counts.requestsDeferred.Add(1)
		return true
	}
	in.nacks = l.video.appendNACKs(in.nacks[:0], now)
	if n := len(in.nacks); n > 0 {
		p.counts.nacksSent.Add(uint64(n))
		in.outbox = append(in.outbox, &rtcp.TransportLayerNack{
			SenderSSRC: p.rtcp.ssrc, MediaSSRC: l.current.ssrc,
			Nacks: rtcp.NackPairsFromSequenceNumbers(in.nacks),
		})
	}
	if l.video.takePLI(now) {
		p.counts.plisSent.Add(1)
		in.outbox = append(in.outbox, &rtcp.PictureLossIndication{SenderSSRC: p.rtcp.ssrc, MediaSSRC: l.current.ssrc})
	}
	return len(in.outbox) > 0
}

// serveReports sends the compound report once a second, and right after the
// first packet of each stream (see send), and publishes the counters. Only the dispatcher calls it.
func (p *Peer) serveReports(now time.Duration) time.Duration {
	r := &p.rtcp
	if now < r.reportAt {
		return r.reportAt - now
	}
	r.reportAt = now + reportInterval
	p.out.mu.Lock()
	compound := senderReports(p.out.pacer, p.cname, p.epoch, time.Now())
	p.counts.queueDelay.Store(int64(p.out.pacer.queueDelay(now)))
	p.out.mu.Unlock()
	blocks := p.receptionBlocks(now)
	if sr, ok := first[*rtcp.SenderReport](compound); ok {
		sr.Reports = blocks
	} else if len(blocks) > 0 {
		compound = []rtcp.Packet{
			&rtcp.ReceiverReport{SSRC: r.ssrc, Reports: blocks},
			&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
				Source: r.ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: p.cname}},
			}}},
		}
	}
	if len(compound) > 0 {
		if remb := p.uplinkCap(); remb != nil {
			compound = append(compound, remb)
		}
		p.writeRTCP(compound)
	}
	p.publish()
	return r.reportAt - now
}

// first returns the first packet if it is a T.
func first[T rtcp.Packet](packets []rtcp.Packet) (t T, ok bool) {
	if len(packets) > 0 {
		t, ok = packets[0].(T)
	}
	return t, ok
}

func (p *Peer) receptionBlocks(now time.Duration) []rtcp.ReceptionReport {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	var blocks []rtcp.ReceptionReport
	for _, l := range p.in.lines {
		if b, ok := l.log.report(now); ok && l.current != nil {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// uplinkCap is the REMB (draft-alvestrand-rmcat-remb) that bounds what a
// client sends, sound included; nil when there is nothing to say.
func (p *Peer) uplinkCap() rtcp.Packet {
	const sound = 100_000 // Opus at its best, with overhead
	var bps uint64
	var ssrcs []uint32
	bounded := true
	p.in.mu.Lock()
	for _, l := range p.in.lines {
		if l.video == nil || l.current == nil {
			continue
		}
		t := p.limits[l.source].Load()
		bounded = bounded && t != nil && t.BitrateBps > 0 && l.has("goog-remb")
		if t != nil {
			bps += uint64(max(t.BitrateBps, 0))
		}
		ssrcs = append(ssrcs, l.current.ssrc)
	}
	p.in.mu.Unlock()
	if len(ssrcs) == 0 || !bounded {
		if p.rtcp.sentCap == 0 || len(ssrcs) == 0 {
			return nil
		}
		bps = uint64(p.cfg.MaxUplinkBps) // lift what was said before
	} else {
		bps += sound
	}
	p.rtcp.sentCap = bps
	return &rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: p.rtcp.ssrc, Bitrate: float32(bps), SSRCs: ssrcs}
}

// writeFeedback sends feedback by itself where the client takes that (RFC 5506),
// and after an empty report where it does not (RFC 3550 section 6.1).
func (p *Peer) writeFeedback(packets []rtcp.Packet) {
	if !p.plan.reduced() {
		packets = append([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: p.rtcp.ssrc}}, packets...)
	}
	p.writeRTCP(packets)
}

func (p *Peer) writeRTCP(packets []rtcp.Packet) {
	if err := p.pc.WriteRTCP(packets); err != nil {
		p.counts.sendErrors.Add(1)
	}
}

// publish makes the counters of the cores readable from outside.
func (p *Peer) publish() {
	p.in.mu.Lock()
	in := p.in.past
	for _, l := range p.in.lines {
		in.addLine(l)
	}
	p.in.mu.Unlock()
	p.counts.inboundSnapshot.Store(&in)
	p.out.mu.Lock()
	out := p.out.pacer.stats
	p.out.mu.Unlock()
	p.counts.outboundSnapshot.Store(&out)
}
