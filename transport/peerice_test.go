package transport

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// withoutCandidates is an SDP as a client sends it that gathers afterwards.
func withoutCandidates(sdp string) string {
	var kept []string
	for _, line := range strings.SplitAfter(sdp, "\r\n") {
		if !strings.HasPrefix(line, "a=candidate") && !strings.HasPrefix(line, "a=end-of-candidates") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// restart takes a client to another ICE session, as WHIP clients do it.
func (c *client) restart(t testing.TB, p *Peer, answer string) Restarted {
	t.Helper()
	offer, err := c.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-webrtc.GatheringCompletePromise(c.pc)
	f, err := ParseFragment(c.pc.LocalDescription().SDP)
	if err != nil {
		t.Fatal(err)
	}
	restarted, err := p.Restart(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	c.answer(t, spliced(t, answer, restarted.Fragment))
	return restarted
}

// spliced is an answer with what a fragment says of ICE.
func spliced(t testing.TB, answer, fragment string) string {
	t.Helper()
	var ice []string
	for _, line := range strings.Split(fragment, "\r\n") {
		if strings.HasPrefix(line, "a=ice-ufrag") || strings.HasPrefix(line, "a=ice-pwd") || strings.HasPrefix(line, "a=candidate") {
			ice = append(ice, line)
		}
	}
	if len(ice) < 3 {
		t.Fatalf("the fragment is\n%s", fragment)
	}
	var lines []string
	for _, line := range strings.Split(withoutCandidates(answer), "\r\n") {
		if strings.HasPrefix(line, "a=ice-ufrag") || strings.HasPrefix(line, "a=ice-pwd") {
			continue
		}
		lines = append(lines, line)
		if strings.HasPrefix(line, "a=mid:") {
			lines = append(lines, ice...)
		}
	}
	return strings.Join(lines, "\r\n")
}

// TestTrickle: a client that sends its candidates after its offer, and does no
// checks of its own, is found by a server that checks; one that does, by any.
func TestTrickle(t *testing.T) {
	for _, full := range []bool{true, false} {
		t.Run(map[bool]string{false: "lite", true: "full"}[full], func(t *testing.T) {
			t.Parallel()
			e := startEngine(t, Config{FullICE: full})
			h := newRecorder(t)
			c := newClient(t, clientConfig{audio: "sendrecv", lite: full})
			offer := c.offer(t)
			p, answer, err := e.Accept(context.Background(), Offer{SDP: withoutCandidates(offer), Epoch: time.Now(), Handler: h})
			if err != nil {
				t.Fatal(err)
			}
			c.answer(t, answer.SDP)
			f, err := ParseFragment(offer)
			if err != nil || len(f.candidates) == 0 || f.UFrag != p.ClientUFrag() {
				t.Fatalf("%+v, %v, and the peer knows %q", f, err, p.ClientUFrag())
			}
			if err := p.AddCandidates(f); err != nil {
				t.Fatal(err)
			}
			c.awaitUp(t)
			h.wait(t, "link up", h.linkIs(codec.LinkUp))
		})
	}
}

// TestRestart: a client that begins another ICE session, from another socket,
// goes on where it was, over each of its networks.
func TestRestart(t *testing.T) {
	for _, network := range []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4} {
		for _, full := range []bool{false, true} {
			t.Run(network.String()+map[bool]string{false: " lite", true: " full"}[full], func(t *testing.T) {
				t.Parallel()
				e := startEngine(t, Config{FullICE: full})
				h := newRecorder(t)
				c, p, answer := join(t, e, h, RoleParticipant, clientConfig{
					audio: "sendrecv", video: []string{"sendrecv"}, network: network, roams: true, data: true,
				})
				if answer.UFrag == "" || p.ClientUFrag() == "" {
					t.Fatalf("user fragments are %q and %q", answer.UFrag, p.ClientUFrag())
				}
				ufrags := map[string]bool{answer.UFrag: true, p.ClientUFrag(): true}
				for round := range 2 {
					pair := selectedPair(t, c)
					before := wishes(h)
					restarted := c.restart(t, p, answer.SDP)
					h.wait(t, "a path again", func() bool { return wishesLocked(h) > before })
					if now := selectedPair(t, c); now.Local.Port == pair.Local.Port && network == webrtc.NetworkTypeUDP4 {
						t.Errorf("the client still has port %d", now.Local.Port)
					}
					for _, ufrag := range []string{restarted.UFrag, p.ClientUFrag()} {
						if ufrags[ufrag] || !strings.Contains(restarted.Fragment, restarted.UFrag) {
							t.Errorf("user fragment %q is not new, or not in\n%s", ufrag, restarted.Fragment)
						}
						ufrags[ufrag] = true
					}
					if lite := strings.Contains(restarted.Fragment, "a=ice-lite\r\n"); lite == full {
						t.Errorf("ice-lite is %v in\n%s", lite, restarted.Fragment)
					}
					n := 10 * round
					c.talk(t, n, n+10)
					h.wait(t, "media of the client", func() bool { return len(h.audio) == n+10 && len(h.video[codec.Camera]) == n+10 })
					a, v := audioFrame(time.Duration(round)*time.Second), videoFrame(time.Duration(round)*time.Second, true, 3000)
					p.WriteAudio(a)
					p.WriteVideo(v)
					a.Release()
					v.Release()
					c.wait(t, "media of the server", func() bool {
						return len(c.packets["audio"]) == round+1 && len(c.packets["video"]) >= 3*(round+1)
					})
				}
				if n := e.Stats().Restarts; n != 2 {
					t.Errorf("%d restarts are counted", n)
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				if h.closed > 0 {
					t.Errorf("the peer closed: %v", h.err)
				}
			})
		}
	}
}

// wishes counts the times that a key frame was wanted, which is when a path is
// found.
func wishes(h *recorder) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return wishesLocked(h)
}

func wishesLocked(h *recorder) (n int) {
	for _, f := range h.feedback {
		if f.Link == codec.LinkUp && f.KeyframeWanted {
			n++
		}
	}
	return n
}

// selectedPair is the path that the client has found, or is about to find.
func selectedPair(t testing.TB, c *client) (pair *webrtc.ICECandidatePair) {
	t.Helper()
	c.wait(t, "a path of the client", func() bool {
		pair, _ = c.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
		return pair != nil
	})
	return pair
}

// TestRestartWithoutClient: a client that asks for another ICE session and never
// uses it is lost, and then has vanished.
func TestRestartWithoutClient(t *testing.T) {
	t.Parallel() // 2 s of waiting
	e := startEngine(t, Config{LostAfter: time.Second, VanishAfter: 2 * time.Second})
	h := newRecorder(t)
	_, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}})
	if _, err := p.Restart(t.Context(), Fragment{UFrag: "another", Pwd: somePwd}); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "link lost", h.linkIs(codec.LinkLost))
	v := videoFrame(0, true, 1000)
	if verdict := p.WriteVideo(v); verdict != codec.NeedKey {
		t.Errorf("a picture without a path: %v", verdict)
	}
	v.Release()
	h.wait(t, "PeerClosed", h.isClosed)
	if !errors.Is(h.err, ErrVanished) {
		t.Errorf("closed by %v", h.err)
	}
}

