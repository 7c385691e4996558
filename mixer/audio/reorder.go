package audio

import "mixdown/codec"

// packet is one that waits to be decoded.
type packet struct {
	frame *codec.EncodedFrame
	pts   int64 // in samples on the source's clock
	// jump is how many samples before it were dropped on purpose: if any, it
	// follows at once on whatever was played.
	jump int64
}

// reorder holds packets until it is their turn, in order of Seq, whatever order
// they came in. It spans inboxPackets numbers: a packet further ahead than that
// is no reordering but another stream.
type reorder struct {
	slots [inboxPackets]packet // by Seq modulo the size
	next  int64                // the Seq whose turn it is
	n     int
}

// put says what became of a packet.
type put uint8

const (
	putKept      put = iota // the ring owns the reference now
	putDuplicate            // not taken
	putLate                 // its turn has passed; not taken
	putFar                  // neither near before nor near after; not taken
)

func slotOf(seq int64) int { return int(uint64(seq) % inboxPackets) }

// add takes over the reference when the result is putKept.
func (r *reorder) add(p packet) put {
	seq := p.frame.Seq
	switch ahead := seq - r.next; {
	case ahead >= inboxPackets || ahead < -inboxPackets:
		return putFar
	case ahead < 0:
		return putLate
	}
	slot := &r.slots[slotOf(seq)]
	if old := slot.frame; old != nil {
		if !old.Redundant || p.frame.Redundant {
			return putDuplicate
		}
		// The packet was late, not lost; it is never worse than its copy.
		p.jump = slot.jump
		*slot = p
		old.Release()
		return putKept
	}
	*slot = p
	r.n++
	return putKept
}

// first returns the packet with the lowest Seq, or a packet without a frame.
// The ring keeps the reference.
func (r *reorder) first() packet {
	if r.n == 0 {
		return packet{}
	}
	for seq := r.next; ; seq++ {
		if p := r.slots[slotOf(seq)]; p.frame != nil {
			return p
		}
	}
}

// at returns the packet with this Seq, or one without a frame. seq is at most
// inboxPackets from next.
func (r *reorder) at(seq int64) packet {
	if p := r.slots[slotOf(seq)]; p.frame != nil && p.frame.Seq == seq {
		return p
	}
	return packet{}
}

// after returns the packet with the lowest Seq above seq, or a packet without a
// frame.
func (r *reorder) after(seq int64) packet {
	for seq++; seq < r.next+inboxPackets; seq++ {
		if p := r.slots[slotOf(seq)]; p.frame != nil {
			return p
		}
	}
	return packet{}
}

// drop removes p, of so many samples, before its turn; the next packet, which
// must be there, jumps over it. The caller owns the reference.
func (r *reorder) drop(p packet, samples int64) {
	slot := &r.slots[slotOf(p.frame.Seq)]
	r.slots[slotOf(p.frame.Seq+1)].jump += slot.jump + samples
	*slot = packet{}
	r.n--
}

// jumps is how many samples all packets together jump over.
func (r *reorder) jumps() (samples int64) {
	for i, left := r.next, r.n; left > 0; i++ {
		if p := r.slots[slotOf(i)]; p.frame != nil {
			samples += p.jump
			left--
		}
	}
	return samples
}

// land makes it p's turn, which is the first.
func (r *reorder) land(p packet) {
	r.slots[slotOf(p.frame.Seq)].jump = 0
	r.next = p.frame.Seq
}

// pop removes p, which first returned; its turn and every earlier one have
// passed. The caller owns the reference.
func (r *reorder) pop(p packet) {
	r.slots[slotOf(p.frame.Seq)] = packet{}
	r.n--
	r.next = p.frame.Seq + 1
}

// reset releases everything and begins anew at seq.
func (r *reorder) reset(seq int64) {
	for i := range r.slots {
		if f := r.slots[i].frame; f != nil {
			f.Release()
			r.slots[i] = packet{}
		}
	}
	r.n, r.next = 0, seq
}
