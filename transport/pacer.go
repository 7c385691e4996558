package transport

import (
	"math/rand/v2"
	"time"

	"mixdown/codec"
)

const (
	// pacingFactor times the target is the rate at which a queue drains: a key
	// frame of four times the mean goes out within two frame times, and the
	// burst stays below what shallow router queues drop.
	pacingFactor = 2.5
	// pacingFloorBps keeps tiny targets from stretching one packet over frames.
	pacingFloorBps = 500_000
	// pacingBurst is what may go at once: writers do not wake more precisely.
	pacingBurst = 10 * time.Millisecond
	// defaultTargetBps is a 720p tier.
	defaultTargetBps = 1_500_000

	// audioQueueMax frames of sound wait at most (160 ms); then the oldest goes.
	audioQueueMax = 8
	// videoQueueMax is how long queued video may need to drain; then all of it
	// is dropped and a key frame wanted: showing it late helps nobody.
	videoQueueMax = 250 * time.Millisecond
	// videoQueueFrames and videoQueueBytes bound it whatever the rate.
	videoQueueFrames = 64
	videoQueueBytes  = 1 << 20
	// repairQueueMax repairs wait at most; requests beyond are ignored, and
	// repeated by the receiver if it still needs them.
	repairQueueMax = 128

	// repairShare of the target may go into repairs, on top of it.
	repairShare = 0.3
	// repairBurst is how much of that may be saved up.
	repairBurst = time.Second
	// repairSpacingMin is the shortest time between two repairs of one packet;
	// otherwise it is a round trip.
	repairSpacingMin = 10 * time.Millisecond

	// switchHold is for how long, in PTS, frames of the stream that was
	// switched away from are left out without a fuss: its encoder has not been
	// told yet.
	switchHold = 500 * time.Millisecond
	// switchLag is by how much the first frames of another stream may be behind
	// what was sent of the one before: both come from the same canvas, and the
	// larger one takes longer to encode. They are given times of their own,
	// switchStep apart, until they have caught up; a receiver shows them at
	// once.
	switchLag  = 200 * time.Millisecond
	switchStep = time.Millisecond
)

// pacerConfig says what goes out under which numbers.
type pacerConfig struct {
	// AudioSSRC and VideoSSRC; 0 says that there is no such stream.
	AudioSSRC, VideoSSRC uint32
	AudioPT, VideoPT     uint8
	// RTXSSRC and RTXPT of repairs. RTXPT 0 says that RTX was not negotiated:
	// packets are repeated as they were.
	RTXSSRC uint32
	RTXPT   uint8
	// AllAudio sends silence too that is marked as not needed.
	AllAudio bool
	// AudioTWCC and VideoTWCC are the ids of the transport-wide sequence number;
	// 0 is none.
	AudioTWCC, VideoTWCC uint8
	// CSRCLevelID is the id of the RFC 6465 header extension; 0 is none.
	CSRCLevelID uint8
	// AudioCaptureID and VideoCaptureID are the ids of the absolute capture time;
	// 0 is none. Epoch is the wall clock at PTS 0, for these.
	AudioCaptureID, VideoCaptureID uint8
	Epoch                          time.Time
	// DelayID is the id of the playout delay, which shall be at most MaxDelay; 0 is
	// none.
	DelayID  uint8
	MaxDelay time.Duration
	// TargetBps of the video; defaults to 1.5 Mb/s.
	TargetBps int
	// MaxPayload is the VP8 bytes in a packet; defaults to what keeps the
	// packet within 1200 bytes.
	MaxPayload int
	// Seed of the random first numbers (RFC 3550 section 5.1).
	Seed uint64
}

// pacerStats counts since the pacer was made.
type pacerStats struct {
	AudioPackets, VideoPackets, RepairPackets uint64
	Bytes                                     uint64 // on the wire above UDP, SRTP's tag not counted
	VideoFrames                               uint64 // begun to be sent
	AudioDropped                              uint64 // queue full
	AudioSilent                               uint64 // silence that was not sent
	VideoDropped                              uint64 // frames that were not taken
	VideoFlushed                              uint64 // frames thrown out of the queue
	Flushes                                   uint64 // times that the queue was thrown away
	Switches                                  uint64 // from one stream to another
	NACKed                                    uint64 // sequence numbers asked for
	NACKUnknown                               uint64 // not, or no longer, in the history
	NACKSpaced                                uint64 // repaired less than a round trip ago
	NACKOverBudget                            uint64 // repairs that the budget forbade, or the queue was full
	ProbePackets                              uint64 // old packets and padding, to see what the path carries
	Collapses                                 uint64 // times that the path carried much less all at once
}

