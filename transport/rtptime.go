package transport

import (
	"time"

	"mixdown/codec"
)

// Clock rates in Hz, RFC 7741 section 4.1 and RFC 7587 section 4.1.
const (
	videoClockRate = 90000
	audioClockRate = 48000
)

// ticksOf converts media time to ticks of a clock of rate Hz, rounded to the
// nearest. It is exact for any duration: no product of the two is formed.
func ticksOf(d time.Duration, rate int64) int64 {
	sec, rest := d/time.Second, d%time.Second
	if rest < 0 { // keep the rounding the same on both sides of zero
		sec, rest = sec-1, rest+time.Second
	}
	return int64(sec)*rate + (int64(rest)*rate+int64(time.Second)/2)/int64(time.Second)
}

// durationOf converts ticks of a clock of rate Hz to media time.
func durationOf(ticks, rate int64) time.Duration {
	sec, rest := ticks/rate, ticks%rate
	return time.Duration(sec)*time.Second + time.Duration(rest*int64(time.Second)/rate)
}

// A timeUnwrapper extends 32 bit RTP timestamps: each is taken to be within
// half the circle (6.6 hours of video) of the one before.
type timeUnwrapper struct {
	last    int64
	started bool
}

func (u *timeUnwrapper) unwrap(ts uint32) int64 {
	if !u.started {
		u.started = true
		u.last = int64(ts)
		return u.last
	}
	u.last += int64(int32(ts - uint32(u.last)))
	return u.last
}

// Limits of RFC 3550 appendix A.1: a step of more than these is no loss or
// reordering but a sender that started anew.
const (
	maxSeqDropout  = 3000
	maxSeqMisorder = 1000
)

// seqVerdict is what a seqTracker says of one packet.
type seqVerdict uint8

const (
	// seqOK: the packet belongs to the sequence.
	seqOK seqVerdict = iota
	// seqRestart: the sender started anew with this packet; the caller forgets
	// what it holds. Extended numbers go on above all earlier ones.
	seqRestart
	// seqStray: far from everything else. Ignore it; if its successor comes
	// next, that one is a restart.
	seqStray
)

// A seqTracker extends 16 bit sequence numbers to 64 bit and finds restarts.
// One wild packet changes nothing (RFC 3550 appendix A.1).
type seqTracker struct {
	highest  int64 // extended
	started  bool
	suspect  uint16 // the number that would confirm a restart
	probable bool
}

// unwrap extends seq. Numbers start above 1<<16, so that packets from before
// the first one are positive too.
func (t *seqTracker) unwrap(seq uint16) (ext int64, v seqVerdict) {
	if !t.started {
		t.started = true
		t.highest = 1<<16 + int64(seq)
		return t.highest, seqOK
	}
	step := int64(int16(seq - uint16(t.highest)))
	if step > -maxSeqMisorder && step < maxSeqDropout {
		t.probable = false
		t.highest = max(t.highest, t.highest+step)
		if step < 0 {
			return t.highest + step, seqOK
		}
		return t.highest, seqOK
	}
	if !t.probable || seq != t.suspect {
		t.probable, t.suspect = true, seq+1
		return 0, seqStray
	}
	t.probable = false
	// The next multiple of the circle that leaves room for a packet that was
	// overtaken by this one.
	t.highest = (t.highest>>16+2)<<16 + int64(seq)
	return t.highest, seqRestart
}

// near extends seq without learning from it: for retransmissions, which are
// old by nature and never announce anything new.
func (t *seqTracker) near(seq uint16) (ext int64, ok bool) {
	if !t.started {
		return 0, false
	}
	step := int64(int16(seq - uint16(t.highest)))
	return t.highest + step, step <= 0 && step > -maxSeqDropout
}

// A senderClock maps RTP timestamps to the sender's wall clock by its latest
// sender report (RFC 3550 section 6.4.1).
type senderClock struct {
	ntp   codec.NTPTime
	rtp   uint32
	rate  int64
	valid bool
	told  bool // by a packet itself, see captured
}

// report takes the pair of a sender report. A zero NTP timestamp says that
// the sender has no wall clock (RFC 3550 section 6.4.1). What packets told of
// themselves within toldLasts is better: of a sender that passes others' media on,
// reports may be of the passing on.
func (c *senderClock) report(ntp codec.NTPTime, rtpTime uint32) {
	if ticks := int64(int32(rtpTime - c.rtp)); c.valid && c.told && max(ticks, -ticks) < c.rate*int64(toldLasts/time.Second) {
		return
	}
	c.ntp, c.rtp, c.valid, c.told = ntp, rtpTime, ntp != 0, false
}

// captured takes what a packet says of its own capture.
func (c *senderClock) captured(ntp codec.NTPTime, rtpTime uint32) {
	c.ntp, c.rtp, c.valid, c.told = ntp, rtpTime, true, true
}

// toldLasts is how long a packet's word outweighs reports; senders repeat it each
// second.
const toldLasts = 5 * time.Second

// reportLasts is how far from its report a timestamp may be: RFC 3550 section 6.2
// has reports come within 7.5 s. A media clock is up to 300 ppm off the wall
// clock that the report told, which makes 18 ms in that time.
const reportLasts = time.Minute

// capture returns the instant of a timestamp within a minute of the report;
// zero while there is none.
func (c *senderClock) capture(ts uint32) codec.NTPTime {
	ticks := int64(int32(ts - c.rtp))
	mag := uint64(max(ticks, -ticks))
	if !c.valid || mag > uint64(c.rate)*uint64(reportLasts/time.Second) {
		return 0
	}
	// mag is below 1<<31, so the shift loses nothing; the quotient is in
	// seconds with 32 bits of fraction, like an NTP timestamp.
	span := codec.NTPTime(mag << 32 / uint64(c.rate))
	if ticks < 0 {
		return c.ntp - span
	}
	return c.ntp + span
}

// A mediaClock turns RTP timestamps into PTS on the source's own clock, which
// starts at 0 with the first packet and goes on across restarts of the sender.
type mediaClock struct {
	rate        int64
	ticks       timeUnwrapper
	first       int64         // ticks of PTS base
	base        time.Duration // PTS of the first timestamp since the (re)start
	lastPTS     time.Duration
	lastArrival time.Duration
}

// pts converts a timestamp that arrived at now.
func (c *mediaClock) pts(ts uint32, now time.Duration) time.Duration {
	if !c.ticks.started {
		c.first = c.ticks.unwrap(ts)
		if c.lastArrival != 0 {
			// A restart says nothing of the time between: take ours.
			c.base = c.lastPTS + max(now-c.lastArrival, 0)
		}
	}
	pts := c.base + durationOf(c.ticks.unwrap(ts)-c.first, c.rate)
	c.lastPTS, c.lastArrival = pts, now
	return pts
}

// before converts a timestamp from before the last one that was converted,
// without learning from it.
func (c *mediaClock) before(ts uint32) time.Duration {
	last := c.ticks.last
	return c.base + durationOf(last+int64(int32(ts-uint32(last)))-c.first, c.rate)
}

// restart says that the next timestamp has nothing to do with those before.
func (c *mediaClock) restart() { c.ticks = timeUnwrapper{} }
