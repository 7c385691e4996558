package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// row is one line of a headline table: a figure of every run, which is left out
// where there is none.
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
	{"decoded pixels, by those of the canvas", 2, func(r *Result) (float64, bool) {
		if r.Server == nil {
			return 0, false
		}
		return positive(r.Server.DecodedPerCanvas)
	}},
	{"memory, MB", 0, func(r *Result) (float64, bool) { return positive(float64(r.RSSBytes >> 20)) }},
	{"pictures/s, worst client", 1, func(r *Result) (float64, bool) { return positive(r.Healthy.FPS.Min) }},
	{"packets of sound/s, worst client", 1, func(r *Result) (float64, bool) { return positive(r.Healthy.AudioPackets.Min) }},
	{"added latency of sound, p50, ms", 0, func(r *Result) (float64, bool) { return r.SoundLatency.figure(p50) }},
	{"the same, p95, ms", 0, func(r *Result) (float64, bool) { return r.SoundLatency.figure(p95) }},
	{"added latency of pictures, p50, ms", 0, func(r *Result) (float64, bool) { return r.PictureLatency.figure(p50) }},
	{"the same, p95, ms", 0, func(r *Result) (float64, bool) { return r.PictureLatency.figure(p95) }},
	{"picture after its sound, as shown, p50, ms", 0, skewed(func(r *Result) *Skew { return r.Skew }, func(f SkewFigures) float64 { return f.P50 })},
	{"the same, either way, p95, ms", 0, skewed(func(r *Result) *Skew { return r.Skew }, apart95)},
	{"the same, poor links, ms", 0, skewed(func(r *Result) *Skew { return r.SkewPoor }, apart95)},
	{"the same, of who joins in the middle, ms", 0, skewed(func(r *Result) *Skew { return r.SkewLate }, apart95)},
	{"the same, in the recording, ms", 0, skewed(func(r *Result) *Skew { return r.SkewRecorded }, apart95)},
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
	{"own voice, all talk, worst, dB below what others hear of it", 0, func(r *Result) (float64, bool) { return positive(r.OwnVoiceBelowDB.Min) }},
	{"the same of a voice that is not heard at all: coding noise", 0, func(r *Result) (float64, bool) { return positive(r.OwnVoiceFloorDB.Min) }},
	{"clients, cores", 2, func(r *Result) (float64, bool) { return positive(r.ClientCores) }},
}

// told makes a row's figure of what the server says of itself.
func told(of func(*ServerView) (float64, bool)) func(*Result) (float64, bool) {
	return func(r *Result) (float64, bool) {
		if r.Server == nil {
			return 0, false
		}
		return of(r.Server)
	}
}

// always is for figures whose zero is what is to be shown.
func always(v float64) (float64, bool) { return v, true }

