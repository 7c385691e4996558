package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"mixdown/codec/worker"
	"mixdown/transport"
)

// serveCmd is the flags of `mixdown serve`.
type serveCmd struct {
	Config   string        `placeholder:"FILE" help:"YAML file with these flags as keys. Flags and environment win over it."`
	HTTP     string        `name:"http" placeholder:"HOST:PORT" help:"Address of pages and API (127.0.0.1:8080; with --tls see there). Port 0 is any free one."`
	Media    []string      `default:":8189" placeholder:"HOST:PORT" help:"UDP addresses for media, one or several (${default})."`
	MediaTCP []string      `name:"media-tcp" placeholder:"HOST:PORT" help:"TCP addresses for media of clients that no UDP reaches (those of --media); off for none."`
	ICELite  bool          `name:"ice-lite" default:"true" negatable:"" help:"Send nothing to addresses that have not proved that they know the session (on). --no-ice-lite is for servers behind a NAT that clients cannot reach."`
	Public   []netip.Addr  `name:"public-address" placeholder:"IP" help:"Addresses at which clients reach --media, if they are not this machine's own: of a NAT that keeps ports."`
	Admin    string        `default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Address of /metrics, /debug/pprof and /debug/flightrecorder (${default}); off for none."`
	Data     string        `default:"./data" type:"path" placeholder:"DIR" help:"Where recordings are kept (${default})."`
	MediaDir string        `type:"path" placeholder:"DIR" help:"Files that may be played into rooms: Ogg with Opus (none)."`
	Drain    time.Duration `default:"10s" help:"How long to end properly after SIGTERM (${default})."`
	Origin   []string      `placeholder:"URL" help:"Further web origins that may use the API."`
	NoRED    bool          `name:"no-red" help:"Do not ask clients to send their sound twice (RFC 2198), which costs them some 32 kb/s and hides bursts of loss."`
	Playout  time.Duration `name:"playout-delay" default:"0s" help:"How late clients that can are asked to show pictures at most, in steps of 10ms (0: as they like). With up to 500ms Chromium shows each as soon as it is decoded, in step with the sound or not."`
	OpenH264 string        `name:"openh264" default:"auto" placeholder:"FILE" help:"OpenH264, for clients that know no VP8: its file, auto for wherever the system keeps it, or off (${default}). Cisco's own is at openh264.org."`
	Trusted  bool          `name:"openh264-trusted" help:"Decode with that OpenH264 although its version is known for a hole (CVE-2025-27091): for a build in which it was mended, as in Debian's 2.3.1 since 2025."`
	Workers  int           `default:"0" help:"Threads for video (0: one per core)."`
	Cores    float64       `default:"0" help:"Processor time that may be used, in cores. Joins that would take more than 80% of it are refused (0: all there is, or the control group's quota)."`
	NoLimit  bool          `help:"Refuse nobody and never lower quality, whatever it costs: for measurements."`
	Log      string        `enum:"text,json" default:"text" help:"Form of the log on stderr: text or json."`
	LogLevel string        `enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: debug, info, warn or error."`

	Keys   serverKeyFlags `embed:""`
	Invite inviteFlags    `embed:""`
	TLS    tlsFlags       `embed:""`
	TURN   turnFlags      `embed:""`

	Lasting  lastingFlags `embed:""`
	Webhooks webhookFlags `embed:""`

	FlightRecorder    bool          `help:"Keep the last seconds of the runtime's trace, for /debug/flightrecorder, and write them to a file when sound is late. Costs up to 5% more processor time."`
	LateAfter         time.Duration `default:"40ms" help:"How late an audio tick must be for that (${default})."`
	TraceDir          string        `type:"path" placeholder:"DIR" help:"Where these files go, the last ten of them (traces in --data)."`
	ProfileContention bool          `help:"Fill the mutex and block profiles of /debug/pprof, which costs a little."`
}

// With --profile-contention one of mutexFraction waits for a mutex is sampled,
// and on average one block in blockRate nanoseconds of blocking: an audio tick's
// worth of detail at well below a percent of its time.
const (
	mutexFraction = 100
	blockRate     = 100 * time.Microsecond
)

// adminOff is the value of --admin that opens no socket, tcpOff that of
// --media-tcp.
const adminOff, tcpOff = "off", "off"

// BeforeResolve is called by kong once flags and environment are known.
func (c *serveCmd) BeforeResolve(ctx *kong.Context, file *configFile) error { return file.load(ctx) }

