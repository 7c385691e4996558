package transport

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// candidatesOf returns "protocol address" of each candidate of an answer, in order.
func candidatesOf(t testing.TB, answer string) (list []string) {
	t.Helper()
	for _, line := range strings.Split(answer, "\r\n") {
		text, ok := strings.CutPrefix(line, "a=candidate:")
		if !ok {
			continue
		}
		c, err := ice.UnmarshalCandidate(text)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		protocol := c.NetworkType().NetworkShort()
		if c.TCPType() == ice.TCPTypePassive {
			protocol += "-passive"
		}
		list = append(list, protocol+" "+c.Address())
	}
	return list
}

func TestCandidateOrder(t *testing.T) {
	m := &sdp.MediaDescription{}
	for _, c := range []string{"::1", "127.0.0.1", "2001:db8::1", "192.0.2.1"} {
		m.WithValueAttribute("candidate", "1 1 tcp 1 "+c+" 9 typ host tcptype passive")
		m.WithValueAttribute("candidate", "1 2 tcp 1 "+c+" 9 typ host tcptype passive")
		m.WithValueAttribute("candidate", "1 1 udp 1 "+c+" 9 typ host")
		m.WithValueAttribute("candidate", "1 2 udp 1 "+c+" 9 typ host")
	}
	m.WithPropertyAttribute("end-of-candidates")
	m.WithPropertyAttribute("sendrecv")
	arrangeCandidates(m, []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::1")})
	got := candidatesOf(t, "a=candidate:"+strings.Join(valuesOf(m, "candidate"), "\r\na=candidate:"))
	want := []string{
		"udp 203.0.113.7", "udp 192.0.2.1", "udp 2001:db8::1", "udp 127.0.0.1", "udp ::1",
		"tcp-passive 203.0.113.7", "tcp-passive 192.0.2.1", "tcp-passive 2001:db8::1", "tcp-passive 127.0.0.1", "tcp-passive ::1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("order is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := len(m.Attributes); n != 12 || m.Attributes[10].Key != "end-of-candidates" || m.Attributes[11].Key != "sendrecv" {
		t.Errorf("attributes are %v", m.Attributes)
	}
	if addressRank(netip.Addr{}) < 0 {
		t.Error("an unparsable address has a negative rank")
	}
}

func valuesOf(m *sdp.MediaDescription, key string) (values []string) {
	for _, a := range m.Attributes {
		if a.Key == key {
			values = append(values, a.Value)
		}
	}
	return values
}

// TestMappedPorts: sockets with several ports are reached at each of them, and no
// foundation or priority is used twice.
func TestMappedPorts(t *testing.T) {
	m := &sdp.MediaDescription{}
	for _, c := range []string{
		"1 1 udp 2130706431 10.0.0.1 8189 typ host", "2 1 udp 2130706175 127.0.0.1 8189 typ host",
		"1 1 udp 2130705919 10.0.0.1 8190 typ host", "3 1 tcp 1671430143 10.0.0.1 8189 typ host tcptype passive",
		"4 1 udp 2130705663 fd00::1 8189 typ host",
	} {
		m.WithValueAttribute("candidate", c)
	}
	arrangeCandidates(m, []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("203.0.113.8")})
	sockets, priorities := make(map[string]bool), make(map[string]bool)
	for _, v := range valuesOf(m, "candidate") {
		f := strings.Fields(v)
		if strings.HasPrefix(f[4], "203.") {
			sockets[f[2]+f[4]+":"+f[5]] = true
		}
		if slices.Contains([]string{"1", "2", "3", "4"}, f[0]) == strings.HasPrefix(f[4], "203.") {
			t.Errorf("foundation of %q", v)
		}
		priorities[f[3]] = true
	}
	for _, want := range []string{"udp203.0.113.7:8189", "udp203.0.113.7:8190", "tcp203.0.113.7:8189", "udp203.0.113.8:8189"} {
		if !sockets[want] {
			t.Errorf("no candidate %s among %v", want, sockets)
		}
	}
	if len(sockets) != 6 || len(priorities) != 11 {
		t.Errorf("%d mapped sockets, %d priorities: want 6 and 11", len(sockets), len(priorities))
	}
}

func TestPublicAddressConfig(t *testing.T) {
	for _, bad := range []string{"0.0.0.0", "::", "224.0.0.1", "fe80::1", "fe80::1%eth0"} {
		if _, err := New(Config{UDP: []string{"127.0.0.1:0"}, PublicAddresses: []netip.Addr{netip.MustParseAddr(bad)}}); !errors.Is(err, ErrBadConfig) {
			t.Errorf("%s: error is %v", bad, err)
		}
	}
	if _, err := New(Config{UDP: []string{"127.0.0.1:0"}, PublicAddresses: make([]netip.Addr, maxPublicAddresses+1)}); !errors.Is(err, ErrBadConfig) {
		t.Errorf("too many: error is %v", err)
	}
}

// TestPublicAddress: the address that is in front of the machine comes first, as a
// host candidate of UDP, the machine's own follow, and clients that take only
// these connect.
func TestPublicAddress(t *testing.T) {
	e := startEngine(t, Config{PublicAddresses: []netip.Addr{netip.MustParseAddr("203.0.113.7")}})
	_, _, answer := join(t, e, newRecorder(t), RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}})
	want := []string{"udp 203.0.113.7", "udp 127.0.0.1", "tcp-passive 203.0.113.7", "tcp-passive 127.0.0.1"}
	if got := candidatesOf(t, answer.SDP); !slices.Equal(got, want) {
		t.Errorf("candidates are %q, want %q", got, want)
	}
	if !strings.Contains(answer.SDP, " 203.0.113.7 "+mediaPort(e)+" typ host") {
		t.Errorf("the first is not a host candidate with the socket's port:\n%s", answer.SDP)
	}
}

