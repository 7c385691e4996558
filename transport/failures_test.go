package transport

import (
	"context"
	"errors"
	"net"
	"regexp"
	"testing"
	"time"

	"mixdown/codec"
)

// TestUnauthenticPackets: what has no right key, and what comes twice, is
// counted and changes nothing.
func TestUnauthenticPackets(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, _, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
	c.talk(t, 0, 1)
	h.wait(t, "sound", func() bool { return len(h.audio) == 1 })

	server := e.Addrs()[0]
	rtp := append([]byte{0x80, 111, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9}, make([]byte, 40)...)
	rtcp := append([]byte{0x80, 201, 0, 1, 9, 9, 9, 9}, make([]byte, 40)...)
	for _, b := range [][]byte{rtp, rtcp, rtp[:13]} {
		if _, err := c.conn.WriteTo(b, net.UDPAddrFromAddrPort(server)); err != nil {
			t.Fatal(err)
		}
	}
	h.wait(t, "three are refused", func() bool { return e.Stats().Unauthentic == 3 })
	c.talk(t, 1, 2)
	h.wait(t, "more sound", func() bool { return len(h.audio) == 2 })
	if s := e.Stats(); s.PathsFailed != 0 || s.HandshakesFailed != 0 || s.Malformed != 0 {
		t.Errorf("stats are %+v", s)
	}
}

// TestNeverUp: who does not connect is counted by how far it came.
func TestNeverUp(t *testing.T) {
	t.Parallel() // 3 s of waiting
	e := startEngine(t, Config{ConnectTimeout: 3 * time.Second})
	accept := func(h *recorder, sdp string) string {
		_, answer, err := e.Accept(context.Background(), Offer{SDP: sdp, Epoch: time.Now(), Handler: h})
		if err != nil {
			t.Fatal(err)
		}
		return answer.SDP
	}
	silent := newRecorder(t)
	accept(silent, readOffer(t, "chromium-participant"))

	// Its certificate is another than its offer says.
	stranger := newRecorder(t)
	c := newClient(t, clientConfig{audio: "sendrecv"})
	offer := regexp.MustCompile(`(a=fingerprint:sha-256 )..:..`).ReplaceAllString(c.offer(t), "${1}00:00")
	c.answer(t, accept(stranger, offer))

	for _, h := range []*recorder{silent, stranger} {
		h.wait(t, "PeerClosed", h.isClosed)
		if h.linkIs(codec.LinkUp)() || !errors.Is(h.err, ErrNeverConnected) && !errors.Is(h.err, ErrRefused) {
			t.Errorf("closed by %v", h.err)
		}
	}
	if s := e.Stats(); s.PathsFailed != 1 || s.HandshakesFailed != 1 {
		t.Errorf("stats are %+v", s)
	}
}
