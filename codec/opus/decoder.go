package opus

import (
	"fmt"

	libopus "gopkg.in/hraban/opus.v2"

	"mixdown/codec"
)

// minSamples is Opus' shortest frame, 2.5 ms.
const minSamples = codec.SampleRate / 400

// Decoder decodes to 48 kHz mono; stereo packets are mixed down. It implements
// [codec.AudioDecoder].
type Decoder struct {
	dec *libopus.Decoder // nil when closed
}

var _ codec.AudioDecoder = (*Decoder)(nil)

// NewDecoder returns a decoder without history.
func NewDecoder() (*Decoder, error) {
	d := new(Decoder)
	if err := d.init(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Decoder) init() error {
	dec, err := libopus.NewDecoder(codec.SampleRate, 1)
	if err != nil {
		return fmt.Errorf("opus: make a decoder: %w", err)
	}
	d.dec = dec
	return nil
}

// Decode implements [codec.AudioDecoder]. A packet of one byte, which DTX sends
// now and then in silence, is a packet: it gives comfort noise.
func (d *Decoder) Decode(packet []byte, pcm []int16) (samples int, err error) {
	if d.dec == nil {
		return 0, codec.ErrClosed
	}
	n, err := Duration(packet)
	if err != nil {
		return 0, err
	}
	if n > len(pcm) {
		return 0, fmt.Errorf("opus: packet of %d samples, room for %d: %w", n, len(pcm), codec.ErrBadConfig)
	}
	// The binding goes by capacity, not by length: without the third index
	// it would write over whatever follows pcm.
	got, err := d.dec.Decode(packet, pcm[:n:n])
	if err != nil {
		return 0, corrupt("%d bytes: %v", len(packet), err)
	}
	return got, nil
}

// DecodeFEC implements [codec.AudioDecoder].
func (d *Decoder) DecodeFEC(packet []byte, pcm []int16) error {
	if err := d.checkGap(pcm); err != nil {
		return err
	}
	if _, err := Duration(packet); err != nil {
		return err
	}
	if err := d.dec.DecodeFEC(packet, pcm[:len(pcm):len(pcm)]); err != nil {
		return corrupt("%d bytes: %v", len(packet), err)
	}
	return nil
}

// Conceal implements [codec.AudioDecoder]. At most 120 ms a call.
func (d *Decoder) Conceal(pcm []int16) error {
	if err := d.checkGap(pcm); err != nil {
		return err
	}
	if err := d.dec.DecodePLC(pcm[:len(pcm):len(pcm)]); err != nil {
		return fmt.Errorf("opus: conceal %d samples: %w", len(pcm), err)
	}
	return nil
}

func (d *Decoder) checkGap(pcm []int16) error {
	if d.dec == nil {
		return codec.ErrClosed
	}
	if n := len(pcm); n == 0 || n%minSamples != 0 || n > codec.MaxPacketSamples {
		return fmt.Errorf("opus: gap of %d samples: want a multiple of %d up to %d: %w", n, minSamples, codec.MaxPacketSamples, codec.ErrBadConfig)
	}
	return nil
}

// Reset implements [codec.AudioDecoder]. It is the one method that allocates
// (18 kB): the binding cannot reset in place.
func (d *Decoder) Reset() error {
	if d.dec == nil {
		return codec.ErrClosed
	}
	return d.init()
}

// Close implements [codec.AudioDecoder].
func (d *Decoder) Close() error {
	d.dec = nil
	return nil
}
