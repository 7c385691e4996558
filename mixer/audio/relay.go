package audio

import (
	"time"

	"mixdown/codec"
)

// Relayer is a [Puller] whose packets can be handed on as they came; [Playout] is
// one.
type Relayer interface {
	Puller
	// SetRelay says how the packets are used from the next Pull on.
	SetRelay(RelayMode)
	// Packet returns the packet that began to play in the last Pull, lent until
	// the next one, or nil.
	Packet() (*codec.EncodedFrame, PacketState)
}

const (
	// relayWarm is how long an encoder codes along before it takes over from
	// somebody's packets, 100 ms: what it was last used for is forgotten.
	relayWarm = 5
	// relaySoon is how long a pause is waited for in which it takes over, 500
	// ms: somebody may have come who is to be heard. Of 64 times that it did so in
	// speech, two thirds of them in mid-word, none was heard. relayLate is the same where
	// there is no hurry, 5 s: his loudness wants correction.
	relaySoon = 25
	relayLate = 250
	// relayAgain is when packets may be handed on again, 1 s: what has just
	// ended it may come again.
	relayAgain = 50
	// relayRateMemory is over how many packets their mean size goes, 0.6 s.
	relayRateMemory = 1.0 / 32
	// relayRateSlack is by how much the mean may be above what is allowed before
	// that ends it: rates of speech are not constant.
	relayRateSlack = 1.25

	// In what nobody decodes nobody can find an echo: so while two talk at once,
	// and only then could it be one, both are decoded until nothing has been like
	// one for relayLook ticks in a row, 5 s, twice what the detector needs. That
	// is believed for relayTrusts, 20 s, and each time for twice as long, up to
	// 80 s. Of eight pairs of voices, the likeness was below relayUnlike for 22 s
	// and more in a row; of an echo it is above echoOn.
	relayLook      = 250
	relayUnlike    = 0.4
	relayTrusts    = 1000
	relayDoublings = 2
)

// relayState is who makes the packets that a listener hears.
type relayState uint8

const (
	// relayNone: our encoder.
	relayNone relayState = iota
	// relaying: the other one's client. Nothing is coded for him.
	relaying
	// relayLeaving: the same, and our encoder codes along to take over.
	relayLeaving
)

// relay is a listener's side of it: where only one other member can be heard, that
// one's packets are what our encoder would only make again. The zero value hears
// our encoder.
type relay struct {
	state  relayState
	maxBps int     // the most that the link is to be given, 0: nothing
	from   *Member // whose packets they are; nil: he has left
	frame  *codec.EncodedFrame
	stream codec.StreamID
	quiet  int     // ticks in a row in which what he was lent was quiet, or nothing
	wait   int     // ticks until it may begin
	warm   int     // ticks for which our encoder has coded along
	left   int     // ticks until it takes over in any case
	pause  int     // ticks for which nothing was to be heard
	toc    [1]byte // the packet of no sound, of the mode that he was last lent
}

// offer is a sender's side.
type offer struct {
	src     Relayer // nil: his packets cannot be had
	mode    RelayMode
	packet  *codec.EncodedFrame // this tick's, lent by src, or nil
	state   PacketState
	toc     byte    // the first byte of the last one
	fits    bool    // the last packet did
	ending  bool    // its state is PacketEnding
	rate    float64 // mean of their bytes
	looked  int     // ticks of this look for an echo, without one
	trusted int     // ticks until the next one
	clear   uint8   // looks that found none, up to relayDoublings
}

// SetRelayLimit says that the member may be lent the packets of the only one he hears,
// as they came, where their mean rate is at most maxBps; 0, as it is at first,
// that he may not. It suits those whose links lose nothing: there is no
// correction in them that the sender did not put there.
func (mem *Member) SetRelayLimit(maxBps int) { mem.relay.maxBps = max(maxBps, 0) }

// Relayed reports whether Frame is another member's own packet.
func (mem *Member) Relayed() bool { return mem.relay.state != relayNone }

// other returns who else is in a mix of two, of which nobody but these hears
// anything; else nil.
func (m *Mix) other(mem *Member) *Member {
	if len(m.members) != 2 || m.outside > 0 {
		return nil
	}
	if m.members[0] == mem {
		return m.members[1]
	}
	return m.members[0]
}

