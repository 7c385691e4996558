package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

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

func (u *Undisturbed) table(p func(name, format string, args ...any)) {
	p("who stays", "pause in pictures %.0f ms at most, in sound %.0f; a tile stood still for %.0f ms (while the machine was not late: %.0f, %.0f, %.0f)",
		u.PictureGapMs, u.SoundGapMs, u.FreezeMs, u.PictureGapUnexcusedMs, u.SoundGapUnexcusedMs, u.FreezeUnexcusedMs)
	p("", "%d pictures looked at: %d lacked the tile of one who stays, or it was black; %d could not be decoded", u.Decoded, u.Black, u.Undecodable)
}
