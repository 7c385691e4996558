package transport

import (
	"fmt"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/transport/transporttest"
)

// looks has a path's latest pairs speak for a rate; 0: there were none yet.
func (p *pacer) looks(bps float64) {
	m := &p.path.est.pairs
	*m = pairMeter{}
	if bps == 0 {
		return
	}
	m.spread = 1 / bps
	m.n = pairsMax
}

// TestSoundGuard: between two packets of sound no more goes out on a narrow path
// than 300 kb/s carry in 130 ms, and no picture waits long for that.
func TestSoundGuard(t *testing.T) {
	for name, test := range map[string]struct {
		looks   float64 // bits/s
		silence bool
		guarded bool
	}{
		"narrow":             {looks: 3_000_000, guarded: true},
		"narrow, in silence": {looks: 3_000_000, silence: true},
		"wide":               {looks: 16_000_000},
		"unknown":            {},
	} {
		t.Run(name, func(t *testing.T) {
			p := testPacer(t, func(c *pacerConfig) { c.TargetBps = 1_500_000 })
			p.looks(test.looks)
			var pkt outPacket
			between, most, slowest := 0, 0, time.Duration(0)
			frames := 0
			var pushed time.Duration
			for now := time.Second; now < 6*time.Second; now += ms {
				if now%(20*ms) == 0 && !test.silence {
					f := paceAudio(now)
					p.pushAudio(f, now)
					f.Release()
				}
				if now%(33*ms) == 0 {
					kind, size := "T0", 8200
					if frames%2 == 1 {
						kind, size = "T1", 4100
					}
					if frames == 0 {
						kind = "key"
					}
					send(t, p, now, paceVideo(1, now, size, kind), codec.Sent)
					pushed = now
					frames++
				}
				for ok, _ := p.next(&pkt, now); ok; ok, _ = p.next(&pkt, now) {
					if pkt.Kind == audioPacket {
						between = 0
						continue
					}
					between += pkt.size()
					most = max(most, between)
					if !p.waits() {
						slowest = max(slowest, now-pushed)
					}
				}
			}
			if p.videoQ.len() > 1 || p.stats.VideoFlushed+p.stats.VideoDropped > 0 {
				t.Errorf("%d pictures wait, %+v", p.videoQ.len(), p.stats)
			}
			if test.guarded != (most <= guardPackets*packetBudget) {
				t.Errorf("%d bytes between two packets of sound", most)
			}
			longest := 10 * ms
			if test.guarded {
				longest = 2 * guardTick
			}
			if slowest > longest {
				t.Errorf("a picture takes %v to go out, want %v at most", slowest, longest)
			}
		})
	}
}

// TestSoundGuardHurries: a key frame goes faster, and sound that does not come is
// not waited for.
func TestSoundGuardHurries(t *testing.T) {
	p := testPacer(t, func(c *pacerConfig) { c.TargetBps = 1_500_000 })
	p.looks(3_000_000)
	p.setTarget(1_500_000, time.Second)
	now := time.Second
	send(t, p, now, paceVideo(1, 0, 30_000, "key"), codec.Sent)
	f := paceAudio(0)
	p.pushAudio(f, now)
	f.Release()
	var pkt outPacket
	upTo := func(end time.Duration) (bytes int) {
		for ; now < end; now += ms {
			for ok, _ := p.next(&pkt, now); ok; ok, _ = p.next(&pkt, now) {
				bytes += pkt.size()
			}
		}
		return bytes
	}
	if n := upTo(time.Second + guardSpan); n <= guardPackets*packetBudget || n > (guardPackets+1)*packetBudget+packetBudget {
		t.Errorf("%d bytes of a key frame go out behind sound", n)
	}
	if n := upTo(now + 100*ms); p.waits() {
		t.Errorf("%d bytes go out when no sound comes", n)
	}
}

