package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mixdown/cmd/mixdown/internal/bench"
	"mixdown/transport/transporttest"
)

// benchCapacityCmd is the flags of `mixdown bench capacity`.
type benchCapacityCmd struct {
	From        int           `default:"4" help:"The smallest room (${default})."`
	To          int           `default:"128" help:"The largest room (${default})."`
	Step        int           `help:"How many more join each time; 0 doubles until something breaks, then closes in."`
	Talkers     int           `default:"-1" help:"How many of them talk (all)."`
	AudioOnly   bool          `help:"Sound only."`
	Uplink      string        `enum:"on,off" default:"off" help:"Whether participants send as much as the server asks for (on), or --video all along (off)."`
	Video       string        `placeholder:"SIZE" help:"What each sends, as 640x360@30, which is what the clips are."`
	Canvas      string        `placeholder:"SIZE" help:"What the room composes, as 1280x720@30."`
	Duration    time.Duration `default:"30s" help:"How long to measure each room (${default})."`
	Warmup      time.Duration `default:"5s" help:"How long to wait before (${default})."`
	Climb       time.Duration `default:"20s" help:"How long to wait before that until all who can are sent the largest size; 0s does not wait (${default})."`
	Latency     time.Duration `default:"10s" help:"How long to measure the latency of sound after that; 0s leaves latency out (${default})."`
	MinFPS      float64       `name:"min-fps" default:"90" help:"Broken: fewer pictures than this percentage of the nominal rate (${default})."`
	MaxGap      time.Duration `default:"100ms" help:"Broken: gaps in sound, p99.9 (${default})."`
	MaxLatency  time.Duration `default:"150ms" help:"Broken: added latency of sound, p95 (${default})."`
	MaxPicture  time.Duration `default:"300ms" help:"Broken: added latency of pictures, p95 (${default})."`
	Impair      string        `placeholder:"SPEC" help:"Faults of some links; see bench room."`
	ImpairCount int           `default:"2" help:"How many participants have such links (${default})."`
	Seed        uint64        `default:"1" help:"Seed of those faults (${default})."`
	Clips       string        `default:".cache/clips" type:"path" help:"Where make clips has put the clips (${default})."`
	SVG         string        `name:"svg" placeholder:"FILE" type:"path" help:"Draw the curve into this file."`
	JSON        bool          `name:"json" help:"Print one JSON object instead of a table."`
	Quiet       bool          `short:"q" help:"Do not say what is going on."`
}

func (c *benchCapacityCmd) config() (cfg bench.CapacityConfig, err error) {
	room := bench.Config{
		AudioOnly: c.AudioOnly, Uplink: c.Uplink == "on", Duration: c.Duration, Warmup: c.Warmup, Climb: c.Climb, Latency: c.Latency,
		Seed: c.Seed, Clips: c.Clips,
	}
	if room.Impair, err = transporttest.ParseSpec(c.Impair); err != nil {
		return cfg, fmt.Errorf("--impair: %w", err)
	}
	if !room.Impair.Zero() {
		room.ImpairCount = c.ImpairCount
	}
	if room.Video, err = pictureFlag("--video", c.Video); err != nil {
		return cfg, err
	}
	if room.Canvas, err = pictureFlag("--canvas", c.Canvas); err != nil {
		return cfg, err
	}
	if !(c.MinFPS > 0 && c.MinFPS <= 100) {
		return cfg, fmt.Errorf("--min-fps %v: want a percentage, more than 0", c.MinFPS)
	}
	for name, d := range map[string]time.Duration{"--max-gap": c.MaxGap, "--max-latency": c.MaxLatency, "--max-picture": c.MaxPicture} {
		if d <= 0 {
			return cfg, fmt.Errorf("%s %v: want more than 0s", name, d)
		}
	}
	cfg = bench.CapacityConfig{
		Room: room, Talkers: c.Talkers, From: c.From, To: c.To, Step: c.Step,
		Bounds: bench.Bounds{
			FPSShare: c.MinFPS / 100, GapMs: c.MaxGap.Seconds() * 1000,
			SoundMs: c.MaxLatency.Seconds() * 1000, PictureMs: c.MaxPicture.Seconds() * 1000,
		},
	}
	return cfg, cfg.Validate()
}

// Validate is called by kong after parsing.
func (c *benchCapacityCmd) Validate() error {
	_, err := c.config()
	return err
}

