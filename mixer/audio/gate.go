package audio

import (
	"math"

	"mixdown/codec"
)

// GateState says how a member's voice goes into the sum in one tick.
type GateState uint8

// A gate goes round these states in this order; opening and closing last one
// tick each.
const (
	// GateClosed: nothing of him is in the sum.
	GateClosed GateState = iota
	// GateOpening: faded in over the first 10 ms.
	GateOpening
	// GateOpen: all of him.
	GateOpen
	// GateClosing: faded out over the first 10 ms, then nothing.
	GateClosing
)

// String returns "closed", "opening", "open" or "closing".
func (s GateState) String() string {
	return [...]string{"closed", "opening", "open", "closing"}[s]
}

const (
	// A gate opens this far above the noise floor, within bounds: below the
	// lower one is room noise (which is at -60 dBov or less in a quiet room),
	// and above the upper one sound is let through even if it never pauses,
	// since cutting a voice is worse than passing a loud fan.
	gateAboveFloor = 10.0
	gateLowest     = -55.0
	gateHighest    = -45.0
	// gateHysteresis is how far below the opening threshold sound still keeps
	// an open gate open.
	gateHysteresis = 5.0
	// gateHoldTicks is 500 ms: longer than the gaps inside a sentence.
	gateHoldTicks = 25

	// Loudness, by which gates are chosen, rises within about 200 ms and falls
	// within about two seconds: it is that of a voice, not of its syllables and
	// the pauses between them. Of twelve equally loud people who talk at once,
	// twice as fast on either side changed places four times as often.
	loudAttack  = 0.1
	loudRelease = 0.01
	// loudLowest bounds how far below a pause can pull it.
	loudLowest = -60
	// gateKeepDB is how much louder than somebody who is heard a newcomer must
	// be to take his place.
	gateKeepDB = 8.0
	// gateFreshTicks protects somebody who was just let in: 1 s, a phrase.
	gateFreshTicks = 50
	// gateFreshDB is that protection.
	gateFreshDB = 40.0
)

// Gate decides whether one member is heard. First [Gate.Hear] says whether he
// wants to be; then [Gate.Step] is told whether there is a place. The zero
// value is a closed gate.
type Gate struct {
	floor    noiseFloor
	loudness float64 // dBov, negative; smoothed
	hold     int     // ticks that the gate stays wanted
	open     int     // ticks since it opened
	state    GateState
	started  bool
	speech   bool // the last sound stood out of the noise, however loud that is
}

// Hear takes the level of this tick's sound and reports whether the gate wants
// to be open: the sound stands out, or did within the last 500 ms.
func (g *Gate) Hear(level uint8) bool {
	db := -float64(level)
	g.floor.update(level)
	switch loud := max(db, loudLowest); {
	case !g.started:
		g.loudness, g.started = loud, true
	case loud > g.loudness:
		g.loudness += loudAttack * (loud - g.loudness)
	default:
		g.loudness += loudRelease * (loud - g.loudness)
	}
	threshold := g.threshold()
	g.speech = db > max(threshold, g.floor.dBov+gateAboveFloor)
	if g.hold > 0 {
		threshold -= gateHysteresis
	}
	switch {
	case level < codec.Silence && db > threshold:
		g.hold = gateHoldTicks
	case g.hold > 0:
		g.hold--
	}
	return g.hold > 0
}

// threshold is what sound must be above, in dBov, to open the gate.
func (g *Gate) threshold() float64 {
	return max(gateLowest, min(gateHighest, g.floor.dBov+gateAboveFloor))
}

// Quiet returns the level, in -dBov, at which and below which sound certainly
// leaves a closed gate closed in the next tick: it need not be decoded for it.
// It is [DecodeAlways] when all sound is needed.
func (g *Gate) Quiet() uint8 {
	if g.hold > 0 || g.state != GateClosed {
		return DecodeAlways
	}
	// The next sound moves the floor before it is compared, but one that lowers
	// it is itself lower still, and one that raises it raises the threshold.
	return uint8(math.Ceil(-g.threshold()))
}

// Score ranks those who want to be heard when not all can: loudness, with a
// bonus for those who already are.
func (g *Gate) Score() float64 {
	switch {
	case g.state != GateOpening && g.state != GateOpen:
		return g.loudness
	case g.open < gateFreshTicks:
		return g.loudness + gateFreshDB
	}
	return g.loudness + gateKeepDB
}

// Step moves to this tick's state and returns it. open says that the gate is
// wanted and has a place.
func (g *Gate) Step(open bool) GateState {
	switch {
	case open && (g.state == GateClosed || g.state == GateClosing):
		g.state, g.open = GateOpening, 0
	case open:
		g.state = GateOpen
		g.open++
	case g.state == GateOpening || g.state == GateOpen:
		g.state = GateClosing
	default:
		g.state = GateClosed
	}
	return g.state
}

// State returns what the last [Gate.Step] returned.
func (g *Gate) State() GateState { return g.state }
