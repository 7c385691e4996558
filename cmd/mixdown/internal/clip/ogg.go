package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
)

// readOgg reads the first Opus stream of an Ogg file (RFC 3533, RFC 7845).
// Checksums are not verified: a disk is no network.
func readOgg(r io.Reader) (*Clip, error) {
	c := &Clip{Codec: codec.Opus}
	var (
		serial  uint32
		found   bool
		tags    bool
		partial []byte // a packet that goes on in the next page
	)
	for page := 0; ; page++ {
		p, err := readOggPage(r, page)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if !found {
			// Streams of other formats may stand before ours.
			if bytes.HasPrefix(p.body, []byte("OpusHead")) {
				if err := checkOpusHead(p.body); err != nil {
					return nil, err
				}
				found, serial = true, p.serial
			}
			continue
		}
		if p.serial != serial {
			continue
		}
		if !p.continued {
			partial = nil
		}
		rest := p.body
		for _, n := range p.lacing {
			partial = append(partial, rest[:n]...)
			rest = rest[n:]
			if len(partial) > maxUnitBytes {
				return nil, fmt.Errorf("%w: Ogg page %d: a packet of more than %d bytes", ErrFormat, page, maxUnitBytes)
			}
			if n == 255 {
				continue // the packet goes on
			}
			packet := partial
			partial = nil
			if !tags {
				tags = true // the second packet is always OpusTags
				continue
			}
			if err := c.addOpus(packet, page); err != nil {
				return nil, err
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: Ogg has no Opus stream", ErrFormat)
	}
	if len(c.Units) == 0 {
		return nil, fmt.Errorf("%w: Ogg has no packets of sound", ErrFormat)
	}
	return c, nil
}

func (c *Clip) addOpus(packet []byte, page int) error {
	samples, err := opus.Duration(packet)
	if err != nil {
		return fmt.Errorf("%w: Ogg page %d, packet %d: %w", ErrFormat, page, len(c.Units), err)
	}
	if len(c.Units) >= maxUnits {
		return fmt.Errorf("%w: Ogg has more than %d packets", ErrFormat, maxUnits)
	}
	c.Units = append(c.Units, Unit{
		Data: packet, Key: true,
		Duration: time.Duration(samples) * time.Second / codec.SampleRate,
	})
	return nil
}

// checkOpusHead refuses what could not be sent to a WebRTC receiver as it is.
func checkOpusHead(head []byte) error {
	if len(head) < 19 {
		return fmt.Errorf("%w: OpusHead has %d bytes: want 19", ErrFormat, len(head))
	}
	if channels := head[9]; channels < 1 || channels > 2 {
		return fmt.Errorf("%w: OpusHead channels %d: want 1 or 2", ErrFormat, channels)
	}
	if family := head[18]; family != 0 {
		return fmt.Errorf("%w: OpusHead channel mapping %d: want 0", ErrFormat, family)
	}
	return nil
}

type oggPage struct {
	serial    uint32
	continued bool // begins in the middle of a packet
	lacing    []byte
	body      []byte
}

// readOggPage returns io.EOF at the end of the file, and for a page that is
// cut off there.
func readOggPage(r io.Reader, n int) (oggPage, error) {
	var head [27]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return oggPage{}, io.EOF
	}
	if string(head[:4]) != "OggS" || head[4] != 0 {
		return oggPage{}, fmt.Errorf("%w: Ogg page %d: capture pattern %q, version %d: want OggS, 0", ErrFormat, n, head[:4], head[4])
	}
	p := oggPage{
		serial:    binary.LittleEndian.Uint32(head[14:]),
		continued: head[5]&1 != 0,
		lacing:    make([]byte, head[26]),
	}
	if _, err := io.ReadFull(r, p.lacing); err != nil {
		return oggPage{}, io.EOF
	}
	size := 0
	for _, l := range p.lacing {
		size += int(l)
	}
	p.body = make([]byte, size)
	if _, err := io.ReadFull(r, p.body); err != nil {
		return oggPage{}, io.EOF
	}
	return p, nil
}