func TestRestartRefused(t *testing.T) {
	e := startEngine(t, Config{FullICE: true})
	h := newRecorder(t)
	p, _, err := e.Accept(context.Background(), Offer{SDP: readOffer(t, "chromium-participant"), Epoch: time.Now(), Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Fragment{"nothing": {}, "no password": {UFrag: "newer"}} {
		if _, err := p.Restart(t.Context(), f); !errors.Is(err, ErrBadFragment) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	first := p.ClientUFrag()
	if err := p.AddCandidates(Fragment{UFrag: "another"}); !errors.Is(err, ErrOldFragment) {
		t.Errorf("of another session: error is %v", err)
	}
	var many Fragment
	for range 3 * maxRemoteCandidates {
		many.candidates = append(many.candidates, "1 1 udp 1 192.0.2.1 9 typ host")
	}
	if err := p.AddCandidates(many); err != nil || p.ice.candidates != maxRemoteCandidates {
		t.Errorf("%d candidates, %v", p.ice.candidates, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel() // who asked has gone: it is done all the same
	for i := range restartBurst {
		f := Fragment{UFrag: "newer" + string(rune('a'+i)), Pwd: somePwd, candidates: many.candidates}
		if _, err := p.Restart(cancelled, f); err != nil || p.ClientUFrag() != f.UFrag || p.ice.candidates != maxRemoteCandidates {
			t.Fatalf("restart %d: %v, %q", i, err, p.ClientUFrag())
		}
	}
	err = nil
	for tries := 0; err == nil && tries < restartBurst; tries++ { // on a busy machine there may have been time for one more
		_, err = p.Restart(t.Context(), Fragment{UFrag: "newest" + string(rune('a'+tries)), Pwd: somePwd})
	}
	if !errors.Is(err, ErrTooManyRestarts) {
		t.Errorf("too many: error is %v", err)
	}
	if err := p.AddCandidates(Fragment{UFrag: first}); !errors.Is(err, ErrOldFragment) {
		t.Errorf("of the first session: error is %v", err)
	}
	p.Close()
	if _, err := p.Restart(t.Context(), Fragment{UFrag: "newest", Pwd: somePwd}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: error is %v", err)
	}
	if err := p.AddCandidates(Fragment{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: error is %v", err)
	}
}

// TestRestartWhileClosing: ends and restarts at one time get in nobody's way.
func TestRestartWhileClosing(t *testing.T) {
	e := startEngine(t, Config{})
	offer := readOffer(t, "chromium-participant")
	for range 20 {
		p, _, err := e.Accept(context.Background(), Offer{SDP: offer, Epoch: time.Now(), Handler: newRecorder(t)})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := p.Restart(context.Background(), Fragment{UFrag: "newer", Pwd: somePwd})
			done <- err
		}()
		p.Close()
		if err := <-done; err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}
