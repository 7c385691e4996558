package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// ChurnResult is one measurement; its JSON is what --json prints. Times are in
// milliseconds.
type ChurnResult struct {
	Machine string   `json:"machine"`
	Stay    int      `json:"stay"`
	Video   string   `json:"video"`
	Canvas  string   `json:"canvas"`
	TopTier *TopTier `json:"topTier,omitempty"`
	Burst   Burst    `json:"burst"`
	// Cycles is nil when there were none.
	Cycles *Cycles `json:"cycles,omitempty"`
	// WitnessLate is how often the machine was late by itself.
	WitnessLate    int     `json:"witnessLate"`
	WitnessWorstMs float64 `json:"witnessWorstMs"`
}

// Burst is many who join within a moment.
type Burst struct {
	Joins   int     `json:"joins"`
	Seconds float64 `json:"seconds"`
	// FirstPictureMs and FirstSoundMs count from the posting of the offer to the
	// first picture that could be decoded, and the first packet of sound.
	FirstPictureMs Spread `json:"firstPictureMs"`
	FirstSoundMs   Spread `json:"firstSoundMs"`
	// Keyframes were coded meanwhile, by tier, over Span seconds.
	Keyframes map[string]float64 `json:"keyframes"`
	Span      float64            `json:"span"`
	// ClosestMs is the least time between two key frames that the first of those
	// who stay was sent; 0 when there were not two.
	ClosestMs float64 `json:"closestMs"`
	// Dropped is what queues dropped meanwhile, by their names, and what encoders'
	// rate control left out: where a pause comes from.
	Dropped map[string]float64 `json:"dropped,omitempty"`
	// Stayers is what those noticed who were there already.
	Stayers Undisturbed `json:"stayers"`
}

// Cycles is joining and leaving, again and again.
type Cycles struct {
	Cycles         int     `json:"cycles"`
	Lanes          int     `json:"lanes"`
	Seconds        float64 `json:"seconds"`
	FirstPictureMs Spread  `json:"firstPictureMs"`
	// Before and After are of the server, with nobody there but who stays. Some
	// cycles more come before Before: pools fill.
	Before Footprint `json:"before"`
	After  Footprint `json:"after"`
	// Stayers is what those noticed who were there all the time.
	Stayers Undisturbed `json:"stayers"`
}

// Spread sums up times of several clients, in milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
}

func spreadOf(v []time.Duration) Spread {
	v = slices.Clone(v)
	slices.Sort(v)
	return Spread{ms(quantile(v, 0.5)), ms(quantile(v, 0.95)), ms(quantile(v, 1))}
}

// Undisturbed is what somebody noticed who stayed. Each pair has the longest of
// all, and the longest during which the machine was not late.
type Undisturbed struct {
	PictureGapMs          float64 `json:"pictureGapMs"`
	PictureGapUnexcusedMs float64 `json:"pictureGapUnexcusedMs"`
	SoundGapMs            float64 `json:"soundGapMs"`
	SoundGapUnexcusedMs   float64 `json:"soundGapUnexcusedMs"`
	// Decoded are pictures that the first of them was sent and that were looked
	// at. In Black of those one who stays had no tile or a black one. FreezeMs is
	// for how long a tile of somebody who stays looked the same.
	Decoded           int     `json:"decoded"`
	Undecodable       int     `json:"undecodable"`
	Black             int     `json:"black"`
	FreezeMs          float64 `json:"freezeMs"`
	FreezeUnexcusedMs float64 `json:"freezeUnexcusedMs"`
}

// JSON writes the result as one object.
func (r *ChurnResult) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table writes the result for people.
func (r *ChurnResult) Table(w io.Writer) {
	p := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-17s%s\n", name, fmt.Sprintf(format, args...))
	}
	p("machine", "%s; late %d times, by %.1f ms at most", r.Machine, r.WitnessLate, r.WitnessWorstMs)
	p("room", "%d stay; %s sent, %s composed", r.Stay, r.Video, r.Canvas)
	if t := r.TopTier; t != nil {
		p("top tier", "%d of %d were sent %s at the beginning, %d at the end", t.AtStart, t.Clients, t.Tier, t.AtEnd)
	}
	b := &r.Burst
	p("burst", "%d join within %.1f s", b.Joins, b.Seconds)
	p("first picture", "%v ms", b.FirstPictureMs)
	p("first sound", "%v ms", b.FirstSoundMs)
	p("key frames", "%s in %.1f s; for those who stay at least %.0f ms apart", b.keyframes(), b.Span, b.ClosestMs)
	if len(b.Dropped) > 0 {
		p("dropped", "%s", counts(b.Dropped))
	}
	b.Stayers.table(p)
	c := r.Cycles
	if c == nil {
		return
	}
	p("cycles", "%d join and leave, %d at a time, in %.1f s", c.Cycles, c.Lanes, c.Seconds)
	p("first picture", "%v ms", c.FirstPictureMs)
	p("server", "RSS %.1f MB before, %.1f after; Go's heap %.1f and %.1f; goroutines %d and %d; file descriptors %d and %d",
		mb(c.Before.RSSBytes), mb(c.After.RSSBytes), mb(c.Before.HeapBytes), mb(c.After.HeapBytes),
		c.Before.Goroutines, c.After.Goroutines, c.Before.FDs, c.After.FDs)
	c.Stayers.table(p)
}

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// String is as tables have it.
func (s Spread) String() string {
	return fmt.Sprintf("p50 %.0f p95 %.0f max %.0f", s.P50, s.P95, s.Max)
}

// keyframes lists the tiers' key frames and how many those are in 300 ms.
func (b *Burst) keyframes() string {
	var parts []string
	for tier, n := range b.Keyframes {
		parts = append(parts, fmt.Sprintf("%s %.0f (%.2f in 300 ms)", tier, n, n*0.3/max(b.Span, 0.3)))
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// counts lists them by name.
func counts(m map[string]float64) string {
	var parts []string
	for name, n := range m {
		parts = append(parts, fmt.Sprintf("%s %.0f", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func (u *Undisturbed) table(p func(name, format string, args ...any)) {
	p("who stays", "pause in pictures %.0f ms at most, in sound %.0f; a tile stood still for %.0f ms (while the machine was not late: %.0f, %.0f, %.0f)",
		u.PictureGapMs, u.SoundGapMs, u.FreezeMs, u.PictureGapUnexcusedMs, u.SoundGapUnexcusedMs, u.FreezeUnexcusedMs)
	p("", "%d pictures looked at: %d lacked the tile of one who stays, or it was black; %d could not be decoded", u.Decoded, u.Black, u.Undecodable)
}
