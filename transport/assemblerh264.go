package transport

import (
	"mixdown/codec"
	"mixdown/codec/h264/nal"
)

// What follows is how an assembler sees H.264, whose packets do not say where a
// picture begins: only its last one is marked (RFC 6184 section 5.1), and all of
// them have one timestamp.

// starts reports whether the packet at q, which is held, is the first of its
// frame. Where the one before it is known, it says so for certain; else it goes
// by what H.264 puts in front of pictures.
func (a *assembler) starts(q int64) bool {
	s := a.at(q)
	if a.cfg.Codec != codec.H264 || s.state != slotHave {
		return s.start
	}
	if before := a.at(q - 1); before.seq == q-1 && (before.state == slotHave || before.state == slotDone) {
		return before.ts != s.ts || before.padding && s.start
	}
	return s.start
}

// isKey reports whether the frame that begins at q is known to be a key frame.
func (a *assembler) isKey(q int64) bool {
	key, _ := a.keyAt(q)
	return key
}

// noKey reports whether it is known to be none.
func (a *assembler) noKey(q int64) bool {
	key, sure := a.keyAt(q)
	return sure && !key
}

func (a *assembler) keyAt(q int64) (key, sure bool) {
	if s := a.at(q); a.cfg.Codec != codec.H264 {
		return s.key, true
	}
	// A delimiter and other information come before what tells.
	ts := a.at(q).ts
	for ; q <= a.highest; q++ {
		s := a.at(q)
		switch {
		case s.state != slotHave:
			return false, false
		case s.padding:
		case s.ts != ts:
			return false, true
		case s.key:
			return true, true
		case s.marker, s.unit.slice:
			return false, true
		}
	}
	return false, false
}

// maxSetBytes bounds a parameter set that is remembered.
const maxSetBytes = 512

// parameterSets are those that came last. Some senders send them once and no
// more: then they are put in front of each key frame, where everybody else has
// them.
type parameterSets struct {
	sps, pps []byte
	// apart says that the sender's last key frame came without.
	apart bool
}

// beginsKey reports whether the packet of s makes its frame a key frame, and
// notes whether the sender repeats its parameter sets. s has been placed.
func (a *assembler) beginsKey(s *slot) bool {
	switch {
	case s.unit.sets:
		a.sets.apart = false
		return true
	case !s.unit.idr || len(a.sets.sps) == 0 || len(a.sets.pps) == 0:
		return false
	}
	if before := a.at(s.seq - 1); before.seq == s.seq-1 && (before.state == slotHave || before.state == slotDone) && before.ts != s.ts {
		a.sets.apart = true
	}
	return a.sets.apart
}

// remember keeps a unit if it is a parameter set.
func (p *parameterSets) remember(unit []byte) {
	if len(unit) > maxSetBytes {
		return
	}
	switch nal.TypeOf(unit) {
	case nal.SPS:
		p.sps = append(p.sps[:0], unit...)
	case nal.PPS:
		p.pps = append(p.pps[:0], unit...)
	}
}

// joinUnits is join for H.264.
func (a *assembler) joinUnits(end int64) (f *codec.EncodedFrame, ok bool) {
	key, _ := a.keyAt(a.next)
	extra := len(a.sets.sps) + len(a.sets.pps) + 2*startCodeSize
	f = codec.NewEncodedFrame(a.size + extra)
	f.Codec, f.Stream = codec.H264, a.stream
	w := unitWriter{data: f.Data}
	if key && !a.hasSets(end) {
		w.unit(a.sets.sps)
		w.unit(a.sets.pps)
	}
	for q := a.next; q < end; q++ {
		s := a.at(q)
		if s.padding {
			continue
		}
		f.Arrival = max(f.Arrival, s.arrival)
		if !w.packet(&s.unit, s.buf[:s.n]) {
			return f, false
		}
	}
	f.Data = w.data
	if w.open || len(f.Data) == 0 {
		return f, false
	}
	frame, err := nal.ParseFrame(f.Data)
	if err != nil {
		return f, false
	}
	f.Key, f.Discardable = frame.Key, frame.Discardable
	f.Width, f.Height = frame.Set.Width, frame.Set.Height
	if f.Key {
		for unit, rest := nal.Next(f.Data); unit != nil; unit, rest = nal.Next(rest) {
			a.sets.remember(unit)
		}
	}
	// One that was taken for a key frame and is none would be of no use.
	return f, f.Key || !a.needKey
}

// hasSets reports whether a sequence parameter set is in the packets [next, end).
func (a *assembler) hasSets(end int64) bool {
	for q := a.next; q < end; q++ {
		if a.at(q).unit.sets {
			return true
		}
	}
	return false
}
