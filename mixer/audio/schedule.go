package audio

import (
	"math"
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

	// offsetTicks is how far back the shortest wait is looked for, 1 s: a tick
	// that came late looks like a longer wait, and must not count.
	offsetTicks = 50
	// offsetLearn is how many are needed to judge.
	offsetLearn = 10

	// excessCalm is from where delay is reduced in pauses: one tick, and 5 ms
	// so that growing and shrinking do not alternate.
	excessCalm = codec.FrameDuration + 5*time.Millisecond
	// excessVoice is from where it is reduced within speech.
	excessVoice = 32 * time.Millisecond
	// excessMuch is from where that is done often.
	excessMuch = 100 * time.Millisecond
	// Splices in speech are at least this many ticks apart: at most 20% faster
	// when there is much to catch up, else 7%.
	spliceTicks     = 10
	spliceTicksMuch = 3
	// spliceLike is how like each other the two sides must be.
	spliceLike = 0.5
	// growTicks is the shortest time between two voluntary delays.
	growTicks = 10
	// misaligned is the remainder, 1 ms, that is worth cutting off.
	misaligned = codec.SampleRate / 1000
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
	// slackPTS is the time of the last packet decoded in this tick.
	slackPTS int64
	decoded  int
	faked    bool

	offsets   offsets
	floor     noiseFloor
	wasQuiet  bool
	grow      bool
	sinceGrow int
	sinceCut  int
}

func (s *schedule) init() {
	s.gap, s.made, s.lastLen = true, pauseFadeEnd, codec.FrameSamples
}

// restart forgets the timeline but not what is sounding.
func (s *schedule) restart(stream codec.StreamID) {
	s.begun, s.stream = true, stream
	s.gap, s.pause, s.seam, s.grow = true, false, true, false
	s.offsets.n = 0
}

// offsets remembers for the last second how long the packets waited: now minus
// PTS, in microseconds, relative to the jitter estimate's base.
type offsets struct {
	at      [offsetTicks]int32
	n, next int
}

func (o *offsets) add(us int32) {
	o.at[o.next] = us
	o.next = (o.next + 1) % offsetTicks
	o.n = min(o.n+1, offsetTicks)
	if o.n == 1 {
		o.at[0], o.next = us, 1
	}
}

func (o *offsets) shift(samples int) {
	us := int32(samples * 1000 / (codec.SampleRate / 1000))
	for i := range o.at[:o.n] {
		o.at[i] += us
	}
}

func (o *offsets) low() int32 {
	low := int32(math.MaxInt32)
	for _, us := range o.at[:o.n] {
		low = min(low, us)
	}
	return low
}

