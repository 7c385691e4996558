package main

import (
	"context"
	"time"

	"mixdown/cmd/mixdown/internal/bench"
)

// benchChurnCmd is the flags of `mixdown bench churn`.
type benchChurnCmd struct {
	Stay   int           `default:"3" help:"How many stay all the time, and must not notice (${default})."`
	Joins  int           `default:"20" help:"How many join within a moment (${default})."`
	Within time.Duration `default:"2s" help:"How long that moment is (${default})."`
	Cycles int           `default:"100" help:"How often somebody joins and leaves after that (${default})."`
	Lanes  int           `default:"4" help:"How many of them do so at a time (${default})."`
	Video  string        `placeholder:"WxH@FPS" help:"What each participant sends (640x360@30)."`
	Canvas string        `placeholder:"WxH@FPS" help:"What the room composes (1280x720@30)."`
	Warmup time.Duration `default:"3s" help:"How long to wait before (${default})."`
	Climb  time.Duration `default:"30s" help:"How long to wait before that until all who stay are sent the largest size; 0s does not wait (${default})."`
	Clips  string        `default:".cache/clips" type:"path" help:"Where make clips has put the clips (${default})."`
	JSON   bool          `name:"json" help:"Print one JSON object instead of a table."`
	Quiet  bool          `short:"q" help:"Do not say what is going on."`
}

func (c *benchChurnCmd) config() (cfg bench.ChurnConfig, err error) {
	cfg = bench.ChurnConfig{
		Room:  bench.Config{Participants: c.Stay, Warmup: c.Warmup, Climb: c.Climb, Clips: c.Clips},
		Joins: c.Joins, Within: c.Within, Cycles: c.Cycles, Lanes: c.Lanes,
	}
	if cfg.Room.Video, err = pictureFlag("--video", c.Video); err != nil {
		return cfg, err
	}
	if cfg.Room.Canvas, err = pictureFlag("--canvas", c.Canvas); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

// Validate is called by kong after parsing.
func (c *benchChurnCmd) Validate() error {
	_, err := c.config()
	return err
}

// Run measures and prints.
func (c *benchChurnCmd) Run(ctx context.Context, s streams) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if err := ownServer(&cfg.Room, s, c.Quiet); err != nil {
		return err
	}
	result, err := bench.Churn(ctx, cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		return result.JSON(s.Out)
	}
	result.Table(s.Out)
	return nil
}
