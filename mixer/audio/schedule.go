package audio

import (
	"time"

	"mixdown/codec"
)

const (
	// shortest is the shortest Opus frame, 2.5 ms, and the grain of
	// concealment. Times that differ by less are the same.
	shortest = codec.SampleRate / 400
	// Concealment of loss begins to fade after 40 ms, when libopus has
	// nothing new to say, and is silent after 140 ms.
	lossFadeStart = 40 * codec.SampleRate / 1000
	lossFadeEnd   = 140 * codec.SampleRate / 1000
	// In a sender's own pause what it last said is the background noise; a DTX
	// encoder refreshes it every 400 ms. Should no more come, it fades.
	pauseFadeStart = 480 * codec.SampleRate / 1000
	pauseFadeEnd   = 680 * codec.SampleRate / 1000
)

// schedule is what decides when which packet is played.
type schedule struct {
	begun  bool
	stream codec.StreamID
	// cursor is the source's time, in samples, of the next sample to be
	// decoded or made up.
	cursor int64
	// gap says that nothing is being played: before the first packet, in a
	// sender's pause, after a loss that has faded. Only here may the next
	// packet wait for the target delay, and begin anywhere.
	gap bool
	// pause says that the gap was announced by the sender.
	pause bool
	// made is how many samples were made up in a row, gain their last gain.
	made int
	gain float32
	// lastLen is the duration of the last packet, in samples.
	lastLen int
	// lastDTX says that the last packet announced a pause.
	lastDTX bool
	// fresh asks for a new decoder state, seam for a cross-fade, before the
	// next packet.
	fresh, seam bool
	// slackPTS is the time of the last packet played in this tick, played
	// says that there was one, decoded counts what was decoded.
	slackPTS int64
	played   bool
	decoded  int
	faked    bool
}

func (s *schedule) init() {
	s.gap, s.made, s.lastLen = true, pauseFadeEnd, codec.FrameSamples
}

// restart forgets the timeline but not what is sounding.
func (s *schedule) restart(stream codec.StreamID) {
	s.begun, s.stream = true, stream
	s.gap, s.pause, s.seam = true, false, true
}

// next is the body of Pull: it fills dst and says what from.
func (p *Playout) next(dst *codec.AudioFrame, now time.Duration) Info {
	s := &p.sched
	s.decoded, s.faked, s.played = 0, false, false
	p.skipped.begin()
	p.shed(now)
	for p.fifo.len() < codec.FrameSamples {
		p.step(codec.FrameSamples-p.fifo.len(), now)
	}
	if s.played && !s.gap {
		p.steering.offsets.add(int32((now - durationOf(s.slackPTS) - p.jit.base) / time.Microsecond))
	}
	level := p.steer()
	first := s.cursor - int64(p.fifo.len())
	skipped := p.skipped.all(p.fifo.len())
	p.fifo.read(dst[:])
	p.skipped.limit(p.fifo.len())
	info := Info{PTS: durationOf(first), Decoded: s.decoded, Concealed: s.faked, Skipped: skipped, Level: level}
	if s.begun {
		info.Delay = p.jit.since(now - info.PTS)
	}
	return info
}

// step makes progress towards `need` more samples: it appends some, or leaves
// or enters a gap.
func (p *Playout) step(need int, now time.Duration) {
	s := &p.sched
	if s.gap {
		if !p.start(now) {
			p.fillGap(need)
		}
		return
	}
	head := p.ring.first()
	if head.frame == nil {
		if s.lastDTX {
			s.gap, s.pause = true, true
			return
		}
		// The packet may be late or lost; its turn stays until it is known.
		p.count.underruns.Add(1)
		s.faked = true
		p.conceal(roundUp(need))
		p.endFade()
		return
	}
	if head.jump > 0 {
		p.leap(head)
	}
	lost := head.frame.Seq - p.ring.next
	gap := head.pts - s.cursor
	switch {
	case gap < shortest:
		p.play(head, gap)
	case lost == 0 || s.lastDTX:
		s.gap, s.pause = true, true
	default:
		p.replace(head, gap)
		p.endFade()
	}
}

// start leaves the gap if there is a packet whose time has come.
func (p *Playout) start(now time.Duration) bool {
	s := &p.sched
	head := p.ring.first()
	if head.frame == nil {
		return false
	}
	// Of short packets the last that the tick needs must be there too.
	last := head.pts + int64(max(codec.FrameSamples-s.lastLen, 0))
	if p.jit.since(now-durationOf(last)) < p.jit.target {
		return false
	}
	s.gap, s.pause = false, false
	s.cursor = head.pts
	p.steering.offsets.n = 0
	return true
}

// fillGap appends comfort noise or silence.
func (p *Playout) fillGap(need int) {
	if p.sched.made < p.fadeEnd() {
		need = roundUp(need)
	}
	p.conceal(need)
}

// endFade enters the gap when concealment has become silent.
func (p *Playout) endFade() {
	if p.sched.made >= lossFadeEnd {
		p.sched.gap = true
	}
}

func (p *Playout) fadeEnd() int {
	if p.sched.pause {
		return pauseFadeEnd
	}
	return lossFadeEnd
}

func roundUp(samples int) int { return (samples + shortest - 1) / shortest * shortest }

// play plays a packet, gap samples after what was last.
func (p *Playout) play(head packet, gap int64) {
	s := &p.sched
	p.count.lost.Add(uint64(head.frame.Seq - p.ring.next))
	if head.frame.Redundant {
		p.count.lost.Add(1)
		p.count.recovered.Add(1)
	}
	level, quiet := p.mayskip(head)
	p.ring.pop(head)
	if gap <= -shortest {
		// Something was put in meanwhile, in place of the packet's own
		// beginning: the delay has grown, and the two do not fit together.
		s.seam = true
		p.steering.offsets.shift(int(min(-gap, codec.SampleRate)))
		p.count.stretched.Add(uint64(-gap))
	}
	s.slackPTS, s.played = head.pts, true
	s.cursor = head.pts
	s.lastDTX = len(head.frame.Data) <= 2
	p.relayed.take(head.frame)
	if quiet && p.skip(head.frame, level) {
		return
	}
	p.decode(head.frame)
}

// decode turns a packet into sound and releases it.
func (p *Playout) decode(f *codec.EncodedFrame) {
	s := &p.sched
	if s.fresh {
		s.fresh = false
		p.skipped.forget()
		// A decoder that cannot be reset still decodes.
		_ = p.dec.Reset()
	}
	p.wake()
	buf := p.fifo.room(codec.MaxPacketSamples)
	n, err := p.dec.Decode(f.Data, buf)
	s.decoded++
	f.Release()
	if err != nil || n < shortest || n > codec.MaxPacketSamples {
		p.count.corrupt.Add(1)
		s.faked = true
		p.conceal(s.lastLen)
		p.endFade()
		return
	}
	s.lastLen = roundUp(n)
	p.sound(buf[:n])
}

// sound appends what was decoded, in the memory that fifo.room gave, to what
// there was.
func (p *Playout) sound(buf []int16) {
	s := &p.sched
	if s.seam {
		s.seam = false
		p.fifo.join(len(buf))
	}
	ramp(buf[:min(len(buf), seamSamples)], s.gain, 1)
	s.made, s.gain = 0, 1
	p.fifo.append(len(buf))
	p.skipped.tail = 0
	s.cursor += int64(len(buf))
}
