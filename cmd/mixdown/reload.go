package main

import (
	"context"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
)

// commandLine is what the program was called with, without its name.
type commandLine []string

// serve reads it again, with the environment and the file as they are now.
func (l commandLine) serve() (*serveCmd, settings, error) {
	var c commands
	parser, err := newParser(&c, streams{io.Discard, io.Discard})
	if err != nil {
		return nil, nil, err
	}
	ctx, err := parser.Parse(l)
	if err != nil {
		return nil, nil, err
	}
	all := make(settings)
	for _, flag := range ctx.Flags() {
		all[flag.Name] = flag.Target.Interface()
	}
	return &c.Serve, all, nil
}

// settings are the values of all flags, by name.
type settings map[string]any

// changed are the names of those that are not alike, sorted.
func (s settings) changed(now settings) (names []string) {
	for name, value := range now {
		if !reflect.DeepEqual(value, s[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// reloader is a part of the server that takes changes while it runs.
type reloader struct {
	// flags are the names of those that it takes; of all others the user is told
	// that they want a restart.
	flags []string
	// take is called at every SIGHUP, since files that flags name may have changed
	// though the flags have not. After an error the part goes on as before, and
	// the error begins with the flag that it is about.
	take func(*serveCmd) error
}

// onReload has a part of the server take flags, or what is in the files that they
// name, at SIGHUP. NewApp calls it.
func (a *App) onReload(take func(*serveCmd) error, flags ...string) {
	a.reloaders = append(a.reloaders, reloader{flags, take})
}

// registerReloaders is for what has no file of its own.
func (a *App) registerReloaders() {
	a.onReload(func(c *serveCmd) error {
		if a.cfg.LogLevel != nil {
			a.cfg.LogLevel.Set(c.level())
		}
		return nil
	}, "log-level")
	a.onReload(func(c *serveCmd) error {
		a.rooms.Governor().SetCores(c.budget())
		return nil
	}, "cores", "no-limit")
}

// runReloading is Run of a server that reads its configuration again at each
// signal. What it began with is what line says now.
func (a *App) runReloading(ctx context.Context, line commandLine, hangups <-chan os.Signal) error {
	_, was, err := line.serve()
	if err != nil {
		return err // the file has changed since the start, a moment ago
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-hangups:
				was = a.reload(line, was)
			case <-ctx.Done():
				return
			}
		}
	}()
	err = a.Run(ctx)
	cancel()
	<-ended
	return err
}

// reload takes what can be taken of the configuration as it is now, and returns
// what is in force then. A configuration with a fault changes nothing.
func (a *App) reload(line commandLine, was settings) settings {
	c, now, err := line.serve()
	if err != nil {
		a.log.Error("the configuration has faults, and the one before goes on", "error", err)
		return was
	}
	left := was.changed(now)
	force := maps.Clone(was)
	var taken []string
	for _, r := range a.reloaders {
		err := r.take(c)
		if err != nil {
			a.log.Error("a part of the configuration cannot be taken, and what was before goes on", "error", err)
		}
		left = slices.DeleteFunc(left, func(name string) bool {
			if !slices.Contains(r.flags, name) {
				return false
			}
			if err == nil {
				taken, force[name] = append(taken, name), now[name]
			}
			return true
		})
	}
	slices.Sort(taken)
	if len(left) > 0 {
		a.log.Warn("these want a restart, and stay as they were", "flags", strings.Join(left, ", "))
	}
	a.log.Info("the configuration was read again", "changed", strings.Join(taken, ", "))
	return force
}
