package client

import (
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"mixdown/codec"
	"mixdown/codec/vp8"
)

// Frame is one whole picture as it came.
type Frame struct {
	// Data is valid until the callback returns.
	Data []byte
	// PTS counts from the stream's first picture, by RTP timestamps.
	PTS time.Duration
	// Capture is the sender's instant by its sender reports; 0 before the first.
	Capture codec.NTPTime
	// Arrival is when the last of its packets came to the socket, on the
	// process's clock.
	Arrival       time.Duration
	Key           bool
	Width, Height int // of key frames

	timestamp uint32
}

const (
	// windowSize is the packets kept for reordering, a power of two: 3 s of 1.5 Mb/s.
	windowSize = 512
	// giveUpAfter is how long a missing packet is waited for: a round trip
	// on a bad path, and NACK once more.
	giveUpAfter = 300 * time.Millisecond
)

type slot struct {
	seq       uint16
	timestamp uint32
	marker    bool
	valid     bool
	payload   []byte // memory is used again
}

// assembler puts VP8 pictures together from RTP packets in any order. It waits
// for what is missing, then gives the picture up and, unless nothing that
// follows needs it (RFC 7741: TL0PICIDX tells), everything up to the next key
// frame. It has no clock and is not safe for concurrent use.
type assembler struct {
	window  [windowSize]slot
	next    uint16 // the first packet of the next picture
	highest uint16
	started bool
	stalled time.Duration // since when next's picture lacks a packet; 0 is not
	needKey bool
	gap     bool  // a picture was given up since the last one handed out
	tl0     uint8 // of the last picture handed out
	clock   timestamps
	frame   []byte
	stats   *ReceivedStats
	// deliver gets each decodable picture; wantKey is called when only a key
	// frame helps (often: the caller limits the rate).
	deliver func(Frame)
	wantKey func()
}

func newAssembler(stats *ReceivedStats, deliver func(Frame), wantKey func()) *assembler {
	return &assembler{stats: stats, deliver: deliver, wantKey: wantKey, needKey: true}
}

// push takes one packet. now is on the process's clock and never 0.
func (a *assembler) push(p *rtp.Packet, now time.Duration) {
	a.stats.Packets++
	a.stats.Bytes += uint64(p.MarshalSize())
	if len(p.Payload) == 0 {
		// Padding: its number counts, there is nothing in it.
		p.Payload = nil
	}
	if !a.started {
		a.started, a.next, a.highest = true, p.SequenceNumber, p.SequenceNumber
	}
	switch ahead := int16(p.SequenceNumber - a.next); {
	case ahead < 0:
		a.stats.Duplicates++ // or too late, which is the same to us
		return
	case ahead >= windowSize:
		a.restart(p.SequenceNumber)
	}
	s := &a.window[p.SequenceNumber%windowSize]
	if s.valid && s.seq == p.SequenceNumber {
		a.stats.Duplicates++
		return
	}
	if int16(p.SequenceNumber-a.highest) < 0 {
		a.stats.Reordered++
	} else {
		if a.highest != p.SequenceNumber { // not the very first
			a.stats.Missing += uint64(p.SequenceNumber - a.highest - 1)
		}
		a.highest = p.SequenceNumber
	}
	s.seq, s.timestamp, s.marker, s.valid = p.SequenceNumber, p.Timestamp, p.Marker, true
	s.payload = append(s.payload[:0], p.Payload...)
	for a.advance(now) {
	}
	if a.needKey {
		a.wantKey()
	}
}

// restart forgets everything: the sender jumped.
func (a *assembler) restart(seq uint16) {
	a.stats.Lost += uint64(uint16(a.highest - a.next))
	for i := range a.window {
		a.window[i].valid = false
	}
	a.next, a.highest, a.needKey, a.stalled = seq, seq, true, 0
}

func (a *assembler) at(seq uint16) *slot {
	if s := &a.window[seq%windowSize]; s.valid && s.seq == seq {
		return s
	}
	return nil
}

// advance hands out or gives up one picture and reports whether it did.
func (a *assembler) advance(now time.Duration) bool {
	end := a.next
	for {
		s := a.at(end)
		if s == nil {
			break
		}
		if len(s.payload) == 0 && end == a.next {
			// Padding between pictures.
			s.valid = false
			a.next++
			return true
		}
		if s.marker {
			a.finish(end)
			a.stalled = 0
			return true
		}
		end++
	}
	if int16(a.highest-end) < 0 {
		a.stalled = 0 // nothing is missing, the rest has not come yet
		return false
	}
	if a.stalled == 0 {
		a.stalled = now
	}
	if now-a.stalled < giveUpAfter {
		return false
	}
	a.stalled = 0
	a.giveUp(end)
	return true
}

// giveUp drops the picture that lacks packet missing and goes on with the
// next one that has its start.
func (a *assembler) giveUp(missing uint16) {
	a.stats.Broken++
	a.gap = true
	seq := a.next
	for ; int16(a.highest-seq) >= 0; seq++ {
		s := a.at(seq)
		if s == nil {
			a.stats.Lost++
			continue
		}
		var d codecs.VP8Packet
		if _, err := d.Unmarshal(s.payload); err == nil && d.S == 1 && d.PID == 0 && int16(seq-missing) > 0 {
			break
		}
		s.valid = false
	}
	a.next = seq
}

// finish takes the packets next..end as one picture.
func (a *assembler) finish(end uint16) {
	first := a.at(a.next)
	pts := a.clock.pts(first.timestamp)
	a.frame = a.frame[:0]
	var head codecs.VP8Packet
	whole := true
	for seq := a.next; ; seq++ {
		s := a.at(seq)
		s.valid = false
		var d codecs.VP8Packet
		data, err := d.Unmarshal(s.payload)
		if seq == a.next {
			head = d
			whole = err == nil && d.S == 1 && d.PID == 0
		}
		if err != nil || s.timestamp != first.timestamp {
			whole = false
		}
		a.frame = append(a.frame, data...)
		if seq == end {
			break
		}
	}
	a.next = end + 1
	h, err := vp8.ParseHeader(a.frame)
	if !whole || err != nil {
		a.stats.Broken++
		a.gap = true
		return
	}
	if h.Key {
		a.needKey = false
		a.stats.Keyframes++
		a.stats.Width, a.stats.Height = h.Width, h.Height
	} else if a.gap && (head.L == 0 || !a.continues(&head)) {
		a.needKey = true // what it references may have been in the gap
	}
	a.gap = false
	if a.needKey {
		a.stats.Undecodable++
		return
	}
	a.tl0 = head.TL0PICIDX
	a.stats.Frames++
	a.deliver(Frame{Data: a.frame, PTS: pts, Key: h.Key, Width: h.Width, Height: h.Height, timestamp: first.timestamp})
}

// continues reports whether an inter frame references only what was handed
// out: layer 0 counts TL0PICIDX up by one, higher layers carry that of the
// layer 0 frame they build on.
func (a *assembler) continues(d *codecs.VP8Packet) bool {
	if d.T == 0 || d.TID == 0 {
		return d.TL0PICIDX == a.tl0+1
	}
	return d.TL0PICIDX == a.tl0
}

// timestamps turns 90 kHz RTP timestamps into media time from the first on.
type timestamps struct {
	last    uint32
	ticks   int64
	started bool
}

func (c *timestamps) pts(ts uint32) time.Duration {
	if c.started {
		c.ticks += int64(int32(ts - c.last))
	}
	c.started, c.last = true, ts
	return time.Duration(c.ticks) * time.Second / 90000
}
