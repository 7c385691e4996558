package main

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"mixdown/cmd/mixdown/internal/client"
)

// series is a metric with what labels it has.
type series map[string]map[string]bool

// told are the series of a server at work.
func told(t *testing.T, admin string) series {
	t.Helper()
	s := make(series)
	for name := range scrape(t, admin) {
		metric, rest, _ := strings.Cut(name, "{")
		if s[metric] == nil {
			s[metric] = make(map[string]bool)
		}
		for _, l := range labelName.FindAllStringSubmatch(rest, -1) {
			s[metric][l[1]] = true
		}
	}
	return s
}

var (
	labelName  = regexp.MustCompile(`([a-z_]+)="`)
	metricName = regexp.MustCompile(`\b(?:mixdown|go|process)_[a-z0-9_]+|\bup\b`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	matcher    = regexp.MustCompile(`\{([^}]*)\}`)
	matched    = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)`)
	legend     = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
)

// check looks whether a query asks for what there is.
func (s series) check(t *testing.T, where, query string) {
	t.Helper()
	names := metricName.FindAllString(matcher.ReplaceAllString(grouping.ReplaceAllString(query, ""), ""), -1)
	if len(names) == 0 {
		t.Errorf("%s asks for nothing: %s", where, query)
	}
	for _, name := range names {
		labels, ok := s[name]
		if name == "up" {
			labels, ok = map[string]bool{}, true
		}
		if !ok {
			t.Errorf("%s: there is no %s: %s", where, name, query)
			continue
		}
		var asked []string
		for _, g := range grouping.FindAllStringSubmatch(query, -1) {
			asked = append(asked, strings.Split(g[1], ",")...)
		}
		for _, m := range matcher.FindAllStringSubmatch(query, -1) {
			for _, l := range matched.FindAllStringSubmatch(m[1], -1) {
				asked = append(asked, l[1])
			}
		}
		for _, l := range asked {
			// These two Prometheus adds itself.
			if l = strings.TrimSpace(l); l != "instance" && l != "job" && !labels[l] {
				t.Errorf("%s: %s has no label %q, but %v: %s", where, name, l, slices.Sorted(maps.Keys(labels)), query)
			}
		}
	}
}

// TestDashboardsAndAlertsAskForWhatThereIs compares every query of the Grafana
// dashboard and of the alerts with what a server at work tells.
func TestDashboardsAndAlertsAskForWhatThereIs(t *testing.T) {
	hooks, err := parseServe(t, "--webhook", "https://127.0.0.1:1/hook secret="+testSecret)
	if err != nil {
		t.Fatal(err)
	}
	app, url := startApp(t, func(c *Config) { c.Webhooks = hooks.Webhooks })
	admin := "http://" + app.AdminAddr()
	c := play(t, client.Config{URL: url + "/r/busy", Name: "film", Video: client.Loop(realClip(t, "video-01.ivf"))})
	whistle(t, url+"/r/busy")
	soon(t, "pictures", func() bool { return c.Stats().VideoReceived.Frames > 10 })
	soon(t, "the room's cost", func() bool { return scrape(t, admin)[`mixdown_room_cores{room="busy"}`] > 0 })
	// An event that cannot be told.
	soon(t, "a webhook in vain", func() bool { return told(t, admin)["mixdown_webhook_failed_attempts_total"] != nil })
	there := told(t, admin)

	data, err := deploy.ReadFile("deploy/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		UID    string
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	panels, ids := 0, make(map[int]bool)
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the number %d", p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s does not fit", p.Title)
		}
		if p.Type == "row" {
			continue
		}
		panels++
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, q := range p.Targets {
			there.check(t, p.Title, q.Expr)
			for _, l := range legend.FindAllStringSubmatch(q.LegendFormat, -1) {
				if l[1] != "instance" && !strings.Contains(q.Expr, l[1]) {
					t.Errorf("%s: the legend wants %s, which the query loses: %s", p.Title, l[1], q.Expr)
				}
			}
		}
	}
	if panels < 20 {
		t.Errorf("%d panels", panels)
	}

	if data, err = deploy.ReadFile("deploy/alerts.yaml"); err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary string }
			}
		}
	}
	if err := yaml.Unmarshal(data, &rules); err != nil || len(rules.Groups) != 1 {
		t.Fatalf("%v: %+v", err, rules)
	}
	for _, r := range rules.Groups[0].Rules {
		there.check(t, r.Alert, r.Expr)
		if r.Annotations.Summary == "" {
			t.Errorf("%s does not say what to do", r.Alert)
		}
	}
}
