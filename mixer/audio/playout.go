package audio

import (
	"errors"
	"sync/atomic"
	"time"

	"mixdown/codec"
)

// PlayoutConfig says what one sender's jitter buffer works with.
type PlayoutConfig struct {
	// Decoder is used by the playout alone, and closed by it. Required.
	Decoder codec.AudioDecoder
}

// DecodeAlways as [Playout.Pull]'s quiet asks for every sound.
const DecodeAlways uint8 = codec.Silence + 1

// Info says what [Playout.Pull] gave.
type Info struct {
	// PTS is the source's time of the first sample. It goes on through
	// concealment, and jumps where sound was left out or stretched.
	PTS time.Duration
	// Delay is how much longer that sample took than the fastest recent packet
	// needed to get here: the waiting time that playout adds.
	Delay time.Duration
	// Decoded is how many packets were decoded in this call.
	Decoded int
	// Concealed says that some of the sound was made up because a packet was
	// lost or late; a sender's own pauses (DTX) do not count.
	Concealed bool
	// Silent says that every sample is zero.
	Silent bool
	// Skipped says that the sender told that this is too quiet to be asked
	// for, and it was not decoded: Silent is set, Level is what he told.
	Skipped bool
	// Level is the loudness, in -dBov; see [Level].
	Level uint8
}

// PlayoutStats counts since the beginning.
type PlayoutStats struct {
	// Packets that were pushed, and of those: what the inbox dropped because
	// nobody pulled, what came twice, what came after its turn, what was no
	// Opus packet, and what was left out of a backlog.
	Packets, Overflowed, Duplicate, Late, Corrupt, Skipped uint64
	// Undecoded packets were too quiet to be asked for, or only handed on; Redundant ones came as
	// redundancy (RFC 2198) and are counted nowhere else, needed or not.
	Undecoded, Redundant uint64
	// Lost packets were not there when their turn came (those that came Late
	// are among them); Recovered of them came from redundancy or the next
	// packet's FEC.
	Lost, Recovered uint64
	// Underruns are ticks for which there was nothing to play although the
	// sender had not paused.
	Underruns uint64
	// Restarts of the source: a new stream, or a jump in its numbers or times.
	Restarts uint64
	// Splices left out more than 20 ms of sound at once, since more than 400 ms
	// waited.
	Splices uint64
	// Stretched and Squeezed is how much was put in and left out to hold the
	// delay.
	Stretched, Squeezed time.Duration
	// Target is the waiting time that is aimed at, Delay the latest
	// [Info.Delay].
	Target, Delay time.Duration
}

// playoutCounters is PlayoutStats as it is kept: written by the tick, read by
// anybody.
type playoutCounters struct {
	packets, overflowed, duplicate, late, corrupt, skipped atomic.Uint64
	undecoded, redundant, splices                          atomic.Uint64
	lost, recovered, underruns, restarts                   atomic.Uint64
	stretched, squeezed                                    atomic.Uint64 // in samples
	target, delay                                          atomic.Int64  // in ns
}

// inspector is what a decoder may know about packets without decoding them.
// Without it everything is decoded, and FEC is expected everywhere.
type inspector interface {
	// Duration is the packet's, in samples.
	Duration(packet []byte) (samples int, err error)
	// HasFEC says that DecodeFEC finds something in the packet.
	HasFEC(packet []byte) bool
	// Silent says that the sender's encoder took the packet for a pause.
	Silent(packet []byte) bool
}

func (p *Playout) hasFEC(f *codec.EncodedFrame) bool { return p.look == nil || p.look.HasFEC(f.Data) }

