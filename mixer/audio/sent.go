package audio

import "mixdown/codec"

const (
	// sentTicks is how far back it matters what somebody was sent: 640 ms, as
	// far as an [EchoDetector] looks.
	sentTicks = 32
	// watchTicks is how long a member is watched for echo after he last made
	// himself heard.
	watchTicks = 100
)

// sentMix is the near past of what those were sent who are not heard
// themselves, for the detection of echo.
type sentMix struct {
	ring   [sentTicks]Envelope
	levels [sentTicks]uint8
	n      int // ticks since the beginning
	own    Envelope
	got    Envelope
}

// add takes what was made in this tick.
func (s *sentMix) add(pcm *codec.AudioFrame, level uint8) {
	at := s.n % sentTicks
	s.levels[at] = level
	if level == codec.Silence {
		s.ring[at] = silentEnvelope
	} else {
		s.ring[at].Measure(pcm)
	}
	s.n++
}

// last returns the envelope of the tick that many back, 1 being the last.
func (s *sentMix) last(back int) *Envelope {
	return &s.ring[(s.n+sentTicks-back)%sentTicks]
}

// loudest returns the level of the loudest tick.
func (s *sentMix) loudest() uint8 {
	level := uint8(codec.Silence)
	for i := range min(s.n, sentTicks) {
		level = min(level, s.levels[i])
	}
	return level
}

// watch looks for what the member was sent in what came from him, and keeps his
// gate from opening on it.
func (m *Mix) watch(mem *Member, pcm *codec.AudioFrame, info Info) {
	if !mem.detecting {
		if mem.echo && mem.wants && mem.gate.state == GateClosed && mem.level >= m.sent.loudest() {
			m.stats.EchoHeld++
			mem.wants = false
		}
		return
	}
	if !mem.listening {
		// He is sent nothing. What the others hear has his own voice in it.
		mem.watching, mem.echo = false, false
		return
	}
	if mem.passed && !mem.look {
		return // he is not decoded, but to see whether what he tells is true
	}
	if !mem.watching {
		// From here on he is followed; what may come back now was sent before.
		for back := min(m.sent.n, sentTicks); back > 1; back-- {
			mem.detector.Feed(m.sent.last(back), nil)
		}
		mem.watching = true
	}
	sent, got := &silentEnvelope, (*Envelope)(nil)
	switch {
	case mem.relay.state == relaying && mem.relay.from != nil:
		// It is decoded as he is, of the last tick or of this one.
		m.sent.own.Measure(&mem.relay.from.pcm)
		sent = &m.sent.own
	case mem.out != nil:
		m.sent.own.Measure(&mem.out.pcm)
		sent = &m.sent.own
	case m.sent.n > 0:
		sent = m.sent.last(1)
	}
	if !info.Skipped && !info.Silent {
		m.sent.got.Measure(pcm)
		got = &m.sent.got
	}
	mem.detector.Feed(sent, got)
	mem.echo = mem.detector.Echo()
	switch {
	case mem.wants:
		mem.idle = 0
	case !mem.echo:
		// Who is known for his echo is followed on: he would be forgotten.
		if mem.idle++; mem.idle > watchTicks {
			mem.watching = false
		}
	}
	if mem.wants && mem.echo && mem.detector.Only() {
		m.stats.EchoHeld++
		mem.wants = false
	}
}
