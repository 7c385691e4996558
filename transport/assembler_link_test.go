package transport

import (
	"testing"
	"time"

	"mixdown/transport/transporttest"
)

func spec(t testing.TB, text string) transporttest.Spec {
	t.Helper()
	s, err := transporttest.ParseSpec(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAssemblerOverBadLinks feeds streams through bad networks: whatever
// happens, only frames that can be decoded come out, intact and in order.
func TestAssemblerOverBadLinks(t *testing.T) {
	links := []struct {
		name     string
		up, down string
		rtt      time.Duration
		share    float64 // of the frames that must come out
	}{
		{"clean", "delay=20ms", "delay=20ms", 40 * time.Millisecond, 1},
		{"jitter", "delay=20ms,jitter=30ms,order=free", "delay=20ms", 55 * time.Millisecond, 0.9},
		{"reorder", "delay=20ms,reorder=5%", "delay=20ms", 40 * time.Millisecond, 0.95},
		{"duplicates", "delay=20ms,duplicate=20%,jitter=10ms,order=free", "delay=20ms", 45 * time.Millisecond, 0.95},
		{"loss 1%", "delay=20ms,loss=1%", "delay=20ms,loss=1%", 40 * time.Millisecond, 0.9},
		{"loss 5%", "delay=20ms,loss=5%", "delay=20ms,loss=5%", 40 * time.Millisecond, 0.6},
		{"bursts", "delay=20ms,loss=5%,burst=4", "delay=20ms", 40 * time.Millisecond, 0.6},
		{"everything", "delay=20ms,loss=5%,burst=2,jitter=30ms,order=free,duplicate=2%,reorder=1%", "delay=20ms,loss=5%,jitter=10ms", 60 * time.Millisecond, 0.4},
		{"far and lossy", "delay=150ms,loss=3%", "delay=150ms,loss=3%", 300 * time.Millisecond, 0.1},
		{"narrow", "delay=20ms,rate=2Mbps,queue=60ms", "delay=20ms", 80 * time.Millisecond, 0.5},
	}
	for _, layers := range []string{"0", "01", "0s0d"} {
		for _, l := range links {
			t.Run(l.name+"/"+layers, func(t *testing.T) {
				for seed := range uint64(2) {
					res := simulation{
						up: spec(t, l.up), down: spec(t, l.down), layers: layers,
						frames: 300, rtt: l.rtt, seed: seed,
					}.run(t)
					for _, b := range res.badness {
						t.Errorf("seed %d: delivered %s", seed, b)
					}
					share := float64(len(res.got)) / 300
					if share < l.share {
						t.Errorf("seed %d: %.0f%% of the frames came out, want %.0f%%", seed, share*100, l.share*100)
					}
					t.Logf("seed %d: %3.0f%%, longest %v, frozen %v, %d keys %d breaks %d nacks", seed, share*100, res.longest, res.frozen, res.assembler.Keys, res.assembler.Breaks, res.assembler.NACKs)
				}
			})
		}
	}
}

// TestPatience bounds what a lossy path costs, by the means of ten runs of 20 s
// each: the figures that decided how long to wait for repairs.
func TestPatience(t *testing.T) {
	for _, tc := range []struct {
		name, up, down string
		rtt            time.Duration
		share          float64 // of the frames, at least
		breaks         float64 // a minute, at most
	}{
		{"5% at 10 ms", "delay=5ms,loss=5%", "delay=5ms,loss=5%", 10 * time.Millisecond, 0.99, 2},
		{"5% at 40 ms", "delay=20ms,loss=5%", "delay=20ms,loss=5%", 40 * time.Millisecond, 0.96, 10},
		{"5% at 100 ms", "delay=50ms,loss=5%", "delay=50ms,loss=5%", 100 * time.Millisecond, 0.94, 10},
		{"3% at 300 ms", "delay=150ms,loss=3%", "delay=150ms,loss=3%", 300 * time.Millisecond, 0.7, 25},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const runs, frames = 10, 600
			var got, breaks int
			var longest, frozen time.Duration
			for seed := range uint64(runs) {
				res := simulation{up: spec(t, tc.up), down: spec(t, tc.down), frames: frames, rtt: tc.rtt, seed: seed}.run(t)
				got += len(res.got)
				breaks += int(res.assembler.Breaks)
				frozen += res.frozen
				longest = max(longest, res.longest)
			}
			minutes := (runs * frames * 33 * time.Millisecond).Minutes()
			share, perMinute := float64(got)/(runs*frames), float64(breaks)/minutes
			t.Logf("%.1f%% of the frames, %.1f breaks and %.1f s frozen a minute, longest %v",
				share*100, perMinute, frozen.Seconds()/minutes, longest)
			if share < tc.share || perMinute > tc.breaks {
				t.Errorf("%.1f%% of the frames and %.1f breaks a minute, want %.0f%% and %.0f",
					share*100, perMinute, tc.share*100, tc.breaks)
			}
		})
	}
}
