package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// Peer is one connected client: a PeerConnection, its pacer and its
// assemblers. Engine.Accept makes it. It is safe for concurrent use. Its
// methods take no lock that is held while a Handler is called, so a Handler
// may call them, all but Close.
type Peer struct {
	engine  *Engine
	cfg     *Config
	log     *slog.Logger
	handler Handler
	plan    *offerPlan
	epoch   time.Time
	cname   string
	pc      *webrtc.PeerConnection

	in   inbound
	out  outbound
	rtcp rtcpState
	data dataChannels

	ice peerICE

	restarts   atomic.Int32 // counts ICE restarts
	dispatcher *dispatcher
	accepted   atomic.Bool // Accept returns it: from now on it is served
	poked      atomic.Bool // is in dispatcher.poked
	connected  atomic.Bool

	// The dispatcher's own.
	link          linkWatch
	over          bool          // finish has begun
	deadline      time.Duration // when to be served at the latest
	deadlineIndex int           // in the dispatcher's heap; -1: not in it

	ending  chan struct{} // closed by end
	endOnce sync.Once
	endErr  error // set before ending is closed
	done    chan struct{}

	counts peerCounters
	// limits and wantKey are how the mixer's wishes reach the dispatcher.
	limits  [codec.NumSources]atomic.Pointer[codec.UplinkTarget]
	wantKey [codec.NumSources]atomic.Bool
}

// peerCounters are written by several goroutines.
type peerCounters struct {
	sentPackets, sentBytes, sendErrors    atomic.Uint64
	received, receivedBytes               atomic.Uint64
	policed, malformed, unknown           atomic.Uint64
	keyframeRequests, nacksSent, plisSent atomic.Uint64
	requestsDeferred, requestsCut         atomic.Uint64 // by maxOutbox, maxNACKed
	rtt, queueDelay, estimateBps, lossPPM atomic.Int64
	streams, controlStreams, channels     atomic.Int32
	messages, messagesRefused             atomic.Uint64
	messagesDeferred, channelFull         atomic.Uint64
	audioMissed, videoMissed              atomic.Uint64 // by the client's last reports
	inboundSnapshot                       atomic.Pointer[Stats]
	outboundSnapshot                      atomic.Pointer[pacerStats]
}

// PeerStats is a snapshot of one peer's counters, all since it was accepted.
// Some of them are up to a second old.
type PeerStats struct {
	// Connected says that the media keys have been agreed.
	Connected bool
	// Sent counts RTP packets that were given to the socket, retransmissions
	// included.
	SentPackets, SentBytes uint64
	// Retransmitted counts packets sent again because the client asked.
	Retransmitted uint64
	// SendErrors counts packets that the socket refused.
	SendErrors uint64
	// AudioDropped counts packets that were thrown out of the full queue,
	// VideoDropped pictures that were not taken or thrown out.
	AudioDropped, VideoDropped uint64
	// ReceivedPackets and ReceivedBytes count RTP that was decrypted, policed
	// packets included.
	ReceivedPackets, ReceivedBytes uint64
	// Policed counts packets dropped because the client sent too much.
	Policed uint64
	// Malformed counts RTP and RTCP that could not be parsed, Unknown RTP of
	// streams that were not negotiated.
	Malformed, Unknown uint64
	// PacketsLost counts video packets that never came, FramesBroken the times
	// that a picture had to be waited for because of them.
	PacketsLost, FramesBroken uint64
	// Frames counts pictures handed on.
	Frames uint64
	// AudioRecovered counts packets of sound that were lost and came as the
	// redundancy of a later one (RFC 2198).
	AudioRecovered uint64
	// AudioSilent counts packets of silence that were not sent (DTX).
	AudioSilent uint64
	// NACKsSent counts packets that we asked for again, PLIsSent key frames
	// that we asked for, PLIsReceived those that the client asked for (FIR
	// included).
	NACKsSent, PLIsSent, PLIsReceived uint64
	// RTT, LossFraction (0..1, of what we send) and QueueDelay are the latest figures.
	RTT          time.Duration
	LossFraction float64
	QueueDelay   time.Duration
	// EstimateBps is what the path is believed to carry for the picture; 0 is
	// unknown.
	EstimateBps int
	// ProbePackets counts packets that were sent only to see whether the path
	// carries more, Collapses the times that it carried much less all at once, so
	// that the queue of pictures was thrown away.
	ProbePackets, Collapses uint64
}