// Run raises the number of participants until quality breaks.
func (c *benchCapacityCmd) Run(ctx context.Context, s streams) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if err := ownServer(&cfg.Room, s, c.Quiet); err != nil {
		return err
	}
	result, err := bench.Capacity(ctx, cfg)
	if err != nil {
		return err
	}
	if c.SVG != "" {
		if err := writeSVG(c.SVG, result); err != nil {
			return err
		}
	}
	if c.JSON {
		return result.JSON(s.Out)
	}
	return result.Table(s.Out)
}

// ownServer has a room measured on a server that is this program.
func ownServer(room *bench.Config, s streams, quiet bool) (err error) {
	room.Log = s.Err
	if quiet {
		room.Log = io.Discard
	}
	room.Executable, err = os.Executable()
	return err
}

func writeSVG(path string, r *bench.CapacityResult) error {
	var b bytes.Buffer
	if err := r.SVG(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// benchHeadlineCmd is the flags of `mixdown bench headline`.
type benchHeadlineCmd struct {
	Duration   time.Duration `default:"60s" help:"How long to measure each room (${default})."`
	Warmup     time.Duration `default:"5s" help:"How long to wait before (${default})."`
	Climb      time.Duration `default:"30s" help:"How long to wait before that until all who can are sent the largest size; 0s does not wait (${default})."`
	Latency    time.Duration `default:"20s" help:"How long to measure the latency of sound after that; 0s leaves latency out (${default})."`
	Rounds     int           `default:"2" help:"How often to measure everything, in turns (${default})."`
	CapacityTo int           `default:"128" help:"The largest room in the search for the limit; 0 leaves the search out (${default})."`
	Commit     string        `help:"Commit of the source, for the results (the version)."`
	Results    string        `placeholder:"DIR" type:"path" help:"Keep the results in this directory, as DATE-COMMIT.json, and the curve as .svg."`
	Clips      string        `default:".cache/clips" type:"path" help:"Where make clips has put the clips (${default})."`
	JSON       bool          `name:"json" help:"Print one JSON object instead of a table."`
	Quiet      bool          `short:"q" help:"Do not say what is going on."`
}

// Run measures what the README shows.
func (c *benchHeadlineCmd) Run(ctx context.Context, s streams) error {
	cfg := bench.HeadlineConfig{
		Room:   bench.Config{Duration: c.Duration, Warmup: c.Warmup, Climb: c.Climb, Latency: c.Latency, Seed: 1, Clips: c.Clips},
		Rounds: c.Rounds, CapacityTo: c.CapacityTo, Version: Version(), Commit: c.Commit, Now: time.Now(),
	}
	if cfg.Commit == "" {
		cfg.Commit = cfg.Version
	}
	if err := ownServer(&cfg.Room, s, c.Quiet); err != nil {
		return err
	}
	report, err := bench.Headline(ctx, cfg)
	if err != nil {
		return err
	}
	if c.Results != "" {
		path, err := report.Save(c.Results)
		if err != nil {
			return err
		}
		fmt.Fprintln(s.Err, "bench: kept as", path)
		if len(report.Capacity) > 0 {
			if err := writeSVG(path[:len(path)-len(".json")]+".svg", report.Capacity[0]); err != nil {
				return err
			}
		}
	}
	if c.JSON {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return report.Markdown(s.Out)
}

// benchReportCmd is the flags of `mixdown bench report`.
type benchReportCmd struct {
	Files []string `arg:"" type:"existingfile" help:"Results that bench headline has kept."`
	SVG   string   `name:"svg" placeholder:"FILE" type:"path" help:"Draw the first file's capacity curve into this file."`
}

// Run prints what was measured before: of one file its table, of several what
// has changed.
func (c *benchReportCmd) Run(_ context.Context, s streams) error {
	var reports []*bench.Report
	for _, path := range c.Files {
		r, err := bench.LoadReport(path)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	if c.SVG != "" {
		if len(reports[0].Capacity) == 0 {
			return errors.New("--svg: " + c.Files[0] + " has no capacity curve")
		}
		if err := writeSVG(c.SVG, reports[0].Capacity[0]); err != nil {
			return err
		}
	}
	if len(reports) == 1 {
		return reports[0].Markdown(s.Out)
	}
	return bench.Compare(s.Out, reports)
}