// A pacer decides what is sent next to one client: sound at once, then
// repairs, then video at a bounded rate, then probes of the path. A large picture
// goes in pieces, with sound in between (see soundGuard). It numbers
// what it sends, and keeps it for repairs. What the path carries its estimator
// says (see pacerpath.go): while as much is on its way as the path may hold, only
// sound is sent.
//
// Queues and their bounds: sound 8 frames (the oldest goes), repairs 128 (the
// newest is refused), video 250 ms of draining, 64 frames or 1 MiB (discardable
// frames go first, then all; then a key frame is wanted). All drops are
// counted in stats. It is not safe for concurrent use; time is an argument; it
// does not block, and allocates nothing once running.
type pacer struct {
	cfg   pacerConfig
	stats pacerStats

	audio     audioPacketiser
	video     videoPacketiser
	rtxSeq    uint16
	hist      *history
	audioSent sentCounts
	videoSent sentCounts

	silent bool // the last sound was marked DTX
	paused bool // and was not sent
	// held is the last sound that was not sent, or nil. Decoders that bridged a
	// pause by themselves make the next packet up to 14 dB too faint (libopus
	// dampens what follows a gap). Sent right before it, a packet of silence
	// takes that upon itself; it still comes in time to be played in its place
	// where the receiver keeps 20 ms in store.
	held                       *codec.EncodedFrame
	audioCapture, videoCapture captureStamp
	delay                      delayStamp

	audioQ  ringQueue[queued]
	videoQ  ringQueue[queued]
	repairQ ringQueue[uint16]
	queuedN int // bytes in videoQ and the rest of the frame being cut

	rate    float64 // bytes/s at which the queues drain
	guard   soundGuard
	credit  float64       // bytes that may go now; negative after sound
	filled  time.Duration // when credit was brought up to date
	repair  float64       // bytes of repairs that may go
	paid    time.Duration // when repair was brought up to date
	rtt     time.Duration
	started bool // filled and paid are set

	path pacedPath

	stream   codec.StreamID // taken last
	previous codec.StreamID // switched away from
	switched time.Duration  // PTS of the switch
	lastPTS  time.Duration  // taken last, as it is sent
	lastOwn  time.Duration  // as it was
	needKey  bool
}

type queued struct {
	frame *codec.EncodedFrame
	since time.Duration
	pts   time.Duration // of video, as it is sent
	// spurt: sound that follows silence, of which nothing was sent.
	spurt bool
}

func newPacer(cfg pacerConfig) *pacer {
	if cfg.TargetBps <= 0 {
		cfg.TargetBps = defaultTargetBps
	}
	if cfg.MaxPayload <= 0 || cfg.MaxPayload > maxPayload-vp8DescriptorSize-2 {
		cfg.MaxPayload = defaultMaxPayload
	}
	random := rand.New(rand.NewPCG(cfg.Seed, 0))
	p := &pacer{
		cfg:     cfg,
		hist:    newHistory(),
		needKey: true,
		audioQ:  newRingQueue[queued](audioQueueMax),
		videoQ:  newRingQueue[queued](videoQueueFrames),
		repairQ: newRingQueue[uint16](repairQueueMax),
	}
	// Sequence numbers start low: libsrtp at the other end guesses the
	// rollover counter from the first packet it sees, and loses the stream
	// when the first packets of a high start are lost around the wrap.
	p.audioCapture = captureStamp{id: cfg.AudioCaptureID, epoch: cfg.Epoch}
	p.videoCapture = captureStamp{id: cfg.VideoCaptureID, epoch: cfg.Epoch}
	p.delay = delayStamp{id: cfg.DelayID, most: cfg.MaxDelay}
	p.audio = audioPacketiser{seq: uint16(random.Uint32() >> 17), timeBase: random.Uint32(), levelID: cfg.CSRCLevelID}
	p.video = videoPacketiser{
		max: cfg.MaxPayload, seq: uint16(random.Uint32() >> 17), timeBase: random.Uint32(),
		pictureID: uint16(random.Uint32()) & 0x7fff, tl0: uint8(random.Uint32()),
	}
	p.rtxSeq = uint16(random.Uint32() >> 17)
	p.path = newPacedPath(&p.cfg)
	p.setTarget(cfg.TargetBps, 0)
	return p
}

