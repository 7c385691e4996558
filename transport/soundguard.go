package transport

import "time"

const (
	// guardBelow bits/s or less, as the distances tell at which packets arrive that
	// went out together, are a path that is guarded. It pulls a picture apart itself,
	// so the guard adds little to the way of one. Of the shortest packets that count
	// the stamps of arrival tell no more than 8 Mb/s.
	guardBelow = 7_500_000
	// guardPackets may go between two packets of sound in any case. On 300 kb/s the
	// second of them then comes 130 ms after the first.
	guardPackets = 4
	// guardFactor times the bitrate, of pictures or of a probe, may go. When more
	// waits than goes with the next three packets of sound, guardHurry times, and
	// guardPackets and one.
	guardFactor, guardHurry = 1.25, 1.6
	// guardTick is from one packet of sound to the next.
	guardTick = 20 * time.Millisecond
	// guardSpan after a packet of sound nobody waits for the next: it is late, or
	// there is silence.
	guardSpan = 30 * time.Millisecond
)

// A soundGuard bounds what goes out between two packets of sound. A path that
// falls to a tenth takes ten times as long for it, and its queue is full before
// any feedback can tell: what was sent until then decides for how long nothing is
// heard. What must wait goes right behind the next sound, in the same system
// call; a queue that is full has the most time then to make room for the sound
// after it.
type soundGuard struct {
	at    time.Duration // when sound went out last; 0: never
	since int           // bytes of pictures and repairs since
	may   float64       // bytes until the next
}

// guardMost is how fast a queue drains between sound, in bits/s, of pictures that are
// made at rate bits/s.
func guardMost(rate float64) float64 {
	return max((guardPackets+1)*packetBudget*8/guardTick.Seconds(), guardHurry*rate)
}

// sound notes that a packet of sound goes out, while so many bytes of pictures
// wait, which are made at rate bits/s.
func (g *soundGuard) sound(queued int, rate float64, now time.Duration) {
	tick := rate / 8 * guardTick.Seconds()
	g.at, g.since = now, 0
	g.may = max(guardPackets*packetBudget, guardFactor*tick)
	if float64(queued) > 3*g.may {
		g.may = guardMost(rate) / 8 * guardTick.Seconds()
	}
}

// wait is for how long at most pictures wait for the next sound; 0: they may go.
func (g *soundGuard) wait(now time.Duration) time.Duration {
	if g.at == 0 || float64(g.since+packetBudget) <= g.may {
		return 0
	}
	return max(g.at+guardSpan-now, 0)
}