// Validate is called by kong after parsing. It returns all faults there are, as
// [flagFaults]; each begins with its flag and says how to do it right.
func (c *serveCmd) Validate() error {
	if c.HTTP == "" {
		c.HTTP = c.TLS.address()
	}
	var faults flagFaults
	check := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	check(c.Keys.validate(c.HTTP, c.TLS.on()))
	if c.Admin != adminOff {
		check(loopbackOnly("--admin", c.Admin, "127.0.0.1:9090"))
	}
	check(c.Invite.validate(c.Keys.given()))
	faults = append(faults, c.TLS.validate()...)
	check(c.validateMedia())
	check(c.TURN.validate(c.TLS.on()))
	check(c.Webhooks.validate())
	check(c.Lasting.validate())
	if c.Drain <= 0 || c.Drain > 10*time.Minute {
		check(fmt.Errorf("--drain %v: want more than 0 and at most 10m", c.Drain))
	}
	if c.Playout < 0 || c.Playout > transport.MaxPlayoutDelay || c.Playout%(10*time.Millisecond) != 0 {
		check(fmt.Errorf("--playout-delay %v: want 0s to %v, in steps of 10ms", c.Playout, transport.MaxPlayoutDelay))
	}
	if c.LateAfter < time.Millisecond || c.LateAfter > time.Minute {
		check(fmt.Errorf("--late-after %v: want 1ms to 1m", c.LateAfter))
	}
	if c.Workers < 0 || c.Workers > 1024 {
		check(fmt.Errorf("--workers %d: want 1..1024, or 0 for one per core", c.Workers))
	}
	if !(c.Cores == 0 || c.Cores >= minCores && c.Cores <= maxCores) {
		check(fmt.Errorf("--cores %v: want %v to %v, or 0 for all there is", c.Cores, minCores, maxCores))
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

func (c *serveCmd) validateMedia() error {
	if len(c.Media) == 0 {
		return fmt.Errorf("--media is empty: want at least one HOST:PORT, as :8189")
	}
	for _, m := range c.Media {
		if _, _, err := net.SplitHostPort(m); err != nil {
			return fmt.Errorf("--media %q: want HOST:PORT, as :8189", m)
		}
	}
	for _, m := range c.MediaTCP {
		if m == tcpOff && len(c.MediaTCP) == 1 {
			continue
		}
		if _, _, err := net.SplitHostPort(m); err != nil {
			return fmt.Errorf("--media-tcp %q: want HOST:PORT, as :8189, or off alone", m)
		}
	}
	return nil
}

// flagFaults is what is wrong with the flags of serve as a whole, where each by
// itself could be read.
type flagFaults []error

// Error puts each fault on a line.
func (f flagFaults) Error() string { return errors.Join(f...).Error() }

// Unwrap returns the faults.
func (f flagFaults) Unwrap() []error { return f }

// Bounds of --cores. With the highest nobody is refused.
const minCores, maxCores = 0.05, 1024

// loopbackOnly refuses addresses that other machines can reach: a server
// without keys lets everybody do everything who reaches it.
func loopbackOnly(flag, address, example string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s %q: want HOST:PORT, as %s", flag, address, example)
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s %s: other machines could reach this address, and without keys everybody who can may do everything: "+
		"use %s %s (from elsewhere: ssh -L)", flag, address, flag, example)
}

// logger also returns what sets its level.
func (c *serveCmd) logger(w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.level())
	options := &slog.HandlerOptions{Level: level}
	if c.Log == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), level
	}
	return slog.New(slog.NewTextHandler(w, options)), level
}

func (c *serveCmd) level() (level slog.Level) {
	// The flag's enum admits only what this takes.
	_ = level.UnmarshalText([]byte(c.LogLevel))
	return level
}

// budget is the processor time that may be used, in cores; 0 is no such bound.
func (c *serveCmd) budget() float64 {
	switch {
	case c.NoLimit:
		return 0
	case c.Cores == 0:
		return worker.Cores()
	}
	return c.Cores
}

// config is what the flags say.
func (c *serveCmd) config(log *slog.Logger) Config {
	return Config{
		HTTP: c.HTTP, Media: c.Media, MediaTCP: c.MediaTCP, FullICE: !c.ICELite, PublicAddresses: c.Public, Admin: c.Admin, Data: c.Data, MediaDir: c.MediaDir, NoRED: c.NoRED, PlayoutDelay: c.Playout, Drain: c.Drain,
		OpenH264: c.OpenH264, TrustOpenH264: c.Trusted,
		Origins: c.Origin, Workers: c.Workers, Cores: c.budget(), Log: log,
		FlightRecorder: c.FlightRecorder, TraceDir: c.TraceDir, LateAfter: c.LateAfter,
		Keys: c.Keys, TLS: c.TLS, TURN: c.TURN, Lasting: c.Lasting, Webhooks: c.Webhooks,
	}
}

// Run serves until ctx is done, then drains.
func (c *serveCmd) Run(ctx context.Context, s streams, line commandLine) error {
	cores := runtime.GOMAXPROCS(0)
	workers := c.Workers
	if workers == 0 {
		workers = cores
	}
	// The pool's threads hold a P each while they encode. Without spare ones
	// the audio ticks would wait behind pictures: 40 ms late, measured,
	// against 7 ms with them.
	runtime.GOMAXPROCS(cores + workers)
	if c.ProfileContention {
		runtime.SetMutexProfileFraction(mutexFraction)
		runtime.SetBlockProfileRate(int(blockRate))
	}
	log, level := c.logger(s.Err)
	if err := worker.RelaxMonitor(); err != nil {
		log.Debug("running without", "error", err)
	}
	traces, err := newTracing(ctx, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := traces.Close(); err != nil {
			log.Warn("the last traces were not sent", "error", err)
		}
	}()
	cfg := c.config(log)
	cfg.Workers, cfg.LogLevel, cfg.Tracer = workers, level, traces.tracer()
	app, err := NewApp(cfg)
	if err != nil {
		return err
	}
	defer app.Close()
	app.announce(s.Out)
	if admin := app.AdminAddr(); admin != "" {
		fmt.Fprintf(s.Out, "admin on http://%s\n", admin)
	}
	if err := c.invite(ctx, s.Out, app.URLs()[0]); err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	return app.runReloading(ctx, line, hangups)
}
