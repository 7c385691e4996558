package main

import (
	"context"
	"fmt"

	"mixdown/mixer/record"
)

// recoverCmd is `mixdown recover`. The server does the same at its start.
type recoverCmd struct {
	Path string `arg:"" type:"existingdir" help:"Directory with recordings: the data directory's \"recordings\"."`
}

// Run prints a line for each file; it fails when one could not be read.
func (c recoverCmd) Run(_ context.Context, s streams) error {
	failed := 0
	err := record.Recover(c.Path, func(r record.Report) {
		switch {
		case r.Err != nil:
			failed++
			fmt.Fprintf(s.Out, "%s: %v\n", r.Name, r.Err)
		case r.Info.Finished:
			fmt.Fprintf(s.Out, "%s: complete, %v\n", r.Name, r.Info.Duration)
		default:
			fmt.Fprintf(s.Out, "%s: finished now, %v\n", r.Name, r.Info.Duration)
		}
	})
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d files could not be read; they were left as they are", failed)
	}
	return nil
}
