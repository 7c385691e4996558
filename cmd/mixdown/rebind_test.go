package main

import (
	"net"
	"sync/atomic"
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

// TestNewNetwork: a client has no network for a while and then another one, with
// another address. It begins a new ICE session, and keeps its tile and its place:
// nobody sees it join a second time. It hears and sees within 3 s of having a
// network again.
func TestNewNetwork(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	link := transporttest.WrapPacketConn(conn, transporttest.Spec{}, transporttest.Spec{}, 1)
	gate := &gatedConn{PacketConn: link}
	config := client.Config{
		URL: tg.url + "/r/" + meetingRoom, Name: "Mover", Conn: gate, Restart: true, RestartAfter: 2 * time.Second,
		Video: client.Loop(clips(t)["video-01.ivf"]), Audio: client.Loop(clips(t)["speech-01.ogg"]),
	}
	mover := joinClient(t, config)
	config.Name, config.Conn, config.Restart = "Stayer", nil, false
	config.Video, config.Audio = client.Loop(clips(t)["video-02.ivf"]), client.Loop(clips(t)["speech-02.ogg"])
	joinClient(t, config)
	comes := func(what string, within time.Duration) {
		t.Helper()
		before := mover.Stats()
		eventually(t, within, what, func() bool {
			s := mover.Stats()
			return s.AudioReceived.Packets > before.AudioReceived.Packets+5 && s.VideoReceived.Frames > before.VideoReceived.Frames+2
		})
	}
	room := tg.room(t, meetingRoom)
	state := func() (s mixer.ParticipantInfo) {
		for _, p := range room.Participants() {
			if p.Name == "Mover" {
				s = p
			}
		}
		return s
	}
	tiles := func() map[mixer.ParticipantID]mixer.LayoutTile {
		m := make(map[mixer.ParticipantID]mixer.LayoutTile)
		for _, tile := range room.Layout().Tiles {
			m[tile.Participant] = tile
		}
		return m
	}
	comes("the mover hears and sees", 10*time.Second)
	eventually(t, 10*time.Second, "both have tiles", func() bool { return len(tiles()) == 2 })
	before, place := state(), tiles()[state().ID]

	gate.shut.Store(true)
	eventually(t, 10*time.Second, "the mover is missed", func() bool { return state().State == mixer.StateReconnecting })
	if tiles()[before.ID] != place {
		t.Errorf("meanwhile its tile is %+v, was %+v", tiles()[before.ID], place)
	}
	eventually(t, 10*time.Second, "the mover begins a new session", func() bool { return mover.Restarts() > 0 })
	if err := link.Rebind(); err != nil {
		t.Fatal(err)
	}
	gate.shut.Store(false)
	back := time.Now()
	comes("the mover hears and sees again", 3*time.Second)
	t.Logf("it heard and saw %v after its network was back, in the %d. session", time.Since(back).Round(10*time.Millisecond), mover.Restarts()+1)
	eventually(t, 5*time.Second, "all are active", func() bool { return state().State == mixer.StateActive })
	if now := state(); now.ID != before.ID || now.CSRC != before.CSRC || tiles()[before.ID] != place || len(room.Participants()) != 2 {
		t.Errorf("it is %+v with the tile %+v, was %+v with %+v", now, tiles()[before.ID], before, place)
	}
}

// gatedConn is a network that can be taken away.
type gatedConn struct {
	net.PacketConn
	shut atomic.Bool
}

func (g *gatedConn) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	for {
		if n, from, err = g.PacketConn.ReadFrom(b); err != nil || !g.shut.Load() {
			return n, from, err
		}
	}
}

func (g *gatedConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if g.shut.Load() {
		return len(b), nil
	}
	return g.PacketConn.WriteTo(b, to)
}
