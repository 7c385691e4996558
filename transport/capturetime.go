package transport

import (
	"encoding/binary"
	"time"

	"mixdown/codec"
)

// uriCaptureTime is the header extension that tells when a packet's media were
// captured (webrtc.googlesource.com/src, docs/native-code/rtp-hdrext/abs-capture-time).
const uriCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

// captureEvery is how often it is sent; receivers interpolate.
const captureEvery = time.Second

// parseCaptureTime reads the extension: an NTP timestamp of the capturer's clock,
// and, where it is there, by how much that clock is ahead of the sender's, whose
// clock the result is on. ok is false when it is neither.
func parseCaptureTime(ext []byte) (at codec.NTPTime, ok bool) {
	switch len(ext) {
	case 8:
		at = codec.NTPTime(binary.BigEndian.Uint64(ext))
	case 16:
		// Both are 32.32 fixed point, and the offset is signed: wraps are right.
		at = codec.NTPTime(binary.BigEndian.Uint64(ext) - binary.BigEndian.Uint64(ext[8:]))
	}
	return at, at != 0
}

// captureStamp puts the extension on one outbound stream.
type captureStamp struct {
	id    uint8         // 0: not negotiated
	epoch time.Time     // of PTS 0
	due   time.Duration // PTS from which on it is to be sent again
	begun bool
}

// put stamps a packet that begins what was mixed or composed at pts, if it is
// time again, and reports whether it did.
func (c *captureStamp) put(pkt *outPacket, pts time.Duration) bool {
	if c.id == 0 || c.begun && pts < c.due {
		return false
	}
	c.begun, c.due = true, pts+captureEvery
	binary.BigEndian.PutUint64(pkt.capture[:], uint64(codec.NTPTimeOf(c.epoch.Add(pts))))
	// Extensions has room, and the id was checked when it was negotiated.
	_ = pkt.Header.SetExtension(c.id, pkt.capture[:])
	return true
}
