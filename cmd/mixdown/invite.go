package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"mixdown/api/token"
	"mixdown/cmd/mixdown/internal/qr"
)

// inviteFlags are those of serve that say who is told how to come.
type inviteFlags struct {
	Invite string `name:"invite" placeholder:"ROOM" help:"Print an invitation to a room when the server is there: a link, good for a day, and, on a terminal, its QR code for phones. Wants --keys."`
}

// validate is serveCmd.Validate's part of these.
func (f *inviteFlags) validate(keys bool) error {
	switch {
	case f.Invite == "":
		return nil
	case !keys:
		return errors.New("--invite is of no use without --keys: whoever reaches the server may come")
	}
	return nil
}

// invite prints an invitation to the page at url.
func (c *serveCmd) invite(ctx context.Context, w io.Writer, url string) error {
	if c.Invite.Invite == "" {
		return nil
	}
	secrets, err := c.Keys.load()
	if err != nil {
		return err
	}
	t := tokenCmd{
		keyFlags: c.Keys.keyFlags, With: slices.Min(slices.Collect(maps.Keys(secrets))), // any will do, the same each time
		Room: c.Invite.Invite, Role: token.Speaker, For: token.MaxLife, Link: url,
	}
	var link strings.Builder
	if err := t.Run(ctx, streams{Out: &link}); err != nil {
		return fmt.Errorf("--invite: %w", err)
	}
	fmt.Fprintf(w, "invitation to %s, for a day: %s", c.Invite.Invite, link.String())
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if code, err := qr.Encode(strings.TrimSpace(link.String())); err == nil {
			fmt.Fprint(w, code)
		}
	}
	return nil
}