// WriteAudio lends one packet of the mix. It never blocks; when eight wait
// already the oldest is dropped and counted. Before the client has connected
// nothing is kept.
//
// Of frames in a row that are marked DTX only the first is sent, which tells the
// client's decoder that silence begins, and the last, right before the next in
// which somebody is heard. A client whose offer says usedtx=0 gets all of them.
func (p *Peer) WriteAudio(f *codec.EncodedFrame) {
	if !p.connected.Load() {
		return
	}
	p.out.mu.Lock()
	queued := !p.out.closed && p.out.pacer.pushAudio(f, codec.Now())
	p.out.mu.Unlock()
	if queued {
		p.poke()
	}
}

// WriteVideo lends one picture of the mix. It never blocks. NeedKey says that
// the picture could not be taken (not connected, nothing sent of this stream
// yet, queue over its bound) and that only a key frame helps; Dropped that
// later pictures still can be decoded.
func (p *Peer) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	if !p.connected.Load() {
		return codec.NeedKey
	}
	p.out.mu.Lock()
	verdict := codec.Dropped
	if !p.out.closed {
		verdict = p.out.pacer.pushVideo(f, codec.Now())
	}
	p.out.mu.Unlock()
	if verdict == codec.Sent {
		p.poke()
	}
	return verdict
}

// RequestKeyframe asks the client for a key frame of one source. Requests are
// coalesced: at most one PLI goes out per 500 ms and source. It never blocks.
func (p *Peer) RequestKeyframe(s codec.SourceID) {
	if s < codec.NumSources && !p.wantKey[s].Swap(true) {
		p.poke()
	}
}

// LimitUplink says how one source is shown. Its BitrateBps, summed over the
// sources, becomes an upper bound that is sent to the client (REMB); the rest
// is for clients that follow their events. It never blocks.
func (p *Peer) LimitUplink(s codec.SourceID, t codec.UplinkTarget) {
	if s < codec.NumSources {
		p.limits[s].Store(&t)
	}
}

// PaceVideo tells the bitrate of the pictures that WriteVideo gets, at which
// they are paced, and the bitrate that the next larger ones would take, in
// bits/s: the peer finds out by itself whether the path carries those (old
// packets are sent again, as long as nobody is hurt) and says so by
// Feedback.EstimateBps. 0 says that there are no larger ones, or that they are
// not wanted. It never blocks.
func (p *Peer) PaceVideo(nowBps, nextBps int) {
	p.out.mu.Lock()
	if !p.out.closed {
		p.out.pacer.setPace(max(nowBps, 0), max(nextBps, 0), codec.Now())
	}
	p.out.mu.Unlock()
}

// Close ends the peer and waits until Handler.PeerClosed has returned; twice
// is fine. It must not be called from a Handler method, which it waits for.
func (p *Peer) Close() error {
	p.end(nil)
	<-p.done
	return nil
}

// Done is closed after Handler.PeerClosed has returned.
func (p *Peer) Done() <-chan struct{} { return p.done }

// Stats returns a snapshot of the counters.
func (p *Peer) Stats() PeerStats {
	c := &p.counts
	s := PeerStats{
		Connected:       p.connected.Load(),
		SentPackets:     c.sentPackets.Load(),
		SentBytes:       c.sentBytes.Load(),
		SendErrors:      c.sendErrors.Load(),
		ReceivedPackets: c.received.Load(),
		ReceivedBytes:   c.receivedBytes.Load(),
		Policed:         c.policed.Load(),
		Malformed:       c.malformed.Load(),
		Unknown:         c.unknown.Load(),
		NACKsSent:       c.nacksSent.Load(),
		PLIsSent:        c.plisSent.Load(),
		PLIsReceived:    c.keyframeRequests.Load(),
		RTT:             time.Duration(c.rtt.Load()),
		LossFraction:    float64(c.lossPPM.Load()) / 1e6,
		QueueDelay:      time.Duration(c.queueDelay.Load()),
		EstimateBps:     int(c.estimateBps.Load()),
	}
	if in := c.inboundSnapshot.Load(); in != nil {
		s.PacketsLost, s.FramesBroken, s.Frames = in.PacketsLost, in.FramesBroken, in.Frames
		s.Malformed += in.Malformed
		s.AudioRecovered = in.SoundRecovered
	}
	if out := c.outboundSnapshot.Load(); out != nil {
		s.Retransmitted, s.AudioSilent = out.RepairPackets, out.AudioSilent
		s.ProbePackets, s.Collapses = out.ProbePackets, out.Collapses
		s.AudioDropped, s.VideoDropped = out.AudioDropped, out.VideoDropped+out.VideoFlushed
	}
	return s
}

// poke has the dispatcher serve the peer soon, once Accept has succeeded.
func (p *Peer) poke() {
	if p.accepted.Load() {
		p.dispatcher.poke(p)
	}
}

