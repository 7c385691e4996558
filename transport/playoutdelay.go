package transport

import (
	"time"

	"mixdown/codec"
)

// uriPlayoutDelay is the header extension that bounds how late a receiver shows
// pictures (webrtc.googlesource.com/src, docs/native-code/rtp-hdrext/playout-delay).
const uriPlayoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"

const (
	// playoutUnit is what the extension counts in; each bound has 12 bits of it.
	playoutUnit = 10 * time.Millisecond
	// MaxPlayoutDelay is the longest that it can tell.
	MaxPlayoutDelay = 0xfff * playoutUnit
	// playoutEvery is how often it is told; receivers keep to what they heard last.
	playoutEvery = time.Second
)

// delayStamp puts the extension on the pictures of one client: none to most.
type delayStamp struct {
	id    uint8 // 0: not negotiated, or not wanted
	most  time.Duration
	due   time.Duration // PTS from which on it is to be sent again
	begun bool
}

// put stamps a packet that begins a frame, if it is time again: with each key
// frame, since it may be the first that a decoder gets, and each second. The other
// stamp of the packet comes first, so that both never lengthen one.
func (d *delayStamp) put(pkt *outPacket, f *codec.EncodedFrame, pts time.Duration) {
	if d.id == 0 || d.begun && pts < d.due && !f.Key {
		return
	}
	d.begun, d.due = true, pts+playoutEvery
	most := uint16(d.most / playoutUnit)
	pkt.delay = [3]byte{0, byte(most >> 8), byte(most)} // 12 bits of the least, 12 of the most
	_ = pkt.Header.SetExtension(d.id, pkt.delay[:])
}
