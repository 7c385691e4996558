package transport

import (
	"errors"
	"fmt"
)

// errDescriptor wraps everything that is wrong with a payload descriptor.
var errDescriptor = errors.New("VP8 payload descriptor")

// vp8Descriptor is the VP8 payload descriptor of RFC 7741 section 4.2.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	|X|R|N|S|R| PID | required
//	+-+-+-+-+-+-+-+-+
//	|I|L|T|K|  RSV  | when X
//	|M| PictureID   | when I; 7 bit, or 15 when M
//	|   TL0PICIDX   | when L
//	|TID|Y| KEYIDX  | when T or K
type vp8Descriptor struct {
	NonReference bool  // N: nothing references this frame
	Start        bool  // S: a partition starts in this packet
	Partition    uint8 // PID, 0..7; start of a frame: Start and Partition 0
	HasPictureID bool
	LongPicture  bool   // M: PictureID has 15 bit
	PictureID    uint16 // of this frame
	HasTL0       bool
	TL0          uint8 // TL0PICIDX: counts frames of temporal layer 0
	HasTID       bool
	TID          uint8 // temporal layer, 0..3
	LayerSync    bool  // Y: references layer 0 only
	HasKeyIdx    bool
	KeyIdx       uint8 // 0..31
}

// frameStart reports whether the packet is the first of its frame.
func (d *vp8Descriptor) frameStart() bool { return d.Start && d.Partition == 0 }

// parse reads the descriptor at the start of an RTP payload and returns its
// length; the rest of the payload is VP8. Errors name the field that is cut
// off. Reserved bits are ignored (RFC 7741 section 4.2).
func (d *vp8Descriptor) parse(payload []byte) (n int, err error) {
	*d = vp8Descriptor{}
	if len(payload) == 0 {
		return 0, fmt.Errorf("%w: empty", errDescriptor)
	}
	b := payload[0]
	d.NonReference, d.Start, d.Partition = b&0x20 != 0, b&0x10 != 0, b&0x07
	if b&0x80 == 0 {
		return d.end(payload, 1)
	}
	if len(payload) < 2 {
		return 0, fmt.Errorf("%w: X is set, extension byte is missing", errDescriptor)
	}
	ext := payload[1]
	n = 2
	if ext&0x80 != 0 {
		if len(payload) < n+1 {
			return 0, fmt.Errorf("%w: PictureID is missing", errDescriptor)
		}
		d.HasPictureID, d.PictureID = true, uint16(payload[n]&0x7f)
		if payload[n]&0x80 != 0 {
			if len(payload) < n+2 {
				return 0, fmt.Errorf("%w: second byte of PictureID is missing", errDescriptor)
			}
			d.LongPicture = true
			d.PictureID = d.PictureID<<8 | uint16(payload[n+1])
			n++
		}
		n++
	}
	if ext&0x40 != 0 {
		if len(payload) < n+1 {
			return 0, fmt.Errorf("%w: TL0PICIDX is missing", errDescriptor)
		}
		d.HasTL0, d.TL0 = true, payload[n]
		n++
	}
	if ext&0x30 != 0 {
		if len(payload) < n+1 {
			return 0, fmt.Errorf("%w: TID/Y/KEYIDX is missing", errDescriptor)
		}
		if ext&0x20 != 0 {
			d.HasTID, d.TID, d.LayerSync = true, payload[n]>>6, payload[n]&0x20 != 0
		}
		if ext&0x10 != 0 {
			d.HasKeyIdx, d.KeyIdx = true, payload[n]&0x1f
		}
		n++
	}
	return d.end(payload, n)
}

func (d *vp8Descriptor) end(payload []byte, n int) (int, error) {
	if len(payload) == n {
		return 0, fmt.Errorf("%w: no VP8 data behind it", errDescriptor)
	}
	return n, nil
}

// vp8DescriptorSize is the longest descriptor that marshal writes.
const vp8DescriptorSize = 6

// marshal writes the descriptor to the start of dst, which has room for
// vp8DescriptorSize bytes, and returns its length. A PictureID is written
// whatever its value, 0 included: receivers of libwebrtc freeze for seconds
// on a stream whose ids come and go.
func (d *vp8Descriptor) marshal(dst []byte) int {
	b := d.Partition & 0x07
	if d.NonReference {
		b |= 0x20
	}
	if d.Start {
		b |= 0x10
	}
	if !d.HasPictureID && !d.HasTL0 && !d.HasTID && !d.HasKeyIdx {
		dst[0] = b
		return 1
	}
	dst[0] = b | 0x80
	n := 2
	var ext byte
	if d.HasPictureID {
		ext |= 0x80
		if d.LongPicture {
			dst[n] = 0x80 | byte(d.PictureID>>8)
			n++
			dst[n] = byte(d.PictureID)
		} else {
			dst[n] = byte(d.PictureID) & 0x7f
		}
		n++
	}
	if d.HasTL0 {
		ext |= 0x40
		dst[n] = d.TL0
		n++
	}
	if d.HasTID || d.HasKeyIdx {
		var t byte
		if d.HasTID {
			ext |= 0x20
			t = d.TID << 6
			if d.LayerSync {
				t |= 0x20
			}
		}
		if d.HasKeyIdx {
			ext |= 0x10
			t |= d.KeyIdx & 0x1f
		}
		dst[n] = t
		n++
	}
	dst[1] = ext
	return n
}

// vp8IsKey reports whether VP8 data is the start of a key frame: the lowest
// bit of the frame tag is 0 (RFC 6386 section 9.1).
func vp8IsKey(data []byte) bool { return len(data) > 0 && data[0]&1 == 0 }

// vp8KeySize reads the picture size of a key frame (RFC 6386 section 9.1). ok
// is false when the data is not one. The upper two bits of each are a scaling
// hint that nobody follows.
func vp8KeySize(data []byte) (width, height int, ok bool) {
	if len(data) < 10 || data[0]&1 != 0 || data[3] != 0x9d || data[4] != 0x01 || data[5] != 0x2a {
		return 0, 0, false
	}
	width = (int(data[6]) | int(data[7])<<8) & 0x3fff
	height = (int(data[8]) | int(data[9])<<8) & 0x3fff
	return width, height, width > 0 && height > 0
}
