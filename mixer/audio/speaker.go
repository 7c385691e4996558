package audio

import "math/bits"

const (
	// Who takes the floor must have spoken for talkTicks of the last
	// talkWindow: 540 of 700 ms. A cough is over after 200 to 400 ms, in a
	// double one there is a gap of 200, and keys that are typed are mostly gaps.
	talkWindow = 35
	talkTicks  = 27
	// And still speak: 60 of the last 120 ms.
	talkNow      = 6
	talkNowTicks = 3
	// talkMemory makes the score the share of the last second or so that was
	// speech (tau is 0.8 s).
	talkMemory = 1.0 / 40
	// talkMargin is how much more of it a challenger must have than who has the
	// floor and speaks on: of two who talk for long, neither has. One who has
	// hardly spoken for talkPause, 300 ms, needs no pushing: his score and the
	// next one's cross 0.55 s after he ended.
	talkMargin     = 0.35
	talkPause      = 15
	talkPauseTicks = 2
	// talkLouderDB lets a voice take the floor from something that goes on for
	// ever beside it and is that much fainter: music, a neighbour.
	talkLouderDB = 10
	// talkLoudMemory averages the loudness over about a second of speech.
	talkLoudMemory = 1.0 / 50
	// talkGone is the score below which nothing is worth following.
	talkGone = 0.001
)

// activity is how much somebody speaks, on three scales of time: right now, the
// last 0.7 s, and about a second back with a fading memory. The zero value is
// somebody who has been silent for long.
type activity struct {
	bits  uint64  // the last ticks, the newest lowest: spoke or not
	score float32 // 0..1
	loud  float32 // dBov, of the ticks with speech
}

// hear takes a tick.
func (a *activity) hear(speech bool, level uint8) {
	a.bits <<= 1
	var now float32
	if speech {
		if now = 1; a.score < talkGone {
			a.loud = -float32(level)
		}
		a.bits |= 1
		a.loud += talkLoudMemory * (-float32(level) - a.loud)
	}
	a.score += talkMemory * (now - a.score)
	if a.bits == 0 && a.score < talkGone {
		*a = activity{}
	}
}

// talks reports whether this is speech, and not a noise that somebody made.
func (a *activity) talks() bool {
	return a.spoke(talkNow) >= talkNowTicks && a.spoke(talkWindow) >= talkTicks
}

// spoke counts ticks of speech among the last n, up to 64.
func (a *activity) spoke(n int) int { return bits.OnesCount64(a.bits & (1<<n - 1)) }

// takesFrom reports whether a, who talks, may take the floor from b.
func (a *activity) takesFrom(b *activity) bool {
	margin := float32(talkMargin)
	if b.spoke(talkPause) <= talkPauseTicks {
		margin = 0
	}
	return a.score > b.score+margin || a.score > 0.5 && a.loud > b.loud+talkLouderDB
}

// speakerDetector keeps who has the floor: the last who spoke. Others take it by
// speaking for a while when he does not. The zero value is ready.
type speakerDetector struct{ holder *Member }

// decide looks at those who are heard, once a tick.
func (d *speakerDetector) decide(active []*Member) {
	var best *Member
	for _, mem := range active {
		if mem != d.holder && mem.Speaking() && mem.activity.talks() &&
			(best == nil || byActivity(mem, best) < 0) {
			best = mem
		}
	}
	if best != nil && (d.holder == nil || best.activity.takesFrom(&d.holder.activity)) {
		d.holder = best
	}
}

// byActivity sorts who speaks most first.
func byActivity(a, b *Member) int {
	switch {
	case a.activity.score != b.activity.score:
		if a.activity.score > b.activity.score {
			return -1
		}
		return 1
	case a.csrc < b.csrc:
		return -1
	}
	return 1
}

// forget is for somebody who leaves.
func (d *speakerDetector) forget(mem *Member) {
	if d.holder == mem {
		d.holder = nil
	}
}
