// Mixdown is a multipoint conferencing server and its tools in one binary:
//
//	mixdown serve            the server
//	mixdown keys new         a key, for a server that others can reach
//	mixdown token            a token for somebody, made with a key
//	mixdown join URL         a participant without a browser
//	mixdown bench room       what a room costs, measured
//	mixdown config check     what is wrong with a configuration file
//	mixdown doctor           what keeps a server from working, each way to it tried
//	mixdown recover PATH     finish recordings that a crash left behind
//	mixdown version          versions, those of the codec libraries included
//
// Run any of them with --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the whole command line. Each command has a method
// Run(context.Context, streams) error, which may take a commandLine besides.
type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Keys    keysCmd    `cmd:"" help:"Make keys, with which a server knows who may do what."`
	Token   tokenCmd   `cmd:"" help:"Make a token with a key of the server, or an invitation."`
	Join    joinCmd    `cmd:"" help:"Join a room, play files or devices into it, save what comes."`
	Bench   benchCmd   `cmd:"" help:"Measure what the server costs and delivers."`
	Config  configCmd  `cmd:"" help:"Make and check the file of --config; print files for systemd, containers, Prometheus and Grafana."`
	Doctor  doctorCmd  `cmd:"" help:"Look at what commonly keeps a server from working, and try every way to it."`
	Recover recoverCmd `cmd:"" help:"Finish recordings that a crash left behind."`
	Version versionCmd `cmd:"" help:"Print versions."`
}

// streams are where a command writes: results to Out, all else to Err.
type streams struct{ Out, Err io.Writer }

// Exit codes beside 0 and, when a signal had to be repeated, 128 + its number.
const (
	exitFailure = 1
	exitUsage   = 2
)

// usageError is the user's mistake; the message says how to do it right.
type usageError struct{ error }

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-signals
		stop()
		// The second one is meant: no more waiting for anything.
		s := <-signals
		fmt.Fprintf(os.Stderr, "mixdown: %v again: ending at once\n", s)
		if n, ok := s.(syscall.Signal); ok {
			os.Exit(128 + int(n))
		}
		os.Exit(exitFailure)
	}()
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}))
}

// run is main without the process around it. It returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	var c commands
	parser, err := newParser(&c, s)
	if err != nil {
		fmt.Fprintln(s.Err, "mixdown:", err)
		return exitFailure
	}
	parsed, err := parser.Parse(args)
	if err == nil {
		parsed.BindTo(ctx, (*context.Context)(nil))
		parsed.Bind(commandLine(args))
		err = parsed.Run(s)
	} else {
		err = usageError{err}
	}
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintln(s.Err, "mixdown:", err)
		return exitUsage
	default:
		fmt.Fprintln(s.Err, "mixdown:", err)
		return exitFailure
	}
}

func newParser(c *commands, s streams) (*kong.Kong, error) {
	file := &configFile{}
	return kong.New(c,
		kong.Name("mixdown"),
		kong.Description("A conference server that sends everybody one picture and one sound."),
		kong.Writers(s.Out, s.Err),
		kong.DefaultEnvars("MIXDOWN"),
		kong.Resolvers(file), kong.Bind(file),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
}
