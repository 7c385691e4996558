package main

import (
	"net"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/mixer"
	"mixdown/transport/transporttest"
)

// TestNewAddress: in mid-call a client's packets begin to come from another
// port, as when a NAT forgets or a telephone changes its cell. The client knows
// nothing of it; all it does is to go on checking that the server consents
// (RFC 7675). It hears and sees again within seconds, and has not left.
func TestNewAddress(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	link := transporttest.WrapPacketConn(conn, transporttest.Spec{}, transporttest.Spec{}, 1)
	join := func(name string, conn net.PacketConn) *client.Client {
		return joinClient(t, client.Config{
			URL: tg.url + "/r/" + meetingRoom, Name: name, Conn: conn,
			Video: client.Loop(clips(t)["video-01.ivf"]), Audio: client.Loop(clips(t)["speech-01.ogg"]),
		})
	}
	mover := join("Mover", link)
	join("Stayer", nil)
	more := func(what string) {
		t.Helper()
		before := mover.Stats()
		eventually(t, 10*time.Second, what, func() bool {
			s := mover.Stats()
			return s.AudioReceived.Packets > before.AudioReceived.Packets+50 && s.VideoReceived.Frames > before.VideoReceived.Frames+15
		})
	}
	more("the mover hears and sees")
	moved := time.Now()
	if err := link.Rebind(); err != nil {
		t.Fatal(err)
	}
	more("the mover hears and sees from the new address")
	t.Logf("a second's worth of sound had come after %v", time.Since(moved).Round(10*time.Millisecond))
	for _, p := range tg.room(t, meetingRoom).Participants() {
		if p.State != mixer.StateActive {
			t.Errorf("%v is %v: want active", p.Name, p.State)
		}
	}
	if n, stale := link.Rebinds(); n != 1 || stale == 0 {
		t.Errorf("%d rebinds, %d packets to the old address: the test is not what it says", n, stale)
	}
}
