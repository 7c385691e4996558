package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// row is one line of the headline table: a figure of every run, which is left
// out where there is none.
type row struct {
	name   string
	digits int
	of     func(*Result) (v float64, ok bool)
}

// positive is for figures whose zero means that they were not measured.
func positive(v float64) (float64, bool) { return v, v > 0 }

var headlineRows = []row{
	{"server, cores", 2, func(r *Result) (float64, bool) { return positive(r.ServerCores) }},
	{"the floor: raw libvpx and libopus, in loops", 2, func(r *Result) (float64, bool) { return positive(r.Floor.Total) }},
	{"server / floor", 2, func(r *Result) (float64, bool) { return positive(r.Ratio) }},
	{"the same, counting the encodes of sound that were made", 2, (*Result).ratioMade},
	{"server / the same codecs at a room's pace", 2, func(r *Result) (float64, bool) { return positive(r.PacedRatio) }},
	{"memory, MB", 0, func(r *Result) (float64, bool) { return positive(float64(r.RSSBytes >> 20)) }},
	{"pictures/s, worst client", 1, func(r *Result) (float64, bool) { return positive(r.Healthy.FPS.Min) }},
	{"packets of sound/s, worst client", 1, func(r *Result) (float64, bool) { return positive(r.Healthy.AudioPackets.Min) }},
	{"added latency of sound, p50, ms", 0, func(r *Result) (float64, bool) { return r.SoundLatency.figure(p50) }},
	{"the same, p95, ms", 0, func(r *Result) (float64, bool) { return r.SoundLatency.figure(p95) }},
	{"added latency of pictures, p50, ms", 0, func(r *Result) (float64, bool) { return r.PictureLatency.figure(p50) }},
	{"the same, p95, ms", 0, func(r *Result) (float64, bool) { return r.PictureLatency.figure(p95) }},
	{"picture after its sound, as shown, p50, ms", 0, func(r *Result) (float64, bool) {
		if r.Skew == nil || r.Skew.Readings == 0 {
			return 0, false
		}
		return r.Skew.Shown.P50, true
	}},
	{"gaps in sound, p99.9, ms (while the machine was not late)", 0, func(r *Result) (float64, bool) { return positive(r.Healthy.Unexcused.P999) }},
	{"the same, poor links, ms", 0, func(r *Result) (float64, bool) {
		if r.Poor == nil {
			return 0, false
		}
		return positive(r.Poor.Unexcused.P999)
	}},
	{"audio tick late, p99, ms", 0, func(r *Result) (float64, bool) {
		if r.Server == nil {
			return 0, false
		}
		return positive(r.Server.AudioTickLatenessP99Ms)
	}},
	{"own marker, nobody else audible, worst, dB below what was sent", 0, func(r *Result) (float64, bool) {
		return positive(r.OwnMarkerBelowDB.Min)
	}},
	{"own tone below the others', worst, dB", 0, func(r *Result) (float64, bool) { return positive(r.OwnToneBelowDB.Min) }},
	{"clients, cores", 2, func(r *Result) (float64, bool) { return positive(r.ClientCores) }},
}

// ratioMade is Ratio for a floor that encodes sound as often as the server did,
// which lets eight be heard at once and not everybody who talks.
func (r *Result) ratioMade() (float64, bool) {
	if r.Server == nil || r.Server.AudioEncodes == 0 || r.Floor.Total == 0 {
		return 0, false
	}
	made := r.Floor.AudioEncode * r.Server.AudioEncodes / (50 * float64(r.Talkers+1))
	return r.ServerCores / (r.Floor.Total - r.Floor.AudioEncode + made), true
}

// p50 and p95 pick a figure of a latency.
func p50(l Latency) float64 { return l.P50 }
func p95(l Latency) float64 { return l.P95 }

// figure is none where latency was not measured.
func (l *Latency) figure(of func(Latency) float64) (float64, bool) {
	if l == nil || l.Readings == 0 {
		return 0, false
	}
	return of(*l), true
}

// values returns a row's figure in each run that has it.
func (w row) values(s ScenarioResult) (v []float64) {
	for _, r := range s.Runs {
		if x, ok := w.of(r); ok {
			v = append(v, x)
		}
	}
	return v
}