// setTarget tells the bitrate of the video that is coming.
func (p *pacer) setTarget(bps int, now time.Duration) {
	p.cfg.TargetBps = bps
	p.setRate(now)
}

// setRTT tells the round trip time.
func (p *pacer) setRTT(rtt time.Duration) { p.rtt = min(rtt, maxRTT) }

// audioTime and videoTime give the RTP timestamp of a PTS.
func (p *pacer) audioTime(pts time.Duration) uint32 { return p.audio.time(pts) }
func (p *pacer) videoTime(pts time.Duration) uint32 { return p.video.time(pts) }

// queueDelay is how long the oldest unsent video frame has waited.
func (p *pacer) queueDelay(now time.Duration) time.Duration {
	if q, ok := p.videoQ.peek(); ok {
		return max(now-q.since, 0)
	}
	return 0
}

// pushAudio queues one packet of sound and reports whether it did. f is lent.
func (p *pacer) pushAudio(f *codec.EncodedFrame, now time.Duration) bool {
	if p.cfg.AudioSSRC == 0 || len(f.Data) == 0 || len(f.Data) > maxOpusPayload {
		return false
	}
	if f.DTX && !p.cfg.AllAudio {
		if p.silent {
			p.paused = true
			p.unhold()
			p.held = f.Retain()
			return false
		}
		p.silent = true // the first one says so
	} else {
		p.silent = false
		if p.held != nil && len(f.Heard) > 0 {
			p.queueAudio(p.held, now)
			p.held.Release()
			p.held = nil
		}
	}
	p.unhold()
	p.queueAudio(f, now)
	return true
}

func (p *pacer) queueAudio(f *codec.EncodedFrame, now time.Duration) {
	if p.audioQ.full() {
		old, _ := p.audioQ.pop()
		old.frame.Release()
		p.stats.AudioDropped++
	}
	p.audioQ.push(queued{frame: f.Retain(), since: now, spurt: p.paused})
	p.paused = false
}

// unhold gives back the sound that was held, which will not be sent.
func (p *pacer) unhold() {
	if p.held != nil {
		p.stats.AudioSilent++
		p.held.Release()
		p.held = nil
	}
}

// pushVideo queues one frame, or says why not. f is lent.
//
// A frame of another stream than before is taken only when it is a key frame
// that is at most switchLag behind; until then the old stream goes on, and the
// answer for the new one is NeedKey. What of the old stream waits is left out:
// it would only delay the new one. After the switch, frames of the old stream
// are Dropped for switchHold.
func (p *pacer) pushVideo(f *codec.EncodedFrame, now time.Duration) codec.Verdict {
	if !p.drained(now) {
		// A key frame now would only stand in a queue: none is asked for yet.
		p.needKey = p.needKey || !f.Discardable
		p.stats.VideoDropped++
		return codec.Dropped
	}
	verdict := p.admit(f)
	if verdict == codec.Sent {
		verdict = p.makeRoom(f)
	}
	if verdict != codec.Sent {
		p.stats.VideoDropped++
		return verdict
	}
	if e := p.path.est; e.start == 0 { // nobody said what it takes
		e.start = float64(p.cfg.TargetBps)
	}
	first := p.stream == 0
	if f.Stream != p.stream {
		if !first {
			p.stats.Switches++
		}
		p.previous, p.stream, p.switched = p.stream, f.Stream, f.PTS
		for p.videoQ.len() > 0 {
			q, _ := p.videoQ.pop()
			p.discard(q)
		}
	}
	p.needKey = false
	pts := f.PTS
	if !first {
		pts = max(pts, p.lastPTS+switchStep)
	}
	p.lastPTS, p.lastOwn = pts, f.PTS
	p.queuedN += len(f.Data)
	p.videoQ.push(queued{frame: f.Retain(), since: now, pts: pts})
	return codec.Sent
}

