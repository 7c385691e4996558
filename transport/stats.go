package transport

// Stats is what an [Engine] and all of its peers did since it was made, peers
// that have gone included: every counter only grows.
type Stats struct {
	// Peers is how many there are now, Connected those of them whose media keys
	// have been agreed.
	Peers, Connected int
	// Forged is [Engine.Forged].
	Forged uint64
	// PathsFailed counts clients that never came by any path, HandshakesFailed
	// those that came and did not get through the DTLS handshake.
	PathsFailed, HandshakesFailed uint64
	// Unauthentic counts SRTP and SRTCP packets that were forged, damaged,
	// repeated or too old.
	Unauthentic uint64
	// SocketDropped counts datagrams that the kernel threw away because the
	// media sockets' receive buffers were full; 0 where it does not tell.
	SocketDropped uint64
	// Unsent is [Engine.Unsent].
	Unsent uint64
	// TCP is [Engine.TCP].
	TCP TCPStats

	// Restarts is further ICE sessions that clients have begun.
	Restarts uint64

	// SentPackets and SentBytes are RTP that was given to the sockets, Repairs
	// those of the packets that were sent again. SendErrors is what the
	// sockets refused.
	SentPackets, SentBytes, Repairs, SendErrors uint64
	// ReceivedPackets and ReceivedBytes are RTP that was decrypted.
	ReceivedPackets, ReceivedBytes uint64
	// Frames is pictures that came in whole, Keyframes those of them that were
	// key frames.
	Frames, Keyframes uint64
	// PacketsLost is packets of pictures that never came, Repaired those that
	// came after they had been asked for, FramesBroken the times that a picture
	// had to be waited for.
	PacketsLost, Repaired, FramesBroken uint64
	// NACKsSent is packets that we asked for again, NACKsReceived those that
	// clients asked for. PLIsSent and PLIsReceived are key frames (FIR
	// included).
	NACKsSent, NACKsReceived, PLIsSent, PLIsReceived uint64

	// SoundRecovered is packets of sound that were lost and came as the
	// redundancy of later ones.
	SoundRecovered uint64

	// What the bounds cost, each in the unit of its queue.

	// AudioDropped is packets of sound that a client's full queue threw out.
	AudioDropped uint64
	// VideoDropped is pictures that were not taken, since they were useless
	// without a key frame or did not fit, VideoFlushed those that were thrown
	// out of a queue.
	VideoDropped, VideoFlushed uint64
	// Probes is packets that were sent only to see what paths carry, Collapses
	// times that a path carried much less all at once, so that what waited was
	// thrown away.
	Probes, Collapses uint64
	// RepairsRefused is repairs beyond the budget or the queue.
	RepairsRefused uint64
	// Overflows is times that an assembler held too much and let go of it.
	Overflows uint64
	// Policed is packets of clients that sent too much.
	Policed uint64
	// RequestsDeferred is times that a client's full outbox made a request for
	// repair or for a key frame wait, RequestsCut requests of clients that
	// asked for more at once than is kept.
	RequestsDeferred, RequestsCut uint64
	// Malformed is RTP and RTCP that could not be parsed, Unknown RTP of streams
	// that were not negotiated.
	Malformed, Unknown uint64

	// Messages is what clients have said on data channels; MessagesDeferred those
	// of them that came faster than they may, and waited. MessagesRefused are
	// those that were too long, each the end of its channel. ChannelsFull is
	// times that a client had not taken what it was sent, and got no more.
	Messages, MessagesDeferred, MessagesRefused, ChannelsFull uint64
}

