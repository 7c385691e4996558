package mixer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// Governor sees to it that a process with more to do than it can goes on
// sounding well. There is one for all rooms.
//
// First, it admits: what would take the process over 80% of its budget of
// processor time is refused, with the price and what is left ([Overload]). The
// budget is what the process may use, or less, when that turned out not to be
// there: other processes use the machine as well.
//
// Second, it watches how long pictures wait for a thread of the worker pool and
// how late the audio ticks are. When either is too much for two seconds, or the
// sound for one, it climbs a ladder of measures ([Level]) which the rooms carry
// out, a step at a time; after ten seconds of calm it steps down again, and
// waits twice as long when that was too early.
//
// Three cases are not treated alike. Who comes back is never refused: he has
// been paid for. The second of a room is refused only when nothing at all is
// left, since somebody waits for him; not so the first, for whom any other
// server will do. And while the ladder is climbed nobody else is admitted,
// unless the process uses so little that it cannot be what overloads the
// machine.
//
// A Governor without cores measures nothing and refuses nobody.
type Governor struct {
	machine float64 // how many cores there are
	log     *slog.Logger

	// cores is 0 where there is no governor. real is how many cores there are at
	// most, whatever may be used. Under mu.
	cores, real float64

	level  atomic.Uint32
	reason atomic.Uint32 // Strain of the last climb

	mu struct {
		sync.Mutex
		ladder  ladder
		budget  budget
		rates   rates
		used    float64 // in cores, over a second or two
		claims  []claim
		changed time.Time // of the level
		stats   GovernorStats
	}
}

// claim is what was admitted a moment ago, and is not measured yet.
type claim struct {
	at    time.Duration
	cores float64
}

// maxCores is more than any machine has.
const maxCores = 1 << 16

const (
	// admitShare of the budget is given out; the rest is for what moves.
	admitShare = 0.8
	// claimFor is how long what was admitted is counted at its price: making
	// the connection takes a second, and to be seen in what is used another two.
	claimFor = 5 * time.Second
	// usedMemory is the time constant of what is used.
	usedMemory = 2 * time.Second
	// lookEvery is how often the Governor looks, learnEvery at how many looks it
	// measures what work costs, which takes microseconds per participant.
	lookEvery  = 500 * time.Millisecond
	learnEvery = 4
)

// Standing is how somebody asks to be admitted.
type Standing uint8

const (
	// StandingNew has no rights.
	StandingNew Standing = iota
	// StandingAwaited is the second of a room.
	StandingAwaited
	// StandingReturning was here a moment ago.
	StandingReturning
)

// ErrOverloaded is what an Overload is, for errors.Is.
var ErrOverloaded = errors.New("the server is too busy")

// Overload is why the Governor refuses: the Err of an [Error] of Kind
// Unavailable.
type Overload struct {
	// Needed is the price of what was asked for, Left what there is for it, both
	// in cores.
	Needed, Left float64
	// Level is how far quality has been lowered for those who are there.
	Level Level
}

// Error says what was needed and what is left.
func (o *Overload) Error() string {
	s := fmt.Sprintf("%v: %.3f cores are needed, %.3f are left", ErrOverloaded, o.Needed, o.Left)
	if o.Level > LevelNormal {
		s += ", and quality is lowered already (" + o.Level.String() + ")"
	}
	return s
}

// Unwrap returns ErrOverloaded.
func (o *Overload) Unwrap() error { return ErrOverloaded }

// GovernorStats is what the Governor sees and did.
type GovernorStats struct {
	Level Level
	// Reason is why the level was raised last.
	Reason Strain
	// Cores is what the process may use at most, Budget what it is believed to
	// get, Used what it uses, Claimed what was admitted a moment ago, Left what
	// may still be admitted. Without a governor all but Used and Claimed are 0.
	Cores, Budget, Used, Claimed, Left float64
	// Admitted and Refused count requests, refusals by whether the level alone
	// was the reason.
	Admitted, RefusedPrice, RefusedLevel uint64
	// Climbed counts steps up by their reason, Descended steps down.
	Climbed   [NumStrains]uint64
	Descended uint64
}

func newGovernor(cores, machine float64, log *slog.Logger) *Governor {
	g := &Governor{machine: machine, cores: cores, real: min(cores, machine), log: log}
	g.mu.budget = budget{cores: cores, now: cores}
	g.mu.rates = defaultRates
	return g
}

// SetCores changes what the process may use at most; 0 is no such bound, and
// nobody is refused any more. What the level was goes on from there.
func (g *Governor) SetCores(cores float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if cores == g.cores {
		return
	}
	g.cores, g.real = cores, min(cores, g.machine)
	g.mu.budget = budget{cores: cores, now: cores}
	if cores == 0 {
		g.mu.ladder = ladder{}
		g.level.Store(uint32(LevelNormal))
	}
}

// Level returns how far the process has gone. It does not block.
func (g *Governor) Level() Level { return Level(g.level.Load()) }

// Reason returns why the level was raised last.
func (g *Governor) Reason() Strain { return Strain(g.reason.Load()) }

// PriceCanvas returns the price of one more canvas, coded at the tiers given.
// What is shown on it is decoded already.
func (g *Governor) PriceCanvas(c layout.Canvas, tiers ...video.Tier) Price {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.rates.canvas(c, tiers...)
}

