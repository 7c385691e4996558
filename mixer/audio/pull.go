package audio

import (
	"slices"
	"time"
)

// trust is whether what a sender says of his levels is true. A client that
// always says "silence" would never be heard: so now and then something that he
// calls silent is decoded all the same.
type trust struct {
	unheard   uint16 // ticks in a row that were not decoded
	doublings uint8  // of trustTicks, by checks that found nothing
	surprises uint8  // times in a row that the sound was louder than told
	none      bool
}

const (
	// trustTicks is when that is done first: after 5 s. Each time that nothing
	// is found it takes twice as long, up to 20 s: a check is three decodes, and
	// of hundreds who are silent that must be next to nothing.
	trustTicks     = 256
	trustDoublings = 2
	// trustSurprises in a row are a sender who does not tell the truth. One may
	// be speech that began in that very tick.
	trustSurprises = 2
	// trustGapDB is how much louder than told counts.
	trustGapDB = 15
	// wantNothing as quiet asks for no sound at all of those who tell levels.
	wantNothing uint8 = 0
)

// due says that the next sound is to be decoded to see what it is.
func (t *trust) due() bool { return t.unheard >= trustTicks<<t.doublings }

// quiet says from which level down the member's next sound need not be decoded.
func (mem *Member) quiet() uint8 {
	switch {
	case mem.look:
		return DecodeAlways
	case mem.passed && !mem.trust.none:
		if mem.trust.due() && !mem.muted {
			return DecodeAlways
		}
		return wantNothing
	case mem.gate.state != GateClosed || mem.called || mem.trust.none:
		return DecodeAlways
	case mem.muted || mem.gain == 0:
		return wantNothing
	case mem.trust.due():
		return DecodeAlways
	case mem.gate.hold > 0 && !mem.echo:
		// He wants to be heard and had no place: who is louder is told by the
		// levels alone.
		return wantNothing
	}
	return mem.gate.Quiet()
}

// pull gets everybody's sound and finds those who want to be heard. Of a member
// who is silent it touches as little as it can: of five hundred that is most.
func (m *Mix) pull(now time.Duration) {
	m.ranked = m.ranked[:0]
	for _, mem := range m.members {
		if mem.src == nil {
			continue
		}
		quiet := mem.quiet()
		pcm := &m.scratch
		if quiet == DecodeAlways {
			pcm = &mem.pcm
		}
		info := mem.src.Pull(pcm, now, quiet)
		if info.Skipped {
			m.stats.Skipped++
		}
		m.stats.Decoded += uint64(info.Decoded)
		if m.offers > 0 {
			mem.offered()
		}
		mem.info, mem.called = info, false
		mem.wants = mem.gate.Hear(info.Level) && !mem.muted && mem.gain > 0
		if info.Skipped || mem.trust.unheard > 0 {
			m.check(mem, quiet, info)
		}
		mem.level = info.Level
		if mem.watching || mem.wants {
			m.watch(mem, pcm, info)
		}
		if mem.gate.speech || mem.activity != (activity{}) {
			mem.activity.hear(mem.gate.speech && mem.wants, mem.level)
		}
		mem.learn()
		if mem.wants {
			m.ranked = append(m.ranked, mem)
			if pcm == &m.scratch {
				mem.pcm = *pcm
			}
		}
	}
}

// check compares what a sender says of his level with what it is. mem.level is
// still that of the tick before.
func (m *Mix) check(mem *Member, quiet uint8, info Info) {
	t := &mem.trust
	switch {
	case info.Skipped, mem.passed && quiet != DecodeAlways: // redundancy is decoded, and tells no level
		t.unheard = min(t.unheard+1, trustTicks<<trustDoublings)
	case quiet != DecodeAlways && info.Decoded > 0:
		// He told that there was something: he tells his levels.
		t.unheard, t.surprises = 0, 0
	case quiet == DecodeAlways && t.due() && info.Decoded > 0:
		t.unheard = 0
		m.stats.Checked++
		told := mem.level
		if p := mem.offer.packet; p != nil && p.Level.Valid {
			told = min(told, p.Level.DBov) // a word that has just begun is no lie
		}
		if !mem.wants || told < info.Level+trustGapDB {
			t.doublings = min(t.doublings+1, trustDoublings)
			return
		}
		t.doublings = 0
		if t.surprises++; t.surprises == trustSurprises {
			t.none = true
			m.stats.Distrusted++
		}
	}
}

// choose moves all gates: the loudest may be open.
func (m *Mix) choose() {
	places := m.ranked
	if len(m.ranked) > m.config.MaxOpen {
		m.stats.Crowded++
		slices.SortFunc(m.ranked, byScore)
		places = m.ranked[:m.config.MaxOpen]
		for _, mem := range m.ranked[m.config.MaxOpen:] {
			mem.wants = false
		}
	}
	for _, mem := range places {
		if mem.info.Skipped && mem.gate.state == GateClosed && !mem.passed {
			// He is let in when his sound is there, which is in the next tick.
			mem.called, mem.wants = true, false
		} else if !mem.active {
			mem.active = true
			m.active = append(m.active, mem)
		}
	}
	m.stats.Open = 0
	for _, mem := range m.active {
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

// byScore sorts the loudest first, as they are heard; the csrc breaks ties, so
// that the order of joining never matters.
func byScore(a, b *Member) int {
	_, gainA := a.totalGain()
	_, gainB := b.totalGain()
	switch sa, sb := a.gate.Score()+gainA, b.gate.Score()+gainB; {
	case sa > sb:
		return -1
	case sa < sb:
		return 1
	case a.csrc < b.csrc:
		return -1
	}
	return 1
}