func mediaPort(e *Engine) string { _, port, _ := strings.Cut(e.Addrs()[0].String(), ":"); return port }

// TestHiddenAddress: browsers may hide their addresses behind names (RFC 8828),
// which are not looked up here. Such a client is found by its own checks.
func TestHiddenAddress(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(map[bool]string{false: "lite", true: "full"}[full], func(t *testing.T) {
			t.Parallel()
			e := startEngine(t, Config{FullICE: full})
			h := newRecorder(t)
			c := newClient(t, clientConfig{audio: "sendrecv"})
			offer := c.offer(t)
			hidden := strings.ReplaceAll(offer, " 127.0.0.1 ", " 5e8e0f5c-1f4b-4d52-a3b5-9d1a4a2c7a52.local ")
			if hidden == offer || !strings.Contains(hidden, ".local ") {
				t.Fatalf("nothing was hidden in\n%s", offer)
			}
			_, answer, err := e.Accept(context.Background(), Offer{SDP: hidden, Epoch: time.Now(), Handler: h})
			if err != nil {
				t.Fatal(err)
			}
			c.answer(t, answer.SDP)
			c.awaitUp(t)
			h.wait(t, "link up", h.linkIs(codec.LinkUp))
		})
	}
}

// TestNetworks: each way to the server carries sound and pictures both ways.
func TestNetworks(t *testing.T) {
	networks := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4}
	sockets := []string{"127.0.0.1:0", "[::1]:0"}
	// pion's agents connect from no ::1, so this wants a machine with another one.
	if far := farIPv6(t); far.IsValid() {
		networks, sockets = append(networks, webrtc.NetworkTypeTCP6), append(sockets, netip.AddrPortFrom(far, 0).String())
	}
	for _, network := range networks {
		for _, full := range []bool{false, true} {
			name := network.String() + map[bool]string{false: " lite", true: " full"}[full]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				e := startEngine(t, Config{UDP: sockets, FullICE: full})
				h := newRecorder(t)
				c, p, answer := join(t, e, h, RoleParticipant, clientConfig{
					audio: "sendrecv", video: []string{"sendrecv"}, network: network, data: true,
				})
				if lite := strings.Contains(answer.SDP, "a=ice-lite"); lite == full {
					t.Errorf("ice-lite is %v", lite)
				}
				c.talk(t, 0, 10)
				h.wait(t, "media of the client", func() bool { return len(h.audio) == 10 && len(h.video[codec.Camera]) == 10 })
				for i := range 10 {
					a, v := audioFrame(time.Duration(i)*20*time.Millisecond), videoFrame(time.Duration(i)*33*time.Millisecond, i == 0, 3000)
					p.WriteAudio(a)
					p.WriteVideo(v)
					a.Release()
					v.Release()
					c.wait(t, "media of the server", func() bool { return len(c.packets["audio"]) == i+1 && len(c.packets["video"]) >= 3*(i+1) })
				}
			})
		}
	}
}

// farIPv6 is an address of this machine that is not its loopback's, if it has one.
func farIPv6(t testing.TB) netip.Addr {
	t.Helper()
	addrs, err := machineAddrs(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a.Is6() && !a.IsLoopback() {
			return a
		}
	}
	return netip.Addr{}
}
