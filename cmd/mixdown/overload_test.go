package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixdown/api"
	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer"
)

// TestOverloadRefuses has more people come than there are processors for: they
// are told how much they need and how much is left, and let in when others have
// left.
func TestOverloadRefuses(t *testing.T) {
	app, url := startApp(t, func(c *Config) { c.Cores = 0.3 })
	room := url + "/r/small"
	configOf := func(i int) client.Config {
		return client.Config{
			URL: room, Name: fmt.Sprintf("sender %d", i),
			Video: client.Loop(realClip(t, "video-01.ivf")), Audio: client.Loop(realClip(t, "speech-01.ogg")),
		}
	}
	// run joins, and returns how to leave; err is why it was refused.
	run := func(cfg client.Config) (leave func(), err error) {
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		select {
		case <-c.Connected():
			leave := sync.OnceFunc(func() {
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("%s: %v", cfg.Name, err)
				}
			})
			t.Cleanup(leave)
			return leave, nil
		case err := <-ended:
			cancel()
			return nil, err
		}
	}
	var leavers []func()
	var err error
	for i := 0; err == nil; i++ {
		if i == 12 {
			t.Fatal("twelve senders were let in, on a third of a core")
		}
		var leave func()
		if leave, err = run(configOf(i)); err == nil {
			leavers = append(leavers, leave)
		}
	}
	if len(leavers) < 2 {
		t.Errorf("only %d were let in: the second must not be refused while there is anything left", len(leavers))
	}
	if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "503") {
		t.Fatalf("refused with %v", err)
	}
	var p api.Problem
	if _, body, ok := strings.Cut(err.Error(), "{"); !ok || json.Unmarshal([]byte("{"+body), &p) != nil {
		t.Fatalf("refused with %v", err)
	}
	if p.Code != "overloaded" || p.Needed == nil || p.Left == nil || p.Needed.Cores <= 0 || p.Needed.Cores > 0.3 ||
		p.Left.Cores < 0 || p.Left.Cores >= p.Needed.Cores {
		t.Errorf("refused with %+v, needed %+v, left %+v", p, p.Needed, p.Left)
	}
	m := scrape(t, "http://"+app.AdminAddr())
	if m["mixdown_governor_cores"] != 0.3 || m["mixdown_admitted_total"] < 2 ||
		m[`mixdown_refused_total{reason="price"}`]+m[`mixdown_refused_total{reason="level"}`] < 1 {
		t.Errorf("metrics say %v cores, %v admitted, %v and %v refused", m["mixdown_governor_cores"], m["mixdown_admitted_total"],
			m[`mixdown_refused_total{reason="price"}`], m[`mixdown_refused_total{reason="level"}`])
	}
	if code, _, _ := call(t, "GET", url+"/readyz", ""); code != http.StatusOK {
		t.Errorf("/readyz answers %d", code)
	}
	t.Logf("%d of 0.3 cores, then: %s", len(leavers), p.Detail)

	for _, leave := range leavers {
		leave()
	}
	// Not more often than a client would: whoever asks costs something.
	again, _ := run(configOf(99))
	for tries := 0; again == nil; tries++ {
		if tries == 30 {
			t.Fatalf("nobody is let in although all have left: %+v", app.rooms.Governor().Stats())
		}
		during(time.Second, 1, func(int) {})
		again, _ = run(configOf(99))
	}
}

// overloadedGap is the longest pause in the sound while pictures are given up:
// as long as a client's own buffer makes up for.
func overloadedGap() time.Duration { return max(100*time.Millisecond, maxGap()) }

// TestSoundSurvivesOverload gives the worker pool more to do than it can, as
// pictures would: pictures are given up, step by step, and come back; the
// sound goes on.
func TestSoundSurvivesOverload(t *testing.T) {
	cores := runtime.NumCPU()
	tg := newTarget(t, t.TempDir(), func(c *Config) { c.Cores = float64(cores) })
	m := newMeeting(t, tg)
	governor := tg.app.rooms.Governor()
	events, _, err := tg.app.rooms.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	frames := func() (n uint64) {
		for _, c := range m.clients {
			n += c.Stats().VideoReceived.Frames
		}
		return n
	}
	// rate is pictures a second for each of them.
	rate := func(since time.Duration, before uint64) float64 {
		return float64(frames()-before) / (codec.Now() - since).Seconds() / float64(len(m.clients))
	}
	eventually(t, 30*time.Second, "a good picture", func() bool { return governor.Level() == mixer.LevelNormal })
	at, before := codec.Now(), frames()
	during(2*time.Second, 1, func(int) {})
	usual := rate(at, before)

	// Three tasks a core that always want to run, ahead of everything else: each
	// picture waits behind them.
	var stopped atomic.Bool
	var spent atomic.Uint64 // so that the work is done
	for range 3 * cores {
		var burn *worker.Task
		burn = worker.NewTask(func() {
			x := uint64(1)
			for mark := worker.StartCPU(); mark.Elapsed() < 15*time.Millisecond; {
				for range 100_000 {
					x ^= x << 7
					x ^= x >> 9
				}
			}
			spent.Store(x)
			if !stopped.Load() {
				tg.app.pool.Submit(burn, codec.Now()-time.Second)
			}
		})
		tg.app.pool.Submit(burn, codec.Now()-time.Second)
	}
	begun := codec.Now()
	eventually(t, 20*time.Second, "half the pictures are given up", func() bool { return governor.Level() >= mixer.LevelBaseLayer })
	at, before = codec.Now(), frames()
	during(time.Second, 1, func(int) {})
	strained := rate(at, before)
	stopped.Store(true)
	worstGap := time.Duration(0)
	for i, c := range m.clients {
		for _, g := range c.AudioGaps(begun, codec.Now()) {
			switch {
			case m.excuses(g):
			case g.Length > overloadedGap():
				t.Errorf("bystander %d heard nothing for %v, and the machine was not late", i+1, g.Length)
			default:
				worstGap = max(worstGap, g.Length)
			}
		}
	}
	worst := governor.Level()
	if strained > 0.7*usual {
		t.Errorf("%.1f pictures a second under strain, %.1f before: what was given up?", strained, usual)
	}

	// At a level of faster encoding, no picture is missing.
	eventually(t, 2*time.Minute, "the way back", func() bool { return governor.Level() <= mixer.LevelFast })
	var back float64
	eventually(t, 10*time.Second, "all pictures are back", func() bool {
		at, before := codec.Now(), frames()
		during(time.Second, 1, func(int) {})
		back = rate(at, before)
		return back > 0.9*usual
	})
	t.Logf("%.1f pictures a second, then %.1f at %v (%v), then %.1f; no gap in the sound above %v",
		usual, strained, worst, governor.Reason(), back, worstGap.Round(time.Millisecond))

	var levels []mixer.Level
	for len(events.Events()) > 0 {
		if e := <-events.Events(); e.Type == mixer.EventOverload {
			levels = append(levels, e.Data.(mixer.OverloadChange).Level)
		}
	}
	fell := false
	for i := 1; i < len(levels); i++ {
		fell = fell || levels[i] < levels[i-1]
	}
	if !fell || slices.Max(levels) < mixer.LevelBaseLayer {
		t.Errorf("the room was told of levels %v", levels)
	}
}