// spread returns the middle of the least and the greatest, and how far they
// are from it.
func spread(v []float64) (middle, off float64) {
	least, greatest := math.Inf(1), math.Inf(-1)
	for _, x := range v {
		least, greatest = min(least, x), max(greatest, x)
	}
	return (least + greatest) / 2, (greatest - least) / 2
}

// cell is the middle and, unless it is nothing at these digits, the spread.
func cell(v []float64, digits int) string {
	if len(v) == 0 {
		return ""
	}
	middle, off := spread(v)
	text := fmt.Sprintf("%.*f", digits, middle)
	if s := fmt.Sprintf("%.*f", digits, off); strings.ContainsAny(s, "123456789") {
		text += " ± " + s
	}
	return text
}

// Markdown writes the headline table as the README shows it. The same report
// always gives the same bytes.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	runs := 0
	for _, s := range r.Scenarios {
		runs = max(runs, len(s.Runs))
	}
	if len(r.Scenarios) > 0 {
		fmt.Fprintf(&b, "| %s, %d runs of %v each |", r.Date.Format(time.DateOnly), runs, time.Duration(r.Seconds*float64(time.Second)))
		for _, s := range r.Scenarios {
			fmt.Fprintf(&b, " %s |", s.Title)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(r.Scenarios)) + "\n")
		for _, row := range headlineRows {
			var cells []string
			some := false
			for _, s := range r.Scenarios {
				v := row.values(s)
				cells, some = append(cells, cell(v, row.digits)), some || len(v) > 0
			}
			if some {
				fmt.Fprintf(&b, "| %s | %s |\n", row.name, strings.Join(cells, " | "))
			}
		}
		b.WriteString("| noise: the server's cores differ between the runs by |")
		for _, s := range r.Scenarios {
			middle, off := spread(headlineRows[0].values(s))
			if len(s.Runs) < 2 || !(middle > 0) {
				b.WriteString(" one run |")
				continue
			}
			fmt.Fprintf(&b, " %.0f%% |", 200*off/middle)
		}
		fmt.Fprintf(&b, "\n\n± is half the difference between the runs, which took turns.\n")
	}
	r.capacityLines(&b)
	fmt.Fprintf(&b, "\n%s, %s; commit %s, libvpx %s, %s.\n", r.Machine, r.Kernel, r.Commit, r.Versions["libvpx"], r.Versions["libopus"])
	for _, s := range r.Scenarios {
		fmt.Fprintf(&b, "\n    %s", s.Command)
	}
	if len(r.Scenarios) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// capacityLines says where a room ended.
func (r *Report) capacityLines(b *strings.Builder) {
	for i, c := range r.Capacity {
		who := "all talking"
		if c.Talkers >= 0 {
			who = fmt.Sprintf("%d talking", c.Talkers)
		}
		fmt.Fprintf(b, "\nCapacity, run %d: ", i+1)
		switch {
		case c.Broke == 0:
			fmt.Fprintf(b, "%d participants, %s, and nothing had broken.\n", c.Held, who)
		case c.Held == 0:
			fmt.Fprintf(b, "fewer than %d participants, %s; what broke first was %s.\n", c.Broke, who, c.First[0])
		default:
			fmt.Fprintf(b, "%d participants, %s; at %d what broke first was %s.\n", c.Held, who, c.Broke, c.First[0])
		}
	}
}

// Compare writes what the reports have in common, one line each: the server's
// cores and their ratio to the floor, by scenario.
func Compare(w io.Writer, reports []*Report) error {
	var names []string
	seen := make(map[string]bool)
	for _, r := range reports {
		for _, s := range r.Scenarios {
			if !seen[s.Name] {
				seen[s.Name], names = true, append(names, s.Name)
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| cores (and x floor) | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, r := range reports {
		fmt.Fprintf(&b, "| %s %s |", r.Date.Format(time.DateOnly), r.Commit)
		for _, name := range names {
			text := ""
			for _, s := range r.Scenarios {
				if s.Name == name {
					text = fmt.Sprintf("%s (%s)", cell(headlineRows[0].values(s), 2), cell(headlineRows[2].values(s), 2))
				}
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
