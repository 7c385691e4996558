package audio

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"mixdown/codec"
)

// Puller is where a member's sound comes from; [Playout] is one.
type Puller interface {
	// Pull fills dst with the next 20 ms. Sound of which its sender says that
	// it is at quiet (in -dBov) or quieter need not be decoded: zeros are as
	// good. [DecodeAlways] asks for everything.
	Pull(dst *codec.AudioFrame, now time.Duration, quiet uint8) Info
}

// MaxHeard is the most contributors that a frame names.
const MaxHeard = 5

// defaultMaxOpen is how many voices are heard at once: more are not understood
// anyway, and each costs an encode.
const defaultMaxOpen = 8

// MixConfig says what a mix works with.
type MixConfig struct {
	// NewEncoder makes encoders that are all configured alike, so that one can
	// be copied to another. Required. It is called by NewMix, Join,
	// SetListening, and only in an emergency by Tick.
	NewEncoder func() (codec.AudioEncoder, error)
	// MaxOpen is how many can be heard at once, 1..64. Defaults to 8.
	MaxOpen int
	// Classes are the rates at which the mix is coded, at most 3, class 0 being
	// for those who were not told otherwise and for [Mix.Shared]. All must keep
	// the encoder in one mode. Defaults to one, as NewEncoder makes it.
	Classes []Class
	// NoLevelling leaves everybody as loud as he is; [Member.SetLevelling]
	// decides for one.
	NoLevelling bool
	// NoEchoDetection leaves it to [Member.SetEcho] to say who sends back what
	// he hears.
	NoEchoDetection bool
	// NoDTX codes silence like any other sound.
	NoDTX bool
}

// Mix is the audio half of a program: who is in it, who is heard, and what each
// of them hears. It belongs to one goroutine, the one that ticks.
type Mix struct {
	config   MixConfig
	members  []*Member
	classes  []class
	room     hearing   // what those hear who are not heard
	spare    []*output // outputs that nobody uses
	outputs  int       // personal outputs that exist, spare ones included
	outside  int       // listeners of Shared that are not members
	changing int       // members who wait for another class
	listens  int       // members who listen

	sum      Sum
	personal Sum
	ghost    Sum // the fading rest of members who left in mid-word
	hasGhost bool
	scratch  codec.AudioFrame      // sound of those who are not heard
	active   []*Member             // those whose gate is not at rest, or who have an own mix
	ranked   []*Member             // scratch: those who want to be heard
	heard    []*Member             // those in the sum of the last tick, loudest first
	silence                        // of the shared mix
	lent     []*codec.EncodedFrame // what is lent of members' own packets
	offers   int                   // members whose packets are handed out
	relayed  int                   // members who hear another's
	few      bool                  // two members at most, and nobody outside, in the last tick
	sent     sentMix
	speaker  speakerDetector
	stats    MixStats
	closed   bool
}

// MixStats counts since the beginning.
type MixStats struct {
	Ticks uint64
	// Encodes is how many frames were coded, SharedEncodes those of them that
	// were coded for all who are silent.
	Encodes, SharedEncodes uint64
	// Silent counts ticks in which nobody was heard, and nothing was coded.
	Silent uint64
	// Decoded is how many packets were decoded, Skipped how many members' ticks
	// were not, since their senders said that they are silent or since their
	// packets were lent.
	Decoded, Skipped uint64
	// Checked counts ticks that were decoded only to see whether what a sender
	// says of his level is true, Distrusted members of whom it was not.
	Checked, Distrusted uint64
	// ToPersonal and ToShared count switches of listeners, ClassChanges those
	// between classes.
	ToPersonal, ToShared, ClassChanges uint64
	// Crowded counts ticks in which more wanted to be heard than can be.
	Crowded uint64
	// Relayed counts packets that were lent as they came, ToRelay and FromRelay
	// listeners for whom that began, and for whom our encoder began again.
	Relayed, ToRelay, FromRelay uint64
	// EchoHeld counts ticks of members who were not heard because it was echo.
	EchoHeld uint64
	// EncodeErrors count frames that could not be coded and are missing.
	EncodeErrors uint64
	// Open is how many gates are open or opening, Personal how many listeners
	// have an own mix.
	Open, Personal int
}

// NewMix makes a mix without members.
func NewMix(config MixConfig) (*Mix, error) {
	if config.NewEncoder == nil {
		return nil, errors.New("audio: MixConfig.NewEncoder is nil: hand in a constructor")
	}
	if config.MaxOpen == 0 {
		config.MaxOpen = defaultMaxOpen
	}
	if config.MaxOpen < 1 || config.MaxOpen > 64 {
		return nil, fmt.Errorf("audio: MixConfig.MaxOpen is %d: want 1..64", config.MaxOpen)
	}
	m := &Mix{config: config}
	if err := m.makeClasses(); err != nil {
		return nil, err
	}
	return m, nil
}

