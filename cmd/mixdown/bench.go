package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"mixdown/cmd/mixdown/internal/bench"
	"mixdown/transport/transporttest"
)

// benchCmd is `mixdown bench`.
type benchCmd struct {
	Room benchRoomCmd `cmd:"" help:"One room: what it costs and what its participants get."`
}

// benchRoomCmd is the flags of `mixdown bench room`.
type benchRoomCmd struct {
	Participants int           `default:"9" help:"How many join (${default})."`
	Talkers      int           `default:"-1" help:"How many of them talk, each with a tone of their own (all)."`
	Duration     time.Duration `default:"60s" help:"How long to measure (${default})."`
	Warmup       time.Duration `default:"5s" help:"How long to wait before (${default})."`
	Impair       string        `placeholder:"SPEC" help:"Faults of some links, both ways, as loss=5%,burst=3,delay=30ms,jitter=30ms,rate=500kbps."`
	ImpairCount  int           `default:"2" help:"How many participants have such links (${default})."`
	Server       string        `placeholder:"URL" help:"Measure a running server instead of an own one; needs --pid."`
	PID          int           `name:"pid" help:"Process id of that server."`
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
		Participants: c.Participants, Talkers: c.Talkers, Duration: c.Duration, Warmup: c.Warmup,
		Impair: spec, ImpairCount: c.ImpairCount, Clips: c.Clips, URL: c.Server, PID: c.PID,
	}
	if c.Talkers < 0 {
		cfg.Talkers = c.Participants
	}
	if spec.Zero() {
		cfg.ImpairCount = 0
	}
	return cfg, cfg.Validate()
}

// Validate is called by kong after parsing.
func (c *benchRoomCmd) Validate() error {
	_, err := c.config()
	return err
}

// Run measures and prints.
func (c *benchRoomCmd) Run(ctx context.Context, s streams) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if cfg.Executable, err = os.Executable(); err != nil {
		return err
	}
	cfg.Log = s.Err
	if c.Quiet {
		cfg.Log = io.Discard
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
