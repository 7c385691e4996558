package video

import (
	"math/rand/v2"
	"testing"
	"time"

	"mixdown/codec"
)

const ms = time.Millisecond

// TestTransit: the mapping follows the fastest path at once, a longer one
// slowly, and starts anew when the sender's clock jumps.
func TestTransit(t *testing.T) {
	var m transit
	const start = 10 * time.Second
	if !m.observe(0, start) || m.capture(0) != start {
		t.Errorf("first: %v", m.capture(0))
	}
	if m.observe(tick, start+tick+50*ms) || m.capture(tick) > start+tick+time.Millisecond {
		t.Errorf("a late one: %v", m.capture(tick))
	}
	if m.observe(2*tick, start+2*tick-20*ms); m.capture(2*tick) != start+2*tick-20*ms {
		t.Errorf("an early one: %v", m.capture(2*tick))
	}
	for i := 3; i < 900; i++ { // 30 s on a path 50 ms slower
		before := m.offset
		m.observe(time.Duration(i)*tick, start+time.Duration(i)*tick+30*ms)
		if step := m.offset - before; step < 0 || step > tick/transitCreep+1 {
			t.Fatalf("picture %d: a step of %v", i, step)
		}
		if i < 9*30 && m.offset > start-20*ms {
			t.Fatalf("picture %d: after less than the window %v", i, m.offset-start)
		}
	}
	if got := m.offset; got != start+30*ms {
		t.Errorf("after 30 s: %v", got)
	}
	if !m.observe(time.Hour, 120*time.Second) || m.capture(time.Hour) != 120*time.Second {
		t.Errorf("after a jump: %v", m.capture(time.Hour))
	}
	// A pause longer than the window.
	if m.observe(time.Hour+time.Minute, 180*time.Second+5*ms); m.offset > 120*time.Second-time.Hour+5*ms {
		t.Errorf("after a pause: %v", m.offset)
	}
}

// TestTransitUnderJitter: what varies is the pictures' way, not what is made of
// it, also when clocks drift.
func TestTransitUnderJitter(t *testing.T) {
	for _, ppm := range []float64{0, 300, -300} {
		r := rand.New(rand.NewPCG(1, 2))
		var m transit
		for i := range 30 * 600 { // 10 min
			pts := time.Duration(i) * tick
			sent := pts + time.Duration(float64(pts)*ppm/1e6)
			m.observe(pts, sent+20*ms+time.Duration(r.Int64N(int64(60*ms))))
			if got := m.capture(pts) - sent; i > 60 && (got < 15*ms || got > 26*ms) {
				t.Fatalf("%v ppm: picture %d after %v: want about 20ms", ppm, i, got)
			}
		}
	}
}

// TestDueQueueAtItsBound: however many pictures a delay covers, each that is
// shown is shown in time, and the picture goes on.
func TestDueQueueAtItsBound(t *testing.T) {
	pool := codec.NewVideoPool(1 << 20)
	for _, c := range []struct {
		fps, least int // least that is shown of a second
		delay      time.Duration
	}{{30, 30, 200 * ms}, {30, 22, 300 * ms}, {60, 22, 300 * ms}, {25, 25, 300 * ms}, {120, 22, 300 * ms}} {
		var q dueQueue
		every := time.Second / time.Duration(c.fps)
		next, count, seen := time.Duration(0), 0, uint64(0)
		var last time.Duration
		for now := time.Duration(0); now < 5*time.Second; now += ms {
			if now >= next {
				f, err := pool.Get(16, 16)
				if err != nil {
					t.Fatal(err)
				}
				f.PTS = next
				q.put(f, next+c.delay, now)
				next += every
			}
			f := q.latest(now)
			if f == nil || q.version == seen {
				continue
			}
			seen = q.version
			if now >= 2*time.Second && now < 3*time.Second {
				count++
			}
			if late := now - (f.PTS + c.delay); late < 0 || late > 2*ms {
				t.Errorf("%d fps, delay %v: a picture is shown %v late", c.fps, c.delay, late)
			}
			if gap := now - last; last != 0 && gap > 2*max(every, 42*ms) {
				t.Errorf("%d fps, delay %v: nothing for %v", c.fps, c.delay, gap)
			}
			last = now
		}
		if count < c.least {
			t.Errorf("%d fps, delay %v: %d pictures shown a second, want %d", c.fps, c.delay, count, c.least)
		}
		q.clear()
	}
	if used, most := pool.Used(), int64(codec.VideoFrameBytes(16, 16)*(maxDue+2)); used > most {
		t.Errorf("%d bytes of pictures: want at most %d", used, most)
	}
}

// TestDueQueueSpacing: pictures that come in bursts are shown at the pace at
// which they were taken, as long as the delay covers the jitter.
func TestDueQueueSpacing(t *testing.T) {
	pool := codec.NewVideoPool(1 << 20)
	r := rand.New(rand.NewPCG(3, 4))
	var q dueQueue
	var m transit
	type arrival struct{ pts, at time.Duration }
	var coming []arrival
	var at time.Duration
	for i := range 3000 {
		pts := time.Duration(i) * tick
		at = max(at, pts+10*ms+time.Duration(r.Int64N(int64(80*ms)))) // in order
		coming = append(coming, arrival{pts, at})
	}
	shown, late := 0, 0
	for n := range 3000 {
		now := time.Duration(n)*tick + tick/2
		for len(coming) > 0 && coming[0].at <= now {
			f, err := pool.Get(16, 16)
			if err != nil {
				t.Fatal(err)
			}
			f.PTS = coming[0].pts
			m.observe(f.PTS, coming[0].at)
			q.put(f, m.capture(f.PTS)+100*ms, coming[0].at)
			coming = coming[1:]
		}
		before := q.version
		f := q.latest(now)
		if n < 60 || f == nil {
			continue
		}
		if shown++; q.version != before+1 {
			late++
		}
	}
	if late > shown/100 {
		t.Errorf("%d of %d ticks without a new picture: want each one to show one", late, shown)
	}
	q.clear()
}
