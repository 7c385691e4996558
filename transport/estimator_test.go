package transport

import (
	"fmt"
	"testing"
	"time"

	"mixdown/transport/transporttest"
)

// way is a path of 40 ms there and back, with a bottleneck.
func way(bps int, more ...transporttest.RateStep) transporttest.Spec {
	return transporttest.Spec{Delay: 20 * ms, RateBps: bps, Queue: 300 * ms, Rates: more}
}

var wayBack = transporttest.Spec{Delay: 20 * ms}

// TestPathFalls: a link falls from 3 Mb/s to 300 kb/s with a drop-tail queue of
// 300 ms, and comes back.
func TestPathFalls(t *testing.T) {
	for seed := range time.Duration(8) {
		every := 50 * ms * (1 + seed%2)
		t.Run(fmt.Sprint(seed, every), func(t *testing.T) {
			falls, rises := 10*time.Second+seed*17*ms, 25*time.Second+seed*333*ms
			s := pathSim{
				link: way(3_000_000, transporttest.RateStep{At: falls, Bps: 300_000}, transporttest.RateStep{At: rises, Bps: 3_000_000}),
				back: wayBack, feedback: every, seed: uint64(seed),
			}
			c := s.run(t, 40*time.Second)[0]
			if up, ok := c.reaches(true, 1_500_000, 0); !ok || up > 1500*ms {
				t.Errorf("the largest pictures were carried after %v (%v), want 1.5 s at most", up, ok)
			}
			if down, ok := c.reaches(false, 350_000, falls); !ok || down > 400*ms {
				t.Errorf("the fall was seen after %v (%v), want 400 ms at most", down, ok)
			}
			// The queue holds what was sent before anybody could know; see soundGuard.
			if gap := c.soundGap(falls-time.Second, falls+2*time.Second); gap > 180*ms {
				t.Errorf("%v without sound at the fall", gap)
			}
			if delay := c.soundDelay(falls+time.Second, falls+1500*ms); delay > 120*ms {
				t.Errorf("sound takes %v a second after the fall: the queue stands", delay)
			}
			if gap := c.soundGap(falls+2*time.Second, rises); gap > 180*ms {
				t.Errorf("%v without sound while probing in vain", gap)
			}
			if least, most := c.span(falls+2*time.Second, rises); least < 150_000 || most > 300_000 {
				t.Errorf("the estimate is %d to %d on 300 kb/s", least, most)
			}
			if n := c.pacer.stats.Collapses; n > 2 {
				t.Errorf("the queue was thrown away %d times", n)
			}
			if back, ok := c.reaches(true, 1_500_000, rises); !ok || back > 8*time.Second {
				t.Errorf("the path was found again after %v (%v), want 8 s at most", back, ok)
			}
		})
	}
}

// TestPathLoss: 5% random loss is how some paths are.
func TestPathLoss(t *testing.T) {
	for seed := range uint64(4) {
		s := pathSim{
			link: transporttest.Spec{Delay: 30 * ms, RateBps: 5_000_000, Loss: 0.05},
			back: transporttest.Spec{Delay: 30 * ms, Loss: 0.05}, seed: seed,
		}
		c := s.run(t, 20*time.Second)[0]
		up, ok := c.reaches(true, 1_500_000, 0)
		if !ok || up > 6*time.Second {
			t.Errorf("seed %d: the largest pictures were carried after %v (%v)", seed, up, ok)
		}
		if least, most := c.span(7*time.Second, 20*time.Second); least < 1_300_000 {
			t.Errorf("seed %d: the estimate is %d to %d with 5%% loss", seed, least, most)
		}
		if n := c.pacer.stats.Collapses; n > 0 {
			t.Errorf("seed %d: %d collapses", seed, n)
		}
	}
}

// TestPathJitter: 60 ms of jitter, in order and with packets overtaking each
// other.
func TestPathJitter(t *testing.T) {
	for seed := range uint64(8) {
		s := pathSim{
			link: transporttest.Spec{Delay: 20 * ms, RateBps: 5_000_000, Jitter: 60 * ms, Free: seed%2 == 1},
			back: transporttest.Spec{Delay: 20 * ms, Jitter: 60 * ms}, seed: seed,
		}
		c := s.run(t, 20*time.Second)[0]
		if up, ok := c.reaches(true, 1_500_000, 0); !ok || up > 6*time.Second {
			t.Errorf("seed %d: the largest pictures were carried after %v (%v)", seed, up, ok)
		}
		if least, most := c.span(7*time.Second, 20*time.Second); least < 1_500_000 {
			t.Errorf("seed %d: the estimate is %d to %d with jitter", seed, least, most)
		}
	}
}

