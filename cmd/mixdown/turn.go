package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/pion/stun/v4"
	"github.com/prometheus/client_golang/prometheus"

	"mixdown/api"
	"mixdown/transport"
)

// turnFlags are those of serve that say how clients get through firewalls and
// translations of addresses.
type turnFlags struct {
	TURN      string   `name:"turn" default:"off" placeholder:"HOST:PORT" help:"Be a STUN and TURN server over UDP and TCP for clients that do not reach --media, as :3478 (${default}). It relays to --media only."`
	TURNTLS   string   `name:"turn-tls" default:"off" placeholder:"HOST:PORT" help:"The same over TLS, as :5349, or :443 for the strictest firewalls (${default})."`
	TURNCert  string   `name:"turn-cert" type:"path" placeholder:"FILE" help:"Certificate chain for --turn-tls, PEM; read again when it changes (that of --tls)."`
	TURNKey   string   `name:"turn-key" type:"path" placeholder:"FILE" help:"Its key, PEM."`
	TURNHost  string   `name:"turn-host" placeholder:"HOST" help:"Name or address under which clients reach --turn and --turn-tls (that under which they reach this server by HTTP, unless that is loopback)."`
	ICEServer []string `name:"ice-server" placeholder:"URL" help:"Further STUN and TURN servers to tell clients of, as stun:stun.example.org or turn:turn.example.org?transport=tcp."`
	Secret    string   `name:"turn-secret" placeholder:"SECRET" help:"What TURN credentials are signed with (a random one). Give the same to a coturn of --ice-server as static-auth-secret; better by MIXDOWN_TURN_SECRET than here, where others on the machine see it."`
}

// turnOff is the value of --turn and --turn-tls that opens no socket.
const turnOff = "off"

// validate is serveCmd.Validate's part of these; shared says that there is a
// certificate for HTTP. Its errors say how to do it right.
func (f *turnFlags) validate(shared bool) error {
	for _, a := range []struct{ flag, addr, example string }{{"--turn", f.TURN, ":3478"}, {"--turn-tls", f.TURNTLS, ":5349"}} {
		if _, _, err := net.SplitHostPort(a.addr); err != nil && a.addr != turnOff {
			return fmt.Errorf("%s %q: want HOST:PORT, as %s, or off", a.flag, a.addr, a.example)
		}
	}
	switch certified := f.TURNCert != "" && f.TURNKey != ""; {
	case f.TURNTLS != turnOff && !certified && (!shared || f.TURNCert != "" || f.TURNKey != ""):
		return errors.New("--turn-tls needs a certificate: give --turn-cert and --turn-key, or --tls")
	case f.TURNTLS == turnOff && (f.TURNCert != "" || f.TURNKey != ""):
		return errors.New("--turn-cert and --turn-key are of no use without --turn-tls")
	}
	if f.Secret != "" {
		if err := transport.TURNSecret(f.Secret).Validate(); err != nil {
			return fmt.Errorf("--turn-secret: %w", err)
		}
	}
	if strings.ContainsAny(f.TURNHost, "/[]@ \"<>") {
		return fmt.Errorf("--turn-host %q: want a name or an address without a port, as turn.example.org", f.TURNHost)
	}
	for _, s := range f.ICEServer {
		uri, err := stun.ParseURI(s)
		if err != nil || strings.ContainsAny(s, "\"<> ") {
			return fmt.Errorf("--ice-server %q: want stun:HOST[:PORT] or turn:HOST[:PORT][?transport=udp|tcp], or stuns:, turns: for TLS", s)
		}
		if needsCredential(uri) && f.Secret == "" {
			return fmt.Errorf("--ice-server %s needs credentials: give --turn-secret, the server's static-auth-secret", s)
		}
	}
	return nil
}

func needsCredential(uri *stun.URI) bool {
	return uri.Scheme == stun.SchemeTypeTURN || uri.Scheme == stun.SchemeTypeTURNS
}