// next is the body of Pull: it fills dst and says what from.
func (p *Playout) next(dst *codec.AudioFrame, now time.Duration) Info {
	s := &p.sched
	s.decoded, s.faked = 0, false
	s.sinceCut++
	s.sinceGrow++
	p.skipExcess(now)
	if s.grow && !s.gap {
		p.conceal(codec.FrameSamples)
		s.sinceGrow = 0
	}
	s.grow = false
	before := s.decoded
	for p.fifo.len() < codec.FrameSamples {
		p.step(codec.FrameSamples-p.fifo.len(), now)
	}
	if s.decoded > before && !s.gap {
		s.offsets.add(int32((now - durationOf(s.slackPTS) - p.jit.base) / time.Microsecond))
	}
	level := p.steer()
	first := s.cursor - int64(p.fifo.len())
	p.fifo.read(dst[:])
	info := Info{PTS: durationOf(first), Decoded: s.decoded, Concealed: s.faked, Level: level}
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
	lost := head.frame.Seq - p.ring.next
	gap := head.pts - s.cursor
	switch {
	case gap < shortest:
		p.decode(head, gap)
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
	s.offsets.n = 0
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

// conceal appends n made up samples (a multiple of shortest, unless faded).
func (p *Playout) conceal(n int) {
	s := &p.sched
	buf := p.fifo.room(n)
	if s.made >= p.fadeEnd() || p.dec.Conceal(buf) != nil {
		clear(buf)
	}
	p.fade(buf)
	p.fifo.append(n)
	s.cursor += int64(n)
}

// fade turns made up sound down as it goes on.
func (p *Playout) fade(buf []int16) {
	s := &p.sched
	start, end := lossFadeStart, lossFadeEnd
	if s.pause {
		start, end = pauseFadeStart, pauseFadeEnd
	}
	at := func(made int) float32 {
		return min(max(float32(end-made)/float32(end-start), 0), 1)
	}
	from := s.gain
	s.made += len(buf)
	s.gain = min(at(s.made), from)
	ramp(buf, from, s.gain)
}

// ramp multiplies x by a gain that goes from `from` to `to`.
func ramp(x []int16, from, to float32) {
	if from == 1 && to == 1 {
		return
	}
	step := (to - from) / float32(len(x))
	for i := range x {
		from += step
		x[i] = int16(float32(x[i]) * from)
	}
}

// replace makes up the sound of the packet whose turn it is and that is not
// there, though a later one (head) is.
func (p *Playout) replace(head packet, gap int64) {
	s := &p.sched
	n := roundUp(int(min(gap, int64(s.lastLen))))
	s.faked = true
	p.count.lost.Add(1)
	p.ring.next++
	if p.ring.next != head.frame.Seq || gap-int64(n) >= shortest || s.gain < 1 {
		p.conceal(n)
		return
	}
	// FEC tells of the packet just before head.
	buf := p.fifo.room(n)
	if p.dec.DecodeFEC(head.frame.Data, buf) != nil {
		clear(buf)
	} else {
		p.count.recovered.Add(1)
	}
	p.fade(buf)
	p.fifo.append(n)
	s.cursor += int64(n)
}

// decode plays a packet, gap samples after what was last.
func (p *Playout) decode(head packet, gap int64) {
	s := &p.sched
	p.count.lost.Add(uint64(head.frame.Seq - p.ring.next))
	p.ring.pop(head)
	if gap <= -shortest {
		// Something was put in meanwhile: the delay has grown.
		s.offsets.shift(int(min(-gap, codec.SampleRate)))
		p.count.stretched.Add(uint64(-gap))
	}
	if s.fresh {
		s.fresh = false
		// A decoder that cannot be reset still decodes.
		_ = p.dec.Reset()
	}
	buf := p.fifo.room(codec.MaxPacketSamples)
	n, err := p.dec.Decode(head.frame.Data, buf)
	s.slackPTS = head.pts
	s.cursor = head.pts
	s.decoded++
	s.lastDTX = len(head.frame.Data) <= 2
	head.frame.Release()
	if err != nil || n < shortest || n > codec.MaxPacketSamples {
		p.count.corrupt.Add(1)
		s.faked = true
		p.conceal(s.lastLen)
		p.endFade()
		return
	}
	s.lastLen = roundUp(n)
	if s.seam {
		s.seam = false
		p.fifo.join(n)
	}
	ramp(buf[:min(n, seamSamples)], s.gain, 1)
	s.made, s.gain = 0, 1
	p.fifo.append(n)
	s.cursor += int64(n)
}

// skipExcess throws away packets that would be played more than targetMax
// late. The last of them primes the decoder.
func (p *Playout) skipExcess(now time.Duration) {
	s := &p.sched
	var prime *codec.EncodedFrame
	for p.ring.n > 1 {
		head := p.ring.first()
		if p.jit.since(now-durationOf(head.pts)) <= targetMax {
			break
		}
		p.count.skipped.Add(1)
		p.ring.pop(head)
		if prime != nil {
			prime.Release()
		}
		prime = head.frame
	}
	if prime == nil {
		return
	}
	// Only the decoder's state is wanted; a corrupt packet is no loss.
	_, _ = p.dec.Decode(prime.Data, p.fifo.room(codec.MaxPacketSamples))
	s.decoded++
	prime.Release()
	next := p.ring.first().pts
	p.count.squeezed.Add(uint64(max(next-s.cursor, 0)))
	s.cursor, s.seam, s.offsets.n = next, true, 0
}

// steer looks at the 20 ms that are about to be pulled and corrects the delay
// by a little, where that cannot be heard. It returns their level.
func (p *Playout) steer() (level uint8) {
	s := &p.sched
	level = Level(p.fifo.waiting()[:codec.FrameSamples])
	s.floor.update(level)
	quiet := s.quiet(level)
	calm := quiet && s.wasQuiet
	s.wasQuiet = quiet
	if s.gap || s.made > 0 || s.offsets.n < offsetLearn {
		return level
	}
	excess := time.Duration(s.offsets.low()-p.jit.low)*time.Microsecond - p.jit.target
	switch rest := p.fifo.len() % codec.FrameSamples; {
	case calm && rest >= misaligned:
		p.cut(rest)
	case calm && excess >= excessCalm:
		if p.ahead(2*codec.FrameSamples) && s.quiet(Level(p.fifo.waiting()[codec.FrameSamples:2*codec.FrameSamples])) {
			p.cut(codec.FrameSamples)
		}
	case calm && excess < 0 && s.sinceGrow >= growTicks:
		s.grow = true
	case excess >= excessMuch && s.sinceCut >= spliceTicksMuch, excess >= excessVoice && s.sinceCut >= spliceTicks:
		if !p.ahead(codec.FrameSamples + lagMax + seamSamples) {
			return level
		}
		if lag, like := p.fifo.bestLag(); like >= spliceLike {
			p.cut(lag)
		}
	}
	if s.sinceCut == 0 {
		level = Level(p.fifo.waiting()[:codec.FrameSamples])
	}
	return level
}

// quiet says that a level is not speech.
func (s *schedule) quiet(level uint8) bool {
	const surely, rather, margin = -60, -40, 4
	return -float64(level) <= max(surely, min(rather, s.floor.dBov+margin))
}

// cut leaves out samples from the start of what waits.
func (p *Playout) cut(samples int) {
	// The wait that counts is that of the next packet at the tick which needs
	// it; it changes only when that becomes an earlier tick.
	rest := p.fifo.len() - codec.FrameSamples
	ticks := rest/codec.FrameSamples - (rest-samples)/codec.FrameSamples
	p.fifo.cut(samples)
	p.sched.offsets.shift(-ticks * codec.FrameSamples)
	p.sched.sinceCut = 0
	p.count.squeezed.Add(uint64(samples))
}

// ahead decodes until n samples wait, if the packets for it are there without
// a gap, and says whether they do.
func (p *Playout) ahead(n int) bool {
	for p.fifo.len() < n {
		head := p.ring.first()
		if head.frame == nil || head.frame.Seq != p.ring.next || head.pts-p.sched.cursor >= shortest ||
			p.sched.gap {
			return false
		}
		p.decode(head, head.pts-p.sched.cursor)
	}
	return true
}
