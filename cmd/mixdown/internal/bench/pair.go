package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// PairConfig says which two rooms to compare. They are measured in turns, so
// that a machine that changes does not change the comparison.
type PairConfig struct {
	// Room is the one with more: with viewers, or with pictures that stand still.
	// Its Latency and floor are left out.
	Room Config
	// Rounds is how often each is measured. Defaults to 2.
	Rounds int
	// Measure is Room unless a test says otherwise.
	Measure func(context.Context, Config) (*Result, error)
}

// PairResult compares a room with one that lacks what is in question.
type PairResult struct {
	Seconds float64   `json:"seconds"` // of each measurement
	Without []*Result `json:"without"`
	With    []*Result `json:"with"`
	// PerViewer is what viewers cost; nil when Room had none.
	PerViewer *PerViewer `json:"perViewer,omitempty"`
	// Still is what pictures that stand still cost; nil when Room's moved.
	Still *StillCost `json:"still,omitempty"`
}

// PerViewer is what somebody costs who only watches.
type PerViewer struct {
	Viewers int `json:"viewers"`
	// Cores is (with viewers - without) / viewers; CoresOff by how much a viewer's
	// share could be off, by the spread of the runs.
	Cores    float64 `json:"cores"`
	CoresOff float64 `json:"coresOff"`
	// EncodesWithout and EncodesWith are pictures coded a second.
	EncodesWithout float64 `json:"encodesWithout"`
	EncodesWith    float64 `json:"encodesWith"`
}

// StillCost compares encoding of a still canvas with that of a moving one.
type StillCost struct {
	// MovingMs and StillMs are processor time of encoding for each canvas of the
	// nominal rate, Share is the one by the other.
	MovingMs float64 `json:"movingMs"`
	StillMs  float64 `json:"stillMs"`
	Share    float64 `json:"share"`
	// MovingEncodes and StillEncodes are pictures coded a second.
	MovingEncodes float64 `json:"movingEncodes"`
	StillEncodes  float64 `json:"stillEncodes"`
}

// Pair measures a room with and without its viewers, or with still pictures and
// with moving ones. It takes 2 x Rounds measurements.
func Pair(ctx context.Context, cfg PairConfig) (*PairResult, error) {
	if cfg.Rounds == 0 {
		cfg.Rounds = 2
	}
	if cfg.Measure == nil {
		cfg.Measure = Room
	}
	with := cfg.Room
	with.Latency, with.noFloor = 0, true
	without := with
	switch {
	case cfg.Rounds < 1 || cfg.Rounds > 100:
		return nil, fmt.Errorf("%d rounds: want 1..100", cfg.Rounds)
	case with.Still && with.AudioOnly:
		return nil, errors.New("audio only has no pictures that stand still")
	case with.Still:
		without.Still = false
	case with.Viewers > 0:
		without.Viewers = 0
	default:
		return nil, errors.New("0 viewers: want 1 or more, to see what one costs")
	}
	r := &PairResult{Seconds: with.Duration.Seconds()}
	for round := range cfg.Rounds {
		// There and back again: what drifts evenly cancels out.
		turns := []bool{round%2 == 1, round%2 == 0}
		for _, more := range turns {
			room, to, what := without, &r.Without, "without"
			if more {
				room, to, what = with, &r.With, "with"
			}
			if room.Log != nil {
				fmt.Fprintf(room.Log, "bench: round %d of %d, %s\n", round+1, cfg.Rounds, what)
			}
			one, err := cfg.Measure(ctx, room)
			if err != nil {
				return nil, err
			}
			*to = append(*to, one)
		}
	}
	if with.Still {
		r.Still = stillCost(r.Without, r.With, float64(with.withDefaults().Canvas.FPS))
	} else {
		r.PerViewer = perViewer(r.Without, r.With, with.Viewers)
	}
	return r, nil
}

func figures(runs []*Result, of func(*Result) float64) (v []float64) {
	for _, r := range runs {
		v = append(v, of(r))
	}
	return v
}

// mean of some runs' figures.
func mean(runs []*Result, of func(*Result) float64) (m float64) {
	for _, x := range figures(runs, of) {
		m += x / float64(len(runs))
	}
	return m
}

func (r *Result) encodes() float64 {
	if r.Server == nil {
		return 0
	}
	return r.Server.encodes()
}

func (r *Result) encodeCores() float64 {
	if r.Server == nil {
		return 0
	}
	return r.Server.Cores.Encode
}

func perViewer(without, with []*Result, viewers int) *PerViewer {
	cores := func(r *Result) float64 { return r.ServerCores }
	_, a := spread(figures(without, cores))
	_, b := spread(figures(with, cores))
	return &PerViewer{
		Viewers: viewers,
		Cores:   (mean(with, cores) - mean(without, cores)) / float64(viewers), CoresOff: (a + b) / float64(viewers),
		EncodesWithout: mean(without, (*Result).encodes), EncodesWith: mean(with, (*Result).encodes),
	}
}

func stillCost(moving, still []*Result, fps float64) *StillCost {
	s := &StillCost{
		MovingMs: mean(moving, (*Result).encodeCores) / fps * 1000, StillMs: mean(still, (*Result).encodeCores) / fps * 1000,
		MovingEncodes: mean(moving, (*Result).encodes), StillEncodes: mean(still, (*Result).encodes),
	}
	if s.MovingMs > 0 {
		s.Share = s.StillMs / s.MovingMs
	}
	return s
}

// JSON writes the result as one object.
func (r *PairResult) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table writes the result for people: the last measurement of each, and what
// the comparison says.
func (r *PairResult) Table(w io.Writer) {
	for _, runs := range [][]*Result{r.Without, r.With} {
		if len(runs) > 0 {
			runs[len(runs)-1].Table(w)
			fmt.Fprintln(w)
		}
	}
	p := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-17s%s\n", name, fmt.Sprintf(format, args...))
	}
	p("in turns", "%d measurements of %v each", len(r.Without)+len(r.With), time.Duration(r.Seconds*float64(time.Second)))
	if v := r.PerViewer; v != nil {
		p("each viewer", "%.5f cores, ± %.5f; %.1f pictures coded a second without viewers, %.1f with %d", v.Cores, v.CoresOff, v.EncodesWithout, v.EncodesWith, v.Viewers)
	}
	if s := r.Still; s != nil {
		p("still", "%.1f%% of a moving canvas's encode: %.3f ms for each canvas, %.3f when it moves; %.1f and %.1f pictures coded a second",
			s.Share*100, s.StillMs, s.MovingMs, s.StillEncodes, s.MovingEncodes)
	}
}
