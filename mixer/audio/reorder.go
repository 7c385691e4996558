package audio

import "mixdown/codec"

// packet is one that waits to be decoded.
type packet struct {
	frame *codec.EncodedFrame
	pts   int64 // in samples on the source's clock
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
	if slot.frame != nil {
		return putDuplicate
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