// end makes the peer close, for the first reason that is given. It does not
// block.
func (p *Peer) end(err error) {
	p.endOnce.Do(func() {
		p.endErr = err
		close(p.ending)
		p.poke()
	})
}

// serve sends what is due, serves timeouts, sends reports and watches the
// connection. It returns how long until it wants to be called again, at the
// latest, and false when the peer has ended: then it is called no more. Only
// the dispatcher calls it.
func (p *Peer) serve(now time.Duration) (wait time.Duration, alive bool) {
	if p.over {
		return 0, false
	}
	wait = p.watch(&p.link, now)
	select {
	case <-p.ending:
		p.over = true
		go p.finish() // ends before Engine.Run does, which waits for Done
		return 0, false
	default:
	}
	if p.connected.Load() {
		wait = min(wait, p.send(), p.serveInbound(now), p.serveReports(now))
	}
	return wait, true
}

// finish takes everything down. The dispatcher has let go of the peer.
func (p *Peer) finish() {
	p.ice.end()
	p.connected.Store(false)
	p.out.close()
	p.data.end()
	// Waits for pion's goroutines, so also for calls of the Handler in them.
	if err := p.pc.GracefulClose(); err != nil {
		p.log.Debug("closing the connection", "err", err)
	}
	p.data.wait()
	p.in.close()
	p.publish()
	p.engine.forget(p)
	p.handler.PeerClosed(p.endErr)
	close(p.done)
}

// linkWatch is what the dispatcher remembers of the connection's state.
type linkWatch struct {
	// deadline to connect by; when the client moves, to have arrived by before
	// it counts as lost; when it is lost, to come back by.
	deadline         time.Duration
	up, moving, lost bool
	restarts         int32 // that were seen
}

// watch follows the state of the connection and returns how long until it
// wants to look again. pion tells of changes in no particular order, so they
// only poke and the state is read here.
func (p *Peer) watch(l *linkWatch, now time.Duration) time.Duration {
	if n := p.restarts.Load(); n != l.restarts {
		l.restarts = n
		if l.lost { // who has found another network gets time to use it
			l.deadline = now + p.cfg.VanishAfter - p.cfg.LostAfter
		}
	}
	switch state := p.pc.ConnectionState(); state {
	case webrtc.PeerConnectionStateConnected:
		if !l.up {
			p.log.Debug("connected")
		}
		if !l.up || l.moving {
			p.connected.Store(true)
			p.handler.Feedback(codec.Feedback{Link: codec.LinkUp, KeyframeWanted: p.out.videoSSRC != 0})
		} else if l.lost {
			p.handler.Feedback(codec.Feedback{Link: codec.LinkUp})
		}
		l.up, l.moving, l.lost = true, false, false
	case webrtc.PeerConnectionStateDisconnected:
		if l.up {
			p.lose(l, now)
		}
	case webrtc.PeerConnectionStateConnecting:
		if l.up && !l.moving { // an ICE restart: there is no path until it is done
			l.moving = true
			p.connected.Store(false)
			if !l.lost {
				l.deadline = now + p.cfg.LostAfter
			}
		}
	case webrtc.PeerConnectionStateFailed:
		if l.up {
			p.end(ErrVanished)
		} else {
			p.engine.failures.neverUp(p.pc.ICEConnectionState())
			p.end(fmt.Errorf("%w: no path was found, or the client's DTLS fingerprint is another", ErrRefused))
		}
	case webrtc.PeerConnectionStateClosed:
		if l.up {
			p.end(nil) // the client said goodbye
		} else {
			p.engine.failures.handshakes.Add(1) // it takes a path to say so
			p.end(fmt.Errorf("%w: the client broke the handshake off", ErrRefused))
		}
	}
	if l.up && !l.lost && !l.moving {
		return time.Hour
	}
	if now >= l.deadline {
		switch {
		case !l.up:
			p.engine.failures.neverUp(p.pc.ICEConnectionState())
			p.end(fmt.Errorf("%w within %v", ErrNeverConnected, p.cfg.ConnectTimeout))
		case l.lost:
			p.end(ErrVanished)
		default:
			p.lose(l, now)
		}
	}
	return l.deadline - now
}

// lose says that nothing has come from the client for a while, and how long it is
// waited for yet.
func (p *Peer) lose(l *linkWatch, now time.Duration) {
	if l.lost {
		return
	}
	l.lost = true
	l.deadline = now + p.cfg.VanishAfter - p.cfg.LostAfter
	p.handler.Feedback(codec.Feedback{Link: codec.LinkLost})
}

// errTooManyStreams ends a client that makes up streams: each costs memory in
// the SRTP session, which forgets none.
var errTooManyStreams = errors.New("too many streams")
