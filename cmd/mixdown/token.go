package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"mixdown/api/token"
	"mixdown/mixer/video"
)

// tokenCmd is the flags of `mixdown token`.
type tokenCmd struct {
	keyFlags `embed:""`
	With     string        `placeholder:"ID" help:"The key to sign with, if there are several."`
	Room     string        `placeholder:"ROOM" help:"The room that it is for; * is all."`
	Identity string        `placeholder:"TEXT" help:"Whom it is for; without one it is for many, as an invitation."`
	Name     string        `placeholder:"TEXT" help:"Shown under the tile (the holder chooses)."`
	Role     string        `enum:"host,speaker,viewer,none" default:"speaker" help:"host moderates; speaker; viewer is not seen and heard until somebody makes a speaker of it; none does not join (${default})."`
	For      time.Duration `default:"6h" help:"How long it is good for, at most 24h (${default})."`
	Record   bool          `help:"The holder may record."`
	Files    bool          `name:"recordings" help:"The holder may list, download and delete recordings."`
	Create   bool          `help:"The holder may make rooms, of any name with --room *."`
	List     bool          `help:"The holder may list all rooms, and see the load of the server."`
	MaxTier  string        `placeholder:"WxH@FPS" help:"The largest picture that the holder is sent."`
	Canvas   bool          `name:"personal-canvas" help:"The holder may have a picture of its own."`
	Hidden   bool          `help:"Nobody is told that the holder is in the room."`
	Admin    bool          `env:"-" help:"Everything in all rooms: for programs of the server's owner, and for its page /admin."`
	Link     string        `placeholder:"URL" help:"Print an invitation, a link to the room's page, instead: of the server at https://HOST[:PORT]."`
}

// Validate is called by kong after parsing.
func (c *tokenCmd) Validate() error {
	if !c.given() {
		return errors.New("want --keys FILE or --key ID:SECRET (MIXDOWN_KEY): a key of the server; `mixdown keys new` makes one")
	}
	if c.Room == "" && !c.Admin && !c.List && !c.Create {
		return errors.New("want --room ROOM, or --admin")
	}
	if c.For <= 0 || c.For > token.MaxLife {
		return fmt.Errorf("--for %v: want more than 0 and at most 24h", c.For)
	}
	if c.MaxTier != "" {
		if _, err := video.ParseTier(c.MaxTier); err != nil {
			return fmt.Errorf("--max-tier: %w", err)
		}
	}
	if c.Link != "" {
		if u, err := url.Parse(c.Link); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return fmt.Errorf("--link %q: want https://HOST[:PORT]", c.Link)
		}
		if !c.Admin && (c.Room == "" || c.Room == token.AnyRoom) {
			return errors.New("--link wants --room: it leads to the page of one room")
		}
	}
	return nil
}

// claims are what the flags say; expiry and key are missing.
func (c *tokenCmd) claims() token.Claims {
	if c.Admin {
		return token.Claims{Subject: c.Identity, Name: c.Name,
			Video: token.Video{RoomJoin: true, RoomAdmin: true, RoomCreate: true, RoomList: true, RoomRecord: true, Room: token.AnyRoom},
			Mix:   token.Mix{Role: token.Host, PersonalCanvas: true, Recordings: true},
		}
	}
	claims := token.Claims{Subject: c.Identity, Name: c.Name,
		Video: token.Video{RoomCreate: c.Create, RoomList: c.List, RoomRecord: c.Record, Room: c.Room, Hidden: c.Hidden},
		Mix:   token.Mix{MaxTier: c.MaxTier, PersonalCanvas: c.Canvas, Recordings: c.Files},
	}
	if c.Role != "none" && c.Room != "" {
		claims.Video.RoomJoin, claims.Video.RoomAdmin = true, c.Role == token.Host
		claims.Mix.Role = c.Role
	}
	return claims
}

// Run makes a token and prints it.
func (c *tokenCmd) Run(_ context.Context, s streams) error {
	secrets, err := c.load()
	if err != nil {
		return err
	}
	keys, err := token.NewKeyring(secrets)
	if err != nil {
		return err
	}
	claims, now := c.claims(), time.Now()
	claims.Key, claims.Expires = c.With, now.Add(c.For)
	if c.With == "" {
		ids := keys.IDs()
		if len(ids) > 1 {
			return fmt.Errorf("there are %d keys: say --with which one", len(ids))
		}
		claims.Key = ids[0]
	}
	text, err := keys.Mint(claims, now)
	if err != nil {
		return err
	}
	if c.Link == "" {
		_, err = fmt.Fprintln(s.Out, text)
		return err
	}
	u, err := url.Parse(c.Link)
	if err != nil {
		return err
	}
	u.Path, u.RawQuery = "/r/"+c.Room, ""
	if c.Admin {
		u.Path = "/admin"
	}
	u.Fragment = "token=" + text
	_, err = fmt.Fprintln(s.Out, u)
	return err
}
