package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mixdown/api/webhook"
)

const testSecret, otherSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func TestWebhookFlags(t *testing.T) {
	line := "https://example.org/hook secret=" + testSecret + "," + otherSecret + " events=room.*,chat name=billing"
	for name, args := range map[string][]string{
		"line":        {"--webhook", line},
		"text":        {"--config", configOf(t, "webhook: \""+line+"\"\n")},
		"list":        {"--config", configOf(t, "webhook:\n- \""+line+"\"\n")},
		"mapping":     {"--config", configOf(t, "webhook:\n  url: https://example.org/hook\n  secret: ["+testSecret+", "+otherSecret+"]\n  events: [room.*, chat]\n  name: billing\n")},
		"mappings":    {"--config", configOf(t, "webhook:\n- url: https://example.org/hook\n  secret:\n  - "+testSecret+"\n  - "+otherSecret+"\n  events: [room.*, chat]\n  name: billing\n")},
		"environment": nil,
	} {
		t.Run(name, func(t *testing.T) {
			if args == nil {
				t.Setenv("MIXDOWN_WEBHOOK", line)
			}
			c, err := parseServe(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			list := c.Webhooks.endpoints()
			if len(list) != 1 || list[0].URL != "https://example.org/hook" || list[0].Name != "billing" || len(list[0].Secrets) != 2 ||
				list[0].Secrets[1].Text() != otherSecret || !slices.Equal(list[0].Events, []string{"room.*", "chat"}) || c.Webhooks.Attempts != 15 {
				t.Errorf("%+v", c.Webhooks)
			}
		})
	}
	c, err := parseServe(t, "--webhook", "https://a.example secret="+testSecret, "--webhook", "https://b.example secret="+testSecret,
		"--outgoing-allow", "10.1.2.3,fd00::/8", "--outgoing-allow", "::ffff:127.0.0.1")
	if err != nil || len(c.Webhooks.endpoints()) != 2 || len(c.Webhooks.Allow) != 3 ||
		c.Webhooks.Allow[0].Prefix != netip.MustParsePrefix("10.1.2.3/32") || c.Webhooks.Allow[2].Prefix != netip.MustParsePrefix("127.0.0.1/32") {
		t.Errorf("%v: %+v", err, c.Webhooks)
	}
}

// What is wrong is told, and secrets are not.
func TestWebhookFlagFaults(t *testing.T) {
	for want, args := range map[string][]string{
		"here is a new one: whsec_":  {"--webhook", "https://example.org"},
		"begins with whsec_":         {"--webhook", "https://example.org secret=hush-hush-hush-hush-hush-hush"},
		"known are secret=, events=": {"--webhook", "https://example.org hush=hush"},
		"want https://HOST/PATH":     {"--webhook", "hush.example secret=" + testSecret},
		"no name and password":       {"--webhook", "https://me:hush@example.org secret=" + testSecret},
		"give each a name":           {"--webhook", "https://example.org/a secret=" + testSecret, "--webhook", "https://example.org/b secret=" + testSecret},
		"--webhook-attempts 0":       {"--webhook-attempts", "0"},
		"want an address":            {"--outgoing-allow", "10.1.2.3/8"},
		"want url, secret":           {"--config", configOf(t, "webhook:\n- address: hush\n")},
		"number 2":                   {"--config", configOf(t, "webhook:\n- https://a.example secret="+testSecret+"\n- url: 7\n  secret: hush\n")},
		"is no base64":               {"--config", configOf(t, "webhook:\n- url: https://a.example\n  secret: whsec_hush!\n")},
	} {
		_, err := parseServe(t, args...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush-") || strings.Contains(err.Error(), ":hush") ||
			strings.Contains(err.Error(), "whsec_hush") || strings.Contains(err.Error(), testSecret) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// hookReceiver notes what comes, and refuses it for a while.
type hookReceiver struct {
	mu     sync.Mutex
	down   bool
	events []hookEvent
}

type hookEvent struct {
	ID, Type, Room string
	Seq            uint64
}

func (h *hookReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var e hookEvent
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down || err != nil || json.Unmarshal(body, &e) != nil || r.Header.Get("webhook-id") != e.ID {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.events = append(h.events, e)
}

// of returns the types of a room's events.
func (h *hookReceiver) of(room string) (types []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Room == room {
			types = append(types, e.Type)
		}
	}
	return types
}

func (h *hookReceiver) set(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// A receiver that was away hears all of it from the next server, the end of the
// one before included.
func TestWebhooksOverARestart(t *testing.T) {
	h := &hookReceiver{}
	srv := httptest.NewServer(h)
	defer srv.Close()
	secret, err := webhook.ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{HTTP: "127.0.0.1:0", Media: []string{"127.0.0.1:0"}, Admin: "127.0.0.1:0", Data: t.TempDir(), Drain: 10 * time.Second}
	cfg.Webhooks.Endpoints = []webhookFlag{{Endpoint: webhook.Endpoint{Name: "test", URL: srv.URL, Secrets: []webhook.Secret{secret}}}}
	cfg.Webhooks.Allow = []allowedPrefix{{netip.MustParsePrefix("127.0.0.0/8")}}

	serve := func() (url string, admin string, end func()) {
		app, err := NewApp(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- app.Run(context.Background()) }()
		return "http://" + app.Addr().String(), "http://" + app.AdminAddr(), sync.OnceFunc(func() {
			if err := app.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			http.DefaultClient.CloseIdleConnections()
		})
	}
	url, admin, end := serve()
	defer func() { end() }()
	ask(t, 201, "PUT", url+"/v1/rooms/early", "")
	soon(t, "the first event", func() bool { return slices.Equal(h.of("early"), []string{"room.started"}) })
	h.set(true)
	ask(t, 201, "PUT", url+"/v1/rooms/late", "")
	soon(t, "a failure in the metrics", func() bool {
		m := ask(t, 200, "GET", admin+"/metrics", "")
		return strings.Contains(m, `mixdown_webhook_failed_attempts_total{reason="status",webhook="test"}`) &&
			!strings.Contains(m, `mixdown_webhook_failed_attempts_total{reason="status",webhook="test"} 0`) &&
			strings.Contains(m, `mixdown_webhook_delivered_total{webhook="test"} 1`)
	})
	end()
	h.set(false)
	_, _, end = serve()
	for _, room := range []string{"early", "late"} {
		soon(t, "all of room "+room, func() bool { return slices.Equal(h.of(room), []string{"room.started", "room.finished"}) })
	}
}