// Join adds a member, who is heard from the next tick on if he makes himself
// heard, and who listens until told otherwise. csrc names him in the frames of
// the others; it must not be another member's. src may be nil: he only listens.
// The mix uses src until Leave and does not close it.
func (m *Mix) Join(csrc uint32, src Puller) (*Member, error) {
	if m.closed {
		return nil, codec.ErrClosed
	}
	if slices.ContainsFunc(m.members, func(o *Member) bool { return o.csrc == csrc }) {
		return nil, fmt.Errorf("audio: csrc %d is already in the mix: give each member its own", csrc)
	}
	mem := &Member{
		mix: m, csrc: csrc, src: src, gain: 1, listening: true, level: codec.Silence,
		levelling: !m.config.NoLevelling, detecting: !m.config.NoEchoDetection,
	}
	mem.offer.src, _ = src.(Relayer)
	if len(m.members) < 2 && m.outside == 0 {
		mem.relay.quiet = returnTicks // he has heard nothing yet
	}
	// Spread over time, so that a hall of silent people is not checked at once.
	mem.trust.unheard = uint16(csrc * 2654435769 >> 24)
	m.members = append(m.members, mem)
	m.listens++
	m.classes[0].users++
	// Room for all, now: ticks do not allocate.
	for _, list := range []*[]*Member{&m.ranked, &m.heard, &m.active} {
		*list = slices.Grow(*list, max(len(m.members)-len(*list), 0)) // ranked may hold who has left
	}
	m.lent = slices.Grow(m.lent, len(m.members))
	if err := m.provide(); err != nil {
		m.remove(mem)
		return nil, err
	}
	return mem, nil
}

// Leave removes a member, whose src is not used any more. What he was saying
// fades within 10 ms. The frame that he was given stays valid until the next
// tick. A second Leave does nothing.
func (m *Mix) Leave(mem *Member) {
	if !m.remove(mem) {
		return
	}
	if mem.applied != 0 {
		// His next words will not come: lead on the last ones turned about
		// their last point, which keeps value and slope (a plain mirror image
		// keeps the value only, and the corner is heard).
		var mirror Sum
		end := len(mem.voice) - 1
		for i := range fadeSamples {
			x := float64(2*mem.voice[end] - mem.voice[end-1-i])
			mirror[i] = int32(x * (1 - fadeCurve(i)))
		}
		m.ghost.Add(&mirror)
		m.hasGhost = true
	}
	if mem.out != nil {
		m.recycle(mem.out)
		mem.out = nil
	}
}

