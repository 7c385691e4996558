package audio

import (
	"math"

	"mixdown/codec"
)

// maxGain is 12 dB.
const maxGain = 4

// Member is somebody in a [Mix]. It belongs to the goroutine of the mix.
type Member struct {
	mix       *Mix
	csrc      uint32
	src       Puller
	muted     bool
	listening bool
	gain      float64
	gainDB    float64

	gate       Gate
	wants      bool // wants to be heard, and may
	info       Info
	level      uint8
	heardLevel uint8 // level with the gain
	pcm        codec.AudioFrame
	voice      Sum     // what of him is in the sum; valid unless the gate is closed
	applied    float64 // the gain at the end of the last tick

	out         *output // his own mix, or nil when he hears the shared one
	closedTicks int     // ticks for which nothing of him was in the sum
}

// CSRC returns what the member is called in frames.
func (mem *Member) CSRC() uint32 { return mem.csrc }

// SetMuted takes the member out of the sum, or lets him in again, with a fade
// of 10 ms. What he sends is still decoded and thrown away.
func (mem *Member) SetMuted(muted bool) { mem.muted = muted }

// SetGain changes how loud the member is for all others, 0..4 (+12 dB; values
// outside are clipped); 1 is as he sends. It changes within 10 ms.
func (mem *Member) SetGain(gain float64) {
	if math.IsNaN(gain) {
		gain = 1
	}
	mem.gain = min(max(gain, 0), maxGain)
	mem.gainDB = 0
	if mem.gain > 0 {
		mem.gainDB = 20 * math.Log10(mem.gain)
	}
}

// SetListening says whether anybody takes the member's Frame. Members who do
// not listen cost no encode.
func (mem *Member) SetListening(listening bool) error {
	mem.listening = listening
	if !listening || mem.mix.closed {
		return nil
	}
	return mem.mix.provide()
}

// Frame returns what the member hears, all but himself, lent until the next
// Tick; nil when he does not listen, or it could not be coded.
func (mem *Member) Frame() *codec.EncodedFrame {
	switch {
	case !mem.listening:
		return nil
	case mem.out != nil:
		return mem.out.frame
	case mem.gate.state != GateClosed:
		// There was no encoder for him; silence is better than his own voice.
		return nil
	}
	return mem.mix.shared.frame
}

// Personal reports whether Frame is the member's own mix.
func (mem *Member) Personal() bool { return mem.out != nil }

// Level returns how loud the member was in the last tick, muted or not, before
// his gain.
func (mem *Member) Level() uint8 { return mem.level }

// Speaking reports whether the member is heard.
func (mem *Member) Speaking() bool {
	return mem.gate.state == GateOpening || mem.gate.state == GateOpen
}

// Gate returns the state of the member's gate.
func (mem *Member) Gate() GateState { return mem.gate.state }

// Info returns what the last pull from the member's source gave.
func (mem *Member) Info() Info { return mem.info }
