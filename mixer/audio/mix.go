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
}

// Mix is the audio half of a program: who is in it, who is heard, and what each
// of them hears. It belongs to one goroutine, the one that ticks.
type Mix struct {
	config  MixConfig
	members []*Member
	shared  *output
	spare   []*output // outputs that nobody uses
	outputs int       // personal outputs that exist, spare ones included
	outside int       // listeners of Shared that are not members

	sum      Sum
	personal Sum
	ghost    Sum // the fading rest of members who left in mid-word
	hasGhost bool
	ranked   []*Member // scratch: those who want to be heard
	heard    []*Member // those in the sum of the last tick, loudest first
	stats    MixStats
	closed   bool
}

// MixStats counts since the beginning.
type MixStats struct {
	Ticks uint64
	// Encodes is how many frames were coded, SharedEncodes those of them that
	// were coded for all who are silent.
	Encodes, SharedEncodes uint64
	// Decoded is how many packets were decoded.
	Decoded uint64
	// ToPersonal and ToShared count switches of listeners.
	ToPersonal, ToShared uint64
	// Crowded counts ticks in which more wanted to be heard than can be.
	Crowded uint64
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
	var err error
	if m.shared, err = m.newOutput(); err != nil {
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
	mem := &Member{mix: m, csrc: csrc, src: src, gain: 1, listening: true, level: codec.Silence}
	m.members = append(m.members, mem)
	// Room for all, now: ticks do not allocate.
	m.ranked = slices.Grow(m.ranked[:0], len(m.members))
	m.heard = slices.Grow(m.heard, len(m.members)-len(m.heard))
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
	if i := slices.Index(m.heard, mem); i >= 0 {
		m.heard = slices.Delete(m.heard, i, i+1)
	}
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
	listeners := m.pull(now) + m.outside
	m.choose()
	m.add()
	if listeners == 0 {
		// Nobody hears what the limiters still hold, and nobody shall later.
		m.shared.limiter = Limiter{}
		for _, mem := range m.members {
			m.toShared(mem, true)
		}
		return nil
	}
	var errs errorKeeper
	// First copy, then limit and code: whoever leaves the shared mix goes on
	// from what he heard last.
	for _, mem := range m.members {
		errs.keep(m.toPersonal(mem))
	}
	m.shared.limiter.Process(&m.shared.pcm, &m.sum)
	quiet := Level(m.shared.pcm[:]) >= returnQuiet
	for _, mem := range m.members {
		m.toShared(mem, quiet)
		if mem.out == nil {
			continue
		}
		if mem.gate.state == GateClosed {
			mem.out.limiter.Process(&mem.out.pcm, &m.sum)
		} else {
			m.personal.Minus(&m.sum, &mem.voice)
			mem.out.limiter.Process(&mem.out.pcm, &m.personal)
		}
		errs.keep(m.encode(mem.out, pts, mem))
	}
	m.stats.SharedEncodes++
	errs.keep(m.encode(m.shared, pts, nil))
	return errs.first
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
	m.shared.dropFrame()
	for _, mem := range m.members {
		if mem.out != nil {
			mem.out.dropFrame()
		}
	}
	for _, out := range m.spare {
		out.dropFrame()
	}
}

// pull gets everybody's sound and counts the listeners.
func (m *Mix) pull(now time.Duration) (listeners int) {
	m.ranked = m.ranked[:0]
	for _, mem := range m.members {
		if mem.listening {
			listeners++
		}
		if mem.src == nil {
			continue
		}
		mem.info = mem.src.Pull(&mem.pcm, now, DecodeAlways)
		m.stats.Decoded += uint64(mem.info.Decoded)
		mem.level = mem.info.Level
		mem.wants = mem.gate.Hear(mem.level) && !mem.muted && mem.gain > 0
		if mem.wants {
			m.ranked = append(m.ranked, mem)
		}
	}
	return listeners
}

// choose moves all gates: the loudest may be open.
func (m *Mix) choose() {
	if len(m.ranked) > m.config.MaxOpen {
		m.stats.Crowded++
		slices.SortFunc(m.ranked, byScore)
		for _, mem := range m.ranked[m.config.MaxOpen:] {
			mem.wants = false
		}
	}
	m.stats.Open = 0
	for _, mem := range m.members {
		if mem.src == nil {
			continue
		}
		switch mem.gate.Step(mem.wants) {
		case GateOpening, GateOpen:
			m.stats.Open++
			mem.closedTicks = 0
		case GateClosing:
			mem.closedTicks = 0
		case GateClosed:
			mem.closedTicks++
		}
	}
}

// byScore sorts the loudest first; the csrc breaks ties, so that the order of
// joining never matters.
func byScore(a, b *Member) int {
	switch sa, sb := a.gate.Score(), b.gate.Score(); {
	case sa > sb:
		return -1
	case sa < sb:
		return 1
	case a.csrc < b.csrc:
		return -1
	}
	return 1
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
	for _, mem := range m.members {
		if mem.gate.state == GateClosed {
			continue
		}
		target := mem.gain
		if mem.gate.state == GateClosing {
			target = 0
		}
		mem.voice.setScaled(&mem.pcm, mem.applied, target)
		mem.applied = target
		m.sum.Add(&mem.voice)
		mem.heardLevel = mem.level
		if mem.gain != 1 {
			mem.heardLevel = uint8(math.Round(min(max(float64(mem.level)-mem.gainDB, 0), codec.Silence)))
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

// Shared returns what everybody hears who is not in it, lent until the next
// Tick; nil when nobody listens or it could not be coded.
func (m *Mix) Shared() *codec.EncodedFrame { return m.shared.frame }

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
	errs := []error{m.shared.close()}
	for _, mem := range m.members {
		if mem.out != nil {
			m.recycle(mem.out)
			mem.out = nil
		}
	}
	for _, out := range m.spare {
		errs = append(errs, out.close())
	}
	m.spare, m.members, m.heard = nil, nil, nil
	return errors.Join(errs...)
}