// remove takes a member off the lists and reports whether he was on them.
func (m *Mix) remove(mem *Member) bool {
	i := slices.Index(m.members, mem)
	if i < 0 {
		return false
	}
	m.members = slices.Delete(m.members, i, i+1)
	m.leaveRelay(mem)
	for _, list := range []*[]*Member{&m.heard, &m.active} {
		if i := slices.Index(*list, mem); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
	if mem.wantClass != mem.class {
		m.changing--
	}
	if mem.listening {
		m.listens--
		m.classes[mem.class].users--
	}
	m.speaker.forget(mem)
	return true
}

// SetOutside says how many take Shared without being members: recorders,
// streams. With no listener at all nothing is coded.
func (m *Mix) SetOutside(n int) { m.outside = n }

// Tick makes the next 20 ms: it pulls from all members, decides who is heard,
// and codes the shared mix and one for each listener who is in it. pts is the
// room's time of this tick, now the time on the clock of [Playout.Push]. An
// error says that some frame could not be coded; the others are there, and the
// next tick is unaffected.
//
// All frames of the tick before are released. It does not block.
func (m *Mix) Tick(pts, now time.Duration) error {
	if m.closed {
		return codec.ErrClosed
	}
	m.stats.Ticks++
	m.dropFrames()
	m.planRelays()
	m.pull(now)
	m.choose()
	m.switchRelays()
	m.add()
	m.speaker.decide(m.active)
	defer m.rest()
	if m.listens+m.outside == 0 {
		// Nobody hears what the limiters still hold, and nobody shall later.
		m.room.limiter = Limiter{}
		m.silence = silence{}
		for i := range m.classes {
			m.classes[i].live = false
		}
		for _, mem := range m.active {
			_ = m.toShared(mem, codec.Silence) // no listener, no encoder to copy
		}
		return m.changeClasses(codec.Silence)
	}
	return m.code(pts)
}

// code makes this tick's frames from the sum.
func (m *Mix) code(pts time.Duration) error {
	var errs errorKeeper
	errs.keep(m.startClasses())
	// First copy, then limit and code: whoever leaves the shared mix goes on
	// from what he heard last.
	for _, mem := range m.active {
		errs.keep(m.toPersonal(mem))
	}
	level := m.listen()
	m.sent.add(&m.room.pcm, level)
	errs.keep(m.changeClasses(level))
	for _, mem := range m.active {
		errs.keep(m.toShared(mem, level))
		if mem.out == nil {
			continue
		}
		if mem.gate.state == GateClosed {
			mem.out.limiter.Process(&mem.out.pcm, &m.sum)
		} else {
			m.personal.Minus(&m.sum, &mem.voice)
			mem.out.limiter.Process(&mem.out.pcm, &m.personal)
		}
		errs.keep(m.changeOwnClass(mem))
		errs.keep(m.encodeOwn(mem, pts))
	}
	errs.keep(m.encodeClasses(pts))
	m.heardQuiet(level)
	m.lendRelayed(pts)
	return errs.first
}

// listen makes what those hear who are not heard, and returns its level.
func (m *Mix) listen() uint8 {
	if m.silent > 0 && len(m.heard) == 0 && !m.room.limiter.busy && m.sum == (Sum{}) {
		// Silence as before: what the limiter holds is zero as well.
		m.silent++
		return codec.Silence
	}
	m.room.limiter.Process(&m.room.pcm, &m.sum)
	level := Level(m.room.pcm[:])
	if level == codec.Silence && len(m.heard) == 0 {
		m.silent++
	} else {
		m.silent = 0
	}
	return level
}

// rest takes those off the active list who need no looking after.
func (m *Mix) rest() {
	kept := m.active[:0]
	for _, mem := range m.active {
		if mem.active = mem.gate.state != GateClosed || mem.out != nil || mem.relay.state != relayNone; mem.active {
			kept = append(kept, mem)
		}
	}
	m.active = kept
}

// errorKeeper keeps the first of several errors.
type errorKeeper struct{ first error }

func (k *errorKeeper) keep(err error) {
	if k.first == nil {
		k.first = err
	}
}

// dropFrames ends the loan of the last tick's frames.
func (m *Mix) dropFrames() {
	for i := range m.classes {
		m.classes[i].dropFrame()
	}
	for _, mem := range m.active {
		if mem.out != nil {
			mem.out.dropFrame()
		}
	}
	for _, out := range m.spare {
		out.dropFrame()
	}
	for i, f := range m.lent {
		f.Release()
		m.lent[i] = nil
	}
	m.lent = m.lent[:0]
}

// add makes the exact sum of all voices whose gate is not closed, and the list
// of them.
func (m *Mix) add() {
	m.heard = m.heard[:0]
	clear(m.sum[:])
	if m.hasGhost {
		m.sum = m.ghost
		clear(m.ghost[:])
		m.hasGhost = false
	}
	for _, mem := range m.active {
		if mem.gate.state == GateClosed {
			continue
		}
		gain, gainDB := mem.totalGain()
		target := gain
		if mem.gate.state == GateClosing {
			target = 0
		}
		mem.voice.setScaled(&mem.pcm, mem.applied, target)
		mem.applied = target
		m.sum.Add(&mem.voice)
		mem.heardLevel = mem.level
		if gain != 1 {
			mem.heardLevel = uint8(math.Round(min(max(float64(mem.level)-gainDB, 0), codec.Silence)))
		}
		m.heard = append(m.heard, mem)
	}
	slices.SortFunc(m.heard, byHeardLevel)
}

// byHeardLevel sorts the loudest first.
func byHeardLevel(a, b *Member) int {
	switch {
	case a.heardLevel != b.heardLevel:
		return int(a.heardLevel) - int(b.heardLevel)
	case a.csrc < b.csrc:
		return -1
	}
	return 1
}

// Shared returns what everybody in class 0 hears who is not in it, lent until
// the next Tick; nil when nobody hears it, since those who listen all have mixes of
// their own, or when it could not be coded. While
// nobody is heard it is silence, which may be marked as DTX.
func (m *Mix) Shared() *codec.EncodedFrame { return m.classes[0].frame }

// Dominant returns who has the floor: who speaks, or spoke last. nil when
// nobody has spoken yet, or he has left.
func (m *Mix) Dominant() *Member { return m.speaker.holder }

// Heard calls f for each member in the sum of the last tick, loudest first,
// with the level at which he is heard, until f returns false.
func (m *Mix) Heard(f func(mem *Member, levelDBov uint8) bool) {
	for _, mem := range m.heard {
		if !f(mem, mem.heardLevel) {
			return
		}
	}
}

// Stats returns the counters.
func (m *Mix) Stats() MixStats {
	s := m.stats
	s.Personal = m.outputs - len(m.spare)
	return s
}

// Close releases all frames and encoders; Tick fails afterwards. Members need
// not leave before. Twice is fine.
func (m *Mix) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	m.dropFrames()
	var errs []error
	for i := range m.classes {
		errs = append(errs, m.classes[i].close())
	}
	for _, mem := range m.members {
		m.speaker.forget(mem)
		if mem.out != nil {
			m.recycle(mem.out)
			mem.out = nil
		}
	}
	for _, out := range m.spare {
		errs = append(errs, out.close())
	}
	m.spare, m.members, m.heard, m.active = nil, nil, nil, nil
	return errors.Join(errs...)
}
