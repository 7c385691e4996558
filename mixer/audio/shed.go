package audio

import (
	"time"

	"mixdown/codec"
)

const (
	// shedFrom is how much more than the target must wait before packets are
	// dropped: below, steering is fast enough and cuts more finely.
	shedFrom = 160 * time.Millisecond
	// shedKeep is how many packets of a silence are kept at its end: they
	// prime the decoder for what comes, and leave a pause a pause.
	shedKeep = 2
)

// shed makes a backlog shorter, as a stall and the burst after it leave one:
// first by the silence in it, as far as the target; then by its oldest sound,
// in one splice, as far as targetMax. The rest is left to steering.
func (p *Playout) shed(now time.Duration) {
	head := p.ring.first()
	if p.ring.n < 2 {
		return
	}
	wait := p.jit.since(now - durationOf(head.pts))
	if wait <= p.jit.target+shedFrom {
		return
	}
	over := samplesOf(wait-p.jit.target-codec.FrameDuration) - p.ring.jumps()
	over -= p.shedSilence(head, over)
	// What is over the target is not over the limit yet.
	over -= samplesOf(max(targetMax-p.jit.target, codec.FrameDuration) - codec.FrameDuration)
	if over > 0 {
		p.splice(over)
	}
}

// shedSilence drops up to n samples of packets amid silence, and returns how
// many.
func (p *Playout) shedSilence(head packet, n int64) (shed int64) {
	before := p.sched.gap || p.steering.wasQuiet
	for left := p.ring.n; left > shedKeep && shed < n; left-- {
		next := p.ring.at(head.frame.Seq + 1)
		if next.frame == nil {
			// Lost, or on its way: no silence that one knows of.
			before = false
			if head = p.ring.after(head.frame.Seq); head.frame == nil {
				break
			}
			continue
		}
		silent := p.silent(head)
		if before && silent && p.silent(next) && p.silent(p.ring.at(head.frame.Seq+shedKeep)) {
			samples := max(next.pts-head.pts, 0)
			shed += samples
			p.ring.drop(head, samples)
			head.frame.Release()
			p.count.skipped.Add(1)
		}
		before, head = silent, next
	}
	return shed
}

// silent says that a packet holds no speech, by what its sender says.
func (p *Playout) silent(k packet) bool {
	switch {
	case k.frame == nil:
		return false
	case k.frame.Level.Valid:
		return p.steering.quiet(k.frame.Level.DBov)
	case len(k.frame.Data) <= 2:
		return true
	}
	return p.look != nil && p.look.Silent(k.frame.Data)
}

// splice drops at least n samples of the oldest packets; one always stays. The
// last that are dropped prime the decoder.
func (p *Playout) splice(n int64) {
	s := &p.sched
	var prime [primePackets]*codec.EncodedFrame
	for p.ring.n > 1 && n > 0 {
		head := p.ring.first()
		p.ring.pop(head)
		next := p.ring.first()
		n -= max(next.pts-head.pts, 0) - next.jump
		p.count.skipped.Add(1)
		if prime[0] != nil {
			prime[0].Release()
		}
		copy(prime[:], prime[1:])
		prime[primePackets-1] = head.frame
	}
	p.wake()
	for _, f := range prime {
		if f == nil {
			continue
		}
		// Only the decoder's state is wanted; a corrupt packet is no loss.
		_, _ = p.dec.Decode(f.Data, p.fifo.room(codec.MaxPacketSamples))
		s.decoded++
		f.Release()
	}
	p.count.splices.Add(1)
	p.leap(p.ring.first())
}

// leap goes on at a packet, the first of the ring, as if nothing were missing.
func (p *Playout) leap(head packet) {
	s := &p.sched
	p.ring.land(head)
	p.count.squeezed.Add(uint64(min(max(head.pts-s.cursor, 0), 10*codec.SampleRate)))
	s.cursor, s.seam, p.steering.offsets.n = head.pts, true, 0
}
