package mixer

import (
	"testing"
	"time"
)

func TestPaceGivesEveryTickOnce(t *testing.T) {
	for _, rate := range []int64{50, 30, 15, 25, 60, 7} {
		p := pace{epoch: 3 * time.Second, rate: rate}
		want := int64(0)
		for now := time.Duration(0); now < 20*time.Second; now += 7*time.Millisecond + 13*time.Microsecond {
			first, count, skipped := p.due(now)
			if skipped != 0 {
				t.Fatalf("rate %d: %d skipped at %v", rate, skipped, now)
			}
			if count > 0 && first != want {
				t.Fatalf("rate %d: first %d, want %d", rate, first, want)
			}
			for n := first; n < first+int64(count); n++ {
				if at := p.at(n); at > now {
					t.Fatalf("rate %d: tick %d, due at %v, was given out at %v", rate, n, at, now)
				}
			}
			want += int64(count)
		}
		if exact := 17*rate + 1; want < exact-1 || want > exact {
			t.Errorf("rate %d: %d ticks in 17 s, want %d", rate, want, exact)
		}
	}
}

func TestPaceNeverDrifts(t *testing.T) {
	p := pace{rate: 30}
	const hours = 1000
	if got, want := p.pts(hours*3600*30), hours*time.Hour; got != want {
		t.Errorf("after %d hours the tick is at %v", hours, got)
	}
	for n := range int64(100_000) {
		if got := p.index(p.at(n)); got != n {
			t.Fatalf("tick %d is due at %v, where index says %d", n, p.at(n), got)
		}
		if got := p.index(p.at(n) - 1); got != n-1 {
			t.Fatalf("1 ns before tick %d, index says %d", n, got)
		}
	}
}

func TestPaceMakesUpForFiveAndJumpsPastMore(t *testing.T) {
	p := pace{rate: 50}
	p.due(0)
	if first, count, skipped := p.due(100 * time.Millisecond); first != 1 || count != 5 || skipped != 0 {
		t.Errorf("100 ms late: first %d, count %d, skipped %d; want 1, 5, 0", first, count, skipped)
	}
	if first, count, skipped := p.due(220 * time.Millisecond); first != 11 || count != 1 || skipped != 5 {
		t.Errorf("120 ms late: first %d, count %d, skipped %d; want 11, 1, 5", first, count, skipped)
	}
	p.restart(10 * time.Second)
	if first, count, skipped := p.due(10*time.Second + 20*time.Millisecond); first != 501 || count != 1 || skipped != 0 {
		t.Errorf("after a restart: first %d, count %d, skipped %d; want 501, 1, 0", first, count, skipped)
	}
}
