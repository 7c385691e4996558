package transport

import (
	"net"
	"regexp"
	"testing"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// TestTooManyAddresses: a client that says from ever new addresses that it is
// there, as it may, is believed only so often, and goes on with those that it has.
func TestTooManyAddresses(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(map[bool]string{false: "ice-lite", true: "full ICE"}[full], func(t *testing.T) {
			e := startEngine(t, Config{FullICE: full})
			h := newRecorder(t)
			c, p, answer := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
			pwd := regexp.MustCompile(`a=ice-pwd:(\S+)`).FindStringSubmatch(answer.SDP)[1]
			const addresses = maxRemoteAddresses + 20
			for range addresses {
				conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(e.Addrs()[0]))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				check, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(answer.UFrag+":"+p.ClientUFrag()),
					stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write(check.Raw); err != nil {
					t.Fatal(err)
				}
			}
			h.wait(t, "those that are too many", func() bool { return p.Stats().Policed >= addresses-maxRemoteAddresses })
			known := 0
			for _, s := range p.pc.GetStats() {
				if s, ok := s.(webrtc.ICECandidateStats); ok && s.Type == webrtc.StatsTypeRemoteCandidate {
					known++
				}
			}
			if known == 0 || known > maxRemoteAddresses {
				t.Errorf("%d addresses are known: want at most %d", known, maxRemoteAddresses)
			}
			c.talk(t, 0, 3)
			h.wait(t, "sound", func() bool { return len(h.audio) == 3 })
			// Another ICE session begins with none.
			c.restart(t, p, answer.SDP)
			if n := p.ice.addresses.Load(); n > maxRemoteCandidates {
				t.Errorf("%d addresses are counted in a new session", n)
			}
		})
	}
}
