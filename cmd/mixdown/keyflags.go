package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/api"
	"mixdown/api/token"
)

// keyFlags are those of commands that have keys.
type keyFlags struct {
	Keys string   `name:"keys" type:"path" placeholder:"FILE" help:"File of keys, a line \"ID: SECRET\" each, as mixdown keys new makes it."`
	Key  []string `name:"key" placeholder:"ID:SECRET" help:"A key; better in the environment (MIXDOWN_KEY), since everybody on the machine sees what stands here."`
}

// given says whether there are to be keys.
func (f *keyFlags) given() bool { return f.Keys != "" || len(f.Key) > 0 }

// load returns all secrets by the ids of their keys. Errors name no secret.
func (f *keyFlags) load() (map[string]string, error) {
	keys := make(map[string]string)
	if f.Keys != "" {
		var err error
		if keys, err = token.ReadKeys(f.Keys); err != nil {
			return nil, fmt.Errorf("--keys: %w", err)
		}
	}
	for _, k := range f.Key {
		id, secret, ok := strings.Cut(k, ":")
		if !ok {
			return nil, errors.New("--key: want ID:SECRET")
		}
		if _, twice := keys[id]; twice {
			return nil, fmt.Errorf("--key: the key %.64q is there twice", id)
		}
		keys[id] = strings.TrimSpace(secret)
	}
	if err := token.CheckKeys(keys); err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	return keys, nil
}

// warn tells of a file of keys that others may read.
func (f *keyFlags) warn(log *slog.Logger) {
	if info, err := os.Stat(f.Keys); f.Keys != "" && err == nil && info.Mode().Perm()&0o007 != 0 {
		log.Warn("everybody on this machine may read the keys: chmod o= will do", "file", f.Keys)
	}
}

// serverKeyFlags are those of serve.
type serverKeyFlags struct {
	keyFlags    `embed:""`
	BehindProxy bool `name:"behind-proxy" help:"A proxy does the TLS, and adds to X-Forwarded-For whom it talks to, by which limits per address count then. Whoever reaches --http without it is believed as well."`
}

// validate is serveCmd.Validate's part of these, for the address of --http.
// encrypted says that there is TLS.
func (f *serverKeyFlags) validate(http string, encrypted bool) error {
	here := loopbackOnly("--http", http, plainAddress)
	if _, _, err := net.SplitHostPort(http); err != nil {
		return here
	}
	if !f.given() {
		switch {
		case f.BehindProxy:
			return errors.New("--behind-proxy wants --keys: without them whoever reaches the proxy could do everything")
		case here != nil:
			return fmt.Errorf("%w; or let in only who has a token: mixdown keys new keys.yaml, then --keys keys.yaml", here)
		}
		return nil
	}
	if _, err := f.load(); err != nil {
		return err
	}
	if here == nil || encrypted || f.BehindProxy {
		return nil
	}
	return fmt.Errorf("--http %s: tokens and pictures of rooms would go there as plain text, and no phone opens a camera for such a page: "+
		"give --tls self, auto or files, or --behind-proxy if a proxy does that", http)
}

// useKeys has the API ask for tokens, if there are keys.
func (a *App) useKeys(f serverKeyFlags, c *api.Config) error {
	c.BehindProxy = f.BehindProxy
	if !f.given() {
		return nil
	}
	secrets, err := f.load()
	if err != nil {
		return err
	}
	keys, err := token.NewKeyring(secrets)
	if err != nil {
		return err
	}
	revoked, err := api.NewRevocations(a.state.Bucket("revocations"), nil)
	if err != nil {
		return err
	}
	f.warn(a.log)
	for _, m := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mixdown_tokens_revoked", Help: "Identities in rooms whose tokens from before are good no more.",
		}, func() float64 { held, _ := revoked.Len(); return float64(held) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "mixdown_tokens_revoked_forgotten_total", Help: "Of these, forgotten too early for want of space.",
		}, func() float64 { _, forgotten := revoked.Len(); return float64(forgotten) }),
	} {
		if err := a.registry.Register(m); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	c.Authorizer, c.Revoke = &api.Keyed{Keys: keys, Revoked: revoked}, revoked.Revoke
	a.onReload(func(now *serveCmd) error {
		if !now.Keys.given() {
			return errors.New("--keys: a server that has keys keeps some; without any it wants a restart")
		}
		secrets, err := now.Keys.load()
		if err != nil {
			return err
		}
		return keys.Replace(secrets)
	}, "keys", "key")
	return nil
}
