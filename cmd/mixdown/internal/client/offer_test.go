package client

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mixdown/transport"
)

const testPrint = "sha-256 25:7A:1D:0A:F1:BF:E1:9C:A4:8F:D7:19:B5:1A:A9:CD:B7:C2:DB:2D:A5:BD:70:6F:46:07:AD:F8:1B:CC:E3:39"

// testAnswer is one to an offer of sound and picture.
const testAnswer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0\r\na=fingerprint:" + testPrint + "\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\nc=IN IP4 0.0.0.0\r\na=setup:active\r\na=mid:0\r\na=ice-ufrag:uuuu\r\na=ice-pwd:pppppppppppppppppppppp\r\n" +
	"a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=extmap:1 " + uriLevel + "\r\na=sendrecv\r\n" +
	"a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\na=candidate:1 2 udp 2130706431 192.0.2.1 8189 typ host\r\n" +
	"a=candidate:2 1 tcp 2130706431 192.0.2.1 9 typ host tcptype active\r\na=candidate:3 1 udp 2130706431 x.local 8189 typ host\r\n" +
	"a=candidate:4 1 UDP 2130706431 2001:db8::1 8189 typ host\r\na=end-of-candidates\r\n" +
	"m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:1\r\n"

func TestParseAnswer(t *testing.T) {
	a, err := parseAnswer(testAnswer, 2)
	if err != nil {
		t.Fatal(err)
	}
	if a.remote != (credentials{"uuuu", "pppppppppppppppppppppp"}) || a.fingerprint != testPrint || !a.active {
		t.Errorf("%+v", a)
	}
	if want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:8189"), netip.MustParseAddrPort("[2001:db8::1]:8189")}; !slices.Equal(a.candidates, want) {
		t.Errorf("candidates %v, want %v", a.candidates, want)
	}
	sound, picture := a.lines[0], a.lines[1]
	if !sound.takes || !sound.sends || !sound.has(ptRED) || !slices.Equal(sound.extensions, []int{extLevel}) {
		t.Errorf("sound is %+v", sound)
	}
	if picture.takes || picture.sends || picture.has(ptVP8) {
		t.Errorf("the refused picture is %+v", picture)
	}
	for name, text := range map[string]string{
		"empty":          "",
		"html":           "<html>",
		"no ufrag":       strings.Replace(testAnswer, "a=ice-ufrag", "a=x", 1),
		"no fingerprint": strings.Replace(testAnswer, "a=fingerprint", "a=x", 1),
		"other hash":     strings.Replace(testAnswer, "sha-256", "md5", 1),
		"no candidates":  strings.ReplaceAll(testAnswer, "a=candidate", "a=x"),
		"a line more":    testAnswer + "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n",
	} {
		if _, err := parseAnswer(text, 2); !errors.Is(err, errBadAnswer) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// TestOfferIsUnderstood: the server's own parser takes what is offered.
func TestOfferIsUnderstood(t *testing.T) {
	local := newCredentials()
	for name, tc := range map[string]struct {
		role  transport.Role
		lines []offerLine
	}{
		"participant": {transport.RoleParticipant, []offerLine{{sends: true, gets: true, ssrc: 1, red: true}, {video: true, sends: true, gets: true, ssrc: 3, rtx: 4}}},
		"listener":    {transport.RoleParticipant, []offerLine{{gets: true}}},
		"viewer":      {transport.RoleViewer, []offerLine{{gets: true}, {video: true, gets: true}}},
		"publisher":   {transport.RolePublisher, []offerLine{{video: true, sends: true, ssrc: 3, rtx: 4}}},
	} {
		if err := transport.CheckOffer(offerText(local, testPrint, "cname", tc.lines), tc.role); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzAnswer: whatever a server says, there is an answer or an error, and what
// is taken can be connected to.
func FuzzAnswer(f *testing.F) {
	f.Add(testAnswer)
	f.Add(strings.ReplaceAll(testAnswer, "\r\n", "\n"))
	f.Add("v=0\r\nm=audio 9 RTP/AVP 0\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAnswer(text, 2)
		if err != nil {
			if !errors.Is(err, errBadAnswer) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if len(a.lines) != 2 || len(a.candidates) == 0 || len(a.candidates) > maxCandidates || a.remote.pwd == "" {
			t.Fatalf("taken: %+v", a)
		}
		for _, c := range a.candidates {
			if !c.IsValid() || c.Port() == 0 {
				t.Fatalf("candidate %v", c)
			}
		}
	})
}

func TestNacker(t *testing.T) {
	const ms = time.Millisecond
	var n nacker
	n.came(65533, 0)
	n.came(65534, 0)
	n.came(2, 100*ms) // 65535, 0 and 1 are missing
	if got := n.due(105 * ms); len(got) != 0 {
		t.Errorf("asked for %v before they could have come by themselves", got)
	}
	n.came(0, 106*ms)
	if got := n.due(110 * ms); !slices.Equal(got, []uint16{65535, 1}) {
		t.Errorf("asked for %v", got)
	}
	if got := n.due(115 * ms); len(got) != 0 {
		t.Errorf("asked again for %v at once", got)
	}
	n.came(65535, 120*ms)
	if got := n.due(131 * ms); !slices.Equal(got, []uint16{1}) {
		t.Errorf("asked again for %v", got)
	}
	if got := n.due(100*ms + giveUpAfter); len(got) != 0 || len(n.missing) != 0 {
		t.Errorf("asked for %v, which nobody waits for", got)
	}
	n.came(402, 500*ms)
	if got := n.due(600 * ms); len(got) != maxMissing {
		t.Errorf("asked for %d packets of a long hole", len(got))
	}
	n.came(30000, 601*ms)
	if got := n.due(700 * ms); len(got) != 0 {
		t.Errorf("asked for %d packets from before a jump", len(got))
	}
}

func TestReception(t *testing.T) {
	const ms = time.Millisecond
	r := reception{rate: 48000}
	if _, ok := r.report(0); ok {
		t.Error("a report on nothing")
	}
	push := func(from, to int, lost ...int) {
		for i := from; i < to; i++ {
			if !slices.Contains(lost, i) {
				r.push(7, uint16(65530+i), uint32(i)*960, time.Duration(i)*20*ms)
			}
		}
	}
	push(0, 10, 4, 5)
	r.senderReport(7, 0x0001_2345_6789_abcd, 200*ms)
	b, ok := r.report(700 * ms)
	if !ok || b.SSRC != 7 || b.LastSequenceNumber != 65530+9 || b.TotalLost != 2 || b.FractionLost != 2*256/10 || b.Jitter != 0 ||
		b.LastSenderReport != 0x2345_6789 || b.Delay != 1<<15 {
		t.Errorf("%+v", b)
	}
	push(10, 20)
	if b, _ := r.report(800 * ms); b.FractionLost != 0 || b.TotalLost != 2 {
		t.Errorf("after a clean interval %+v", b)
	}
	// Late by 10 ms each second packet: the jitter approaches that.
	for i := 20; i < 300; i++ {
		r.push(7, uint16(65530+i), uint32(i)*960, time.Duration(i)*20*ms+time.Duration(i%2)*10*ms)
	}
	if b, _ := r.report(0); b.Jitter < 450 || b.Jitter > 480 {
		t.Errorf("jitter %d, want 480", b.Jitter)
	}
	r.push(8, 5, 0, 0)
	if b, _ := r.report(0); b.SSRC != 8 || b.TotalLost != 0 || b.LastSenderReport != 0 {
		t.Errorf("another stream: %+v", b)
	}
}