// add counts o in; what are states of one moment and not counters are left out.
func (s *Stats) add(o Stats) {
	s.Restarts += o.Restarts
	s.SentPackets += o.SentPackets
	s.SentBytes += o.SentBytes
	s.Repairs += o.Repairs
	s.SendErrors += o.SendErrors
	s.ReceivedPackets += o.ReceivedPackets
	s.ReceivedBytes += o.ReceivedBytes
	s.Frames += o.Frames
	s.Keyframes += o.Keyframes
	s.PacketsLost += o.PacketsLost
	s.Repaired += o.Repaired
	s.FramesBroken += o.FramesBroken
	s.SoundRecovered += o.SoundRecovered
	s.NACKsSent += o.NACKsSent
	s.NACKsReceived += o.NACKsReceived
	s.PLIsSent += o.PLIsSent
	s.PLIsReceived += o.PLIsReceived
	s.AudioDropped += o.AudioDropped
	s.VideoDropped += o.VideoDropped
	s.VideoFlushed += o.VideoFlushed
	s.Probes += o.Probes
	s.Collapses += o.Collapses
	s.RepairsRefused += o.RepairsRefused
	s.Overflows += o.Overflows
	s.Policed += o.Policed
	s.RequestsDeferred += o.RequestsDeferred
	s.RequestsCut += o.RequestsCut
	s.Malformed += o.Malformed
	s.Unknown += o.Unknown
	s.Messages += o.Messages
	s.MessagesDeferred += o.MessagesDeferred
	s.MessagesRefused += o.MessagesRefused
	s.ChannelsFull += o.ChannelsFull
}

// addLine counts what one line's receiver did.
func (s *Stats) addLine(l *inLine) {
	if l.video != nil {
		s.addVideo(l.video.stats)
	}
	if l.audio != nil {
		s.SoundRecovered += l.audio.stats.Redundant
		s.Malformed += l.audio.stats.MalformedRED
	}
}

// addVideo counts what an assembler did.
func (s *Stats) addVideo(a assemblerStats) {
	s.Frames += a.Frames
	s.Keyframes += a.Keys
	s.PacketsLost += a.Lost
	s.Repaired += a.Repaired
	s.FramesBroken += a.Breaks
	s.Overflows += a.Overflows
	s.Malformed += a.Malformed
}

// Stats returns a snapshot. It takes a microsecond per peer and may wait that
// long for a peer's locks.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	// Under the lock, so that who is leaving is counted exactly once.
	sum := e.mu.past
	sum.Peers, sum.Forged, sum.Unsent = len(e.mu.peers), e.Forged(), e.Unsent()
	sum.TCP = e.TCP()
	sum.PathsFailed, sum.HandshakesFailed = e.failures.paths.Load(), e.failures.handshakes.Load()
	sum.Unauthentic = e.failures.unauthentic.Load()
	for p := range e.mu.peers {
		sum.add(p.totals())
		if p.connected.Load() {
			sum.Connected++
		}
	}
	for _, s := range e.sockets {
		for _, c := range s.conns() {
			sum.SocketDropped += socketDropped(c)
		}
	}
	return sum
}

// totals is one peer's part of [Engine.Stats].
func (p *Peer) totals() Stats {
	c := &p.counts
	s := Stats{
		Restarts:    uint64(p.restarts.Load()),
		SentPackets: c.sentPackets.Load(), SentBytes: c.sentBytes.Load(), SendErrors: c.sendErrors.Load(),
		ReceivedPackets: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(),
		Policed: c.policed.Load(), Malformed: c.malformed.Load(), Unknown: c.unknown.Load(),
		NACKsSent: c.nacksSent.Load(), PLIsSent: c.plisSent.Load(), PLIsReceived: c.keyframeRequests.Load(),
		RequestsDeferred: c.requestsDeferred.Load(), RequestsCut: c.requestsCut.Load(),
		Messages: c.messages.Load(), MessagesDeferred: c.messagesDeferred.Load(),
		MessagesRefused: c.messagesRefused.Load(), ChannelsFull: c.channelFull.Load(),
	}
	p.in.mu.Lock()
	s.add(p.in.past)
	for _, l := range p.in.lines {
		s.addLine(l)
	}
	p.in.mu.Unlock()
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	if p.out.pacer != nil {
		o := &p.out.pacer.stats
		s.Repairs, s.NACKsReceived, s.RepairsRefused = o.RepairPackets, o.NACKed, o.NACKOverBudget
		s.Probes, s.Collapses = o.ProbePackets, o.Collapses
		s.AudioDropped, s.VideoDropped, s.VideoFlushed = o.AudioDropped, o.VideoDropped, o.VideoFlushed
	}
	return s
}
