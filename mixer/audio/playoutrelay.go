package audio

import (
	"time"

	"mixdown/codec"
)

// RelayMode says whether somebody wants a [Playout]'s packets as they came.
type RelayMode uint8

const (
	// RelayOff: nobody does, and none is handed out.
	RelayOff RelayMode = iota
	// RelayOffer: they are looked at, and nothing is played otherwise for it.
	RelayOffer
	// RelayOn: they are what somebody hears. The delay is held by whole packets,
	// in pauses, and not by a pitch period more or less.
	RelayOn
)

// PacketState is what [Playout.Packet] knows of this tick's packet.
type PacketState uint8

const (
	// PacketMissing: there should be one, and it is late or lost.
	PacketMissing PacketState = iota
	// PacketPaused: the sender has paused (DTX), or nothing has come yet, or
	// nothing comes any more.
	PacketPaused
	// PacketFit: it can be given to any receiver in the place of one of ours.
	PacketFit
	// PacketUnfit: it cannot, or its sender says no level.
	PacketUnfit
	// PacketEnding: it can, but that should end. The delay has to change, and in
	// what is being said there is no pause for that.
	PacketEnding
)

// strainTicks is how long a pause is waited for when the delay has to change, 200
// ms: a clock that is 2000 ppm off uses up in half a second what is left then.
const strainTicks = 10

// maxRelayBytes bounds a packet that is handed on: three times the mean of 64
// kb/s, which is the most that is asked for; onsets take up to twice the mean.
const maxRelayBytes = 480

// plainer is what a decoder may know of a packet, beside what an inspector does:
// that it is one frame of 20 ms in mono.
type plainer interface{ Plain(packet []byte) bool }

// relayed is the packets that are handed out.
type relayed struct {
	mode   RelayMode
	plain  plainer             // nil if the decoder is none: nothing is fit
	frame  *codec.EncodedFrame // the last one played in this tick, or nil
	strain int                 // ticks in a row in which the delay had to change, and could not
}

// take keeps a packet that is being played. It retains it.
func (r *relayed) take(f *codec.EncodedFrame) {
	if r.mode != RelayOff {
		r.drop()
		r.frame = f.Retain()
	}
}

// drop releases the packet.
func (r *relayed) drop() {
	if r.frame != nil {
		r.frame.Release()
		r.frame = nil
	}
}

// SetRelay says how the packets are used from the next Pull on.
func (p *Playout) SetRelay(mode RelayMode) {
	if mode == p.relayed.mode {
		return
	}
	p.relayed.mode, p.relayed.strain = mode, 0
	if mode == RelayOff {
		p.relayed.drop()
	}
}

// Packet returns the packet that began to play in the last Pull, lent until the
// next one: the newest if there was more than one, nil if there was none.
func (p *Playout) Packet() (*codec.EncodedFrame, PacketState) {
	f := p.relayed.frame
	switch {
	case f == nil && p.sched.gap:
		return nil, PacketPaused
	case f == nil:
		return nil, PacketMissing
	case p.relayed.plain == nil, len(f.Data) > maxRelayBytes, !f.Level.Valid && !f.Redundant, !p.relayed.plain.Plain(f.Data):
		return f, PacketUnfit
	case p.relayed.strain > strainTicks:
		return f, PacketEnding
	}
	return f, PacketFit
}

// steerRelayed is steer where packets are handed on: it changes the delay by
// whole packets, in pauses.
func (p *Playout) steerRelayed(excess time.Duration, calm bool) {
	p.relayed.strain++
	grow := excess < excessRisk || calm && excess < 0
	switch rest := p.fifo.len() % codec.FrameSamples; {
	case !calm:
		if excess >= excessRisk && excess < excessMuch {
			p.relayed.strain = 0
		}
		return
	case grow:
		// The next tick plays this, and no packet.
		p.conceal(codec.FrameSamples)
	case rest >= misaligned:
		p.cut(rest, min(p.fifo.len()-rest, overlapMost))
	case excess >= codec.FrameDuration+excessSpare && p.ahead(2*codec.FrameSamples) && p.calm(codec.FrameSamples):
		p.cut(codec.FrameSamples, overlapMost)
	}
	p.relayed.strain = 0
}

// ended notes that so many samples of nothing were played in the place of
// packets that are handed on and are missing: nobody is taken for a speaker by
// the last that was heard of him.
func (p *Playout) ended(samples int) {
	if p.relayed.mode != RelayOn {
		return
	}
	if p.sched.made += samples; p.sched.made >= p.fadeEnd() {
		p.skipped.level, p.skipped.loud = codec.Silence, codec.Silence
	}
}
