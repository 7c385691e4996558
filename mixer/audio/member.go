package audio

import (
	"fmt"
	"math"
	"slices"

	"mixdown/codec"
)

// maxGain is 12 dB.
const maxGain = 4

// Member is somebody in a [Mix]. It belongs to the goroutine of the mix.
type Member struct {
	// What each tick looks at comes first: of most members nothing else is.
	src      Puller
	gate     Gate
	activity activity
	info     Info
	level    uint8
	muted    bool
	active   bool // on the mix's list
	wants    bool // wants to be heard, and may
	passed   bool // all who hear him get his packets: he is not decoded, but to look
	look     bool // in this tick he is, for the echo that may be in it
	called   bool // has a place but was not decoded: the next sound must be
	trust    trust
	watching bool // the echo detector follows
	echo     bool
	gain     float64

	mix        *Mix
	csrc       uint32
	listening  bool
	levelling  bool
	detecting  bool
	gainDB     float64
	leveller   leveller
	levelGain  float64 // leveller.gainDB as a factor; 0 means not known yet
	heardLevel uint8   // level with all gains
	applied    float64 // the gain at the end of the last tick

	class, wantClass int
	relay            relay
	offer            offer
	out              *output // his own mix, or nil when he hears the shared one
	closedTicks      int     // ticks for which nothing of him was in the sum
	quietTicks       int     // of those, the last in a row in which the others paused
	idle             int     // ticks since the echo detector had something to do
	detector         EchoDetector

	pcm   codec.AudioFrame // valid unless the gate is closed
	voice Sum              // what of him is in the sum; valid unless the gate is closed
}

// CSRC returns what the member is called in frames.
func (mem *Member) CSRC() uint32 { return mem.csrc }

// SetMuted takes the member out of the sum, or lets him in again, with a fade
// of 10 ms. What he sends is not decoded meanwhile if he tells his level.
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

// SetLevelling says whether the member is brought to the common loudness. The
// correction that was applied so far goes within 10 ms.
func (mem *Member) SetLevelling(on bool) {
	mem.levelling = on
	mem.leveller = leveller{}
	mem.levelGain = 1
}

// SetEchoDetection says whether the mix looks for what the member hears in what
// he sends. Without, [Member.SetEcho] says whether it is there.
func (mem *Member) SetEchoDetection(on bool) {
	mem.detecting, mem.watching, mem.echo = on, false, false
	mem.detector = EchoDetector{}
}

// SetEcho says that the member sends back what he hears, as an open loudspeaker
// does: his gate opens only on sound that is louder than what he was sent in the
// last 600 ms. It is for those without echo detection, which overrules it.
func (mem *Member) SetEcho(echo bool) { mem.echo = echo }

// Echo reports whether the member sends back what he hears.
func (mem *Member) Echo() bool { return mem.echo }

// SetClass moves the member to another of [MixConfig.Classes]. That is done
// when what he hears is below -50 dBFS, where it cannot be heard.
func (mem *Member) SetClass(class int) error {
	m := mem.mix
	if class < 0 || class >= len(m.classes) {
		return fmt.Errorf("audio: class %d: want 0..%d, as MixConfig.Classes has it", class, len(m.classes)-1)
	}
	if !slices.Contains(m.members, mem) {
		return nil
	}
	if mem.wantClass != mem.class {
		m.changing--
	}
	if mem.wantClass = class; mem.wantClass != mem.class {
		m.changing++
	}
	return nil
}

// Class returns the class that the member hears now.
func (mem *Member) Class() int { return mem.class }

// SetListening says whether anybody takes the member's Frame. Members who do
// not listen cost no encode.
func (mem *Member) SetListening(listening bool) error {
	m := mem.mix
	if listening == mem.listening || m.closed || !slices.Contains(m.members, mem) {
		return nil
	}
	mem.listening = listening
	if !listening {
		m.listens--
		m.classes[mem.class].users--
		return nil
	}
	m.listens++
	m.classes[mem.class].users++
	return m.provide()
}

// Frame returns what the member hears, all but himself, lent until the next
// Tick; nil when he does not listen, or it could not be coded, or it is another's
// packet ([Member.SetRelayLimit]) that has not come.
func (mem *Member) Frame() *codec.EncodedFrame {
	switch {
	case !mem.listening:
		return nil
	case mem.relay.state != relayNone:
		return mem.relay.frame
	case mem.out != nil:
		return mem.out.frame
	case mem.gate.state != GateClosed:
		// There was no encoder for him; silence is better than his own voice.
		return nil
	}
	return mem.mix.classes[mem.class].frame
}

// Personal reports whether Frame is the member's own mix.
func (mem *Member) Personal() bool { return mem.out != nil }

// Level returns how loud the member was in the last tick, muted or not, before
// any gain: by his sound, or by what he says of it where that was not decoded.
func (mem *Member) Level() uint8 { return mem.level }

// Speaking reports whether the member is heard.
func (mem *Member) Speaking() bool {
	return mem.gate.state == GateOpening || mem.gate.state == GateOpen
}

// Gate returns the state of the member's gate.
func (mem *Member) Gate() GateState { return mem.gate.state }

// Info returns what the last pull from the member's source gave.
func (mem *Member) Info() Info { return mem.info }

// totalGain is all that is done to the member's loudness, as a factor and in dB.
func (mem *Member) totalGain() (gain, dB float64) {
	if mem.levelGain == 0 || mem.leveller.gainDB == 0 {
		return mem.gain, mem.gainDB
	}
	return mem.gain * mem.levelGain, mem.gainDB + mem.leveller.gainDB
}

// learn follows the member's loudness for the levelling, and corrects it.
func (mem *Member) learn() {
	switch {
	case !mem.levelling:
	case !mem.gate.speech:
		mem.leveller.pause(-float64(mem.level))
	case mem.gate.state == GateOpen && mem.leveller.speech(-float64(mem.level)):
		mem.levelGain = math.Pow(10, mem.leveller.gainDB/20)
	}
}
