package vp8

import (
	"fmt"

	"mixdown/codec"
)

// Header is what the head of a coded frame says (RFC 6386 section 9.1).
type Header struct {
	// Key says that a decoder can start here.
	Key bool
	// Show says that the frame is to be shown; others only serve as references.
	Show bool
	// Width and Height of the picture; 0 unless Key. At most 16383.
	Width, Height int
}

const (
	tagBytes = 3  // before every frame
	keyBytes = 10 // before a key frame: the tag, a start code, and the size
)

// ParseHeader reads the head of one coded frame and checks that the first
// partition lies inside. Errors wrap [codec.ErrCorrupt].
func ParseHeader(data []byte) (Header, error) {
	if len(data) < tagBytes {
		return Header{}, corrupt("frame of %d bytes", len(data))
	}
	tag := int(data[0]) | int(data[1])<<8 | int(data[2])<<16
	h := Header{Key: tag&1 == 0, Show: tag>>4&1 == 1}
	if version := tag >> 1 & 7; version > 3 {
		return Header{}, corrupt("version %d: want 0..3", version)
	}
	head := tagBytes
	if h.Key {
		head = keyBytes
		if len(data) < keyBytes {
			return Header{}, corrupt("key frame of %d bytes", len(data))
		}
		if data[3] != 0x9d || data[4] != 0x01 || data[5] != 0x2a {
			return Header{}, corrupt("start code %x: want 9d012a", data[3:6])
		}
		// The upper two bits of each ask for upscaling, which nobody does.
		h.Width = (int(data[6]) | int(data[7])<<8) & 0x3fff
		h.Height = (int(data[8]) | int(data[9])<<8) & 0x3fff
		if h.Width == 0 || h.Height == 0 {
			return Header{}, corrupt("picture of %dx%d", h.Width, h.Height)
		}
	}
	if first := tag >> 5; first == 0 || first > len(data)-head {
		return Header{}, corrupt("first partition of %d bytes in %d", first, len(data)-head)
	}
	return h, nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("vp8: "+format+": %w", append(args, codec.ErrCorrupt)...)
}
