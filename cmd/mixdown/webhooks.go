package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/api/outside"
	"mixdown/api/webhook"
)

// webhookFlags are those of serve that say which other servers are told of
// events.
type webhookFlags struct {
	Endpoints []webhookFlag   `name:"webhook" sep:"none" placeholder:"'URL secret=whsec_...'" help:"A server to tell of events (Standard Webhooks), by https; with events=room.*,chat only of those types. In the file: webhook, a list of url, secret, events and name. On the command line others on the machine see the secret: better there, or by MIXDOWN_WEBHOOK."`
	Attempts  int             `name:"webhook-attempts" default:"15" placeholder:"N" help:"How often an event is sent before it is given up, after pauses from 1 s to half an hour (${default}: some two hours)."`
	Allow     []allowedPrefix `name:"outgoing-allow" placeholder:"ADDRESS" help:"Addresses and networks that are not on the public internet and may be connected to all the same, also by http, as 10.1.2.3 or 10.1.0.0/16 (none)."`
}

// Bounds of --webhook-attempts and --webhook.
const maxWebhookAttempts, maxWebhooks = 1000, 32

// webhookFlag is one endpoint. What is wrong with it is told by
// webhookFlags.validate: kong would tell the secret along with it.
type webhookFlag struct {
	webhook.Endpoint
	err error
}

// UnmarshalText reads `URL secret=... events=... name=...`, or JSON, which is
// what an entry of the file becomes.
func (f *webhookFlag) UnmarshalText(text []byte) error {
	*f = webhookFlag{}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		f.Endpoint, f.err = webhook.ParseEndpoint(string(text))
		return nil
	}
	var entry struct {
		URL    string   `json:"url"`
		Secret textList `json:"secret"`
		Events textList `json:"events"`
		Name   string   `json:"name"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&entry); err != nil {
		f.err = errors.New("want url, secret, events and name, each a text, and secret and events also a list: " + strings.TrimPrefix(err.Error(), "json: "))
		return nil
	}
	f.Endpoint = webhook.Endpoint{Name: entry.Name, URL: entry.URL, Events: entry.Events}
	f.err = f.AddSecrets(entry.Secret...)
	return nil
}

// UnmarshalJSON reads an entry of the file: text, or an object.
func (f *webhookFlag) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		data = []byte(text)
	}
	return f.UnmarshalText(data)
}

// textList is a text or several.
type textList []string

// UnmarshalJSON reads either.
func (l *textList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*l = textList{one}
		return nil
	}
	var several []string
	err := json.Unmarshal(data, &several)
	*l = several
	return err
}

// allowedPrefix is a network, or an address alone.
type allowedPrefix struct{ netip.Prefix }

// UnmarshalText reads 10.1.0.0/16 or 10.1.2.3.
func (p *allowedPrefix) UnmarshalText(text []byte) error {
	s := string(text)
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap()
		p.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Masked() != prefix {
		return fmt.Errorf("%q: want an address, as 10.1.2.3, or a network, as 10.1.0.0/16", s)
	}
	p.Prefix = prefix
	return nil
}

// validate is serveCmd.Validate's part of these.
func (f *webhookFlags) validate() error {
	var faults []error
	for i, e := range f.Endpoints {
		if e.err != nil {
			faults = append(faults, fmt.Errorf("--webhook number %d: %w", i+1, e.err))
		}
	}
	if len(faults) == 0 {
		if err := webhook.Check(f.endpoints()); err != nil {
			faults = append(faults, fmt.Errorf("--webhook: %w", err))
		}
	}
	if n := len(f.Endpoints); n > maxWebhooks {
		faults = append(faults, fmt.Errorf("--webhook: %d of them: want at most %d", n, maxWebhooks))
	}
	if f.Attempts < 1 || f.Attempts > maxWebhookAttempts {
		faults = append(faults, fmt.Errorf("--webhook-attempts %d: want 1..%d", f.Attempts, maxWebhookAttempts))
	}
	return errors.Join(faults...)
}

func (f *webhookFlags) endpoints() []webhook.Endpoint {
	list := make([]webhook.Endpoint, len(f.Endpoints))
	for i, e := range f.Endpoints {
		list[i] = e.Endpoint
	}
	return list
}

// webhookGrace is for how long events that are ready are sent when the server
// ends; what is left is sent by the next one.
const webhookGrace = 2 * time.Second

// openWebhooks makes what tells other servers of events, also when there are
// none yet: a reload may name some.
func (a *App) openWebhooks() error {
	f := &a.cfg.Webhooks
	var allow []netip.Prefix
	for _, p := range f.Allow {
		allow = append(allow, p.Prefix)
	}
	client, err := outside.New(outside.Config{Allow: allow})
	if err != nil {
		return err
	}
	a.hooks, err = webhook.New(webhook.Config{
		Log: a.log, Store: a.state.Bucket("webhooks"), Client: client, Endpoints: f.endpoints(), Attempts: f.Attempts,
		Grace: min(webhookGrace, a.cfg.Drain/4), Agent: "mixdown/" + Version(),
	})
	if err != nil {
		return err
	}
	a.onReload(func(c *serveCmd) error {
		if err := a.hooks.Configure(c.Webhooks.endpoints()); err != nil {
			return fmt.Errorf("--webhook: %w", err)
		}
		return nil
	}, "webhook")
	return a.registry.Register(webhookCollector{a.hooks})
}

// runWebhooks is their life. It ends after the rooms, of whose end it tells.
func (a *App) runWebhooks(ctx context.Context) error {
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	sent := make(chan error, 1)
	go func() { sent <- a.hooks.Run(sending) }()
	err := a.server.TellWebhooks(ctx, a.hooks)
	if err == nil {
		<-ctx.Done() // the rooms' end comes a moment before ours
	}
	stop()
	return errors.Join(err, <-sent)
}

// webhookCollector exposes what became of events.
type webhookCollector struct{ hooks *webhook.Sender }

var (
	webhookQueued    = desc("webhook_queued_events", "Events that wait for a webhook.", "webhook")
	webhookOldest    = desc("webhook_oldest_seconds", "For how long the oldest of them has waited.", "webhook")
	webhookDelivered = desc("webhook_delivered_total", "Events that a webhook has taken.", "webhook")
	webhookDead      = desc("webhook_dead_total", "Events that were given up after so many attempts.", "webhook")
	webhookFailed    = desc("webhook_failed_attempts_total", "Attempts in vain: unreachable, timeout, inside (an address that is not public, nor allowed), status.", "webhook", "reason")
)

// Describe implements prometheus.Collector.
func (c webhookCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{webhookQueued, webhookOldest, webhookDelivered, webhookDead, webhookFailed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c webhookCollector) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, e := range c.hooks.Stats().Endpoints {
		put(webhookQueued, prometheus.GaugeValue, float64(e.Queued), e.Name)
		put(webhookOldest, prometheus.GaugeValue, e.Oldest.Seconds(), e.Name)
		put(webhookDelivered, prometheus.CounterValue, float64(e.Delivered), e.Name)
		put(webhookDead, prometheus.CounterValue, float64(e.Dead), e.Name)
		for reason, n := range e.Failed {
			put(webhookFailed, prometheus.CounterValue, float64(n), e.Name, reason)
		}
	}
}

// droppedWebhooks is events that found no room in the queue, or never came to it.
func droppedWebhooks(s *webhook.Sender) (n uint64) {
	stats := s.Stats()
	n = stats.Missed
	for _, e := range stats.Endpoints {
		n += e.Dropped
	}
	return n
}
