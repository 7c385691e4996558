package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mixdown/cmd/mixdown/internal/bench"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
	"mixdown/transport/transporttest"
)

// benchCmd is `mixdown bench`.
type benchCmd struct {
	Room     benchRoomCmd     `cmd:"" help:"One room: what it costs and what its participants get."`
	Capacity benchCapacityCmd `cmd:"" help:"How many a room can hold before quality breaks, and what breaks first."`
	Churn    benchChurnCmd    `cmd:"" help:"What coming and going costs, and whether those notice who stay."`
	Headline benchHeadlineCmd `cmd:"" help:"What the README shows: several rooms and the capacity, each twice."`
	Report   benchReportCmd   `cmd:"" help:"Print results that the headline has kept."`
}

// benchRoomCmd is the flags of `mixdown bench room`.
type benchRoomCmd struct {
	Participants int           `default:"9" help:"How many join (${default})."`
	Talkers      int           `default:"-1" help:"How many of them talk, each with a tone of their own (all)."`
	Viewers      int           `default:"0" help:"How many join besides and only receive (${default})."`
	Video        string        `placeholder:"WxH@FPS" help:"What each participant sends (640x360@30)."`
	Uplink       string        `enum:"on,off" default:"on" help:"Whether participants send as much as the server asks for (on), or --video all along (off)."`
	Canvas       string        `placeholder:"WxH@FPS" help:"What the room composes (1280x720@30)."`
	Layout       string        `placeholder:"MODE[,WORD]..." help:"How the room arranges its picture: grid, speaker, single and so on, with hideSelf, noLabels, noBorder, noMarks, fill, limit=N behind it; or JSON as of /v1/rooms/{room}/layout (grid)."`
	AudioOnly    bool          `help:"No pictures at all."`
	PerViewer    bool          `help:"Measure the room with and without its viewers, in turns, and say what one costs; no latency and no floor."`
	Still        bool          `help:"Have everybody send a picture that stands still, compare with moving ones in turns; no latency and no floor."`
	Rounds       int           `default:"2" help:"How often --per-viewer and --still measure each of the two (${default})."`
	Duration     time.Duration `default:"60s" help:"How long to measure (${default})."`
	Warmup       time.Duration `default:"5s" help:"How long to wait before (${default})."`
	Climb        time.Duration `default:"30s" help:"How long to wait before that until all who can are sent the largest size; 0s does not wait (${default})."`
	Latency      time.Duration `default:"30s" help:"How long to measure the latency of sound afterwards, 0s for none; that of pictures then is not measured either (${default})."`
	NoRecord     bool          `help:"Do not record meanwhile; the skew in the file is not measured then."`
	SkewOnly     bool          `help:"Of these measure nothing but the skew, more often."`
	Requests     int           `default:"0" placeholder:"N" help:"How many requests a second are sent by REST meanwhile, three of ten to change something (none)."`
	Impair       string        `placeholder:"SPEC" help:"Faults of some links, both ways, as loss=5%,burst=3,delay=30ms,jitter=30ms,rate=500kbps; also rate=300kbps@10s (from then on), drop=2s@10s, rebind=15s (a new address), drift=300ppm and others."`
	ImpairCount  int           `default:"2" help:"How many participants have such links (${default})."`
	Seed         uint64        `default:"1" help:"Seed of those faults (${default})."`
	Server       string        `placeholder:"URL" help:"Measure a running server, or a room of it as URL/r/ROOM, instead of an own one; needs --pid."`
	PID          int           `name:"pid" help:"Process id of that server."`
	Admin        string        `placeholder:"URL" help:"Its admin address, for what it says of itself, as encodes and decodes per second."`
	Clips        string        `default:".cache/clips" type:"path" help:"Where make clips has put the clips (${default})."`
	JSON         bool          `name:"json" help:"Print one JSON object instead of a table."`
	Quiet        bool          `short:"q" help:"Do not say what is going on."`
}

func (c *benchRoomCmd) config() (bench.Config, error) {
	spec, err := transporttest.ParseSpec(c.Impair)
	if err != nil {
		return bench.Config{}, fmt.Errorf("--impair: %w", err)
	}
	cfg := bench.Config{
		Participants: c.Participants, Talkers: c.Talkers, Viewers: c.Viewers, AudioOnly: c.AudioOnly,
		Uplink: c.Uplink == "on", Still: c.Still, Duration: c.Duration, Warmup: c.Warmup, Climb: c.Climb, Latency: c.Latency, NoRecording: c.NoRecord, SkewOnly: c.SkewOnly,
		Requests: c.Requests, Impair: spec, ImpairCount: c.ImpairCount, Seed: c.Seed, Clips: c.Clips, URL: c.Server, PID: c.PID, AdminURL: c.Admin,
	}
	if cfg.Video, err = pictureFlag("--video", c.Video); err != nil {
		return cfg, err
	}
	if cfg.Canvas, err = pictureFlag("--canvas", c.Canvas); err != nil {
		return cfg, err
	}
	if cfg.Arrangement, err = bench.ParseArrangement(c.Layout); err != nil {
		return cfg, fmt.Errorf("--layout: %w", err)
	}
	if c.PerViewer || c.Still {
		cfg.Latency = 0
	}
	if c.Talkers < 0 {
		cfg.Talkers = c.Participants
	}
	if spec.Zero() {
		cfg.ImpairCount = 0
	}
	return cfg, cfg.Validate()
}

// pictureFlag reads "1280x720@30"; empty is the zero Canvas.
func pictureFlag(name, text string) (layout.Canvas, error) {
	if text == "" {
		return layout.Canvas{}, nil
	}
	t, err := video.ParseTier(text)
	if err != nil {
		return layout.Canvas{}, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "tier "))
	}
	return layout.Canvas{Width: t.Width, Height: t.Height, FPS: t.FPS}, nil
}

// Validate is called by kong after parsing.
func (c *benchRoomCmd) Validate() error {
	switch {
	case c.PerViewer && c.Still:
		return errors.New("--per-viewer and --still: want one comparison at a time")
	case c.PerViewer && c.Viewers == 0:
		return errors.New("--per-viewer: want --viewers as well, 1 or more")
	case c.Rounds < 1 || c.Rounds > 100:
		return fmt.Errorf("--rounds %d: want 1..100", c.Rounds)
	}
	_, err := c.config()
	return err
}

// Run measures and prints.
func (c *benchRoomCmd) Run(ctx context.Context, s streams) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if err := ownServer(&cfg, s, c.Quiet); err != nil {
		return err
	}
	if c.PerViewer || c.Still {
		return c.pair(ctx, cfg, s)
	}
	result, err := bench.Room(ctx, cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		return result.JSON(s.Out)
	}
	result.Table(s.Out)
	return nil
}

// pair measures and prints a comparison.
func (c *benchRoomCmd) pair(ctx context.Context, cfg bench.Config, s streams) error {
	result, err := bench.Pair(ctx, bench.PairConfig{Room: cfg, Rounds: c.Rounds})
	if err != nil {
		return err
	}
	if c.JSON {
		return result.JSON(s.Out)
	}
	result.Table(s.Out)
	return nil
}
