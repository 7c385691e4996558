package audio

import "mixdown/codec"

// keptPackets is how many of the packets that were not decoded are kept, and
// primePackets how many of those a decoder needs to sound as if it had decoded
// all: its filters forget within 40 ms.
const (
	keptPackets  = 3
	primePackets = 2
)

// skipping is what happens while a sender says that it is too quiet to be
// worth decoding (RFC 6464): time goes on, zeros are played, and the last
// packets are kept. The next that counts finds the decoder as it would have
// been, because two of them are decoded first, so nothing of an onset is lost.
//
// A packet may be longer than a tick. Should the caller want the sound while
// zeros of a skipped packet still wait, they are replaced by it.
type skipping struct {
	quiet uint8 // what the caller of this tick does not need
	on    bool  // the last packet was skipped
	level uint8 // what the sender said of it
	loud  uint8 // the loudest of this tick
	// tail is how many of the waiting samples, counted from their end, stand
	// for packets in kept or for nothing.
	tail int
	kept [keptPackets]*codec.EncodedFrame // oldest first
	n    int
}

func (k *skipping) begin() { k.loud = k.level }

// all says that of so many waiting samples none was decoded.
func (k *skipping) all(waiting int) bool { return k.on && k.tail >= waiting }

// limit tells how many samples wait, after some were read.
func (k *skipping) limit(waiting int) { k.tail = min(k.tail, waiting) }

// keep takes over a reference.
func (k *skipping) keep(f *codec.EncodedFrame) {
	if k.n == keptPackets {
		k.kept[0].Release()
		copy(k.kept[:], k.kept[1:])
		k.n--
	}
	k.kept[k.n] = f
	k.n++
}

// forget releases what is kept.
func (k *skipping) forget() {
	for i := range k.kept[:k.n] {
		k.kept[i].Release()
		k.kept[i] = nil
	}
	k.n, k.on = 0, false
}

// mayskip says whether a packet, the first of the ring, need not be decoded,
// and at what level it is.
func (p *Playout) mayskip(head packet) (level uint8, ok bool) {
	if p.look == nil || p.skipped.quiet > codec.Silence || p.sched.fresh {
		return 0, false
	}
	says := head.frame.Level
	if head.frame.Redundant && p.skipped.on {
		// A copy says no level; it is as loud as its neighbours.
		says = p.ring.at(head.frame.Seq + 1).level()
	}
	return says.DBov, says.Valid && says.DBov >= p.skipped.quiet
}

func (p packet) level() codec.AudioLevel {
	if p.frame == nil {
		return codec.AudioLevel{}
	}
	return p.frame.Level
}

// skip plays zeros for a packet of this level and keeps it; false if nobody
// knows how many.
func (p *Playout) skip(f *codec.EncodedFrame, level uint8) bool {
	n, err := p.look.Duration(f.Data)
	if err != nil || n < shortest {
		return false
	}
	k := &p.skipped
	if !k.on || k.tail == 0 {
		k.loud = codec.Silence
	}
	k.on, k.level = true, level
	k.loud = min(k.loud, level)
	k.keep(f)
	p.sched.lastLen = roundUp(n)
	p.sched.seam = false
	p.sched.made, p.sched.gain = 0, 1
	p.hush(n)
	p.count.undecoded.Add(1)
	return true
}

// hush appends zeros for sound that nobody needs.
func (p *Playout) hush(n int) {
	clear(p.fifo.room(n))
	p.fifo.append(n)
	p.skipped.tail += n
	p.sched.cursor += int64(n)
}

// unskip is called first in a tick: if zeros wait for which there should have
// been sound after all, it is put in.
func (p *Playout) unskip() {
	if k := &p.skipped; k.on && k.tail > 0 && k.level < k.quiet {
		p.wake()
	}
}

// wake brings the decoder to where it would be, had nothing been skipped.
func (p *Playout) wake() {
	k := &p.skipped
	if !k.on {
		return
	}
	first := 0
	if k.tail == 0 {
		first = max(k.n-primePackets, 0)
	}
	// The sound ends where what waits ends; as much of it is put in as zeros
	// were played, the 5 ms that were pulled last included, for joining to.
	scratch := p.fifo.room(codec.MaxPacketSamples)
	end := p.fifo.end
	var lens [keptPackets]int
	total := 0
	for i := first; i < k.n; i++ {
		lens[i], _ = p.look.Duration(k.kept[i].Data)
		total += lens[i]
	}
	for i := first; i < k.n; i++ {
		n, err := p.dec.Decode(k.kept[i].Data, scratch)
		p.sched.decoded++
		at := end - total
		total -= lens[i]
		if err != nil || n != lens[i] {
			p.count.corrupt.Add(1)
			continue
		}
		from := max(end-k.tail-seamSamples, at)
		if to := at + n; from < to {
			copy(p.fifo.buf[from:to], scratch[from-at:n])
		}
	}
	k.tail = 0
	k.forget()
}
