package client

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// FuzzDatagram: nothing that comes makes a client panic, neither as a stranger
// sends it nor as it is once it has been decrypted.
func FuzzDatagram(f *testing.F) {
	f.Add([]byte{0x80, ptVP8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0x90, 0x80, 1, 0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1})
	f.Add([]byte{0xa1, ptOpus, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0xf8, 2})
	f.Add([]byte{0x90, ptRTX, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0xbe, 0xde, 0, 1, 0x20, 9, 0, 0, 0, 7, 0x80})
	f.Add([]byte{0x80, 200, 0, 6, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	c, _ := listener(f)
	c.video = newTrack(picture, Loop(pictureClip(1)))
	c.video.out = null{}
	now := time.Second
	f.Fuzz(func(t *testing.T, b []byte) {
		now += time.Millisecond
		c.link.take(b, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 9), now)
		if c.link.ice.Load().selected.Load() != nil {
			t.Fatal("a path was taken that a stranger offered")
		}
		var h rtp.Header
		if _, err := h.Unmarshal(b); err == nil {
			if payload, ok := payloadOf(&h, b); ok {
				c.takeRTP(&h, payload, len(b), now)
			}
		}
		if packets, err := rtcp.Unmarshal(b); err == nil {
			c.takeRTCP(packets, now)
		}
	})
}
