package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"

	"mixdown/api"
	"mixdown/cmd/mixdown/internal/probe"
	"mixdown/codec/h264"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/mixer/video"
)

// doctorCmd looks at everything that commonly keeps a server from working, and says
// what to do about it. What it tries of the network it tries for real: with a
// client that joins by each way there is.
type doctorCmd struct {
	Config string   `type:"path" placeholder:"FILE" help:"What serve --config would be given."`
	URL    string   `name:"url" placeholder:"URL" help:"A server that runs, here or elsewhere, to be tried instead of one that the doctor starts."`
	Token  string   `env:"MIXDOWN_TOKEN" placeholder:"TOKEN" help:"What lets a client in there; better by MIXDOWN_TOKEN than here."`
	Room   string   `placeholder:"ROOM" help:"The room that the token is for (one of its own)."`
	Trust  bool     `name:"insecure" help:"With --url: believe any certificate, as one that the server made itself."`
	Flags  []string `arg:"" optional:"" passthrough:"" help:"Flags of serve, after --."`
}

const (
	// wayTimeout is how long one way may take to show a picture.
	wayTimeout = 15 * time.Second
	// littleDisk and fewFiles are what is warned of: a recording takes some 10 MB a
	// minute, a client by TCP or a stream of events a descriptor.
	littleDisk = 1 << 30
	fewFiles   = 4096
	// smallBuffer is the least net.core.rmem_max with which a burst of many senders'
	// key frames is not lost in the socket.
	smallBuffer = 1 << 20
)

// Run examines. That something is wrong is an error; warnings are not.
func (c *doctorCmd) Run(ctx context.Context, s streams) error {
	d := &doctor{out: s.Out}
	if c.URL != "" {
		d.machine(nil)
		d.paths(ctx, probe.Config{URL: strings.TrimSuffix(c.URL, "/"), Room: c.Room, Token: c.Token, TLS: &tls.Config{InsecureSkipVerify: c.Trust}})
		return d.verdict()
	}
	line := commandLine{"serve"}
	if c.Config != "" {
		line = append(line, "--config", c.Config)
	}
	args := c.Flags
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	serve, _, err := append(line, args...).serve()
	if err != nil {
		d.tell(bad, "configuration", err.Error())
		return d.verdict()
	}
	d.tell(good, "configuration", cmp.Or(c.Config, "flags and environment"))
	d.machine(serve)
	d.ports(ctx, serve)
	return d.verdict()
}

// finding is how bad something is.
type finding string

const (
	good    finding = "ok"
	warning finding = "warning"
	bad     finding = "FAULT"
)

// doctor prints what it finds, one line each.
type doctor struct {
	out    io.Writer
	faults int
	failed error // of writing
}

