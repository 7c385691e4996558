package transport

import "time"

// gap is the hole that the head of an assembler waits at.
type gap struct {
	first  int64 // first missing packet
	after  int64 // first packet with media behind it; 0: none yet
	resume int64 // first packet of a frame behind it; 0: none yet
}

// findGap looks around the hole that begins at first. While a key frame is
// needed, resume is a key frame if there is one.
func (a *assembler) findGap(first int64) gap {
	g := gap{first: first}
	for q := first + 1; q <= a.highest; q++ {
		s := a.at(q)
		if s.state != slotHave || s.padding {
			continue
		}
		if g.after == 0 {
			g.after = q
		}
		if key := a.isKey(q); a.starts(q) && (g.resume == 0 || key) {
			g.resume = q
			if key || !a.needKey {
				break
			}
		}
	}
	return g
}

// skip deals with the hole at the head, which begins at first: it reports
// whether it consumed anything, so that pop can go on.
func (a *assembler) skip(first int64, now time.Duration) bool {
	head := a.at(a.next)
	g := a.findGap(first)
	if a.needKey && g.resume != 0 && a.isKey(g.resume) && !(head.state == slotHave && a.isKey(a.next)) {
		// What is missing before a key frame is of no use to anybody.
		a.consume(g.resume)
		return true
	}
	if g.after == 0 && head.state == slotMissing {
		// Nothing but padding behind it: there is nothing to deliver, and the
		// next frame will tell what it was.
		return false
	}
	if g.after != 0 && a.isBroken && a.at(g.after).ts == a.broken && !a.starts(g.after) {
		a.consume(g.after) // a hole in what is being dropped
		return true
	}
	due := a.at(first).since + a.reord.window()
	if now < due {
		return false
	}
	if a.harmless(g) {
		a.stats.Skipped++
		a.passOver(g)
		return true
	}
	if now < due+a.patience() {
		return false
	}
	a.lose()
	a.passOver(g)
	return true
}

// passOver goes on behind the hole.
func (a *assembler) passOver(g gap) {
	switch {
	case g.resume != 0:
		a.consume(g.resume)
		return
	case g.after != 0:
		// No frame starts behind the hole yet: the rest of this one is dropped
		// as it comes.
		a.consume(g.after)
	}
	head := a.at(a.next)
	a.follow(head.desc)
	a.drop(head.ts)
}

// harmless reports whether nothing that later frames need was lost in the
// hole, and if so notes which layers are no longer whole. The evidence is the
// next frame's TL0PICIDX (RFC 7741 section 4.2: it counts frames of layer 0),
// or else that PictureID says that at most one frame is gone, and a part of it
// that came said N or a higher layer.
func (a *assembler) harmless(g gap) bool {
	if g.resume != 0 && a.isKey(g.resume) {
		return true
	}
	if a.needKey || !a.lastSet || g.after == 0 {
		return false
	}
	// d is the frame to judge by; when it does not start behind the hole it is
	// lost itself.
	lost := g.resume == 0
	d := &a.at(g.after).desc
	if !lost {
		d = &a.at(g.resume).desc
	}
	known := d // a part of what is lost, if any is here
	if !lost {
		known = nil
		if h := a.at(a.next); h.state == slotHave {
			known = &h.desc
		} else if g.after != g.resume {
			known = &a.at(g.after).desc
		}
	}
	gone, counted := a.framesSince(d)
	if !lost {
		gone--
	}
	oneKnown := counted && gone == 1 && known != nil
	switch {
	case counted && gone <= 0 && !lost:
		// Padding only.
	case oneKnown && known.NonReference:
	case d.HasTL0 && a.last.HasTL0 && d.HasTID:
		want := a.last.TL0
		if d.TID == 0 {
			want++
		}
		if d.TL0 != want || d.TID == 0 && lost {
			return false
		}
		a.layers |= 0b1110
	case oneKnown && known.HasTID && known.TID > 0:
		a.layers |= 0b1110
	default:
		return false
	}
	if !lost { // as if everything before it had come
		a.last = *d
		a.last.PictureID--
		if d.TID == 0 {
			a.last.TL0--
		}
	}
	return true
}

// framesSince counts by PictureID from the last frame to d's, d's included.
func (a *assembler) framesSince(d *vp8Descriptor) (n int, ok bool) {
	if !d.HasPictureID || !a.last.HasPictureID {
		return 0, false
	}
	mask := uint16(0x7f)
	if d.LongPicture {
		mask = 0x7fff
	}
	return int((d.PictureID - a.last.PictureID) & mask), true
}

// keyWait is how long a key frame that has begun to come is trusted to go on.
const keyWait = time.Second

// takePLI reports whether a key frame is to be asked for now (RFC 4585 section
// 6.3.1), and takes it as asked for: at once when one is needed, then each 500
// ms for as long as packets come and none is a key frame's. Call it after pop.
func (a *assembler) takePLI(now time.Duration) bool {
	at, ok := a.pliDue()
	if !ok || now < at {
		return false
	}
	a.asked, a.hasAsked, a.active = now, true, false
	a.stats.PLIs++
	return true
}

func (a *assembler) pliDue() (at time.Duration, ok bool) {
	if !a.started || !a.active || !a.needKey && !a.keyAsked {
		return 0, false
	}
	if a.hasAsked {
		at = a.asked + pliInterval
	}
	if a.fresh {
		at = max(at, a.freshUntil)
	}
	if head := a.at(a.next); a.next <= a.highest && head.state == slotHave && a.isKey(a.next) {
		at = max(at, head.arrival+keyWait)
	}
	return at, true
}

// nextDeadline is when pop, appendNACKs and takePLI have something to do
// although no packet comes; ok is false when nothing is pending. Call it after
// these three: what was due at now counts as done.
func (a *assembler) nextDeadline(now time.Duration) (at time.Duration, ok bool) {
	soonest := func(t time.Duration) {
		if t > now && (!ok || t < at) {
			at, ok = t, true
		}
	}
	if t, due := a.pliDue(); due {
		soonest(t)
	}
	if !a.started {
		return at, ok
	}
	if a.fresh {
		soonest(a.freshUntil)
	}
	first := a.next
	if a.at(first).state == slotHave {
		first = a.scan
	}
	if s := a.at(first); first <= a.highest && s.state == slotMissing {
		due := s.since + a.reord.window()
		soonest(due)
		soonest(due + a.patience())
	}
	if a.cfg.NACK && a.missing > 0 {
		for q := a.next; q <= a.highest; q++ {
			s := a.at(q)
			if s.state != slotMissing || a.pointless(q) {
				continue
			}
			if t, due := a.nackDue(s); due {
				soonest(t)
			}
		}
	}
	return at, ok
}
