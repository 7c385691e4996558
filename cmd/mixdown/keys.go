package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mixdown/api/token"
)

// keysCmd is `mixdown keys`.
type keysCmd struct {
	New newKeyCmd `cmd:"" help:"Make a key: with one a server lets in only who has a token."`
}

// newKeyCmd is the flags of `mixdown keys new`.
type newKeyCmd struct {
	File string `arg:"" optional:"" type:"path" help:"File for --keys, to which it is added; without one it is printed."`
}

// Run makes a key.
func (c *newKeyCmd) Run(_ context.Context, s streams) error {
	id, secret := token.NewKey()
	if c.File == "" {
		_, err := fmt.Fprintf(s.Out, "%s: %s\n", id, secret)
		return err
	}
	// What is there must be a file of keys: of anything else it would not become one.
	old, err := os.ReadFile(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = nil, nil
	}
	if err == nil {
		_, err = token.ParseKeys(old)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	line := fmt.Sprintf("%s: %s\n", id, secret)
	if n := len(old); n > 0 && old[n-1] != '\n' {
		line = "\n" + line
	}
	f, err := os.OpenFile(c.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "key %s is in %s: mixdown serve --keys %s\n", id, c.File, c.File)
	return err
}