// TestSoundGuardRate: bound by the guard, a queue drains no faster than the guard
// lets it, so that the bound of the queue stays one of time.
func TestSoundGuardRate(t *testing.T) {
	for _, target := range []int{100_000, 600_000, 1_500_000, 4_000_000} {
		p := testPacer(t, func(c *pacerConfig) { c.TargetBps = target })
		p.looks(3_000_000)
		p.setTarget(target, time.Second)
		want := min(max(pacingFactor*float64(target), pacingFloorBps), guardMost(float64(target)))
		if got := p.rate * 8; got != want {
			t.Errorf("pictures of %d bits/s drain at %.0f, want %.0f", target, got, want)
		}
	}
}

func TestPairsNarrower(t *testing.T) {
	meter := func(gaps ...time.Duration) *pairMeter {
		m := &pairMeter{number: -2}
		at := time.Hour
		for i := range int64(pairsMean + 1) {
			m.arrived(i, &sentPacket{at: time.Second, bytes: packetBudget}, at)
			at += gaps[int(i)%len(gaps)]
		}
		return m
	}
	late := meter(100 * time.Microsecond)
	late.arrived(late.number+1, &sentPacket{at: time.Second, bytes: packetBudget}, late.at+time.Second)
	for name, test := range map[string]struct {
		meter *pairMeter
		want  bool
	}{
		"nothing known":                {&pairMeter{}, false},
		"3 Mb/s":                       {meter(3200 * time.Microsecond), true},
		"3 Mb/s, read two at a time":   {meter(0, 6400*time.Microsecond), true},
		"3 Mb/s, read four at a time":  {meter(0, 0, 0, 12800*time.Microsecond), true},
		"20 Mb/s":                      {meter(480 * time.Microsecond), false},
		"no bound, read two at a time": {meter(0, time.Millisecond), false},
		"no bound, once late":          {late, false},
	} {
		if got := test.meter.narrower(guardBelow); got != test.want {
			t.Errorf("%s: narrower is %v", name, got)
		}
	}
}

// TestClimbsAcrossSound: a queue that grows is seen also when the latest packet is
// sound, which was sent later than the pictures before it.
func TestClimbsAcrossSound(t *testing.T) {
	for name, test := range map[string]struct {
		last  int // bytes
		steps []time.Duration
		want  bool
	}{
		"sound last":     {120, []time.Duration{32 * ms, 32 * ms, 32 * ms, 32 * ms}, true},
		"a picture last": {900, []time.Duration{32 * ms, 32 * ms, 32 * ms, 32 * ms}, false},
		"a standstill":   {120, []time.Duration{0, 0, 128 * ms, 0}, false},
		"too few":        {120, []time.Duration{32 * ms, 32 * ms, 32 * ms}, false},
	} {
		var a arrivals
		sent, at, total := time.Second, time.Hour, uint64(0)
		add := func(bytes int, after, took time.Duration) {
			sent, at, total = sent+after, at+took, total+uint64(bytes)
			a.add(&sentPacket{at: sent, total: total, bytes: uint16(bytes)}, at)
		}
		for _, step := range test.steps {
			add(1100, 0, step)
		}
		add(test.last, 20*ms, 4*ms)
		if got := a.climbs(); got != test.want {
			t.Errorf("%s: climbs is %v", name, got)
		}
	}
}

// TestPathFallsSound: what a path that falls to a tenth does to sound, wherever
// between sound and pictures it does so.
func TestPathFallsSound(t *testing.T) {
	for _, delay := range []time.Duration{10 * ms, 40 * ms} {
		t.Run(fmt.Sprint(delay), func(t *testing.T) {
			for seed := range time.Duration(60) {
				falls := 5*time.Second + seed*17*ms
				s := pathSim{
					link: transporttest.Spec{Delay: delay, RateBps: 3_000_000, Queue: 300 * ms, Rates: []transporttest.RateStep{{At: falls, Bps: 300_000}}},
					back: transporttest.Spec{Delay: delay}, feedback: 80 * ms, seed: uint64(seed), vary: true,
				}
				c := s.run(t, falls+6*time.Second)[0]
				if got := c.video(4*time.Second, 5*time.Second); got < 1_000_000 {
					t.Errorf("seed %d: only %d bits/s of pictures come before the fall", seed, got)
				}
				if gap := c.soundGap(4*time.Second, falls+6*time.Second); gap > 200*ms {
					t.Errorf("seed %d: %v without sound", seed, gap)
				}
			}
		})
	}
}
