package mixer

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

func testGovernor(cores float64) *Governor {
	return newGovernor(cores, cores, slog.New(slog.DiscardHandler))
}

// uses makes the Governor see that so much is used, for long.
func (g *Governor) uses(cores float64) {
	p := calmly
	p.used = cores
	for range 40 {
		g.look(&p)
	}
}

func TestAdmission(t *testing.T) {
	price := func(cores float64) Price { return Price{Sound: cores} }
	for _, c := range []struct {
		name   string
		used   float64
		levels int // climbed
		price  float64
		who    Standing
		left   float64 // < 0: admitted
	}{
		{"room enough", 1, 0, 0.59, StandingNew, -1},
		{"80% is all", 1, 0, 0.61, StandingNew, 0.6},
		{"nothing is left", 1.7, 0, 0.01, StandingNew, 0},
		{"the second has the rest", 1.7, 0, 0.29, StandingAwaited, -1},
		{"and no more", 1.7, 0, 0.31, StandingAwaited, 0.3},
		{"who was here is in what is used", 1.9, 0, 1, StandingReturning, -1},
		{"quality is lowered", 1, 1, 0.01, StandingNew, 0},
		{"but one is awaited", 1.2, 0, 0.5, StandingAwaited, -1},
		{"or was here", 1, 5, 0.01, StandingReturning, -1},
		{"lowered for others' sake", 0.1, 3, 0.01, StandingNew, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := testGovernor(2)
			g.uses(c.used)
			for range c.levels {
				p := late
				p.used = c.used
				g.look(&p)
				g.look(&p)
			}
			if g.Level() != Level(c.levels) {
				t.Fatalf("%v", g.Level())
			}
			err := g.admit(price(c.price), c.who, time.Hour)
			var o *Overload
			switch {
			case c.left < 0 && err != nil:
				t.Errorf("refused: %v", err)
			case c.left >= 0 && (!errors.As(err, &o) || !errors.Is(err, ErrOverloaded)):
				t.Errorf("not refused: %v", err)
			case c.left >= 0 && (o.Needed != c.price || !near(o.Left, c.left) || o.Level != Level(c.levels)):
				t.Errorf("%+v (%v), want %v left", o, err, c.left)
			}
			s := g.statsAt(time.Hour)
			if refused := s.RefusedPrice + s.RefusedLevel; refused+s.Admitted != 1 || (refused == 1) != (c.left >= 0) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What is admitted counts at once, and until it is measured.
func TestAdmissionClaims(t *testing.T) {
	g := testGovernor(1)
	n, now := 0, time.Hour
	for g.admit(Price{Decode: 0.1}, StandingNew, now) == nil {
		n++
	}
	if n != 8 && n != 7 { // 8 x 0.1 may be more than 0.8
		t.Errorf("%d admitted at 0.1 each", n)
	}
	if s := g.statsAt(now); !near(s.Claimed, 0.1*float64(n)) || s.Used != 0 || s.Cores != 1 || s.Budget != 1 || s.Left > 0.11 {
		t.Errorf("%+v", s)
	}
	if g.admit(Price{Decode: 0.15}, StandingNew, now+claimFor-1) == nil {
		t.Error("claims are forgotten too early")
	}
	now += claimFor
	if err := g.admit(Price{Decode: 0.7}, StandingNew, now); err != nil {
		t.Errorf("claims are not forgotten: %v", err)
	}
}

func TestNoGovernor(t *testing.T) {
	g := testGovernor(0)
	g.uses(100)
	for range 100 {
		g.look(&late)
	}
	if err := g.Admit(Price{Decode: 1000}, StandingNew); err != nil || g.Level() != LevelNormal {
		t.Errorf("%v at %v", err, g.Level())
	}
	if s := g.Stats(); s.Cores != 0 || s.Budget != 0 || s.Left != 0 || s.Used == 0 || s.Admitted != 1 {
		t.Errorf("%+v", s)
	}
}

// A budget that is larger than the machine refuses nobody, but pictures make way
// for the sound all the same.
func TestBudgetBeyondTheMachine(t *testing.T) {
	g := newGovernor(1024, 2, slog.New(slog.DiscardHandler))
	for range 20 {
		g.look(&late)
	}
	if err := g.Admit(Price{Decode: 100}, StandingNew); err != nil || g.Level() != NumLevels-1 {
		t.Errorf("%v at %v", err, g.Level())
	}
}

// The budget is what was used when more could not be had.
func TestOverloadLowersTheBudget(t *testing.T) {
	g := testGovernor(4)
	g.uses(2)
	for g.Level() < LevelBaseLayer {
		p := queueing
		p.used = 2
		g.look(&p)
	}
	s := g.Stats()
	if !near(s.Budget, 2) || s.Left != 0 || s.Climbed[StrainQueue] != 2 || s.Reason != StrainQueue {
		t.Errorf("%+v", s)
	}
	for g.Level() > LevelNormal {
		g.look(&calmly)
	}
	if s := g.Stats(); s.Descended != 2 || !near(s.Budget, 2) {
		t.Errorf("%+v", s)
	}
	g.uses(0.5) // 20 s: a sixth of 4
	if s := g.Stats(); math.Abs(s.Budget-(2+4.0/6)) > 0.05 {
		t.Errorf("after 20 s the budget is %v", s.Budget)
	}
}

func TestPriceOfACanvas(t *testing.T) {
	g := testGovernor(1)
	hd, tier := layout.Canvas{Width: 1280, Height: 720, FPS: 30}, video.Tier{Width: 640, Height: 360, FPS: 30}
	if p := g.PriceCanvas(hd, tier); p.Compose <= 0 || p.Encode <= 0 || p.Cores() != p.Compose+p.Encode {
		t.Errorf("%+v", p)
	}
}

func TestAdmissionAllocatesNothing(t *testing.T) {
	g := testGovernor(1e4)
	for range 1000 {
		g.admit(Price{Decode: 1e-3}, StandingNew, 0)
	}
	if n := testing.AllocsPerRun(100, func() { g.admit(Price{Decode: 1e-3}, StandingNew, claimFor) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestPoolThatIsOverloaded has a real pool with more to do than it can, and then
// not. What each real look sees is believed for five seconds, so that a minute
// takes one.
func TestPoolThatIsOverloaded(t *testing.T) {
	pool, err := worker.New(worker.Config{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = pool.Run(ctx) // it was called once
	}()
	defer func() { end(); <-ended }()

	g := testGovernor(2)
	last := load{at: codec.Now(), pool: pool.Stats()}
	look := func() {
		if codec.Now()-last.at < 80*time.Millisecond {
			return
		}
		now := load{at: codec.Now(), cpu: worker.ProcessCPU(), pool: pool.Stats()}
		p := now.since(&last)
		last = now
		p.passed = 500 * time.Millisecond
		for range 10 {
			g.look(&p)
		}
	}
	// Eight tasks of 3 ms that want to run again at once: each waits for seven
	// others.
	stop := make(chan struct{})
	for range 8 {
		var task *worker.Task
		task = worker.NewTask(func() {
			for m := worker.StartCPU(); m.Elapsed() < 3*time.Millisecond; {
			}
			select {
			case <-stop:
			default:
				pool.Submit(task, codec.Now())
			}
		})
		pool.Submit(task, codec.Now())
	}
	await(t, "the top of the ladder", func() bool { look(); return g.Level() == NumLevels-1 })
	if s := g.Stats(); s.Climbed[StrainQueue] == 0 {
		t.Errorf("climbed for %v", s.Climbed)
	}
	close(stop)
	await(t, "the way back", func() bool { look(); return g.Level() == LevelNormal })
}

// TestSetCores changes what may be used, from one moment to the next.
func TestSetCores(t *testing.T) {
	g := testGovernor(2)
	g.uses(1)
	price := Price{Sound: 1}
	if err := g.Admit(price, StandingNew); !errors.Is(err, ErrOverloaded) {
		t.Errorf("of 2 cores: %v", err)
	}
	g.SetCores(4)
	if s := g.Stats(); s.Cores != 4 || s.Budget != 4 {
		t.Errorf("%+v: want 4 cores", s)
	}
	if err := g.Admit(price, StandingNew); err != nil {
		t.Errorf("of 4 cores: %v", err)
	}
	for range 4 {
		p := late
		g.look(&p)
	}
	if g.Level() == LevelNormal {
		t.Fatal("the level was not raised")
	}
	g.SetCores(0)
	if g.Level() != LevelNormal || g.Stats().Level != LevelNormal {
		t.Errorf("without a bound the level is %v", g.Level())
	}
	if err := g.Admit(Price{Sound: 100}, StandingNew); err != nil {
		t.Errorf("without a bound: %v", err)
	}
}