// newTURN returns the server that the flags ask for, nil for none, and what
// clients are told, nil for nothing. shared is what HTTP is encrypted with, nil for
// nothing.
func newTURN(f turnFlags, shared *serverTLS, engine *transport.Engine, log *slog.Logger) (*transport.TURN, func(host, name string) []api.ICEServer, error) {
	secret := transport.TURNSecret(f.Secret)
	if secret == "" {
		secret = transport.NewTURNSecret()
	}
	tell := iceTeller{secret: secret, host: f.TURNHost}
	if tell.host == "" && shared != nil && len(shared.domains) > 0 {
		tell.host = shared.domains[0]
	}
	for _, s := range f.ICEServer {
		uri, err := stun.ParseURI(s)
		if err != nil {
			return nil, nil, fmt.Errorf("--ice-server %q: %w", s, err)
		}
		if needsCredential(uri) {
			tell.relays = append(tell.relays, s)
		} else {
			tell.plain = append(tell.plain, s)
		}
	}
	cfg := transport.TURNConfig{Log: log, Engine: engine, Secret: secret}
	if f.TURN != turnOff && f.TURN != "" {
		cfg.Addr = f.TURN
	}
	if f.TURNTLS != turnOff && f.TURNTLS != "" {
		cfg.TLSAddr = f.TURNTLS
		if f.TURNCert != "" {
			pair := &certificateFiles{cert: f.TURNCert, key: f.TURNKey, log: log}
			if _, err := pair.get(nil); err != nil {
				return nil, nil, fmt.Errorf("--turn-cert and --turn-key: %w", err)
			}
			cfg.Certificate = pair.get
		} else if shared != nil {
			cfg.Certificate = shared.certificate
		}
	}
	if cfg.Addr != "" || cfg.TLSAddr != "" {
		var err error
		if tell.server, err = transport.NewTURN(cfg); err != nil {
			return nil, nil, fmt.Errorf("--turn: %w", err)
		}
	} else if len(f.ICEServer) == 0 {
		return nil, nil, nil
	}
	return tell.server, tell.servers, nil
}

// iceTeller tells clients which servers they may use.
type iceTeller struct {
	server        *transport.TURN // nil: none of our own
	host          string          // of it; "": that of the request
	secret        transport.TURNSecret
	plain, relays []string // further ones, without and with credentials
}

// servers is api.Config.ICEServers.
func (t *iceTeller) servers(host, name string) (list []api.ICEServer) {
	relays := t.relays
	if t.server != nil {
		if t.host != "" {
			host = t.host
		}
		relays = append(t.server.URLs(host), relays...)
	}
	if len(t.plain) > 0 {
		list = append(list, api.ICEServer{URLs: t.plain})
	}
	if len(relays) > 0 {
		username, password := t.secret.Credential(name, time.Now())
		list = append(list, api.ICEServer{URLs: relays, Username: username, Credential: password})
	}
	return list
}

// turnCollector exposes the TURN server.
type turnCollector struct{ server *transport.TURN }

var (
	turnAllocations = desc("turn_allocations", "Clients' relays there are now.")
	turnStreams     = desc("turn_streams", "TCP and TLS connections to the TURN server.")
	turnMade        = desc("turn_allocations_total", "Relays that were made.")
	turnBytes       = desc("turn_relayed_bytes_total", "Bytes that were relayed, to media or to clients.", "to")
	turnRefused     = desc("turn_refused_total", "What the TURN server did not do: allocations, permissions, messages, packets, by reason.", "reason")
)

// Describe implements prometheus.Collector.
func (c turnCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c turnCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.server.Stats()
	ch <- prometheus.MustNewConstMetric(turnAllocations, prometheus.GaugeValue, float64(s.Allocations))
	ch <- prometheus.MustNewConstMetric(turnStreams, prometheus.GaugeValue, float64(s.Streams))
	ch <- prometheus.MustNewConstMetric(turnMade, prometheus.CounterValue, float64(s.Made))
	ch <- prometheus.MustNewConstMetric(turnBytes, prometheus.CounterValue, float64(s.ToMedia), "media")
	ch <- prometheus.MustNewConstMetric(turnBytes, prometheus.CounterValue, float64(s.ToClients), "clients")
	for reason, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(turnRefused, prometheus.CounterValue, float64(n), reason)
	}
}
