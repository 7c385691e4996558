package main

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
	"mixdown/transport/transporttest"
)

// seen is the sizes that a client was sent, and when.
type seen struct {
	mu    sync.Mutex
	sizes []seenSize
}

type seenSize struct {
	at     time.Duration // since the room began
	height int
}

// take is OnVideo of a client, in a room that began at zero.
func (s *seen) take(zero time.Duration) func(client.Frame) {
	return func(f client.Frame) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.Key && (len(s.sizes) == 0 || s.sizes[len(s.sizes)-1].height != f.Height) {
			s.sizes = append(s.sizes, seenSize{f.Arrival - zero, f.Height})
		}
	}
}

// all returns the changes, to be printed as well.
func (s *seen) all() []seenSize {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]seenSize(nil), s.sizes...)
}

func (s seenSize) String() string {
	return fmt.Sprintf("%d at %v", s.height, s.at.Round(10*time.Millisecond))
}

// at is the height that was sent at an instant.
func (s *seen) at(t time.Duration) (height int) {
	for _, c := range s.all() {
		if c.at <= t {
			height = c.height
		}
	}
	return height
}

// behind puts a client's socket behind a path.
func behind(t *testing.T, in, out transporttest.Spec) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return transporttest.WrapPacketConn(conn, in, out, 1)
}

// longest is the longest pause that was not the machine's fault.
func (w *witness) longest(gaps []client.Gap) (longest client.Gap) {
	for _, g := range gaps {
		if g.Length > longest.Length && !w.excuses(g) {
			longest = g
		}
	}
	return longest
}

// TestBadLinks: for a minute, somebody has a link that falls from 3 Mb/s to 300
// kb/s and recovers. Who is in the room with him has a good one, and must not
// notice. In another room somebody loses 5% at a round trip of 60 ms.
func TestBadLinks(t *testing.T) {
	const (
		falls, recovers, ends = 15 * time.Second, 35 * time.Second, 65 * time.Second
		freeze, silence       = 1500 * time.Millisecond, 200 * time.Millisecond
		stable, back          = 3 * time.Second, 15 * time.Second
		audioTick             = 20 * time.Millisecond
	)
	tg := newTarget(t, t.TempDir())
	w := startWitness(t)
	zero := codec.Now()
	collapse := transporttest.Spec{
		Delay: 10 * time.Millisecond, RateBps: 3_000_000, Queue: 300 * time.Millisecond,
		Rates: []transporttest.RateStep{{At: falls, Bps: 300_000}, {At: recovers, Bps: 3_000_000}},
	}
	lossy := transporttest.Spec{Delay: 30 * time.Millisecond, Loss: 0.05}
	sizes := make(map[string]*seen)
	join := func(room string, n int, name string, conn net.PacketConn) *client.Client {
		sizes[name] = &seen{}
		return joinClient(t, client.Config{
			URL: tg.url + "/r/" + room, Name: name, Conn: conn, OnVideo: sizes[name].take(zero),
			Video: client.Loop(clips(t)[fmt.Sprintf("video-%02d.ivf", n)]),
			Audio: client.Loop(clips(t)[fmt.Sprintf("speech-%02d.ogg", n)]),
		})
	}
	falling := join("falls", 1, "falling", behind(t, collapse, transporttest.Spec{Delay: 10 * time.Millisecond}))
	losing := join("loses", 2, "losing", behind(t, lossy, transporttest.Spec{Delay: 30 * time.Millisecond}))
	good := join("falls", 3, "good", nil)
	until := func(at time.Duration) {
		eventually(t, ends, fmt.Sprint(at), func() bool { return codec.Now()-zero >= at })
	}

	until(falls - 100*time.Millisecond)
	for name, s := range sizes {
		if s.at(ends) != 720 {
			t.Errorf("%s has not reached the top tier in %v: %v", name, falls, s.all())
		}
	}
	goodBefore := good.Stats().VideoReceived
	until(falls + stable)
	if keys := good.Stats().VideoReceived.Keyframes - goodBefore.Keyframes; keys > 0 {
		t.Errorf("when one link falls, another client is sent %d key frames", keys)
	}
	until(ends)

	picture := w.longest(falling.PictureGaps(zero+falls-time.Second, zero+recovers))
	sound := w.longest(falling.AudioGaps(zero+falls-time.Second, zero+recovers))
	// Who is in the room with him hears the same over a good link: what comes late there
	// was late before it came to any link.
	late := w.longest(good.AudioGaps(sound.End-sound.Length-collapse.Queue, sound.End)).Length
	sound.Length -= max(late-audioTick-witnessLate, 0)
	later := w.longest(falling.PictureGaps(zero+falls+stable, zero+recovers))
	t.Logf("falling: sent %v; longest freeze %v (later %v), longest gap in the sound %v (%v for the other)", sizes["falling"].all(), picture.Length, later.Length, sound.Length, late)
	if picture.Length > freeze {
		t.Errorf("the picture froze for %v", picture.Length)
	}
	if sound.Length > silence {
		t.Errorf("nothing was heard for %v", sound.Length)
	}
	if later.Length > freeze/2 {
		t.Errorf("the picture still froze for %v, %v after the fall", later.Length, later.End-zero-falls)
	}
	if low, end := sizes["falling"].at(falls+stable), sizes["falling"].at(recovers); low != 180 || end != low {
		t.Errorf("3 s after the fall a picture %d high is sent, and %d at its end: want 180, and nothing else", low, end)
	}
	if !slices.ContainsFunc(sizes["falling"].all(), func(s seenSize) bool {
		return s.height == 720 && s.at > recovers && s.at <= recovers+back
	}) {
		t.Errorf("the top tier does not come back within %v of the recovery", back)
	}

	gaps := losing.PictureGaps(zero+5*time.Second, zero+ends)
	kept := gaps[:0]
	for _, g := range gaps {
		if !w.excuses(g) {
			kept = append(kept, g)
		}
	}
	slowest, plis := client.Quantile(kept, 0.999), losing.Stats().VideoReceived.PLIs
	t.Logf("losing: sent %v; p99.9 of %d gaps %v, %d key frames asked for", sizes["losing"].all(), len(gaps), slowest, plis)
	if slowest > 300*time.Millisecond {
		t.Errorf("with 5%% of loss one of a thousand pictures comes after %v", slowest)
	}
	// A client that cannot read for long loses what it has asked for again.
	if _, worst := w.between(zero, zero+ends); plis > 1 && worst < 100*time.Millisecond {
		t.Errorf("with 5%% of loss %d key frames were asked for in a minute", plis)
	}

	still := w.longest(good.PictureGaps(zero+falls, zero+ends))
	t.Logf("good: sent %v; longest gap %v", sizes["good"].all(), still.Length)
	if n := len(sizes["good"].all()); still.Length > freeze/3 || n > 2 {
		t.Errorf("who has a good link saw a gap of %v, and %d sizes", still.Length, n)
	}
}
