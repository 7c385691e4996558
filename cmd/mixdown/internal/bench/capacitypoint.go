package bench

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
)

// Point is one room of a capacity curve. Times are in milliseconds, rates per
// second; 0 in a latency or in FPS is "not measured".
type Point struct {
	Participants int     `json:"participants"`
	Talkers      int     `json:"talkers"`
	ServerCores  float64 `json:"serverCores"`
	FloorCores   float64 `json:"floorCores"`
	PacedCores   float64 `json:"pacedFloorCores"`
	ClientCores  float64 `json:"clientCores"`
	RSSBytes     int64   `json:"rssBytes"`
	// FPS and SoundPackets are those of the worst client, NominalFPS what the
	// canvas has.
	FPS          float64 `json:"fps"`
	NominalFPS   float64 `json:"nominalFps"`
	SoundPackets float64 `json:"soundPackets"`
	// GapMs is the p99.9 of pauses in sound without the machine's own.
	GapMs     float64 `json:"gapMs"`
	SoundMs   float64 `json:"soundMs"`
	PictureMs float64 `json:"pictureMs"`
	// MachineLate is how often per minute the witness was late.
	MachineLate  float64 `json:"machineLate"`
	MachineWorst float64 `json:"machineWorstMs"`
	// What the server says of itself, when it does: pictures encoded for the
	// tier that is best fed, how late its audio ticks were, p99.
	HasServer      bool    `json:"hasServer"`
	ServerFPS      float64 `json:"serverFps"`
	ServerTickLate float64 `json:"serverTickLateMs"`
	// Faults are the bounds that were crossed, the worst first.
	Faults []Fault `json:"faults,omitempty"`
	// Repeated is set when this is the second measurement, the first having
	// broken. Error is why there is no measurement at all.
	Repeated bool   `json:"repeated,omitempty"`
	Error    string `json:"error,omitempty"`
	// Cores is how many the machine has.
	Cores int `json:"cores"`
}

// Fault is a bound that was crossed.
type Fault struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Bound float64 `json:"bound"`
	Unit  string  `json:"unit"`
	// Excess is by how much, as a share of the bound.
	Excess float64 `json:"excess"`
	// Blame is who was late.
	Blame string `json:"blame"`
}

// What can break.
const (
	FaultFPS     = "pictures"
	FaultSound   = "packets of sound"
	FaultGap     = "gaps in sound"
	FaultSoundMs = "latency of sound"
	FaultPicture = "latency of pictures"
	FaultJoin    = "joining"
)

// Who can be late.
const (
	// BlameServer: by its own account it was, and the machine was not.
	BlameServer = "the server"
	// BlameMachine: both were; who does nothing was late as well, or all cores
	// were in use, by clients too.
	BlameMachine = "the machine"
	// BlameClients: by its own account the server was in time.
	BlameClients = "the clients"
	// BlameUnknown: nothing is known of the server, and the machine was fine.
	BlameUnknown = "unknown"
)

// A late server misses this: its audio tick, p99, by a whole tick.
const tickLateMs = 20

// The machine is late when the witness was late more often than this per
// minute, or when this share of all cores was in use.
const (
	machineLatePerMinute = 60
	machineFull          = 0.92
)

func (f Fault) String() string {
	if f.What == FaultJoin {
		return "joining: the room could not be measured"
	}
	return fmt.Sprintf("%s: %.4g %s where the bound is %.4g, %.0f%% beyond it; %s", f.What, f.Value, f.Unit, f.Bound, f.Excess*100, f.late())
}

// late says who was.
func (f Fault) late() string {
	switch f.Blame {
	case BlameClients:
		return f.Blame + " were late"
	case BlameUnknown:
		return "who was late is unknown"
	}
	return f.Blame + " was late"
}

