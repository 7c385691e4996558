package audio

import (
	"fmt"
	"time"

	"mixdown/codec"
)

const (
	// maxPacketBytes is the longest Opus packet of one frame (RFC 6716
	// section 3.4).
	maxPacketBytes = 1275
	// A listener whose voice is gone for returnAfter ticks, 200 ms, returns to
	// the shared mix in a pause of returnTicks: then both encoders make the same
	// of the next word. After a single quiet tick, as in the middle of a "t", or
	// sooner after his own voice, they do not always.
	returnAfter = 10
	returnTicks = 3
	// returnQuiet is -50 dBFS, a full-scale sine being 0 dBFS = -3 dBov: below
	// it a difference of states is not heard.
	returnQuiet = 53
	// returnSoon is 2 s, from when on less of a pause will do: one that is below
	// returnLess, -43 dBFS.
	returnSoon = 100
	returnLess = 46
	// returnLate is 30 s: there are no pauses, so it is no speech, under which a
	// difference of states is hardly more than coding noise.
	returnLate = 1500
)

// hearing is one way of hearing the mix: the limiter, and what it gave.
type hearing struct {
	limiter Limiter
	pcm     codec.AudioFrame
}

// coder is an encoder and its last frame.
type coder struct {
	enc    codec.AudioEncoder
	stream codec.StreamID
	frame  *codec.EncodedFrame // lent out until the next tick, or nil
	size   int                 // of the last packet
	packet [maxPacketBytes]byte
}

// output is one listener's own hearing. The states of its limiter and its
// encoder belong together.
type output struct {
	hearing
	coder
	silence
}

// silence is how long a mix has been digital silence, and whether that is still
// coded.
type silence struct {
	silent int // ticks of it
	pause  int // ticks for which it has not been coded
}

// rests counts one more tick that may go uncoded, if quiet, and reports whether
// it does: after dtxAfter, but for one in dtxRefresh.
func (s *silence) rests(quiet bool) bool {
	if !quiet {
		s.pause = 0
		return false
	}
	s.pause++
	return s.pause%dtxRefresh != 0
}

func (m *Mix) newCoder() (coder, error) {
	enc, err := m.config.NewEncoder()
	if err != nil {
		return coder{}, fmt.Errorf("audio: make encoder: %w", err)
	}
	return coder{enc: enc, stream: codec.NewStreamID()}, nil
}

func (m *Mix) newOutput() (*output, error) {
	c, err := m.newCoder()
	if err != nil {
		return nil, err
	}
	return &output{coder: c}, nil
}

// dropFrame releases the frame of the last tick.
func (c *coder) dropFrame() {
	if c.frame != nil {
		c.frame.Release()
		c.frame = nil
	}
}

func (c *coder) close() error {
	c.dropFrame()
	return c.enc.Close()
}

// provide makes outputs ahead of need: as many as can be personal at once.
// Those who are in the last half second of their own mix count beside those
// who speak, hence twice MaxOpen.
func (m *Mix) provide() error {
	n := 0
	for _, mem := range m.members {
		if mem.src != nil && mem.listening {
			n++
		}
	}
	for n = min(n, 2*m.config.MaxOpen); m.outputs < n; {
		out, err := m.newOutput()
		if err != nil {
			return err
		}
		m.outputs++
		m.spare = append(m.spare, out)
	}
	return nil
}

// recycle puts an output back for the next one who speaks. Its frame stays
// valid until the next tick.
func (m *Mix) recycle(out *output) { m.spare = append(m.spare, out) }

// toPersonal gives a listener who is heard from this tick on his own mix, a
// copy of the shared one. It must come before anything of this tick is limited
// or coded.
func (m *Mix) toPersonal(mem *Member) error {
	switch {
	case mem.out != nil, !mem.listening, mem.relay.state == relaying,
		mem.gate.state == GateClosed && mem.relay.state == relayNone:
		return nil
	}
	if len(m.spare) == 0 {
		// More tails of speech than were provided for. Better a tick that
		// allocates than somebody who hears himself.
		out, err := m.newOutput()
		if err != nil {
			return err
		}
		m.outputs++
		m.spare = append(m.spare, out)
	}
	out := m.spare[len(m.spare)-1]
	m.spare = m.spare[:len(m.spare)-1]
	mem.out = out
	m.stats.ToPersonal++
	out.limiter = m.room.limiter
	out.stream = codec.NewStreamID()
	out.silence, out.size = silence{}, 0
	if err := out.enc.CopyFrom(m.classes[mem.class].enc); err != nil {
		// He gets a click, which is better than his own voice.
		return fmt.Errorf("audio: copy encoder: %w", err)
	}
	return nil
}

// toShared takes a listener back when that cannot be heard. level is that of the
// shared mix in this tick. If nobody has heard that of late, it goes on from what
// he heard.
func (m *Mix) toShared(mem *Member, level uint8) error {
	switch {
	case mem.out == nil:
		return nil
	case !mem.listening:
	case mem.relay.state != relayNone:
		return nil
	case mem.gate.state != GateClosed:
		mem.quietTicks = 0
		return nil
	case !mem.pauses(level):
		return nil
	}
	mem.quietTicks = 0
	var err error
	if c := &m.classes[mem.class]; mem.listening && !c.live {
		err = c.follow(&mem.out.coder)
	}
	m.recycle(mem.out)
	mem.out = nil
	m.stats.ToShared++
	return err
}

// follow makes c go on where other was.
func (c *class) follow(other *coder) error {
	c.live = true
	c.stream = other.stream
	c.size = copy(c.packet[:], other.packet[:other.size])
	if err := c.enc.CopyFrom(other.enc); err != nil {
		return fmt.Errorf("audio: copy encoder: %w", err)
	}
	return nil
}

// pauses reports whether the member, whose voice is gone, may return to the
// shared mix.
func (mem *Member) pauses(level uint8) bool {
	most := uint8(returnQuiet)
	if mem.closedTicks >= returnSoon {
		most = returnLess
	}
	if mem.quietTicks++; level < most {
		mem.quietTicks = 0
	}
	return mem.quietTicks >= returnTicks && mem.closedTicks >= returnAfter || mem.closedTicks >= returnLate
}

// encode codes 20 ms. mem is who hears it, nil for a shared mix.
func (m *Mix) encode(c *coder, pcm *codec.AudioFrame, pts time.Duration, mem *Member) error {
	m.stats.Encodes++
	n, err := c.enc.Encode(pcm, c.packet[:])
	if err != nil {
		m.stats.EncodeErrors++
		return fmt.Errorf("audio: encode mix: %w", err)
	}
	c.size = n
	f := c.publish(c.packet[:n], pts)
	for _, other := range m.heard {
		if other != mem && len(f.Heard) < MaxHeard {
			f.Heard = append(f.Heard, codec.Contributor{CSRC: other.csrc, LevelDBov: other.heardLevel})
		}
	}
	return nil
}

// publish makes a packet this tick's frame.
func (c *coder) publish(packet []byte, pts time.Duration) *codec.EncodedFrame {
	c.frame = newFrame(packet, c.stream, pts)
	return c.frame
}

// newFrame returns a frame with a copy of a packet. One that is retained for a
// while should not hold the longest packet's memory, so it is made when the length
// is known.
func newFrame(packet []byte, stream codec.StreamID, pts time.Duration) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(len(packet))
	f.Codec, f.Stream, f.PTS = codec.Opus, stream, pts
	f.Data = append(f.Data, packet...)
	f.Heard = f.Heard[:0]
	return f
}
