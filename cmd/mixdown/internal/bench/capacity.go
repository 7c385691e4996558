package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// CapacityConfig says what to raise and when it counts as broken.
type CapacityConfig struct {
	// Room is what is measured; its Participants and Talkers are set for each
	// run. Talkers talk, or everybody when it is negative.
	Room    Config
	Talkers int
	// From and To are the smallest and the largest room. Step is how much is
	// added each time; 0 doubles until something breaks and then halves the
	// distance until the limit is known to a sixteenth.
	From, To, Step int
	Bounds         Bounds
	// Measure is Room unless a test says otherwise.
	Measure func(context.Context, Config) (*Result, error)
}

// Bounds are what quality must not cross. The zero value has the defaults.
type Bounds struct {
	// FPSShare of the nominal rate must reach the worst client. Defaults to 0.9.
	FPSShare float64 `json:"fpsShare"`
	// SoundShare of 50 packets a second must, too. Defaults to 0.9.
	SoundShare float64 `json:"soundShare"`
	// GapMs is for the pauses in sound, p99.9 without those during which the
	// machine was late. Defaults to 100: a buffer of five packets runs dry.
	GapMs float64 `json:"gapMs"`
	// SoundMs and PictureMs are for the p95 of added latency, where it was
	// measured. They default to 150 (ITU-T G.114) and 300.
	SoundMs   float64 `json:"soundMs"`
	PictureMs float64 `json:"pictureMs"`
}

func (b Bounds) withDefaults() Bounds {
	for _, f := range []struct {
		v         *float64
		byDefault float64
	}{{&b.FPSShare, 0.9}, {&b.SoundShare, 0.9}, {&b.GapMs, 100}, {&b.SoundMs, 150}, {&b.PictureMs, 300}} {
		if *f.v == 0 {
			*f.v = f.byDefault
		}
	}
	return b
}

// Validate reports what is wrong with the numbers.
func (c *CapacityConfig) Validate() error {
	switch {
	case c.From < 1:
		return fmt.Errorf("from %d participants: want 1 or more", c.From)
	case c.To < c.From:
		return fmt.Errorf("from %d to %d participants: want the smaller first", c.From, c.To)
	case c.Step < 0:
		return fmt.Errorf("step %d: want 1 or more, or 0 to double", c.Step)
	case c.Bounds.FPSShare < 0 || c.Bounds.FPSShare > 1 || c.Bounds.SoundShare < 0 || c.Bounds.SoundShare > 1:
		return errors.New("a share of the nominal rate is not within 0..1")
	case c.Bounds.GapMs < 0 || c.Bounds.SoundMs < 0 || c.Bounds.PictureMs < 0:
		return errors.New("a bound in milliseconds is below 0")
	}
	room := c.room(c.To)
	return room.Validate()
}

// room is what to measure with n participants.
func (c *CapacityConfig) room(n int) Config {
	r := c.Room
	r.Participants, r.Talkers = n, min(c.Talkers, n)
	if c.Talkers < 0 {
		r.Talkers = n
	}
	r.ImpairCount = min(r.ImpairCount, n)
	return r
}

// CapacityResult is the curve and its end.
type CapacityResult struct {
	Machine string  `json:"machine"`
	Talkers int     `json:"talkers"` // negative is all
	Seconds float64 `json:"seconds"` // of each measurement
	Bounds  Bounds  `json:"bounds"`
	// Held is the largest room in which nothing broke, Broke the smallest in
	// which something did, twice; 0 when there was none.
	Held  int `json:"held"`
	Broke int `json:"broke"`
	// First is what broke at Broke, the worst first.
	First []Fault `json:"first,omitempty"`
	// Line is server cores as a + b x participants, through the rooms that
	// held; nil with fewer than two.
	Line   *Line   `json:"line,omitempty"`
	Points []Point `json:"points"` // by participants
}

// Line is a straight one.
type Line struct {
	Cores          float64 `json:"cores"`
	PerParticipant float64 `json:"perParticipant"`
}

// Capacity raises the number of participants until quality breaks. What broke
// is measured a second time, since noise does not break twice. It takes about
// a minute more than the durations of its measurements.
func Capacity(ctx context.Context, cfg CapacityConfig) (*CapacityResult, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Measure == nil {
		cfg.Measure = Room
	}
	c := &capacity{cfg: cfg, bounds: cfg.Bounds.withDefaults()}
	var err error
	if cfg.Step > 0 {
		err = c.climb(ctx)
	} else {
		err = c.search(ctx)
	}
	if err != nil {
		return nil, err
	}
	return c.result(), nil
}

// capacity is one search.
type capacity struct {
	cfg    CapacityConfig
	bounds Bounds
	points []Point
}

// climb goes up in steps, the last of them to the end, until one breaks.
func (c *capacity) climb(ctx context.Context) error {
	for n := c.cfg.From; ; n = min(n+c.cfg.Step, c.cfg.To) {
		held, err := c.holds(ctx, n)
		if err != nil || !held || n == c.cfg.To {
			return err
		}
	}
}

// search doubles until one breaks, then closes in.
func (c *capacity) search(ctx context.Context) error {
	held, broke := 0, 0
	for n := c.cfg.From; broke == 0; n = min(2*n, c.cfg.To) {
		ok, err := c.holds(ctx, n)
		if err != nil {
			return err
		}
		if !ok {
			broke = n
		} else if held = n; n == c.cfg.To {
			return nil
		}
	}
	for held > 0 && broke-held > max(1, held/16) {
		n := (held + broke) / 2
		ok, err := c.holds(ctx, n)
		if err != nil {
			return err
		}
		if ok {
			held = n
		} else {
			broke = n
		}
	}
	return nil
}

