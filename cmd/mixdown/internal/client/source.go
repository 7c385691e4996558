package client

import (
	"context"
	"sync/atomic"
	"time"

	"mixdown/cmd/mixdown/internal/clip"
)

// Source gives a track what it sends. One goroutine calls Next;
// RequestKeyframe may come from others.
type Source interface {
	// Next returns the next unit. A live source blocks until there is one or
	// ctx is done; a stored one answers at once. Data is only read, and not
	// after the following call of Next.
	Next(ctx context.Context) (clip.Unit, error)
	// RequestKeyframe makes one of the next units a key frame. It does not block.
	RequestKeyframe()
	// Live says that Next itself keeps the time; otherwise the client paces.
	Live() bool
}

// Observer is a [Source] that wants to know when the unit of its latest Next
// went out: due is when it had to by the media's clock, which is what sender
// reports say, and at is when the last of its packets was handed to the socket,
// both on the process's clock. It runs on the goroutine that sends.
type Observer interface {
	Sent(due, at time.Duration)
}

// Loop plays a clip for ever. The clip may be shared.
func Loop(c *clip.Clip) Source { return &loop{player: c.Play()} }

type loop struct {
	player  *clip.Player
	restart atomic.Bool
}

func (l *loop) Next(context.Context) (clip.Unit, error) {
	if l.restart.Swap(false) {
		l.player.Restart()
	}
	return l.player.Next(), nil
}

func (l *loop) RequestKeyframe() { l.restart.Store(true) }

func (l *loop) Live() bool { return false }

// pacer tells when the unit that begins at a media time is due. Media time is
// a sum of durations, never the clock: that is what keeps timestamps exact.
type pacer struct {
	start time.Time
	pts   time.Duration
	drift drift // how pts runs against the clock
	// Skipped is how much media time was left out because this process could
	// not run for so long.
	skipped time.Duration
}

// drift is how fast a media clock runs, in millionths.
type drift float64

// clock returns how long a span of media time takes on the clock.
func (d drift) clock(media time.Duration) time.Duration {
	return media - time.Duration(float64(media)*float64(d)/(1e6+float64(d)))
}

// media returns how much media time passes in a span of the clock.
func (d drift) media(clock time.Duration) time.Duration {
	return clock + time.Duration(float64(clock)*float64(d)/1e6)
}

// maxLate is how far behind a sender may fall before it leaves units out
// instead of sending all of them in a burst.
const maxLate = 500 * time.Millisecond

// advance moves to the next unit and returns how long to wait until it is due.
func (p *pacer) advance(d time.Duration, now time.Time) time.Duration {
	p.pts += d
	wait := p.start.Add(p.drift.clock(p.pts)).Sub(now)
	if wait < -maxLate {
		p.skipped -= wait
		p.pts -= wait
		wait = 0
	}
	return wait
}
