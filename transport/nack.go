package transport

import "time"

const (
	// reorderMin is how long a gap is taken for reordering on a path that does
	// not reorder: packets of one burst overtake each other inside a host.
	reorderMin = 5 * time.Millisecond
	// reorderMax bounds what a path can teach: beyond, asking twice is cheaper
	// than waiting.
	reorderMax = 40 * time.Millisecond

	// patienceMin gives short paths the time for a second and a third request,
	// and a busy sender that of coming round to answer.
	patienceMin = 100 * time.Millisecond
	// patienceMax is for paths so long that a repair in time would be luck.
	patienceMax = 400 * time.Millisecond

	// maxNACKs is how often one packet is asked for.
	maxNACKs = 5
	// nackMargin is what a repair may take on top of the round trip, and the
	// shortest time between two requests for a packet.
	nackMargin = 10 * time.Millisecond
	// defaultRTT is assumed before the first measurement.
	defaultRTT = 100 * time.Millisecond
	// maxRTT bounds what is believed.
	maxRTT = 2 * time.Second
)

// A reorderWindow learns how long after its successors a packet may still
// come by itself.
type reorderWindow struct{ late time.Duration }

// window is how long a gap is not taken for loss.
func (w *reorderWindow) window() time.Duration {
	return min(max(w.late+w.late/4, reorderMin), reorderMax)
}

// found learns from a packet that filled its gap after late. A repair teaches
// nothing of the path's order; without RTX a packet that was asked for may be
// one.
func (w *reorderWindow) found(late time.Duration, isRTX, asked, rtx bool) {
	if isRTX || asked && !rtx {
		w.lost()
		return
	}
	w.late = max(late, w.late-w.late/16)
}

// lost forgets a little: here was loss, not reordering.
func (w *reorderWindow) lost() { w.late -= w.late / 16 }

// patience is how long, after the reorder window, a gap that may hold a
// reference is waited for: two and a half round trips, within bounds, so that
// a repair that is lost too is asked for again.
//
// It was one and a half, 150 ms at most. With 5% loss each way and a round trip
// of 40 ms that gave up 35 times a minute, against 5 now, and the picture stood
// still for 15 s of each minute against 9: the answer to giving up is a key
// frame, which takes a round trip too, is big, and is lost in part itself. At
// 100 ms it is 36 against 4 (TestPatience).
func (a *assembler) patience() time.Duration {
	if !a.cfg.NACK {
		return 0
	}
	rtt := a.trip()
	return min(max(2*rtt+rtt/2, patienceMin), patienceMax)
}

func (a *assembler) trip() time.Duration {
	if a.rtt <= 0 {
		return defaultRTT
	}
	return min(a.rtt, maxRTT)
}

// nackDue is when to ask for the packet the next time; ok is false when it
// was asked for often enough. Each repetition waits longer by half.
func (a *assembler) nackDue(s *slot) (at time.Duration, ok bool) {
	switch {
	case s.nacks == 0:
		return s.since + a.reord.window(), true
	case s.nacks >= maxNACKs:
		return 0, false
	}
	wait := a.trip() + nackMargin
	for range s.nacks - 1 {
		wait += wait / 2
	}
	return s.asked + wait, true
}

// appendNACKs appends the sequence numbers that are to be asked for now (RFC
// 4585 section 6.2.1) and takes them as asked for. Call it after pop.
func (a *assembler) appendNACKs(dst []uint16, now time.Duration) []uint16 {
	if !a.cfg.NACK || a.missing == 0 {
		return dst
	}
	for q := a.next; q <= a.highest; q++ {
		s := a.at(q)
		if s.state != slotMissing {
			continue
		}
		if at, ok := a.nackDue(s); !ok || now < at || a.pointless(q) {
			continue
		}
		s.nacks++
		s.asked = now
		a.stats.NACKs++
		dst = append(dst, uint16(q))
	}
	return dst
}

// pointless reports whether the packet missing at q is of a frame that is not
// waited for: the one before it is of such a frame, and not its last.
func (a *assembler) pointless(q int64) bool {
	before := a.at(q - 1)
	if q == a.next || before.state != slotHave || before.padding || before.marker {
		return false
	}
	return before.desc.NonReference || before.desc.HasTID && before.desc.TID > 0
}
