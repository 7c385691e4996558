package codec

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Codec names a media coding format.
type Codec uint8

// The formats that are spoken.
const (
	// Opus is RFC 6716, carried by RTP as RFC 7587 says.
	Opus Codec = iota + 1
	// VP8 is RFC 6386, carried by RTP as RFC 7741 says.
	VP8
	// H264 is ITU-T H.264, carried by RTP as RFC 6184 says. Frames are whole
	// access units in Annex B form.
	H264
)

// String returns the format's name as SDP spells it.
func (c Codec) String() string {
	switch c {
	case Opus:
		return "opus"
	case VP8:
		return "VP8"
	case H264:
		return "H264"
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// SourceID tells the video sources of one participant apart.
type SourceID uint8

// A participant sends at most these two pictures.
const (
	Camera SourceID = iota
	Screen
	// NumSources is the number of video sources a participant can have.
	NumSources
)

// String returns "camera" or "screen".
func (s SourceID) String() string {
	switch s {
	case Camera:
		return "camera"
	case Screen:
		return "screen"
	}
	return fmt.Sprintf("source(%d)", uint8(s))
}

// StreamID names one encoder history: frames of one stream may reference each
// other, frames of different streams never do. It is unique in the process.
type StreamID uint64

var lastStream atomic.Uint64

// NewStreamID returns a stream identity that was not handed out before.
func NewStreamID() StreamID { return StreamID(lastStream.Add(1)) }

// NTPTime is a 64 bit NTP timestamp (RFC 3550 section 4): seconds since 1900
// in the upper half, the fraction in the lower. Zero means unknown.
type NTPTime uint64

// ntpEpoch is 1900-01-01 in seconds before the Unix epoch.
const ntpEpoch = 2208988800

// NTPTimeOf converts a wall clock instant.
func NTPTimeOf(t time.Time) NTPTime {
	sec := uint64(t.Unix() + ntpEpoch)
	frac := uint64(t.Nanosecond()) << 32 / uint64(time.Second)
	return NTPTime(sec<<32 | frac)
}

// Time converts to a wall clock instant. It is meaningless for zero.
func (n NTPTime) Time() time.Time {
	nanos := (uint64(n)&0xffffffff*uint64(time.Second) + 1<<31) >> 32
	return time.Unix(int64(n>>32)-ntpEpoch, int64(nanos))
}

// Sub returns the span n-m.
func (n NTPTime) Sub(m NTPTime) time.Duration {
	d := int64(n - m)
	sec, frac := d>>32, d&0xffffffff
	return time.Duration(sec)*time.Second + time.Duration(frac*int64(time.Second)>>32)
}

// Contributor is one whose voice is in a packet: a CSRC (RFC 3550 section 5.1)
// and its level (RFC 6465).
type Contributor struct {
	CSRC uint32
	// LevelDBov is 0 (loudest) to 127 (silence), in -dBov.
	LevelDBov uint8
}

// AudioLevel is what a sender says of a packet in the RFC 6464 extension.
type AudioLevel struct {
	// DBov is 0 (loudest) to 127 (silence), in -dBov.
	DBov uint8
	// Voice is the sender's own voice activity bit.
	Voice bool
	// Valid is false when the packet carried no level.
	Valid bool
}

// Errors that decoders and encoders return, to be tested with errors.Is.
var (
	// ErrCorrupt says that the bytes are not a frame of the format. The
	// decoder stays usable; after VP8 a key frame is wanted.
	ErrCorrupt = errors.New("corrupt frame")
	// ErrNeedKey says that a picture cannot be decoded before a key frame.
	ErrNeedKey = errors.New("key frame needed")
	// ErrTooLarge says that a picture is larger than the decoder was told to
	// accept; libvpx has not seen it.
	ErrTooLarge = errors.New("picture too large")
	// ErrBudget says that a pool's memory budget is used up.
	ErrBudget = errors.New("frame memory budget used up")
	// ErrNoPicture says that nothing has been decoded yet.
	ErrNoPicture = errors.New("no picture decoded yet")
	// ErrClosed says that the codec has been closed.
	ErrClosed = errors.New("codec is closed")
	// ErrBadConfig says that a configuration value is out of range; the
	// wrapping error names it.
	ErrBadConfig = errors.New("bad codec configuration")
	// ErrDropped says that an encoder's rate control dropped the frame: there
	// is no output, and that is no fault.
	ErrDropped = errors.New("frame dropped by rate control")
)
