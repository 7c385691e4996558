package transporttest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
)

// TestPacketConnCarriesICE: two pion agents find each other and exchange
// packets, both sockets behind a bad network, one of them with all its clients
// on one port.
func TestPacketConnCarriesICE(t *testing.T) {
	bad, err := ParseSpec("loss=5%,delay=5ms,jitter=5ms,order=free")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled // agents say that closed things are closed
	agent := func(seed uint64) *ice.Agent {
		mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: WrapPacketConn(listen(t), bad, bad, seed), Logger: quiet.NewLogger("ice")})
		a, err := ice.NewAgentWithOptions(
			ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}), ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
			ice.WithUDPMux(mux), ice.WithLoggerFactory(quiet), ice.WithIncludeLoopback(), ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = a.Close()
			_ = mux.Close()
		})
		return a
	}
	a, b := agent(1), agent(2)
	for from, to := range map[*ice.Agent]*ice.Agent{a: b, b: a} {
		if err := from.OnCandidate(func(c ice.Candidate) {
			if c == nil {
				return
			}
			if err := to.AddRemoteCandidate(c); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := from.GatherCandidates(); err != nil {
			t.Fatal(err)
		}
	}
	aFrag, aPwd, err := a.GetLocalUserCredentials()
	if err != nil {
		t.Fatal(err)
	}
	bFrag, bPwd, err := b.GetLocalUserCredentials()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := b.Accept(ctx, aFrag, aPwd)
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}()
	near, err := a.Dial(ctx, bFrag, bPwd)
	if err != nil {
		t.Fatal(err)
	}
	far := <-accepted
	if far == nil {
		t.FailNow()
	}
	// Enough packets that some come through, whatever the seed.
	const count = 100
	for range count {
		if _, err := near.Write([]byte("hello over a bad network")); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 100)
	_ = far.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := far.Read(buf); err != nil || string(buf[:n]) != "hello over a bad network" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
}