// Playout is the jitter buffer of one sender: packets go in when they come, 20
// ms of sound come out whenever they are asked for. In between it puts packets
// in order, fills holes with redundant copies (RFC 2198) and the in-band FEC of
// the next packet, conceals the rest, and holds as little delay as the observed
// jitter allows, or as much as repair needs if there is loss that it repairs:
//
//   - Delay grows when a packet comes after its turn: 20 ms were concealed
//     meanwhile and the packet is played nevertheless. It also grows before
//     that happens, when the jitter that is seen asks for it, by playing pitch
//     periods twice, in a pause if there is one in time.
//   - Delay shrinks in pauses by whole ticks. Where nobody pauses it shrinks by
//     single pitch periods. Out of a backlog first the silence is dropped, and
//     beyond 400 ms the oldest packets.
//
// Ticks and packets of 20 ms are kept in step (a packet's first sample is a
// frame's first), since a remainder waiting in between is delay that protects
// from nothing. Shorter packets are kept in step with packets.
//
// Silence by the sender's own word (RFC 6464) costs no decode where nobody asks
// for it; the last packets are kept, so that an onset is as if it had.
//
// Push and Stats may be called by any goroutine, everything else by one at a
// time. Nothing blocks or allocates.
type Playout struct {
	dec   codec.AudioDecoder
	look  inspector // nil if the decoder is none
	in    inbox
	count playoutCounters

	// All below belongs to the goroutine that pulls.
	batch    []arrival
	ring     reorder
	jit      jitter
	timing   timing
	fifo     fifo
	sched    schedule
	steering steering
	skipped  skipping
	relayed  relayed
	closed   bool
}

// NewPlayout returns an empty playout; what it gives is silence until packets
// come. The decoder is the playout's from here on.
func NewPlayout(config PlayoutConfig) (*Playout, error) {
	if config.Decoder == nil {
		return nil, errors.New("audio: PlayoutConfig.Decoder is nil: hand in a decoder")
	}
	p := &Playout{dec: config.Decoder, batch: make([]arrival, 0, inboxPackets)}
	p.look, _ = config.Decoder.(inspector)
	p.relayed.plain, _ = config.Decoder.(plainer)
	p.fifo.init()
	p.sched.init()
	return p, nil
}

// Push takes over one reference to a packet, of which it reads Data, PTS, Seq
// and Stream. now is when it came. At most 512 packets wait to be pulled; then
// the oldest are dropped and counted. Any goroutine may push.
func (p *Playout) Push(f *codec.EncodedFrame, now time.Duration) {
	p.count.packets.Add(1)
	p.in.push(arrival{f, now})
}

// Pull fills dst with the next 20 ms, whatever is there, and says what they
// are. It is to be called once a tick; a tick that comes late is made up for by
// calling twice. now never goes back.
//
// quiet is a level in -dBov, from which down the caller does not need the
// sound: packets whose senders say (RFC 6464) that they are that quiet are not
// decoded, see [Info.Skipped]. [DecodeAlways] decodes everything.
func (p *Playout) Pull(dst *codec.AudioFrame, now time.Duration, quiet uint8) Info {
	if p.closed {
		clear(dst[:])
		return Info{Silent: true, Level: codec.Silence}
	}
	p.relayed.drop()
	p.drain()
	p.jit.tick()
	p.skipped.quiet = quiet
	p.unskip()
	info := p.next(dst, now)
	info.Silent = info.Skipped || info.Level == codec.Silence && *dst == codec.AudioFrame{}
	p.count.target.Store(int64(p.jit.target))
	p.count.delay.Store(int64(info.Delay))
	if p.sched.begun && !p.sched.gap {
		p.timing.played(p.sched.stream, now-info.PTS, p.jit.base+time.Duration(p.jit.low)*time.Microsecond)
	}
	return info
}

// farTransit is a change of transit time that no network makes: the source's
// clock has jumped. (After a stall that long nothing before it is worth
// playing either.)
const farTransit = 2 * time.Second

// drain sorts in what came since the last tick.
func (p *Playout) drain() {
	batch, overflowed := p.in.take(p.batch[:0])
	p.count.overflowed.Store(overflowed)
	for _, a := range batch {
		if a.frame.Redundant {
			p.fill(a)
			continue
		}
		transit := a.at - a.frame.PTS
		since := p.jit.since(transit)
		ahead := a.frame.Seq - p.ring.next
		switch far := ahead >= inboxPackets || ahead < -inboxPackets; {
		case !p.sched.begun, far, a.frame.Stream != p.sched.stream:
			p.restart(a, transit)
			p.sched.fresh = true
		case since > farTransit, since < -farTransit:
			p.restart(a, transit)
		case p.jit.stale:
			// After a long pause only the clocks must be compared anew.
			p.jit.reset(transit)
			p.steering.offsets.n = 0
		}
		p.sort(a, transit)
	}
	clear(batch)
}