// holds measures a room of n, a second time if it breaks.
func (c *capacity) holds(ctx context.Context, n int) (bool, error) {
	var p Point
	for try := range 2 {
		var err error
		if p, err = c.measure(ctx, n); err != nil {
			return false, err
		}
		p.Repeated = try > 0
		fmt.Fprintf(c.cfg.Room.Log, "bench: capacity: %d participants: %s\n", n, p.verdict())
		if len(p.Faults) == 0 {
			break
		}
	}
	c.points = append(c.points, p)
	return len(p.Faults) == 0, nil
}

// measure runs one room. That it cannot be run at all is a fault like another,
// unless ctx has ended.
func (c *capacity) measure(ctx context.Context, n int) (Point, error) {
	cfg := c.cfg.room(n)
	r, err := c.cfg.Measure(ctx, cfg)
	if ctx.Err() != nil {
		return Point{}, ctx.Err()
	}
	if err != nil {
		if len(c.points) == 0 {
			return Point{}, err // the first room, so it is no question of size
		}
		return Point{Participants: n, Talkers: cfg.Talkers, Error: err.Error(),
			Faults: []Fault{{What: FaultJoin, Blame: BlameUnknown}}}, nil
	}
	p := pointOf(cfg, r)
	p.judge(c.bounds)
	return p, nil
}

func (c *capacity) result() *CapacityResult {
	slices.SortFunc(c.points, func(a, b Point) int { return a.Participants - b.Participants })
	r := &CapacityResult{
		Talkers: max(c.cfg.Talkers, -1), Seconds: c.cfg.Room.Duration.Seconds(),
		Machine: machine(), Bounds: c.bounds, Points: c.points,
	}
	for _, p := range c.points {
		switch {
		case len(p.Faults) > 0:
			if r.Broke == 0 {
				r.Broke, r.First = p.Participants, p.Faults
			}
		case r.Broke == 0:
			r.Held = p.Participants
		}
	}
	r.Line = fit(c.points)
	return r
}

// fit is the least squares line through the rooms that held.
func fit(points []Point) *Line {
	var n, x, y, xx, xy float64
	for _, p := range points {
		if len(p.Faults) == 0 {
			v := float64(p.Participants)
			n, x, y, xx, xy = n+1, x+v, y+p.ServerCores, xx+v*v, xy+v*p.ServerCores
		}
	}
	d := n*xx - x*x
	if n < 2 || d == 0 {
		return nil
	}
	slope := (n*xy - x*y) / d
	return &Line{Cores: (y - slope*x) / n, PerParticipant: slope}
}

// JSON writes the result as one object.
func (r *CapacityResult) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table writes the result for people.
func (r *CapacityResult) Table(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "machine     %s\n", r.Machine)
	talkers := fmt.Sprintf("%d of them", r.Talkers)
	if r.Talkers < 0 {
		talkers = "all of them"
	}
	fmt.Fprintf(&b, "rooms       %s talking, %v each\n\n", talkers, time.Duration(r.Seconds*float64(time.Second)))
	fmt.Fprintf(&b, "%6s %7s %7s %7s %6s %6s %7s %8s %8s %8s %8s  %s\n", "people", "server", "floor", "clients", "RSS", "fps", "sound", "gaps", "sound", "picture", "machine", "")
	fmt.Fprintf(&b, "%6s %7s %7s %7s %6s %6s %7s %8s %8s %8s %8s  %s\n", "", "cores", "cores", "cores", "MB", "worst", "worst/s", "p99.9 ms", "p95 ms", "p95 ms", "late/min", "")
	for _, p := range r.Points {
		if p.Error != "" {
			fmt.Fprintf(&b, "%6d %s\n", p.Participants, p.verdict())
			continue
		}
		fmt.Fprintf(&b, "%6d %7.3f %7.3f %7.3f %6d %6s %7.1f %8.1f %8s %8s %8.1f  %s\n", p.Participants, p.ServerCores, p.FloorCores, p.ClientCores,
			p.RSSBytes>>20, orDash(p.FPS, 1), p.SoundPackets, p.GapMs, orDash(p.SoundMs, 0), orDash(p.PictureMs, 0), p.MachineLate, p.verdict())
	}
	fmt.Fprintln(&b)
	switch {
	case r.Broke == 0:
		fmt.Fprintf(&b, "capacity    %d or more: nothing broke\n", r.Held)
	case r.Held == 0:
		fmt.Fprintf(&b, "capacity    fewer than %d\n", r.Broke)
	default:
		fmt.Fprintf(&b, "capacity    %d; %d was too many\n", r.Held, r.Broke)
	}
	for i, f := range r.First {
		fmt.Fprintf(&b, "%-12s%s\n", [2]string{"broke first", "also"}[min(i, 1)], f)
	}
	if r.Broke > 0 && r.First[0].Blame != BlameServer && r.First[0].Blame != BlameUnknown {
		fmt.Fprintf(&b, "            so a server that has a machine to itself carries more than this\n")
	}
	if r.Line != nil {
		fmt.Fprintf(&b, "line        %.3f cores + %.4f for each participant, through the rooms that held\n", r.Line.Cores, r.Line.PerParticipant)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orDash(v float64, digits int) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, v)
}
