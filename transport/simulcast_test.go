package transport

import (
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// TestOneSizeIsTaken: of the sizes that an offer has, in the words of many
// clients.
func TestOneSizeIsTaken(t *testing.T) {
	chromium := strings.ReplaceAll(readOffer(t, "chromium-simulcast"), "\r\n", "\n")
	offered := "a=rid:q send\na=rid:h send\na=rid:f send\na=simulcast:send q;h;f"
	if !strings.Contains(chromium, offered) {
		t.Fatal("the offer is not what it was")
	}
	// As many as are looked at, and one more, which is not.
	many := "a=simulcast:send f"
	for i := range maxRIDs {
		name := strings.Repeat("x", i+1)
		many = "a=rid:" + name + " send\n" + many + ";" + name
	}
	for _, tc := range []struct{ name, lines, want string }{
		{"as it is", offered, "f"},
		{"largest first", "a=rid:f send\na=rid:h send\na=rid:q send\na=simulcast:send f;h;q", "f"},
		{"high, middle, low", "a=rid:h send\na=rid:m send\na=rid:l send\na=simulcast:send h;m;l", "h"},
		{"low, mid, hi", "a=rid:low send\na=rid:mid send\na=rid:hi send\na=simulcast:send low;mid;hi", "hi"},
		{"names that tell nothing", "a=rid:0 send\na=rid:1 send\na=rid:2 send\na=simulcast:send 0;1;2", "2"},
		{"sizes that are told", "a=rid:a send max-width=320;max-height=180\na=rid:b send pt=96;max-width=1280;max-height=720\na=rid:c send max-width=640;max-height=360\na=simulcast:send a;b;c", "b"},
		{"too large to be decoded", "a=rid:a send max-width=1280;max-height=720\na=rid:f send max-width=3840;max-height=2160\na=simulcast:send a;f", "a"},
		{"the largest is paused", "a=rid:q send\na=rid:f send\na=simulcast:send q;~f", "q"},
		{"all are paused", "a=rid:q send\na=rid:f send\na=simulcast:send ~q;~f", "f"},
		{"alternatives", "a=rid:a send\na=rid:b send\na=simulcast:send a,b", "a"},
		{"it receives, too", "a=rid:a send\na=rid:b send\na=rid:c recv\na=simulcast:recv c send a;b", "b"},
		{"of another codec", "a=rid:q send\na=rid:f send pt=100,101\na=simulcast:send q;f", "q"},
		{"that needs another", "a=rid:q send\na=rid:f send depend=q\na=simulcast:send q;f", "q"},
		{"not described", "a=rid:q send\na=simulcast:send q;f", "q"},
		{"one", "a=rid:q send\na=simulcast:send q", "q"},
		{"only received", "a=rid:f recv\na=simulcast:recv f", ""},
		{"no rid", "a=simulcast:send q;h;f", ""},
		{"no simulcast", "a=rid:f send", ""},
		{"malformed", "a=rid:f\na=rid: send\na=rid:f send max-width=x\na=rid:q!r send\na=rid:" + strings.Repeat("f", 17) + " send\na=simulcast:send f;;q!r;" + strings.Repeat("f", 17), ""},
		{"the old spelling", "a=rid:f send\na=simulcast: send rid=f", ""},
		{"too many", strings.Replace(many, "a=simulcast", "a=rid:f send\na=simulcast", 1), "xxxxxxx"},
	} {
		plan, err := parseOffer(strings.Replace(chromium, offered, tc.lines, 1), RoleParticipant, h264Ways{})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := plan.lines[1].rid; got != tc.want {
			t.Errorf("%s: %q is taken, want %q", tc.name, got, tc.want)
		}
	}
}

// TestSimulcastAnswer: the answer names one size, and what tells its packets.
func TestSimulcastAnswer(t *testing.T) {
	e := startEngine(t, Config{})
	for _, role := range []Role{RolePublisher, RoleViewer} {
		offer := readOffer(t, "chromium-simulcast")
		if role == RoleViewer {
			offer = strings.ReplaceAll(offer, "a=sendonly", "a=sendrecv")
		}
		p, answer, err := e.Accept(t.Context(), Offer{SDP: offer, Role: role, Epoch: time.Now(), Handler: newRecorder(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		want := 1
		if role == RoleViewer { // it may not send
			want = 0
		}
		for _, line := range []string{"a=rid:f recv", "a=simulcast:recv f", "a=extmap:10 " + uriRID, "a=extmap:11 " + uriRepaired, "a=rid:", "a=simulcast:"} {
			got := strings.Count(answer.SDP, line+"\r\n")
			if strings.HasSuffix(line, ":") {
				got = strings.Count(answer.SDP, line)
			}
			if got != want {
				t.Errorf("%v: %q is there %d times, want %d\n%s", role, line, got, want, answer.SDP)
			}
		}
	}
}

// TestOtherSizesAreNotListenedTo: packets that are marked as of another size,
// and repairs of those, are none of ours.
func TestOtherSizesAreNotListenedTo(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c := newClient(t, clientConfig{video: []string{"sendonly", "sendonly"}})
	// Both of the client's tracks pose as sizes of the first line's picture.
	var offer strings.Builder
	video := 0
	for line := range strings.Lines(c.offer(t)) {
		if strings.HasPrefix(line, "a=ssrc") {
			continue
		}
		offer.WriteString(line)
		if strings.HasPrefix(line, "a=mid:") {
			if video++; video == 1 {
				offer.WriteString("a=extmap:10 " + uriRID + "\r\na=extmap:11 " + uriRepaired + "\r\n" +
					"a=rid:f send\r\na=rid:q send\r\na=simulcast:send f;q\r\n")
			}
		}
	}
	p, answer, err := e.Accept(t.Context(), Offer{SDP: offer.String(), Epoch: time.Now(), Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer.SDP, "a=simulcast:recv f\r\n") {
		t.Fatalf("no simulcast in\n%s", answer.SDP)
	}
	// The client's library cannot know of it: it offered none.
	var plain strings.Builder
	for line := range strings.Lines(answer.SDP) {
		if !strings.Contains(line, uriRID) && !strings.Contains(line, uriRepaired) && !strings.HasPrefix(line, "a=rid") && !strings.HasPrefix(line, "a=simulcast") {
			plain.WriteString(line)
		}
	}
	c.answer(t, plain.String())
	c.awaitUp(t)
	h.wait(t, "link up", h.linkIs(codec.LinkUp))
	send := func(track *webrtc.TrackLocalStaticRTP, i int, extension uint8, rid string) {
		t.Helper()
		pkt := picturePacket(i)
		if err := pkt.SetExtension(p.plan.lines[0].ext.mid, []byte(p.plan.lines[0].mid)); err != nil {
			t.Fatal(err)
		}
		if extension != 0 {
			if err := pkt.SetExtension(extension, []byte(rid)); err != nil {
				t.Fatal(err)
			}
		}
		if err := track.WriteRTP(pkt); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		extension := uint8(10)
		if i == 3 {
			extension = 0 // senders leave it out after a while
		}
		send(c.video[1], i, extension, "q")
		send(c.video[0], i, extension, "f")
	}
	h.wait(t, "pictures", func() bool { return len(h.video[codec.Camera]) == 5 })
	if n := len(h.video[codec.Screen]); n != 0 {
		t.Errorf("%d pictures of a screen", n)
	}
	if n := p.Stats().Unknown; n != 5 {
		t.Errorf("%d packets of another size, want 5", n)
	}
}