// planRelays comes first in a tick: it decides who goes on hearing packets as they
// came, and hence who need not be decoded.
func (m *Mix) planRelays() {
	// Of who is alone it is known what he sends when the other comes.
	few := len(m.members) <= 2 && m.outside == 0
	if m.few && !few {
		for _, mem := range m.members {
			mem.relay.quiet = 0 // from here on nobody follows it
		}
	}
	m.few = few
	if !few && m.offers+m.relayed == 0 {
		return
	}
	for _, mem := range m.members {
		r := &mem.relay
		r.frame = nil
		r.wait = max(r.wait-1, 0)
		if !mem.listening {
			m.endRelay(mem)
			r.quiet = returnTicks
		}
		if within, bar := m.barred(mem); bar {
			switch r.state {
			case relaying:
				r.state, r.warm, r.left = relayLeaving, 0, within
				m.stats.FromRelay++
			case relayLeaving:
				r.left = min(r.left, within) // there may be more hurry now
			}
		}
	}
	for _, mem := range m.members {
		m.planOffer(mem, few)
	}
	if few && len(m.members) == 2 {
		m.planLook(m.members[0], m.members[1])
	}
}

// endRelay makes our encoder take over.
func (m *Mix) endRelay(mem *Member) {
	if r := &mem.relay; r.state != relayNone {
		if r.state == relaying {
			m.stats.FromRelay++
		}
		r.state, r.from, r.frame, r.wait = relayNone, nil, nil, relayAgain
		m.relayed--
	}
}

// leaveRelay is for a member who leaves the mix.
func (m *Mix) leaveRelay(mem *Member) {
	m.endRelay(mem)
	for _, by := range m.members {
		if by.relay.from == mem {
			by.relay.from = nil
		}
	}
	if o := &mem.offer; o.mode != RelayOff {
		m.offers--
		o.mode = RelayOff
		o.src.SetRelay(RelayOff)
	}
}

// planOffer tells a member's source what its packets are used for.
func (m *Mix) planOffer(mem *Member, few bool) {
	o := &mem.offer
	o.packet, mem.look = nil, false
	mode := RelayOff
	mem.passed = false
	for _, by := range m.members {
		if by.relay.state != relayNone && by.relay.from == mem {
			mode = RelayOn
			mem.passed = by.relay.state == relaying
		}
	}
	if mode == RelayOff && few {
		mode = RelayOffer
	}
	if o.src == nil || mode == RelayOff && o.mode == RelayOff {
		return
	}
	switch RelayOff {
	case o.mode:
		m.offers++
	case mode:
		m.offers--
		o.fits = false
	}
	o.mode = mode
	o.src.SetRelay(mode) // each time: in another mix he may be another's
}

// planLook has two who talk at once decoded, of whom one may be the echo of the
// other, unless that was looked at of late.
func (m *Mix) planLook(a, b *Member) {
	both := a.gate.state != GateClosed && b.gate.state != GateClosed
	for _, mem := range [...]*Member{a, b} {
		o := &mem.offer
		switch {
		case o.trusted > 0:
			o.trusted--
		case both && mem.passed && mem.detecting:
			a.look, b.look = true, true
			o.looked++
			if max(a.detector.likely, b.detector.likely) >= relayUnlike {
				o.looked = 0
			}
			if o.looked >= relayLook {
				o.looked, o.trusted = 0, relayTrusts<<o.clear
				o.clear = min(o.clear+1, relayDoublings)
			}
		}
	}
}

// barred reports whether the member can be lent no packets as they came, and
// within how many ticks our encoder is to take over where he is.
func (m *Mix) barred(mem *Member) (within int, bar bool) {
	if r := &mem.relay; r.state != relayNone && (r.from == nil || !r.from.offer.fits) {
		return 0, true // there is nothing of it that anybody can hear
	}
	from := m.other(mem)
	if from == nil || mem.relay.state != relayNone && mem.relay.from != from {
		return relaySoon, true
	}
	o := &from.offer
	most := float64(mem.relay.maxBps) / 8 / float64(time.Second/codec.FrameDuration)
	if mem.relay.state != relayNone {
		most *= relayRateSlack
	}
	switch {
	case o.src == nil, !o.fits:
		return 0, true
	case from.gain != 1, from.echo, mem.echo, from.trust.none, o.ending, o.rate > most, mem.class != 0, mem.wantClass != 0:
		return relaySoon, true
	case from.levelling && from.leveller.gainDB != 0:
		return relayLate, true
	}
	return 0, false
}

// offered looks at the packet that the member's source has played.
func (mem *Member) offered() {
	o := &mem.offer
	if o.mode == RelayOff {
		return
	}
	o.packet, o.state = o.src.Packet()
	if o.packet == nil {
		return
	}
	o.fits = o.state == PacketFit || o.state == PacketEnding
	o.ending = o.state == PacketEnding
	if !o.fits {
		return
	}
	o.toc = o.packet.Data[0] &^ 3 // one frame, which is empty
	if size := float64(len(o.packet.Data)); o.rate == 0 {
		o.rate = size
	} else {
		o.rate += relayRateMemory * (size - o.rate)
	}
}

