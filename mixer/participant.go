package mixer

import (
	"crypto/rand"
	"math"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/mixer/video"
)

// Sink is where a room's media leaves: a client's connection, a recorder.
// Both methods lend, are called from the room's own goroutines and must not
// block.
type Sink interface {
	// WriteAudio lends 20 ms of the mix, as one Opus packet.
	WriteAudio(*codec.EncodedFrame)
	// WriteVideo lends one coded picture of the canvas. NeedKey enters the
	// rendition's key frame window.
	WriteVideo(*codec.EncodedFrame) codec.Verdict
}

// SourceControl reaches the sender of a source. Neither method blocks.
type SourceControl interface {
	RequestKeyframe(codec.SourceID)
	LimitUplink(codec.SourceID, codec.UplinkTarget)
}

// Endpoint is the connection of one participant.
type Endpoint interface {
	Sink
	SourceControl
	// PaceVideo tells the bitrate of the pictures that are being sent, and the
	// bitrate that the next larger ones would take: the connection finds out by
	// itself whether the path carries those. 0 says that there are none, or that
	// they are not wanted. It does not block.
	PaceVideo(nowBps, nextBps int)
	// Close ends the connection and waits; the room calls it on a goroutine
	// of its own.
	Close() error
}

// Participant is one member of a room. It takes what the client sends (it
// satisfies the transport's Handler) and knows where to send what the client
// hears and sees. Safe for concurrent use.
type Participant struct {
	room     *Room
	id       ParticipantID
	identity string
	kind     string
	role     Role
	csrc     uint32
	joined   time.Time
	source   *source // nil for viewers
	hidden   bool    // nobody is told of it
	admitted chan struct{}
	// handed is closed when the connection speaks for it no more, which goes on in
	// another room; nil: it ends with it. Set by the control loop.
	handed chan struct{}

	// Set by the control loop, read by everybody.
	facts    atomic.Pointer[facts]
	endpoint atomic.Pointer[attachment]

	// Set by the connection's goroutines, read by the control loop after poke.
	link   atomic.Uint32 // codec.LinkState
	closed atomic.Pointer[closing]

	rtt       atomic.Int64  // nanoseconds
	loss      atomic.Uint64 // math.Float64bits
	soundLoss lossClass

	cost costMeter // observed by the control loop

	asked   asked // what the client is asked to send; by the control loop
	watched atomic.Pointer[Watching]

	// watching is the rendition that is sent to the client; nil is none.
	watching atomic.Pointer[video.Rendition]

	// The control loop's own.
	codec        codec.Codec   // that he would be sent
	traffic      codec.Traffic // of connections that were replaced
	entered      *attachment   // the connection by which he is in the program
	subscription *video.Subscription
	view         viewing
	style        *style            // of his own canvas; nil: he watches the shared one
	face         *codec.VideoFrame // facts.avatar; nil is none
	spoke        int64             // counts who had the floor: greater is later; 0 never
	uplink       uplink            // what the client is asked to send, and since when
	inMix        bool              // belongs in the snapshot
	told         *facts            // those that an event was last about; nil before the first
	counted      bool              // in the room's past; under Room.past's lock
}

// facts is what the control loop knows of a participant, as one immutable value.
type facts struct {
	name   string
	limits Limits
	avatar string // a file
	state  State
	group  GroupID
	alsoTo []GroupID // never changed in place
	// held is in the waiting room; audience has no tile and no voice.
	held, audience bool
	muted          bool
	gainDB         float64
	// How the participant's sound is treated, and what was found out about it.
	noLevelling, noEchoGuard, suppress, echo bool
	sends                                    Media
	takes                                    Media
	tier                                     video.Tier
}

// attachment is the connection and what goes over it.
type attachment struct {
	Endpoint
	sends, takes Media
}

// nowhere is the endpoint of somebody who has left.
type nowhere struct{}

func (nowhere) WriteAudio(*codec.EncodedFrame)                 {}
func (nowhere) WriteVideo(*codec.EncodedFrame) codec.Verdict   { return codec.Dropped }
func (nowhere) RequestKeyframe(codec.SourceID)                 {}
func (nowhere) LimitUplink(codec.SourceID, codec.UplinkTarget) {}
func (nowhere) PaceVideo(int, int)                             {}
func (nowhere) Close() error                                   { return nil }

// closing says why a connection ended; the error may be nil.
type closing struct{ err error }