// pointOf takes what counts from a measurement.
func pointOf(cfg Config, r *Result) Point {
	p := Point{
		Participants: cfg.Participants, Talkers: cfg.Talkers, Cores: runtime.NumCPU(),
		ServerCores: r.ServerCores, FloorCores: r.Floor.Total, PacedCores: r.PacedFloor, ClientCores: r.ClientCores, RSSBytes: r.RSSBytes,
		SoundPackets: r.Healthy.AudioPackets.Min, GapMs: r.Healthy.Unexcused.P999,
		MachineWorst: r.WitnessWorstMs,
	}
	if !cfg.AudioOnly {
		p.FPS, p.NominalFPS = r.Healthy.FPS.Min, float64(cfg.withDefaults().Canvas.FPS)
	}
	if l := r.SoundLatency; l != nil {
		p.SoundMs = l.P95
	}
	if l := r.PictureLatency; l != nil {
		p.PictureMs = l.P95
	}
	if r.Seconds > 0 {
		p.MachineLate = float64(r.WitnessLate) * 60 / r.Seconds
	}
	if v := r.Server; v != nil {
		p.HasServer, p.ServerTickLate = true, v.AudioTickLatenessP99Ms
		for _, fps := range v.VideoEncodes {
			p.ServerFPS = max(p.ServerFPS, fps)
		}
	}
	return p
}

// judge fills in the faults.
func (p *Point) judge(b Bounds) {
	check := func(what, unit string, value, bound, excess float64, serverLate bool) {
		if excess > 0 {
			p.Faults = append(p.Faults, Fault{what, value, bound, unit, excess, p.blame(serverLate)})
		}
	}
	atLeast := func(what, unit string, value, bound float64, serverLate bool) {
		check(what, unit, value, bound, 1-value/bound, serverLate)
	}
	atMost := func(what, unit string, value, bound float64, serverLate bool) {
		check(what, unit, value, bound, value/bound-1, serverLate)
	}
	tick := p.ServerTickLate > tickLateMs
	if p.NominalFPS > 0 {
		atLeast(FaultFPS, "per second", p.FPS, p.NominalFPS*b.FPSShare, p.ServerFPS < p.NominalFPS*b.FPSShare)
	}
	atLeast(FaultSound, "per second", p.SoundPackets, 50*b.SoundShare, tick)
	atMost(FaultGap, "ms", p.GapMs, b.GapMs, tick)
	atMost(FaultSoundMs, "ms", p.SoundMs, b.SoundMs, tick)
	// Pictures wait for sound, too; the pool's own delay shows in what it encodes.
	atMost(FaultPicture, "ms", p.PictureMs, b.PictureMs, tick || p.ServerFPS < p.NominalFPS*b.FPSShare)
	slices.SortStableFunc(p.Faults, func(a, b Fault) int {
		switch {
		case a.Excess > b.Excess:
			return -1
		case a.Excess < b.Excess:
			return 1
		}
		return 0
	})
}

// blame says who was late, given whether the server was by its own account.
func (p *Point) blame(serverLate bool) string {
	machine := p.MachineLate > machineLatePerMinute || p.ServerCores+p.ClientCores > machineFull*float64(p.Cores)
	switch {
	case p.HasServer && !serverLate:
		return BlameClients
	case machine:
		return BlameMachine
	case p.HasServer:
		return BlameServer
	}
	return BlameUnknown
}

// verdict is the point in a few words.
func (p *Point) verdict() string {
	if p.Error != "" {
		return "could not be measured: " + strings.ReplaceAll(p.Error, "\n", "; ")
	}
	if len(p.Faults) == 0 {
		if p.Repeated {
			return "held, the second time"
		}
		return "held"
	}
	var names []string
	for _, f := range p.Faults {
		names = append(names, fmt.Sprintf("%s %.0f%%", f.What, f.Excess*100))
	}
	total := p.ServerCores + p.ClientCores
	return fmt.Sprintf("broke: %s beyond the bound (%s; %.2f of %d cores in use)",
		strings.Join(names, ", "), p.Faults[0].late(), math.Round(total*100)/100, p.Cores)
}