// TestPathShared: two clients share a bottleneck in which the middle tier fits
// twice and the large one not even once with the other.
func TestPathShared(t *testing.T) {
	for seed := range uint64(3) {
		s := pathSim{link: way(1_700_000), back: wayBack, seed: seed, clients: 2}
		for i, c := range s.run(t, 30*time.Second) {
			if got := c.video(5*time.Second, 30*time.Second); got < 350_000 {
				t.Errorf("seed %d: client %d gets %d bits/s of pictures", seed, i, got)
			}
			if gap := c.soundGap(time.Second, 30*time.Second); gap > 150*ms {
				t.Errorf("seed %d: client %d is %v without sound", seed, i, gap)
			}
		}
	}
}

// TestPathOthers: ten seconds of somebody else's traffic take two thirds of the
// path.
func TestPathOthers(t *testing.T) {
	s := pathSim{link: way(3_000_000), back: wayBack, cross: func(at time.Duration) int {
		if at > 10*time.Second && at < 20*time.Second && at%(5*ms) == 0 {
			return 1200
		}
		return 0
	}}
	c := s.run(t, 30*time.Second)[0]
	if least, most := c.span(11*time.Second, 20*time.Second); least < 500_000 || most > 1_200_000 {
		t.Errorf("the estimate is %d to %d of the 1.1 Mb/s that are left", least, most)
	}
	if delay := c.soundDelay(12*time.Second, 20*time.Second); delay > 150*ms {
		t.Errorf("sound takes %v", delay)
	}
	if back, ok := c.reaches(true, 1_500_000, 20*time.Second); !ok || back > 8*time.Second {
		t.Errorf("the path was found again after %v (%v)", back, ok)
	}
}

// TestPathApplicationLimited: what is not made use of is neither believed nor
// taken away.
func TestPathApplicationLimited(t *testing.T) {
	s := pathSim{link: way(10_000_000), back: wayBack, fixed: 300_000}
	c := s.run(t, 60*time.Second)[0]
	if least, most := c.span(time.Second, 60*time.Second); least < 300_000 || most > 550_000 {
		t.Errorf("the estimate is %d to %d while 300 kb/s are sent", least, most)
	}
	if n := c.pacer.stats.ProbePackets; n > 0 {
		t.Errorf("%d packets of probes for nothing larger", n)
	}
	// And without retransmission there is nothing to probe with.
	s = pathSim{link: way(10_000_000), back: wayBack, fixed: 300_000, next: 1_000_000, noRTX: true}
	if n := s.run(t, 10*time.Second)[0].pacer.stats.ProbePackets; n > 0 {
		t.Errorf("%d packets of probes without RTX", n)
	}
}

// TestPathSilence: feedback stops, alone or with everything else.
func TestPathSilence(t *testing.T) {
	s := pathSim{link: way(3_000_000), back: wayBack, mute: func(at time.Duration) bool {
		return at > 10*time.Second && at < 12*time.Second
	}}
	c := s.run(t, 16*time.Second)[0]
	if got := c.video(10800*ms, 11800*ms); got > 0 {
		t.Errorf("%d bits/s of pictures into the dark", got)
	}
	if got := c.at(13 * time.Second); got < 1_300_000 {
		t.Errorf("the estimate is %d a second after feedback came back, with nothing lost", got)
	}
	s = pathSim{link: way(3_000_000), back: wayBack}
	s.link.Outages = []transporttest.Outage{{At: 10 * time.Second, For: time.Second}}
	c = s.run(t, 20*time.Second)[0]
	if least, _ := c.span(10500*ms, 11500*ms); least > 700_000 {
		t.Errorf("the estimate is %d after a second of nothing", least)
	}
	if back, ok := c.reaches(true, 1_500_000, 11*time.Second); !ok || back > 4*time.Second {
		t.Errorf("the path was found again after %v (%v)", back, ok)
	}
}

// TestPathReports: clients without transport-wide feedback, with an estimate of
// their own (REMB) or only receiver reports.
func TestPathReports(t *testing.T) {
	for _, remb := range []bool{false, true} {
		s := pathSim{
			link: way(3_000_000, transporttest.RateStep{At: 15 * time.Second, Bps: 300_000}, transporttest.RateStep{At: 30 * time.Second, Bps: 3_000_000}),
			back: wayBack, noTWCC: true,
		}
		if remb {
			s.remb = func(_ time.Duration, received float64) float64 { return min(2_800_000, 1.5*received+20_000) }
		}
		c := s.run(t, 60*time.Second)[0]
		if up, ok := c.reaches(true, 1_500_000, 0); !ok || up > 6*time.Second {
			t.Errorf("REMB %v: the largest pictures were carried after %v (%v)", remb, up, ok)
		}
		if down, ok := c.reaches(false, 350_000, 15*time.Second); !ok || down > 4*time.Second {
			t.Errorf("REMB %v: the fall was seen after %v (%v)", remb, down, ok)
		}
		if gap := c.soundGap(20*time.Second, 30*time.Second); gap > 350*ms {
			t.Errorf("REMB %v: %v without sound on the narrow path", remb, gap)
		}
		if back, ok := c.reaches(true, 1_500_000, 30*time.Second); !ok || back > 20*time.Second {
			t.Errorf("REMB %v: the path was found again after %v (%v)", remb, back, ok)
		}
	}
}
