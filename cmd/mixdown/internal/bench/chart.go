package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// chart is one or more panels over the same x axis, drawn as an SVG that is
// legible on white and on black: it follows the reader's colour scheme, and no
// line is told by its colour alone. The same chart always gives the same bytes.
type chart struct {
	title, subtitle string
	xLabel          string
	panels          []panel
	// From marked on, the background is marked, with a note; 0 is nowhere.
	marked float64
	note   string
}

// panel is one set of lines with an axis of its own, which begins at 0.
type panel struct {
	yLabel string // with the unit
	lines  []line
	// bound is drawn across, when above 0.
	bound     float64
	boundName string
}

// line is one of at most len(dashes) in a panel. Its points go up in x; hollow
// ones are broken rooms.
type line struct {
	name string
	at   []mark
}

type mark struct {
	x, y   float64
	hollow bool
}

// The chart's measures, in pixels.
const (
	chartWidth  = 760
	chartLeft   = 70
	chartRight  = 170 // room for the lines' names
	chartTop    = 64
	panelHeight = 170
	panelGap    = 34
	chartBottom = 54
	lineHeight  = 15
)

// dashes tell lines apart where colours do not.
var dashes = []string{"", "7 4", "2 3", "10 3 2 3"}

// Colours of lines have 3:1 against their background at least, and differ for
// people who do not tell red from green.
const chartStyle = `<style>
text{font:12px system-ui,sans-serif;fill:#1f2328}
.h{font-size:15px;font-weight:600}
.m{fill:#59636e}
.bg{fill:#fff}
.zone{fill:#d1242f;fill-opacity:.08}
.grid{stroke:#d1d9e0;stroke-width:1}
.axis{stroke:#59636e;stroke-width:1}
.bound{stroke:#d1242f;stroke-width:1.5;stroke-dasharray:4 3}
.l{fill:none;stroke-width:2;stroke-linejoin:round}
.c0{stroke:#0550ae}.c1{stroke:#bc4c00}.c2{stroke:#6639ba}.c3{stroke:#1b7c83}
.p{stroke-width:2}
.p.c0{fill:#0550ae}.p.c1{fill:#bc4c00}.p.c2{fill:#6639ba}.p.c3{fill:#1b7c83}
.p.o{fill:#fff}
@media(prefers-color-scheme:dark){
text{fill:#f0f6fc}
.m{fill:#9198a1}
.bg{fill:#0d1117}
.zone{fill:#f85149;fill-opacity:.14}
.grid{stroke:#30363d}
.axis{stroke:#9198a1}
.bound{stroke:#f85149}
.c0{stroke:#58a6ff}.c1{stroke:#f0883e}.c2{stroke:#bc8cff}.c3{stroke:#39c5cf}
.p.c0{fill:#58a6ff}.p.c1{fill:#f0883e}.p.c2{fill:#bc8cff}.p.c3{fill:#39c5cf}
.p.o{fill:#0d1117}
}
</style>
`

// axis maps values to pixels.
type axis struct {
	from, to   float64 // values
	start, end float64 // pixels
}

func (a axis) at(v float64) float64 {
	if a.to == a.from {
		return a.start
	}
	return a.start + (v-a.from)/(a.to-a.from)*(a.end-a.start)
}

// ticks are round values from 0 to at least top, about count of them: steps of
// 1, 2 or 5 times a power of ten, at least of least.
func ticks(top float64, count int, least float64) []float64 {
	if !(top > 0) || math.IsInf(top, 0) {
		top = 1
	}
	raw := max(top/float64(count), least)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * power
	for _, m := range []float64{1, 2, 5} {
		if m*power >= raw*(1-1e-9) {
			step = m * power
			break
		}
	}
	out := []float64{0}
	for i := 1; out[len(out)-1] < top*(1-1e-9); i++ {
		out = append(out, float64(i)*step)
	}
	return out
}

// tickText has as many digits as the step between ticks needs.
func tickText(v, step float64) string {
	return fmt.Sprintf("%.*f", max(0, int(-math.Floor(math.Log10(step)+1e-9))), v)
}

var xmlEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// svg writes the chart.
func (c *chart) svg(w io.Writer) error {
	var b strings.Builder
	text := func(x, y float64, class, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, xmlEscape.Replace(s))
	}
	rule := func(class string, x1, y1, x2, y2 float64) {
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, x1, y1, x2, y2)
	}
	height := chartTop + len(c.panels)*(panelHeight+panelGap) - panelGap + chartBottom
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		chartWidth, height, chartWidth, height, xmlEscape.Replace(c.title+". "+c.subtitle))
	b.WriteString(chartStyle)
	fmt.Fprintf(&b, `<rect class="bg" width="%d" height="%d"/>`+"\n", chartWidth, height)
	text(chartLeft, 26, "h", "start", c.title)
	text(chartLeft, 46, "m", "start", c.subtitle)

	largest := 0.0
	for _, p := range c.panels {
		for _, l := range p.lines {
			for _, m := range l.at {
				largest = max(largest, m.x)
			}
		}
	}
	xTicks := ticks(largest, 10, 1)
	x := axis{0, xTicks[len(xTicks)-1], chartLeft, chartWidth - chartRight}
	bottom := 0.0
	for i, p := range c.panels {
		top := float64(chartTop + i*(panelHeight+panelGap))
		bottom = top + panelHeight
		c.frame(&b, p, x, xTicks, top, text, rule)
	}
	for _, v := range xTicks {
		text(x.at(v), bottom+18, "m", "middle", tickText(v, xTicks[1]))
	}
	text((x.start+x.end)/2, bottom+40, "", "middle", c.xLabel)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// frame draws one panel.
func (c *chart) frame(b *strings.Builder, p panel, x axis, xTicks []float64, top float64,
	text func(x, y float64, class, anchor, s string), rule func(class string, x1, y1, x2, y2 float64)) {
	bottom := top + panelHeight
	largest := p.bound * 1.1
	for _, l := range p.lines {
		for _, m := range l.at {
			largest = max(largest, m.y)
		}
	}
	yTicks := ticks(largest, 4, 0)
	y := axis{0, yTicks[len(yTicks)-1], bottom, top}
	if c.marked > 0 {
		from := x.at(c.marked)
		fmt.Fprintf(b, `<rect class="zone" x="%.1f" y="%.1f" width="%.1f" height="%d"/>`+"\n", from, top, x.end-from, panelHeight)
	}
	for _, v := range xTicks {
		rule("grid", x.at(v), top, x.at(v), bottom)
	}
	for _, v := range yTicks {
		rule("grid", x.start, y.at(v), x.end, y.at(v))
		text(x.start-8, y.at(v)+4, "m", "end", tickText(v, yTicks[1]))
	}
	rule("axis", x.start, bottom, x.end, bottom)
	rule("axis", x.start, top, x.start, bottom)
	fmt.Fprintf(b, `<text transform="translate(18 %.1f) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+bottom)/2, xmlEscape.Replace(p.yLabel))

	type label struct {
		y    float64
		name string
		line int // -1 is the bound
	}
	var labels []label
	if p.bound > 0 {
		rule("bound", x.start, y.at(p.bound), x.end, y.at(p.bound))
		labels = append(labels, label{y.at(p.bound), p.boundName, -1})
	}
	for i, l := range p.lines {
		if len(l.at) == 0 {
			continue
		}
		var points []string
		for _, m := range l.at {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x.at(m.x), y.at(m.y)))
		}
		dash := ""
		if d := dashes[i%len(dashes)]; d != "" {
			dash = fmt.Sprintf(` stroke-dasharray="%s"`, d)
		}
		fmt.Fprintf(b, `<polyline class="l c%d"%s points="%s"/>`+"\n", i%len(dashes), dash, strings.Join(points, " "))
		for _, m := range l.at {
			class := ""
			if m.hollow {
				class = " o"
			}
			fmt.Fprintf(b, `<circle class="p c%d%s" cx="%.1f" cy="%.1f" r="3.5"/>`+"\n", i%len(dashes), class, x.at(m.x), y.at(m.y))
		}
		labels = append(labels, label{y.at(l.at[len(l.at)-1].y), l.name, i})
	}
	// Names stand beside the ends of their lines, pushed apart where they would
	// overlap: down first, and up again from the bottom.
	slices.SortStableFunc(labels, func(a, b label) int { return int(math.Round(a.y*10)) - int(math.Round(b.y*10)) })
	for i := 1; i < len(labels); i++ {
		labels[i].y = max(labels[i].y, labels[i-1].y+lineHeight)
	}
	for i, limit := len(labels)-1, bottom; i >= 0; i-- {
		labels[i].y = min(labels[i].y, limit)
		limit = labels[i].y - lineHeight
	}
	for _, l := range labels {
		class, dash := "bound", ""
		if l.line >= 0 {
			class = fmt.Sprintf("l c%d", l.line%len(dashes))
			if d := dashes[l.line%len(dashes)]; d != "" {
				dash = fmt.Sprintf(` stroke-dasharray="%s"`, d)
			}
		}
		fmt.Fprintf(b, `<line class="%s"%s x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, dash, x.end+8, l.y, x.end+32, l.y)
		text(x.end+38, l.y+4, "", "start", l.name)
	}
	if c.marked > 0 && top == chartTop {
		anchor, at := "start", x.at(c.marked)+6
		if at > (x.start+x.end)/2 {
			anchor, at = "end", x.end-6
		}
		text(at, top+14, "m", anchor, c.note)
	}
}