// switchRelays begins to lend packets as they came, or ends it, where that cannot
// be heard. It comes when the gates have been moved, and before anything is coded.
func (m *Mix) switchRelays() {
	if m.offers+m.relayed == 0 {
		return
	}
	for _, mem := range m.members {
		switch r := &mem.relay; r.state {
		case relayNone:
			if r.wait > 0 || r.quiet < returnTicks || !mem.listening || r.maxBps == 0 {
				continue
			}
			if _, bar := m.barred(mem); !bar && !m.other(mem).detector.suspects() && !mem.detector.suspects() {
				m.beginRelay(mem)
			}
		case relayLeaving:
			if r.left--; r.left < 0 || mem.relayPauses() {
				m.endRelay(mem)
			}
			r.warm++
		}
	}
}

// relayPauses reports whether our encoder can take over.
func (mem *Member) relayPauses() bool {
	r := &mem.relay
	return r.warm >= relayWarm && r.quiet >= returnTicks && mem.out != nil && Level(mem.out.pcm[:]) >= returnQuiet
}

// beginRelay is for one who has heard nothing for a while: it is no matter to his
// decoder whose encoder goes on.
func (m *Mix) beginRelay(mem *Member) {
	r := &mem.relay
	r.state, r.from, r.stream, r.pause = relaying, m.other(mem), codec.NewStreamID(), 0
	m.stats.ToRelay++
	m.relayed++
	if mem.out != nil {
		m.recycle(mem.out)
		mem.out = nil
	}
	if !mem.active {
		mem.active = true
		m.active = append(m.active, mem)
	}
}

// lendRelayed lends this tick's packets as they came.
func (m *Mix) lendRelayed(pts time.Duration) {
	if m.relayed == 0 {
		return
	}
	for _, mem := range m.members {
		if mem.relay.state != relayNone {
			m.relayTo(&mem.relay, pts)
		}
	}
}

func (m *Mix) relayTo(r *relay, pts time.Duration) {
	from := r.from
	if from == nil || !from.offer.fits {
		r.quiet++
		m.relayPause(r, nil, pts)
		return
	}
	r.toc[0] = from.offer.toc
	// Muted takes effect at once: in the tick in which the gate closes as well.
	speaks := from.Speaking() && !from.muted
	if !speaks || from.level >= returnQuiet {
		r.quiet++
	} else {
		r.quiet = 0
	}
	packet := from.offer.packet
	switch {
	case !speaks && (from.muted || from.gain == 0 || from.level < returnQuiet):
		m.relayPause(r, nil, pts)
	case !speaks, packet == nil && from.offer.state == PacketPaused:
		m.relayPause(r, packet, pts)
	case packet != nil:
		r.pause = 0
		m.stats.Relayed++
		f := m.lend(r, packet.Data, pts)
		f.DTX = len(packet.Data) <= 2
		f.Heard = append(f.Heard, codec.Contributor{CSRC: from.csrc, LevelDBov: from.heardLevel})
	}
	// Else it is lost: his decoder conceals as well as ours.
}

// relayPause lends what need not be sent while nothing is to be heard, as
// coder.rest does: the packet that tells of the pause, and then, where there are
// any, the sender's own, which are quiet. The last of those goes out right before
// his next word, and the listener's decoder goes on from it.
func (m *Mix) relayPause(r *relay, packet *codec.EncodedFrame, pts time.Duration) {
	r.pause++
	data := r.toc[:]
	if packet != nil && r.pause%dtxRefresh != 1 {
		data = packet.Data
		m.stats.Relayed++
	}
	m.lend(r, data, pts).DTX = r.pause%dtxRefresh != 0
}

// lend makes a packet the frame of a listener.
func (m *Mix) lend(r *relay, packet []byte, pts time.Duration) *codec.EncodedFrame {
	f := newFrame(packet, r.stream, pts)
	r.frame = f
	m.lent = append(m.lent, f)
	return f
}

// heardQuiet follows for how long those have heard next to nothing whom our encoder
// codes for. level is that of the shared mix.
func (m *Mix) heardQuiet(level uint8) {
	if m.offers == 0 {
		return
	}
	for _, mem := range m.members {
		heard := level
		switch {
		case mem.relay.state != relayNone:
			continue
		case mem.out != nil:
			heard = Level(mem.out.pcm[:])
		}
		if heard >= returnQuiet {
			mem.relay.quiet++
		} else {
			mem.relay.quiet = 0
		}
	}
}