func (d *doctor) tell(f finding, what, text string) {
	if f == bad {
		d.faults++
	}
	_, err := fmt.Fprintf(d.out, "%-7s  %-14s %s\n", f, what, strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n                         "))
	d.failed = errors.Join(d.failed, err)
}

func (d *doctor) verdict() error {
	switch {
	case d.failed != nil:
		return d.failed
	case d.faults > 0:
		return fmt.Errorf("the doctor found %d faults", d.faults)
	}
	return nil
}

// machine looks at what the program finds where it runs. serve is nil when the
// server is somewhere else: then most of it does not matter.
func (d *doctor) machine(serve *serveCmd) {
	if serve == nil {
		return
	}
	d.tell(good, "libraries", fmt.Sprintf("libvpx %s, %s", vp8.Version(), opus.Version()))
	switch lib, err := h264.Load(fileOfOpenH264(serve.OpenH264)); {
	case serve.OpenH264 == openH264Off:
		d.tell(good, "H.264", "off")
	case err != nil:
		d.tell(warning, "H.264", "no OpenH264: clients that know no VP8 (OBS, ffmpeg) cannot join; README, H.264, says where it is")
	default:
		d.tell(good, "H.264", fmt.Sprintf("OpenH264 %s (%s)", lib.Version(), lib.Path()))
	}
	switch fonts := video.CheckFonts(nil); {
	case fonts.Families == 0:
		d.tell(warning, "fonts", "none: tiles have no names; install fonts-dejavu-core, fonts-noto-cjk and fonts-noto-color-emoji")
	case len(fonts.Missing) > 0:
		d.tell(warning, "fonts", fmt.Sprintf("%d families, none of which has %s", fonts.Families, strings.Join(fonts.Missing, ", ")))
	default:
		d.tell(good, "fonts", fmt.Sprintf("%d families", fonts.Families))
	}
	d.disk(serve.Data)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		f, text := good, fmt.Sprint(files.Cur)
		if files.Cur < fewFiles {
			f, text = warning, text+": a client by TCP or TURN takes one each; ulimit -n, or LimitNOFILE of the unit, raises it"
		}
		d.tell(f, "open files", text)
	}
	if data, err := os.ReadFile("/proc/sys/net/core/rmem_max"); err == nil {
		var n int
		if _, err := fmt.Sscan(string(data), &n); err == nil && n < smallBuffer {
			d.tell(warning, "socket buffer", fmt.Sprintf("%d bytes at most: bursts of many senders may be lost; sysctl net.core.rmem_max=%d", n, 2*smallBuffer))
		}
	}
}

// fileOfOpenH264 is what h264.Load takes for --openh264.
func fileOfOpenH264(flag string) string {
	if flag == openH264Auto {
		return ""
	}
	return flag
}

// disk looks at where recordings go.
func (d *doctor) disk(dir string) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		d.tell(bad, "disk", fmt.Sprintf("--data: %v", err))
		return
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		d.tell(bad, "disk", fmt.Sprintf("--data cannot be written to: %v", err))
		return
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		d.tell(bad, "disk", fmt.Sprintf("--data: %v", err))
		return
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		d.tell(warning, "disk", fmt.Sprintf("%s: %v", dir, err))
		return
	}
	free := fs.Bavail * uint64(fs.Bsize)
	how, text := good, fmt.Sprintf("%.1f GB free in %s", float64(free)/1e9, dir)
	if free < littleDisk {
		how, text = warning, text+": a recording takes some 10 MB a minute"
	}
	d.tell(how, "disk", text)
}