// pictureRows are of the second table.
var pictureRows = []row{
	{"server, cores", 2, func(r *Result) (float64, bool) { return positive(r.ServerCores) }},
	{"memory, MB", 0, func(r *Result) (float64, bool) { return positive(float64(r.RSSBytes >> 20)) }},
	{"pictures/s, worst client", 1, func(r *Result) (float64, bool) { return positive(r.Healthy.FPS.Min) }},
	{"decoded pixels, by those of the canvas", 2, told(func(v *ServerView) (float64, bool) { return positive(v.DecodedPerCanvas) })},
	{"decoded/s", 0, told(func(v *ServerView) (float64, bool) { return always(v.VideoDecodes) })},
	{"composed/s", 1, told(func(v *ServerView) (float64, bool) { return always(v.Canvases) })},
	{"encoded/s", 1, told(func(v *ServerView) (float64, bool) { return always(v.encodes()) })},
	{"sent on as they came/s", 1, told(func(v *ServerView) (float64, bool) { return positive(v.Passed) })},
	{"cores of decoding", 3, told(func(v *ServerView) (float64, bool) { return always(v.Cores.Decode) })},
	{"cores of composing", 3, told(func(v *ServerView) (float64, bool) { return always(v.Cores.Compose) })},
	{"cores of encoding", 3, told(func(v *ServerView) (float64, bool) { return always(v.Cores.Encode) })},
	{"cores of sound", 3, told(func(v *ServerView) (float64, bool) { return always(v.Cores.Sound) })},
	{"cores of each viewer", 4, func(r *Result) (float64, bool) { return r.PerViewer, r.PerViewer != 0 }},
	{"encoding, % of that of nine who move", 0, func(r *Result) (float64, bool) { return positive(r.EncodeShare * 100) }},
	{"clients that were not sent the largest size", 0, func(r *Result) (float64, bool) {
		if r.TopTier == nil {
			return 0, false
		}
		return positive(float64(r.TopTier.Clients - r.TopTier.AtStart))
	}},
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

// skewed makes a row's figure of one of the skews.
func skewed(which func(*Result) *Skew, of func(SkewFigures) float64) func(*Result) (float64, bool) {
	return func(r *Result) (float64, bool) {
		s := which(r)
		if s == nil || s.Readings == 0 {
			return 0, false
		}
		return of(s.Shown), true
	}
}

func apart95(f SkewFigures) float64 { return f.P95Abs }

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
	first := r.table(&b, "", headlineRows)
	if r.table(&b, groupPictures, pictureRows) || first {
		fmt.Fprintf(&b, "\n± is half the difference between the runs, which took turns.\n")
	}
	r.churnLines(&b)
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

// table writes that of a group of scenarios, unless there are none.
func (r *Report) table(b *strings.Builder, group string, rows []row) bool {
	var scenarios []ScenarioResult
	runs := 0
	for _, s := range r.Scenarios {
		if s.Group == group {
			scenarios, runs = append(scenarios, s), max(runs, len(s.Runs))
		}
	}
	if len(scenarios) == 0 {
		return false
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "| %s, %d runs of %v each |", r.Date.Format(time.DateOnly), runs, time.Duration(r.Seconds*float64(time.Second)))
	for _, s := range scenarios {
		fmt.Fprintf(b, " %s |", s.Title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(scenarios)) + "\n")
	for _, row := range rows {
		var cells []string
		some := false
		for _, s := range scenarios {
			v := row.values(s)
			cells, some = append(cells, cell(v, row.digits)), some || len(v) > 0
		}
		if some {
			fmt.Fprintf(b, "| %s | %s |\n", row.name, strings.Join(cells, " | "))
		}
	}
	b.WriteString("| noise: the server's cores differ between the runs by |")
	for _, s := range scenarios {
		middle, off := spread(headlineRows[0].values(s))
		if len(s.Runs) < 2 || !(middle > 0) {
			b.WriteString(" one run |")
			continue
		}
		fmt.Fprintf(b, " %.0f%% |", 200*off/middle)
	}
	b.WriteString("\n")
	return true
}

// churnLines says what coming and going costs.
func (r *Report) churnLines(b *strings.Builder) {
	for i, c := range r.Churn {
		fmt.Fprintf(b, "\nComing and going, run %d: %d join within %.3g s: first picture %v ms, first sound %v ms; key frames %s.",
			i+1, c.Burst.Joins, c.Burst.Seconds, c.Burst.FirstPictureMs, c.Burst.FirstSoundMs, c.Burst.keyframes())
		u := c.Burst.Stayers
		if y := c.Cycles; y != nil {
			fmt.Fprintf(b, " %d more join and leave: resident memory %.0f and %.0f MB, goroutines %d and %d.",
				y.Cycles, mb(y.Before.RSSBytes), mb(y.After.RSSBytes), y.Before.Goroutines, y.After.Goroutines)
			u.PictureGapUnexcusedMs = max(u.PictureGapUnexcusedMs, y.Stayers.PictureGapUnexcusedMs)
			u.SoundGapUnexcusedMs = max(u.SoundGapUnexcusedMs, y.Stayers.SoundGapUnexcusedMs)
			u.Decoded, u.Black = u.Decoded+y.Stayers.Decoded, u.Black+y.Stayers.Black
		}
		fmt.Fprintf(b, " Those who stay: pauses of %.0f ms in pictures, %.0f in sound, while the machine was not late; %d of %d pictures lacked one of them.\n",
			u.PictureGapUnexcusedMs, u.SoundGapUnexcusedMs, u.Black, u.Decoded)
	}
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
