package opus

import (
	"fmt"

	"mixdown/codec"
)

// Mode is which of Opus' coders a packet is for (RFC 6716 section 3.1).
type Mode uint8

// The three modes.
const (
	// SILK codes speech, up to wideband.
	SILK Mode = iota + 1
	// Hybrid is SILK below 8 kHz and CELT above.
	Hybrid
	// CELT codes everything.
	CELT
)

// String returns "SILK", "hybrid" or "CELT".
func (m Mode) String() string {
	switch m {
	case SILK:
		return "SILK"
	case Hybrid:
		return "hybrid"
	case CELT:
		return "CELT"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// maxFrameBytes is the longest frame of a packet (RFC 6716 section 3.2.1, R2).
const maxFrameBytes = 1275

// PacketMode returns the mode of a packet, by its first byte.
func PacketMode(packet []byte) (Mode, error) {
	if len(packet) == 0 {
		return 0, corrupt("empty packet")
	}
	switch config := packet[0] >> 3; {
	case config < 12:
		return SILK, nil
	case config < 16:
		return Hybrid, nil
	}
	return CELT, nil
}

// frameSamples is the duration of one frame at 48 kHz, by the TOC byte (RFC
// 6716 table 2).
func frameSamples(toc byte) int {
	const ms = codec.SampleRate / 1000
	config := toc >> 3
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		return [...]int{10 * ms, 20 * ms, 40 * ms, 60 * ms}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		return [...]int{10 * ms, 20 * ms}[config&1]
	}
	return 5 * ms / 2 << (config & 3) // CELT: 2.5, 5, 10, 20 ms
}

// Duration returns how many samples at 48 kHz a packet decodes to. It checks
// all that RFC 6716 section 3.4 demands of a packet's framing, so what it
// accepts, a decoder can take. Errors wrap [codec.ErrCorrupt].
func Duration(packet []byte) (samples int, err error) {
	if len(packet) == 0 {
		return 0, corrupt("empty packet")
	}
	per, rest := frameSamples(packet[0]), packet[1:]
	switch packet[0] & 3 {
	case 0: // one frame
		if len(rest) > maxFrameBytes {
			return 0, corrupt("frame of %d bytes", len(rest))
		}
		return per, nil
	case 1: // two frames of equal size
		if len(rest)%2 != 0 || len(rest)/2 > maxFrameBytes {
			return 0, corrupt("two equal frames in %d bytes", len(rest))
		}
		return 2 * per, nil
	case 2: // two frames, the first one's size is given
		size, n := frameSize(rest)
		if n == 0 || size > len(rest)-n || len(rest)-n-size > maxFrameBytes {
			return 0, corrupt("two frames in %d bytes", len(rest))
		}
		return 2 * per, nil
	}
	return countedFrames(per, rest)
}

// countedFrames reads the rest of a code 3 packet (RFC 6716 section 3.2.5).
func countedFrames(per int, rest []byte) (int, error) {
	if len(rest) == 0 {
		return 0, corrupt("frame count is missing")
	}
	vbr, padded, count := rest[0]&0x80 != 0, rest[0]&0x40 != 0, int(rest[0]&0x3f)
	rest = rest[1:]
	if count == 0 || count*per > codec.MaxPacketSamples {
		return 0, corrupt("%d frames of %d samples: want 1 frame to 120 ms", count, per)
	}
	if padded {
		// Each 255 stands for 254 bytes of padding and one more length byte.
		padding := 0
		for more := true; more; {
			if len(rest) == 0 {
				return 0, corrupt("padding length is cut off")
			}
			more = rest[0] == 255
			padding += min(int(rest[0]), 254)
			rest = rest[1:]
		}
		if padding > len(rest) {
			return 0, corrupt("%d bytes of padding in %d", padding, len(rest))
		}
		rest = rest[:len(rest)-padding]
	}
	if !vbr {
		if len(rest)%count != 0 || len(rest)/count > maxFrameBytes {
			return 0, corrupt("%d equal frames in %d bytes", count, len(rest))
		}
		return count * per, nil
	}
	total := 0
	for range count - 1 {
		size, n := frameSize(rest)
		if n == 0 {
			return 0, corrupt("frame length is cut off")
		}
		total += size
		rest = rest[n:]
	}
	if last := len(rest) - total; last < 0 || last > maxFrameBytes {
		return 0, corrupt("last of %d frames has %d bytes", count, last)
	}
	return count * per, nil
}

// frameSize reads a frame length and returns how many bytes it took, 0 when
// they are cut off (RFC 6716 section 3.2.1).
func frameSize(b []byte) (size, n int) {
	switch {
	case len(b) == 0:
		return 0, 0
	case b[0] < 252:
		return int(b[0]), 1
	case len(b) == 1:
		return 0, 0
	}
	return 4*int(b[1]) + int(b[0]), 2
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("opus: "+format+": %w", append(args, codec.ErrCorrupt)...)
}
