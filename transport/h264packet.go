package transport

import (
	"errors"
	"fmt"

	"mixdown/codec/h264/nal"
)

// errUnit wraps everything that is wrong with a packet of H.264.
var errUnit = errors.New("H.264 payload")

// unitKind is how a packet carries units (RFC 6184 section 5.2).
type unitKind uint8

const (
	unitSingle    unitKind = iota // one, as it is
	unitAggregate                 // several whole ones (STAP-A)
	unitFragment                  // a part of one (FU-A)
	unitIgnored                   // what a stream of one layer has not
)

// h264Packet is what is known of a packet's payload.
type h264Packet struct {
	kind unitKind
	// start says that a picture may begin with it: it has a delimiter, parameters,
	// other information, or the beginning of a picture's first slice.
	start bool
	// sets says that a sequence parameter set is in it, idr the beginning of a
	// slice of a key frame, slice that of any, ref that such a slice is referred to.
	sets, idr, slice, ref bool
	// first and last are the ends of a fragmented unit.
	first, last bool
	size        int // bytes in Annex B form, at most
}

const (
	fragmentHead  = 2 // FU indicator and header (RFC 6184 section 5.8)
	lengthOfUnit  = 2 // in an aggregate (section 5.7.1)
	startCodeSize = 4
)

// parse reads the head of an RTP payload. Errors say what is malformed.
func (p *h264Packet) parse(payload []byte) error {
	*p = h264Packet{}
	if len(payload) == 0 {
		return fmt.Errorf("%w: empty", errUnit)
	}
	if payload[0]&0x80 != 0 {
		return fmt.Errorf("%w: forbidden_zero_bit is set", errUnit)
	}
	switch t := nal.TypeOf(payload); {
	case t == nal.STAPA:
		p.kind = unitAggregate
		rest := payload[1:]
		for len(rest) > 0 {
			unit, more, ok := nextAggregated(rest)
			if !ok {
				return fmt.Errorf("%w: aggregate of %d bytes is cut off", errUnit, len(payload))
			}
			p.look(unit)
			rest = more
		}
		if p.size == 0 && len(payload) == 1 {
			return fmt.Errorf("%w: empty aggregate", errUnit)
		}
	case t == nal.FUA:
		if len(payload) <= fragmentHead {
			return fmt.Errorf("%w: empty fragment", errUnit)
		}
		p.kind, p.first, p.last = unitFragment, payload[1]&0x80 != 0, payload[1]&0x40 != 0
		p.size = len(payload) - fragmentHead
		if p.first && p.last {
			return fmt.Errorf("%w: a fragment that is first and last", errUnit)
		}
		unit := [2]byte{fragmentedHead(payload), payload[2]}
		if !nal.TypeOf(unit[:]).Known() {
			p.kind, p.start, p.size = unitIgnored, p.first, 0
		} else if p.first {
			size := p.size
			p.look(unit[:])
			p.size = startCodeSize + 1 + size
		} else if t := nal.TypeOf(unit[:]); t == nal.Slice || t == nal.IDR {
			p.ref = nal.RefIDC(unit[:]) != 0
		}
	case t.Known():
		p.look(payload)
	default:
		p.kind, p.start = unitIgnored, true
	}
	return nil
}

// look notes what a unit, or its beginning, is.
func (p *h264Packet) look(unit []byte) {
	t := nal.TypeOf(unit)
	if !t.Known() {
		return
	}
	p.size += startCodeSize + len(unit)
	switch t {
	case nal.SPS:
		p.sets, p.start = true, true
	case nal.SEI, nal.AUD:
		p.start = true
	case nal.Slice, nal.IDR:
		p.slice, p.ref = true, p.ref || nal.RefIDC(unit) != 0
		p.idr = p.idr || t == nal.IDR
		p.start = p.start || nal.FirstSlice(unit)
	}
}

// fragmentedHead is the first byte of the unit that a fragment is of.
func fragmentedHead(payload []byte) byte { return payload[0]&0xe0 | payload[1]&0x1f }