// admit says whether the frame is one that the client could decode.
func (p *pacer) admit(f *codec.EncodedFrame) codec.Verdict {
	other := f.Stream != p.stream
	switch {
	case p.cfg.VideoSSRC == 0 || len(f.Data) == 0:
		return codec.Dropped
	case other && f.Stream == p.previous && p.previous != 0 && f.PTS-p.switched < switchHold:
		return codec.Dropped
	case p.stream != 0 && f.PTS <= p.lastPTS && !p.catchesUp(f):
		// Time does not go back at a receiver.
		if f.Discardable && !other {
			return codec.Dropped
		}
		p.needKey = p.needKey || !other
		return codec.NeedKey
	case (other || p.needKey) && !f.Key:
		return codec.NeedKey
	}
	return codec.Sent
}

// catchesUp reports whether a frame that is behind what was sent is so because
// its stream has just taken over.
func (p *pacer) catchesUp(f *codec.EncodedFrame) bool {
	if p.lastPTS-f.PTS > switchLag {
		return false
	}
	if f.Stream != p.stream {
		return f.Key
	}
	return f.PTS > p.lastOwn
}

// makeRoom keeps the queue within its bounds. Frames that nothing references go
// first, from half of the bound on.
func (p *pacer) makeRoom(f *codec.EncodedFrame) codec.Verdict {
	if f.Discardable && p.videoQ.len() > 0 && float64(p.queuedN+len(f.Data)) > p.rate*videoQueueMax.Seconds()/2 {
		return codec.Dropped
	}
	if p.fits(f) {
		return codec.Sent
	}
	if f.Discardable {
		return codec.Dropped
	}
	for range p.videoQ.len() { // once round: leaves the order as it is
		q, _ := p.videoQ.pop()
		if q.frame.Discardable {
			p.discard(q)
		} else {
			p.videoQ.push(q)
		}
	}
	if p.fits(f) {
		return codec.Sent
	}
	p.stats.Flushes++
	for p.videoQ.len() > 0 {
		q, _ := p.videoQ.pop()
		p.discard(q)
	}
	// The frame that is being sent is finished: stopping in its middle would
	// save little, and its packets are asked for again.
	if f.Key {
		return codec.Sent
	}
	p.needKey = true
	return codec.NeedKey
}

func (p *pacer) discard(q queued) {
	p.queuedN -= len(q.frame.Data)
	p.stats.VideoFlushed++
	q.frame.Release()
}

// fits reports whether f can be queued. One frame always can be when nothing
// else waits: a key frame may be larger than the bound.
func (p *pacer) fits(f *codec.EncodedFrame) bool {
	if p.videoQ.len() == 0 {
		return true
	}
	bytes := p.queuedN + len(f.Data)
	return !p.videoQ.full() && bytes <= videoQueueBytes &&
		float64(bytes) <= p.rate*videoQueueMax.Seconds()
}

// nack queues repairs of the packets that were asked for. Those that are
// unknown, were repaired less than a round trip ago, or exceed the budget are
// only counted.
func (p *pacer) nack(seqs []uint16, now time.Duration) {
	p.refill(now)
	p.hist.expire(now)
	spacing := max(p.rtt, repairSpacingMin)
	for _, seq := range seqs {
		p.stats.NACKed++
		v := p.hist.get(seq)
		switch {
		case v == nil:
			p.stats.NACKUnknown++
		case v.queued || v.againAt != 0 && now-v.againAt < spacing:
			p.stats.NACKSpaced++
		case p.repairQ.full() || p.repair < float64(v.n):
			p.stats.NACKOverBudget++
		default:
			p.repair -= float64(v.n)
			v.queued = true
			p.repairQ.push(seq)
		}
	}
}

// refill brings the allowances up to date.
func (p *pacer) refill(now time.Duration) {
	share := float64(p.cfg.TargetBps) / 8 * repairShare
	burst := max(p.rate*pacingBurst.Seconds(), 4*packetBudget)
	if !p.started {
		p.started, p.filled, p.paid = true, now, now
		p.credit, p.repair = burst, share*repairBurst.Seconds()
		return
	}
	if now > p.filled {
		p.credit = min(p.credit+p.fillRate()*(now-p.filled).Seconds(), burst)
		p.filled = now
	}
	if now > p.paid {
		p.repair = min(p.repair+share*(now-p.paid).Seconds(), share*repairBurst.Seconds())
		p.paid = now
	}
}