func (g *Governor) priceJoin(j joining) Price {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.rates.join(j)
}

// Admit takes what a price asks for out of what is left, or refuses with an
// [Overload]. What was admitted and then does not happen is given back by
// itself, within seconds. It does not block.
func (g *Governor) Admit(price Price, who Standing) error { return g.admit(price, who, codec.Now()) }

func (g *Governor) admit(price Price, who Standing, now time.Duration) error {
	needed := price.Cores()
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.mu.used + g.claimed(now)
	if g.cores > 0 && who != StandingReturning {
		level := g.mu.ladder.level
		share := admitShare
		if who == StandingAwaited {
			share, level = 1, LevelNormal
		}
		// Somebody else overloads the machine when we use so little.
		if g.mu.used < g.cores*leastBudget {
			level = LevelNormal
		}
		left := max(0, g.mu.budget.now*share-taken)
		switch {
		case level > LevelNormal:
			g.mu.stats.RefusedLevel++
			return &Overload{Needed: needed, Left: 0, Level: level}
		case needed > left:
			g.mu.stats.RefusedPrice++
			return &Overload{Needed: needed, Left: left, Level: g.mu.ladder.level}
		}
	}
	g.mu.stats.Admitted++
	if who != StandingReturning { // he is in what is used
		g.mu.claims = append(g.mu.claims, claim{now, needed})
	}
	return nil
}

// claimed returns what was admitted lately, and forgets what was so before. The
// caller holds mu.
func (g *Governor) claimed(now time.Duration) (cores float64) {
	old := 0
	for old < len(g.mu.claims) && now-g.mu.claims[old].at >= claimFor {
		old++
	}
	g.mu.claims = append(g.mu.claims[:0], g.mu.claims[old:]...)
	for _, c := range g.mu.claims {
		cores += c.cores
	}
	return cores
}

// Stats returns a snapshot.
func (g *Governor) Stats() GovernorStats { return g.statsAt(codec.Now()) }

func (g *Governor) statsAt(now time.Duration) GovernorStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.mu.stats
	s.Level, s.Reason = g.mu.ladder.level, g.Reason()
	s.Cores, s.Budget, s.Used, s.Claimed = g.cores, g.mu.budget.now, g.mu.used, g.claimed(now)
	if s.Level == LevelNormal || s.Used < g.cores*leastBudget {
		s.Left = max(0, s.Budget*admitShare-s.Used-s.Claimed)
	}
	return s
}

// look takes what has happened since the last look into account, and reports
// whether the level changed.
func (g *Governor) look(p *pressure) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fresh := 1 - math.Exp(-p.passed.Seconds()/usedMemory.Seconds())
	g.mu.used += (p.used - g.mu.used) * fresh
	if g.cores == 0 {
		return false
	}
	was := g.mu.ladder.level
	changed, why := g.mu.ladder.step(p, g.real)
	level := g.mu.ladder.level
	switch {
	case level > was:
		if was == LevelNormal {
			g.mu.budget.strained(g.mu.used)
		}
		g.mu.stats.Climbed[why]++
		g.reason.Store(uint32(why))
	case level < was:
		g.mu.stats.Descended++
	case level == LevelNormal:
		g.mu.budget.grow(min(p.passed, longestLook))
	}
	g.level.Store(uint32(level))
	if changed {
		g.log.Warn("overload: "+level.String(), "was", was.String(), "reason", why.String(),
			"waited", p.waited, "late", p.late, "soundLate", p.soundLate,
			"usedCores", math.Round(g.mu.used*100)/100, "budget", math.Round(g.mu.budget.now*100)/100)
	}
	return changed
}

func (g *Governor) learn(now, earlier *work, passed time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.rates.learn(now, earlier, passed)
}

// run looks until ctx is done, and tells rooms that the level has changed.
func (g *Governor) run(ctx context.Context, m *Manager) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	last, done := m.load(), m.work()
	learnt := last.at
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := m.load()
		p := now.since(&last)
		last = now
		if g.look(&p) {
			for _, r := range m.list() {
				r.wake()
			}
		}
		if n%learnEvery == 0 {
			w := m.work()
			g.learn(&w, &done, now.at-learnt)
			done, learnt = w, now.at
		}
	}
}

// load returns what the process has done so far.
func (m *Manager) load() load {
	rooms, past := m.listAndPast()
	l := load{at: codec.Now(), cpu: worker.ProcessCPU(), pool: m.cfg.Pool.Stats(), sound: past.AudioClock}
	for _, r := range rooms {
		l.sound.add(r.audioClock.read())
	}
	return l
}

// work returns what the rooms have done so far.
func (m *Manager) work() work {
	s := m.Stats()
	w := work{
		cpu: s.CPU, process: worker.ProcessCPU(), pool: m.cfg.Pool.Stats().CPU,
		decoded: s.Sources.Decoded, decodedPixels: float64(s.Sources.DecodedPixels), participants: s.Participants,
	}
	for _, r := range m.list() {
		for _, p := range *r.roster.Load() {
			if p.source != nil {
				w.senders++
			}
		}
	}
	for kind, r := range s.Renditions {
		w.encodedPixels += float64(r.Encoded) * float64(kind.Tier.Width*kind.Tier.Height)
	}
	return w
}