// nextAggregated takes the first unit off an aggregate's.
func nextAggregated(b []byte) (unit, rest []byte, ok bool) {
	if len(b) <= lengthOfUnit {
		return nil, nil, false
	}
	n := int(b[0])<<8 | int(b[1])
	if b = b[lengthOfUnit:]; n == 0 || n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// unitWriter puts the units of one picture together again, in Annex B form.
type unitWriter struct {
	data []byte
	open bool // a fragmented unit has begun
	head byte // that unit's first
}

var startCode = [startCodeSize]byte{0, 0, 0, 1}

// packet appends what a packet carries, and reports whether that makes sense
// after the one before.
func (w *unitWriter) packet(p *h264Packet, payload []byte) bool {
	if w.open && (p.kind != unitFragment || p.first || fragmentedHead(payload) != w.head) {
		return p.kind == unitIgnored
	}
	switch p.kind {
	case unitSingle:
		w.unit(payload)
	case unitAggregate:
		for rest := payload[1:]; len(rest) > 0; {
			unit, more, ok := nextAggregated(rest)
			if !ok {
				return false
			}
			if nal.TypeOf(unit).Known() {
				w.unit(unit)
			}
			rest = more
		}
	case unitFragment:
		if !w.open && !p.first {
			return false
		}
		if p.first {
			w.open, w.head = true, fragmentedHead(payload)
			w.data = append(append(w.data, startCode[:]...), w.head)
		}
		w.data = append(w.data, payload[fragmentHead:]...)
		w.open = !p.last
	}
	return true
}

func (w *unitWriter) unit(unit []byte) {
	w.data = append(append(w.data, startCode[:]...), unit...)
}

// unitCutter cuts a picture of H.264 into packets: parameter sets in front of it
// share one, large units are fragmented into equal parts.
type unitCutter struct {
	start, end int // of the unit that is next, or being cut; start is -1 behind the last
	off        int // of what is left of it
	parts      int // of that
	part       int // bytes of each but the last
}

// unitPart says how to write one packet of a picture: how the bytes of the frame
// that belong to it are packed, and for fragments the two bytes in front.
type unitPart struct {
	kind              unitKind
	indicator, header byte
}

// begin looks at a picture, whose data must not be empty. That which is none is
// sent as a single unit: who gets it will refuse it.
func (c *unitCutter) begin(data []byte) {
	c.start, c.end = nal.Find(data, 0)
	if c.start < 0 {
		c.start, c.end = 0, len(data)
	}
	c.parts = 0
}

// next says which bytes of data go into the next packet, of at most most bytes
// without what is in front, and whether it is the last.
func (c *unitCutter) next(data []byte, most int) (p unitPart, off, n int, last bool) {
	if c.parts == 0 {
		start, end := nal.Find(data, c.end)
		first, size := c.start, c.end-c.start
		if size <= most {
			off, n = first, size
			if sets := isSet(data[first]); sets && start >= 0 {
				// In Annex B form each has a start code of three bytes or more,
				// where in the packet it has a length of two: it gets no longer.
				for start >= 0 && isSet(data[start]) && end-first < most {
					p.kind, p.indicator = unitAggregate, byte(nal.STAPA)|data[first]&0x60
					off, n = first-3, end-first+3 // with its start code
					start, end = nal.Find(data, end)
				}
			}
			c.start, c.end = start, end
			return p, off, n, start < 0
		}
		c.off = first + 1
		c.parts = max((size-1+most-1)/most, 2) // one alone must not be a fragment
		c.part = (size - 1 + c.parts - 1) / c.parts
	}
	head := data[c.start]
	off, n = c.off, min(c.part, c.end-c.off-(c.parts-1)) // a byte is left for each
	p = unitPart{kind: unitFragment, indicator: head&0xe0 | byte(nal.FUA), header: head & 0x1f}
	if off == c.start+1 {
		p.header |= 0x80
	}
	c.off += n
	if c.parts--; c.parts == 0 {
		p.header |= 0x40
		c.start, c.end = nal.Find(data, c.end)
		last = c.start < 0
	}
	return p, off, n, last
}

func isSet(head byte) bool { return nal.Type(head&0x1f) == nal.SPS || nal.Type(head&0x1f) == nal.PPS }

// marshal writes a packet's payload to dst, of the bytes of the frame that belong
// to it, and returns its length.
func (p unitPart) marshal(dst, data []byte) (n int) {
	switch p.kind {
	case unitFragment:
		dst[0], dst[1] = p.indicator, p.header
		return fragmentHead + copy(dst[fragmentHead:], data)
	case unitAggregate:
		dst[0], n = p.indicator, 1
		for unit, rest := nal.Next(data); unit != nil; unit, rest = nal.Next(rest) {
			dst[n], dst[n+1] = byte(len(unit)>>8), byte(len(unit))
			n += lengthOfUnit
			n += copy(dst[n:], unit)
		}
		return n
	}
	return copy(dst, data)
}