// next fills pkt with the next packet. When ok is false nothing is to be sent
// for wait, or, when wait is negative, until something is pushed.
func (p *pacer) next(pkt *outPacket, now time.Duration) (ok bool, wait time.Duration) {
	p.refill(now)
	p.hist.expire(now)
	p.tickPath(now)
	if q, ok := p.audioQ.pop(); ok {
		p.audio.write(pkt, q.frame, p.cfg.AudioSSRC, p.cfg.AudioPT, q.spurt)
		p.audioCapture.put(pkt, q.frame.PTS)
		q.frame.Release()
		pkt.Kind = audioPacket
		p.stats.AudioPackets++
		p.audioSent.Packets++
		p.audioSent.Bytes += uint32(len(pkt.Payload))
		// Sound does not wait for credit, but the path carries it too.
		p.spend(pkt, p.cfg.AudioTWCC, now)
		p.guard.sound(p.queuedN, max(float64(p.cfg.TargetBps), p.path.est.probe.sending()), now)
		return true, 0
	}
	if p.repairQ.len() == 0 && p.videoQ.len() == 0 && p.video.frame == nil {
		return p.nextProbe(pkt, now)
	}
	if p.path.est.congested(now) {
		return false, congestedWait
	}
	if p.credit <= 0 {
		if p.path.est.probe.state == probeIdle {
			p.beginProbe(now)
		}
		return false, time.Duration((1-p.credit)/p.fillRate()*float64(time.Second)) + time.Microsecond
	}
	if wait := p.guard.wait(now); wait > 0 && p.guarded() {
		return false, wait
	}
	if p.nextRepair(pkt, now) || p.nextVideo(pkt, now) {
		p.spend(pkt, p.cfg.VideoTWCC, now)
		p.guard.since += pkt.size()
		return true, 0
	}
	return false, -1
}

// spend gives a packet its transport-wide number, where id is that extension's,
// and counts it.
func (p *pacer) spend(pkt *outPacket, id uint8, now time.Duration) {
	p.path.number(pkt, id, now)
	n := pkt.size()
	p.credit -= float64(n)
	p.stats.Bytes += uint64(n)
}

func (p *pacer) nextRepair(pkt *outPacket, now time.Duration) bool {
	for {
		seq, ok := p.repairQ.pop()
		if !ok {
			return false
		}
		v := p.hist.get(seq)
		if v == nil || !v.queued { // evicted while it waited
			p.stats.NACKUnknown++
			continue
		}
		v.queued, v.againAt = false, now
		if p.cfg.RTXPT == 0 {
			v.write(pkt, p.cfg.VideoSSRC, p.cfg.VideoPT)
		} else {
			v.writeRTX(pkt, p.cfg.RTXSSRC, p.cfg.RTXPT, p.rtxSeq)
			p.rtxSeq++
		}
		pkt.Kind = rtxPacket
		p.stats.RepairPackets++
		return true
	}
}

func (p *pacer) nextVideo(pkt *outPacket, now time.Duration) bool {
	var begun *codec.EncodedFrame
	var pts time.Duration
	if p.video.frame == nil {
		q, ok := p.videoQ.pop()
		if !ok {
			return false
		}
		p.video.start(q.frame, q.pts)
		p.stats.VideoFrames++
		begun, pts = q.frame, q.pts
	}
	v, _ := p.video.next(now)
	p.queuedN -= p.video.used
	p.hist.add(v, now).write(pkt, p.cfg.VideoSSRC, p.cfg.VideoPT)
	if begun != nil && !p.videoCapture.put(pkt, pts) {
		p.delay.put(pkt, begun, pts)
	}
	pkt.Kind = videoDataPacket
	p.stats.VideoPackets++
	p.videoSent.Packets++
	p.videoSent.Bytes += uint32(len(pkt.Payload))
	return true
}

// close releases every frame that is held. The pacer must not be used on.
func (p *pacer) close() {
	p.unhold()
	for p.audioQ.len() > 0 {
		q, _ := p.audioQ.pop()
		q.frame.Release()
	}
	for p.videoQ.len() > 0 {
		q, _ := p.videoQ.pop()
		q.frame.Release()
	}
	if p.video.frame != nil {
		p.video.frame.Release()
		p.video.frame = nil
	}
	p.queuedN = 0
	p.hist.clear()
}
