package bench

import (
	"fmt"
	"io"
)

// SVG draws the curve: processor time, pictures, and how late things are,
// each against the number of participants. Broken rooms are hollow.
func (r *CapacityResult) SVG(w io.Writer) error { return r.chart().svg(w) }

func (r *CapacityResult) chart() *chart {
	of := func(name string, value func(Point) float64) line {
		l := line{name: name}
		for _, p := range r.Points {
			if v := value(p); p.Error == "" && v > 0 {
				l.at = append(l.at, mark{float64(p.Participants), v, len(p.Faults) > 0})
			}
		}
		return l
	}
	cores := panel{yLabel: "cores", lines: []line{
		of("server", func(p Point) float64 { return p.ServerCores }),
		of("floor", func(p Point) float64 { return p.FloorCores }),
		of("floor, paced", func(p Point) float64 { return p.PacedCores }),
		of("clients", func(p Point) float64 { return p.ClientCores }),
	}}
	nominal, fullest := 0.0, 0.0
	for _, p := range r.Points {
		nominal = max(nominal, p.NominalFPS)
		if p.Cores > 0 {
			fullest = max(fullest, (p.ServerCores+p.ClientCores)/float64(p.Cores))
			if fullest > 0.5 { // else the machine's end is far away
				cores.bound, cores.boundName = float64(p.Cores), "all there are"
			}
		}
	}
	late := panel{yLabel: "milliseconds", bound: r.Bounds.GapMs, boundName: "bound of gaps", lines: []line{
		of("sound gaps, p99.9", func(p Point) float64 { return p.GapMs }),
		of("sound latency, p95", func(p Point) float64 { return p.SoundMs }),
		of("picture lat., p95", func(p Point) float64 { return p.PictureMs }),
	}}
	c := &chart{title: "One room: what it costs and what its participants get", xLabel: "participants", panels: []panel{cores}}
	if nominal > 0 {
		c.panels = append(c.panels, panel{
			yLabel: "pictures per second", bound: nominal * r.Bounds.FPSShare, boundName: "bound",
			lines: []line{of("worst client", func(p Point) float64 { return p.FPS })},
		})
	}
	c.panels = append(c.panels, late)
	talkers := fmt.Sprintf("%d talk", r.Talkers)
	if r.Talkers < 0 {
		talkers = "all talk"
	}
	c.subtitle = fmt.Sprintf("%s; %s; hollow: quality was broken", talkers, r.Machine)
	if r.Broke > 0 {
		c.marked, c.note = float64(r.Broke), fmt.Sprintf("from %d on: %s", r.Broke, r.First[0].What)
	}
	return c
}