// newID returns prefix and 13 characters that carry 65 random bits.
func newID(prefix string) string { return prefix + rand.Text()[:13] }

// ID returns the participant's identity in the API.
func (p *Participant) ID() ParticipantID { return p.id }

// Info returns the participant as it is now.
func (p *Participant) Info() ParticipantInfo {
	f := p.facts.Load()
	info := ParticipantInfo{
		ID: p.id, Room: p.room.Info().ID, Identity: p.identity, Name: f.name, Avatar: f.avatar, Kind: p.kind, Role: p.role,
		State: f.state, Group: f.group, AlsoTo: f.alsoTo, Joined: p.joined, CSRC: p.csrc, Held: f.held, Audience: f.audience, Hidden: p.hidden, Muted: f.muted, GainDB: f.gainDB,
		NoLevelling: f.noLevelling, NoEchoGuard: f.noEchoGuard, Suppress: f.suppress, Echo: f.echo,
		Limits: f.limits, Sends: f.sends, Takes: f.takes, Tier: f.tier,
		RTT:          time.Duration(p.rtt.Load()),
		LossFraction: p.lossFraction(),
		Cores:        p.cost.cores(),
	}
	if p.source != nil {
		info.Speaking = p.source.speaking.Load()
		for id := range info.Sync {
			info.Sync[id] = p.source.sync.stateOf(codec.SourceID(id))
		}
	}
	return info
}

// lossFraction is what the client last said of the picture, 0..1.
func (p *Participant) lossFraction() float64 { return math.Float64frombits(p.loss.Load()) }

// change replaces the facts. Control loop only.
func (p *Participant) change(edit func(*facts)) {
	f := *p.facts.Load()
	edit(&f)
	p.facts.Store(&f)
}

// Attach connects the participant with its client and says what was agreed on.
// It is called once, after the connection was made. Should the participant
// have left meanwhile, the endpoint is closed before Attach returns. Further
// connections come by [Room.Replace].
func (p *Participant) Attach(e Endpoint, sends, takes Media) {
	if p.source == nil {
		sends = Media{}
	}
	if !p.endpoint.CompareAndSwap(nil, &attachment{Endpoint: e, sends: sends, takes: takes}) {
		// He was taken out of the room meanwhile. (A second Attach ends here too.)
		e.Close()
		return
	}
	p.room.wake()
}

// LimitSound says what the client said of the sound that it takes: the highest
// bitrate, 0 being any, and whether it makes use of forward error correction.
// Before, it gets the lowest bitrate that there is.
func (p *Participant) LimitSound(maxBps int, fec bool) { p.soundLoss.limit(maxBps, fec) }

// Leave takes the participant out of the room and closes its endpoint. It does
// not wait for either. reason may be nil.
func (p *Participant) Leave(reason error) { p.PeerClosed(reason) }

// WriteAudio takes one packet of the client's sound. It transfers the frame and
// does not block.
func (p *Participant) WriteAudio(f *codec.EncodedFrame) {
	if p.source == nil {
		f.Release()
		return
	}
	p.source.writeAudio(f)
}

// WriteVideo takes one picture of the client's camera or screen. It transfers
// the frame and does not block.
func (p *Participant) WriteVideo(id codec.SourceID, f *codec.EncodedFrame) {
	if p.source == nil || id >= codec.NumSources {
		f.Release()
		return
	}
	p.source.writeVideo(id, f)
}

// Feedback takes what the connection learned about the way to the client. It
// does not block.
func (p *Participant) Feedback(fb codec.Feedback) {
	if fb.Link != codec.LinkSame {
		p.link.Store(uint32(fb.Link))
		p.room.wake()
	}
	if fb.Report {
		p.rtt.Store(int64(fb.RTT))
		p.loss.Store(math.Float64bits(fb.LossFraction))
	}
	if fb.AudioReport {
		p.rtt.Store(int64(fb.RTT))
		p.soundLoss.report(fb.AudioLossFraction)
	}
	if p.view.hear(&fb) {
		p.room.wake()
	}
	if fb.KeyframeWanted {
		if r := p.watching.Load(); r != nil && p.view.keys.allow(codec.Now()) {
			r.RequestKeyframe(video.KeyClient)
		}
	}
}

// PeerClosed says that the connection has ended. It does not block.
func (p *Participant) PeerClosed(err error) {
	p.closed.CompareAndSwap(nil, &closing{err})
	p.room.wake()
}
