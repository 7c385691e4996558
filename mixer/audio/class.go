package audio

import (
	"errors"
	"fmt"
	"time"

	"mixdown/codec"
)

// maxClasses bounds the encodes of a tick: a class that is listened to costs one.
const maxClasses = 3

// Class is one way of coding the mix: what suits a group of listeners, by what
// their links carry and lose.
type Class struct {
	// BitrateBps is the mean rate.
	BitrateBps int
	// PacketLossPercent is the loss to expect, 0..100; it steers the forward
	// error correction.
	PacketLossPercent int
}

// apply sets an encoder to a class.
func (c Class) apply(enc codec.AudioEncoder) error {
	return errors.Join(enc.SetBitrate(c.BitrateBps), enc.SetPacketLoss(c.PacketLossPercent))
}

const (
	// dtxAfter is how much silence is still coded, 200 ms as libopus has it:
	// the last sound is out of the encoder long before, and so is its trace in
	// the decoders.
	dtxAfter = 10
	// dtxRefresh is how often silence is coded nevertheless: each 400 ms, as
	// libopus has it. It tells receivers that we are still there.
	dtxRefresh = 20
)

// class is a Class with its encoder, whose mix is shared by all who are in the
// class and not heard themselves.
type class struct {
	Class
	coder
	users int // members in it who listen, with mixes of their own or not
	// live says that the encoder has followed the mix up to the last tick.
	live bool
}

// makeClasses checks the configured classes and makes their encoders.
func (m *Mix) makeClasses() error {
	if n := len(m.config.Classes); n > maxClasses {
		return fmt.Errorf("audio: MixConfig.Classes has %d: want at most %d", n, maxClasses)
	}
	m.classes = make([]class, max(1, len(m.config.Classes)))
	for i := range m.classes {
		c := &m.classes[i]
		var err error
		if c.coder, err = m.newCoder(); err == nil && len(m.config.Classes) > 0 {
			c.Class = m.config.Classes[i]
			if err = c.apply(c.enc); err != nil {
				err = fmt.Errorf("audio: MixConfig.Classes[%d]: %w", i, errors.Join(err, c.close()))
			}
		}
		if err != nil {
			for k := range m.classes[:i] {
				err = errors.Join(err, m.classes[k].close())
			}
			return err
		}
	}
	return nil
}

// used reports whether anybody hears the shared mix of a class: with two people
// who both talk nobody does.
func (m *Mix) used(class int) bool {
	n := m.classes[class].users
	if class == 0 {
		n += m.outside
	}
	for _, mem := range m.active {
		if (mem.out != nil || mem.relay.state != relayNone) && mem.listening && mem.class == class {
			n--
		}
	}
	return n > 0
}

// startClasses lets classes that are used again go on from another's history.
func (m *Mix) startClasses() error {
	var errs errorKeeper
	for i := range m.classes {
		if !m.used(i) || m.classes[i].live {
			continue
		}
		for k := range m.classes {
			if m.classes[k].live && k != i {
				errs.keep(m.copyClass(i, k))
				break
			}
		}
		m.classes[i].live = true
	}
	return errs.first
}

// copyClass gives one class the history of another.
func (m *Mix) copyClass(to, from int) error {
	dst := &m.classes[to]
	err := dst.follow(&m.classes[from].coder)
	dst.stream = codec.NewStreamID()
	if err == nil {
		err = dst.apply(dst.enc)
	}
	if err != nil {
		return fmt.Errorf("class %d: %w", to, err)
	}
	return nil
}

// changeClasses moves those who hear the shared mix to the classes they are to
// be in, if the mix is quiet enough: the encoders differ in history, which is
// heard as a click or a short roughness otherwise. Those with a mix of their own
// follow when that is quiet.
func (m *Mix) changeClasses(level uint8) error {
	if m.changing == 0 || level < returnQuiet {
		return nil
	}
	var errs errorKeeper
	for _, mem := range m.members {
		if mem.out == nil && mem.wantClass != mem.class {
			errs.keep(m.changeClass(mem))
		}
	}
	return errs.first
}

// changeClass moves a member's place among the listeners.
func (m *Mix) changeClass(mem *Member) error {
	from, to := mem.class, mem.wantClass
	mem.class = to
	m.changing--
	m.stats.ClassChanges++
	if !mem.listening {
		return nil
	}
	m.classes[from].users--
	m.classes[to].users++
	if !m.classes[to].live && m.classes[from].live {
		// His decoder does not even notice.
		return m.copyClass(to, from)
	}
	return nil
}

// changeOwnClass changes the rate of a member's own mix when that is quiet.
func (m *Mix) changeOwnClass(mem *Member) error {
	if mem.wantClass == mem.class || Level(mem.out.pcm[:]) < returnQuiet {
		return nil
	}
	var errs errorKeeper
	errs.keep(m.changeClass(mem))
	errs.keep(m.classes[mem.class].apply(mem.out.enc))
	return errs.first
}

// encodeClasses codes the shared mix once for each class that is used, or says
// that it is silent.
func (m *Mix) encodeClasses(pts time.Duration) error {
	quiet := m.silent > dtxAfter && m.outputs == len(m.spare) && !m.config.NoDTX
	rests := m.rests(quiet)
	if quiet {
		m.stats.Silent++
	}
	var errs errorKeeper
	for i := range m.classes {
		c := &m.classes[i]
		switch c.live = m.used(i); {
		case !c.live:
		case rests && c.size != 0:
			c.rest(pts, m.pause%dtxRefresh == 1)
		default:
			m.stats.SharedEncodes++
			errs.keep(m.encode(&c.coder, &m.room.pcm, pts, nil))
		}
	}
	return errs.first
}

// encodeOwn codes a listener's own mix, or says that it is silent, as that of
// the only one who talks is.
func (m *Mix) encodeOwn(mem *Member, pts time.Duration) error {
	out := mem.out
	if out.pcm != (codec.AudioFrame{}) {
		out.silent = 0
	} else {
		out.silent++
	}
	if out.rests(out.silent > dtxAfter && !m.config.NoDTX) && out.size != 0 {
		out.rest(pts, out.pause%dtxRefresh == 1)
		return nil
	}
	return m.encode(&out.coder, &out.pcm, pts, mem)
}

// rest makes a frame of silence that need not be sent (RFC 7587 section
// 3.1.3). The first is the packet of one byte by which a sender tells a decoder
// that a pause begins (RFC 6716 section 3.4 has it as a frame of no bytes): one
// that gets nothing more makes silence of its own, where it would take a gap
// without it for loss. The others repeat the last packet, which is silence too:
// whoever must have a packet each tick, as a file must, decodes them to
// nothing, and is primed for what comes.
//
// The encoder rests meanwhile. So it does in libopus' own DTX, and as every
// encoder of the mix rests in the same ticks, a copy is still a copy.
func (c *coder) rest(pts time.Duration, first bool) {
	packet := c.packet[:c.size]
	if first {
		toc := [1]byte{packet[0] &^ 3} // code 0: one frame
		packet = toc[:]
	}
	c.publish(packet, pts).DTX = true
}
