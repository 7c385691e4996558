package main

import (
	"bufio"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/tone"
)

// scrape reads all metrics, by name with labels.
func scrape(t *testing.T, admin string) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	lines := bufio.NewScanner(strings.NewReader(ask(t, 200, "GET", admin+"/metrics", "")))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if _, twice := values[line[:i]]; twice {
			t.Errorf("%s is there twice", line[:i])
		}
		values[line[:i]] = v
	}
	return values
}

// whistle joins somebody who makes a tone.
func whistle(t *testing.T, url string, change ...func(*client.Config)) *client.Client {
	t.Helper()
	sound, err := tone.Make(tone.Spec{Hz: 700, Level: 0.1, Duration: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{URL: url, Name: "whistle", NoVideo: true, Audio: client.Loop(sound)}
	for _, f := range change {
		f(&cfg)
	}
	return play(t, cfg)
}

// TestMetricsTellOfARoom runs a room with sound, pictures and a recording, and
// looks at what the server says of it.
func TestMetricsTellOfARoom(t *testing.T) {
	app, url := startApp(t)
	admin := "http://" + app.AdminAddr()
	c := play(t, client.Config{
		URL: url + "/r/busy", Name: "film",
		Video: client.Loop(realClip(t, "video-01.ivf")), Audio: client.Loop(realClip(t, "speech-01.ogg")),
	})
	whistle(t, url+"/r/busy")
	soon(t, "pictures", func() bool { return c.Stats().VideoReceived.Frames > 10 })
	ask(t, 201, "POST", url+"/v1/rooms/busy/recordings", "{}")
	soon(t, "three seconds", func() bool { return c.Stats().VideoReceived.Frames > 100 })
	soon(t, "the room's cost", func() bool { return scrape(t, admin)[`mixdown_room_cores{room="busy"}`] > 0 })

	m := scrape(t, admin)
	for name, least := range map[string]float64{
		"mixdown_rooms":                                                                    1,
		"mixdown_participants":                                                             2,
		"mixdown_recordings":                                                               1,
		"mixdown_peers_connected":                                                          2,
		"mixdown_audio_ticks_total":                                                        100,
		"mixdown_audio_tick_lateness_seconds_count":                                        90, // a wake-up can have several ticks
		"mixdown_video_tick_lateness_seconds_count":                                        60,
		"mixdown_audio_tick_seconds_count":                                                 100,
		"mixdown_audio_tick_seconds_sum":                                                   0.001,
		"mixdown_compose_seconds_count":                                                    60,
		"mixdown_video_decode_seconds_count":                                               60,
		"mixdown_pool_queue_delay_seconds_count":                                           200,
		"mixdown_pool_cpu_seconds_total":                                                   0.01,
		"mixdown_rtp_sent_packets_total":                                                   300,
		"mixdown_rtp_received_packets_total":                                               300,
		"mixdown_rtp_video_keyframes_total":                                                1,
		"mixdown_plis_sent_total":                                                          1,
		`mixdown_rendition_encode_seconds_count{codec="VP8",tier="1280x720@30"}`:           60,
		`mixdown_rendition_encode_seconds_sum{codec="VP8",tier="1280x720@30"}`:             0.01,
		`mixdown_rendition_keyframes_total{codec="VP8",reason="start",tier="1280x720@30"}`: 1,
		`mixdown_rendition_keyframes_total{codec="VP8",reason="subscribe",tier="1280x720@30"}`: 1, // the recorder
		`mixdown_rendition_subscribers{codec="VP8",tier="1280x720@30"}`:                        2,
		`mixdown_cpu_seconds_total{stage="decode"}`:                                            0.01,
		`mixdown_cpu_seconds_total{stage="compose"}`:                                           0.001,
		`mixdown_cpu_seconds_total{stage="encode"}`:                                            0.01,
		`mixdown_cpu_seconds_total{stage="sound"}`:                                             0.001,
		`mixdown_room_cpu_seconds_total{room="busy"}`:                                          0.01,
		"mixdown_governor_used_cores":                                                          0.01,
		"mixdown_admitted_total":                                                               2,
		"go_sched_latencies_seconds_count":                                                     1,
		"go_gc_duration_seconds_count":                                                         0,
		"process_cpu_seconds_total":                                                            0.01,
	} {
		if v, ok := m[name]; !ok || v < least {
			t.Errorf("%s is %v (there: %v): want at least %v", name, v, ok, least)
		}
	}
	for _, q := range queues {
		if _, ok := m[`mixdown_queue_dropped_total{queue="`+q.name+`"}`]; !ok {
			t.Errorf("nothing is said of queue %s", q.name)
		}
	}
	stages, rooms, keys := 0.0, 0.0, 0.0
	for name, v := range m {
		switch {
		case strings.HasPrefix(name, "mixdown_cpu_seconds_total{"):
			stages += v
		case strings.HasPrefix(name, "mixdown_room_cpu_seconds_total{"):
			rooms += v
		case strings.HasPrefix(name, "mixdown_rendition_keyframes_total{") && strings.Contains(name, `tier="1280x720@30"`):
			keys += v
		}
	}
	if d := stages - rooms; d > 1e-6 || d < -1e-6 {
		t.Errorf("by stage %v s were used, by room %v s", stages, rooms)
	}
	if stages > m["process_cpu_seconds_total"] {
		t.Errorf("rooms used %v s, the process %v s", stages, m["process_cpu_seconds_total"])
	}
	if keys >= m[`mixdown_rendition_encoded_total{codec="VP8",tier="1280x720@30"}`] {
		t.Errorf("%v key frames of all reasons among %v pictures", keys, m[`mixdown_rendition_encoded_total{codec="VP8",tier="1280x720@30"}`])
	}
}

// TestMetricsAreWellFormed asks Prometheus' own linter about all names, units
// and help texts of ours.
func TestMetricsAreWellFormed(t *testing.T) {
	app, url := startApp(t)
	whistle(t, url+"/r/lint")
	admin := "http://" + app.AdminAddr()
	soon(t, "a room", func() bool { return scrape(t, admin)["mixdown_rooms"] == 1 })
	text := ask(t, 200, "GET", admin+"/metrics", "")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "mixdown_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