// ports runs a server on the ports that are configured, with another data
// directory, and joins it by each way. Its HTTP is on loopback and without keys;
// whether that of the configuration could be had is only looked at.
func (d *doctor) ports(ctx context.Context, serve *serveCmd) {
	for _, p := range []struct{ flag, addr string }{{"--http", serve.HTTP}, {"--admin", serve.Admin}} {
		if p.addr == adminOff {
			continue
		}
		if l, err := net.Listen("tcp", p.addr); err != nil {
			d.tell(bad, "port", fmt.Sprintf("%s: %v%s", p.flag, err, inUse(err)))
		} else {
			d.tell(good, "port", fmt.Sprintf("%s %s", p.flag, l.Addr()))
			_ = l.Close()
		}
	}
	data, err := os.MkdirTemp("", "mixdown-doctor-")
	if err != nil {
		d.tell(bad, "disk", err.Error())
		return
	}
	defer os.RemoveAll(data)
	cfg := serve.config(slog.New(slog.DiscardHandler))
	cfg.HTTP, cfg.Admin, cfg.Data, cfg.MediaDir = "127.0.0.1:0", adminOff, data, ""
	cfg.FlightRecorder, cfg.Keys, cfg.Webhooks.Endpoints = false, Config{}.Keys, nil
	cfg.Cores = 0                  // how busy the machine is, is not the question
	if cfg.TLS.mode() == tlsAuto { // no certificate is asked for
		cfg.TLS = tlsFlags{TLS: tlsSelf}
	}
	cfg.TLS.Redirect = redirectOff
	app, err := NewApp(cfg)
	if err != nil {
		d.tell(bad, "port", err.Error()+inUse(err))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	scheme := "http"
	if cfg.TLS.on() {
		scheme = "https"
	}
	// The certificate is for those who come from elsewhere.
	d.paths(ctx, probe.Config{URL: scheme + "://" + app.Addr().String(), TLS: &tls.Config{InsecureSkipVerify: true}})
	cancel()
	if err := <-ended; err != nil {
		d.tell(bad, "server", err.Error())
	}
}

// inUse adds what to do about a port that is taken.
func inUse(err error) string {
	if errors.Is(err, syscall.EADDRINUSE) {
		return "; if that is a mixdown that runs, try it with --url"
	}
	return ""
}

// paths joins a server by each way there is.
func (d *doctor) paths(ctx context.Context, cfg probe.Config) {
	cfg.HTTP = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: cfg.TLS.Clone()}}
	defer cfg.HTTP.CloseIdleConnections()
	cfg.Way = probe.UDP
	told := d.way(ctx, "UDP", cfg)
	if len(told.UDP) == 0 && len(told.TCP) == 0 {
		return // it was not even answered, which has been told
	}
	d.addresses("UDP", told.UDP)
	if len(told.TCP) > 0 {
		cfg.Way = probe.TCP
		d.way(ctx, "TCP", cfg)
		d.addresses("TCP", told.TCP)
	} else {
		d.tell(warning, "TCP", "off: clients that no UDP reaches need --media-tcp, or TURN")
	}
	servers, err := iceServers(ctx, cfg)
	if err != nil {
		d.tell(bad, "TURN", err.Error())
		return
	}
	relays := 0
	for _, s := range servers {
		for _, u := range s.URLs {
			if strings.HasPrefix(u, "stun") {
				continue
			}
			relays++
			cfg.Way = probe.Relay
			cfg.Server = webrtc.ICEServer{URLs: []string{u}, Username: s.Username, Credential: s.Credential}
			d.way(ctx, "TURN", cfg)
		}
	}
	if relays == 0 {
		d.tell(good, "TURN", "none: clients behind the strictest firewalls need --turn")
	}
}

// way tries one way and tells what came of it.
func (d *doctor) way(ctx context.Context, name string, cfg probe.Config) probe.Told {
	ctx, cancel := context.WithTimeout(ctx, wayTimeout)
	defer cancel()
	told, err := probe.Run(ctx, cfg)
	by := ""
	if cfg.Way == probe.Relay {
		by = cfg.Server.URLs[0] + ": "
	}
	if err != nil {
		d.tell(bad, name, by+err.Error())
		return told
	}
	d.tell(good, name, fmt.Sprintf("%sconnected after %d ms, a picture after %d ms, %s to %s", by,
		told.Connected.Milliseconds(), told.Picture.Milliseconds(), told.Local, told.Remote))
	return told
}

// addresses tells who can reach what the server offers.
func (d *doctor) addresses(name string, list []netip.AddrPort) {
	public := 0
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
		if ip := a.Addr(); ip.IsGlobalUnicast() && !ip.IsPrivate() && !carrierNAT.Contains(ip) {
			public++
		}
	}
	text := name + " at " + strings.Join(texts, ", ")
	if public == 0 {
		d.tell(warning, "addresses", text+": none is of the internet; clients from there need --public-address, with the same port on the NAT led here")
		return
	}
	d.tell(good, "addresses", text)
}

// carrierNAT is RFC 6598's: nobody's own.
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// iceServers asks what browsers ask.
func iceServers(ctx context.Context, cfg probe.Config) ([]api.ICEServer, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("v1", "ice-servers").String(), nil)
	if err != nil {
		return nil, err
	}
	if cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+cfg.Token)
	}
	res, err := cfg.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET /v1/ice-servers: %s", res.Status)
	}
	var told api.ICEServers
	err = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&told)
	return told.ICEServers, err
}