// sort puts one packet in its place.
func (p *Playout) sort(a arrival, transit time.Duration) {
	switch p.ring.add(packet{frame: a.frame, pts: samplesOf(a.frame.PTS)}) {
	case putKept:
		p.jit.add(transit)
		if a.frame.Seq > p.ring.next && p.ring.at(a.frame.Seq-1).frame == nil && p.hasFEC(a.frame) {
			// The one before came with it, if it was lost.
			p.jit.addRepair(transit + durationOf(int64(p.sched.lastLen)))
		}
	case putLate:
		// It tells about the jitter all the same.
		p.jit.add(transit)
		p.count.late.Add(1)
		a.frame.Release()
	default:
		p.count.duplicate.Add(1)
		a.frame.Release()
	}
}

// fill puts a redundant copy where its packet is missing. A copy tells nothing
// of the path, and begins no new timeline.
func (p *Playout) fill(a arrival) {
	p.count.redundant.Add(1)
	transit := a.at - a.frame.PTS
	since := p.jit.since(transit)
	if p.sched.begun && a.frame.Stream == p.sched.stream && since < farTransit && since > -farTransit &&
		p.ring.add(packet{frame: a.frame, pts: samplesOf(a.frame.PTS)}) == putKept {
		p.jit.addRepair(transit)
		return
	}
	a.frame.Release()
}

// restart begins a new timeline at a packet. What plays goes on by concealment
// and fades until the packet's turn comes.
func (p *Playout) restart(a arrival, transit time.Duration) {
	if p.sched.begun {
		p.count.restarts.Add(1)
	}
	p.ring.reset(a.frame.Seq)
	p.jit.reset(transit)
	p.sched.restart(a.frame.Stream)
	p.steering.offsets.n, p.steering.growing = 0, false
}

// Stats returns the counters. Any goroutine may ask.
func (p *Playout) Stats() PlayoutStats {
	c := &p.count
	return PlayoutStats{
		Packets: c.packets.Load(), Overflowed: c.overflowed.Load(), Duplicate: c.duplicate.Load(),
		Late: c.late.Load(), Corrupt: c.corrupt.Load(), Skipped: c.skipped.Load(),
		Undecoded: c.undecoded.Load(), Redundant: c.redundant.Load(), Splices: c.splices.Load(),
		Lost: c.lost.Load(), Recovered: c.recovered.Load(),
		Underruns: c.underruns.Load(), Restarts: c.restarts.Load(),
		Stretched: durationOf(int64(c.stretched.Load())), Squeezed: durationOf(int64(c.squeezed.Load())),
		Target: time.Duration(c.target.Load()), Delay: time.Duration(c.delay.Load()),
	}
}

// Close releases all packets and the decoder. Pull gives silence afterwards,
// Push releases what it is given. Twice is fine.
func (p *Playout) Close() error {
	p.in.close()
	if p.closed {
		return nil
	}
	p.closed = true
	p.ring.reset(0)
	p.skipped.forget()
	p.relayed.drop()
	return p.dec.Close()
}

// samplesOf rounds a time to samples.
func samplesOf(d time.Duration) int64 {
	sec, rest := int64(d/time.Second), int64(d%time.Second)
	return sec*codec.SampleRate + floorDiv(rest*codec.SampleRate+int64(time.Second)/2, int64(time.Second))
}

// floorDiv divides rounding down, where Go rounds towards zero.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// durationOf is the time that n samples take.
func durationOf(n int64) time.Duration {
	sec, rest := n/codec.SampleRate, n%codec.SampleRate
	return time.Duration(sec)*time.Second + time.Duration(rest)*time.Second/codec.SampleRate
}
