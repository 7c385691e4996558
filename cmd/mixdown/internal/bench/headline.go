package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mixdown/mixer/layout"
	"mixdown/transport/transporttest"
)

// HeadlineConfig says how to make the table that the README shows.
type HeadlineConfig struct {
	// Room has what all measurements share: Duration, Warmup, Clips,
	// Executable, Log and so on. Participants and the like are the scenarios'.
	Room Config
	// Rounds is how often everything is measured; the rounds follow each other,
	// so that a machine that changes shows. Defaults to 2.
	Rounds int
	// CapacityTo is where the search for the limit ends; 0 leaves it out.
	CapacityTo int
	// Version and Commit are of the program that is measured.
	Version, Commit string
	// Now is the date of the report.
	Now time.Time
	// Measure is Room and Churn is Churn unless a test says otherwise.
	Measure func(context.Context, Config) (*Result, error)
	Churn   func(context.Context, ChurnConfig) (*ChurnResult, error)
}

// groupPictures is the second table: of scenarios that say what is saved of
// pictures. Neither latency nor a floor is measured of them.
const groupPictures = "pictures"

// baseScenario is what some of them are compared with.
const baseScenario = "nine-talk"

// scenario is one column of a headline table.
type scenario struct {
	name, title           string
	participants, talkers int
	impaired              int
	audioOnly             bool
	uplink                bool // senders do what the server asks for

	group         string // groupPictures, or empty for the first table
	viewers       int
	video, canvas layout.Canvas // zero is Config's default
	layout        string        // as ParseArrangement takes it
	still         bool
}

// poorLink is what "a poor link" means in the headline table.
const poorLink = "loss=5%,jitter=30ms"

var scenarios = []scenario{
	{name: "nine-talk", title: "9, all talk", participants: 9, talkers: 9},
	{name: "nine-two", title: "9, two talk", participants: 9, talkers: 2},
	{name: "nine-poor", title: "9, all talk, two over " + strings.ReplaceAll(poorLink, ",", ", "), participants: 9, talkers: 9, impaired: 2},
	{name: "nine-sized", title: "9, all talk, pictures as large as shown", participants: 9, talkers: 9, uplink: true},
	{name: "sixteen", title: "16, all talk", participants: 16, talkers: 16},
	{name: "thirty-sound", title: "30, sound only, two talk", participants: 30, talkers: 2, audioOnly: true},
	{name: "two-pass", title: "2 who see each other, no names", participants: 2, talkers: 2, group: groupPictures,
		video: layout.Canvas{Width: 1280, Height: 720, FPS: 30}, layout: "single,hideSelf,noLabels"},
	{name: "viewers", title: "9 and 91 who watch", participants: 9, talkers: 9, viewers: 91, group: groupPictures},
	{name: "still", title: "9 who do not move", participants: 9, talkers: 9, still: true, group: groupPictures},
	{name: "forty-nine", title: "49 of 320x180, 1920x1080 composed", participants: 49, talkers: 2, group: groupPictures,
		video: layout.Canvas{Width: 320, Height: 180, FPS: 30}, canvas: layout.Canvas{Width: 1920, Height: 1080, FPS: 30}},
}

// apply fills in a room's configuration.
func (s scenario) apply(room Config) (Config, error) {
	room.Participants, room.Talkers, room.ImpairCount = s.participants, s.talkers, s.impaired
	room.AudioOnly, room.Impair = s.audioOnly, transporttest.Spec{}
	room.Uplink, room.Viewers, room.Video, room.Canvas, room.Still = s.uplink, s.viewers, s.video, s.canvas, s.still
	if s.group == groupPictures {
		room.Latency, room.noFloor = 0, true
	}
	var err error
	if room.Arrangement, err = ParseArrangement(s.layout); err != nil || s.impaired == 0 {
		return room, err
	}
	room.Impair, err = transporttest.ParseSpec(poorLink)
	return room, err
}

// command is how to measure this alone.
func (s scenario) command(duration time.Duration) string {
	text := fmt.Sprintf("mixdown bench room --participants %d --talkers %d --duration %v", s.participants, s.talkers, duration)
	if s.audioOnly {
		text += " --audio-only"
	} else if !s.uplink {
		text += " --uplink off"
	}
	if s.viewers > 0 {
		text += fmt.Sprintf(" --viewers %d", s.viewers)
	}
	if (s.video != layout.Canvas{}) {
		text += " --video " + s.video.String()
	}
	if (s.canvas != layout.Canvas{}) {
		text += " --canvas " + s.canvas.String()
	}
	if s.layout != "" {
		text += " --layout " + s.layout
	}
	if s.still {
		text += " --still"
	}
	if s.impaired > 0 {
		text += fmt.Sprintf(" --impair %s --impair-count %d", poorLink, s.impaired)
	}
	return text
}

// Headline measures everything in the README. It takes Rounds times a minute
// more than the duration for each of the scenarios, and as much again for each
// step of the capacity.
func Headline(ctx context.Context, cfg HeadlineConfig) (*Report, error) {
	if cfg.Rounds == 0 {
		cfg.Rounds = 2
	}
	if cfg.Measure == nil {
		cfg.Measure = Room
	}
	if cfg.Churn == nil {
		cfg.Churn = Churn
	}
	if cfg.Rounds < 1 || cfg.Rounds > 100 {
		return nil, fmt.Errorf("%d rounds: want 1..100", cfg.Rounds)
	}
	if cfg.Room.URL != "" {
		return nil, errors.New("the headline measures servers of its own, one for each run: leave out the URL")
	}
	report := newReport(cfg.Now, cfg.Version, cfg.Commit, cfg.Room.Duration)
	rooms := make([]Config, len(scenarios))
	for i, s := range scenarios {
		var err error
		if rooms[i], err = s.apply(cfg.Room); err == nil {
			err = rooms[i].Validate()
		}
		if err != nil {
			return nil, err
		}
		report.Scenarios = append(report.Scenarios, ScenarioResult{Name: s.name, Title: s.title, Group: s.group, Command: s.command(cfg.Room.Duration)})
	}
	for round := range cfg.Rounds {
		for i, s := range scenarios {
			fmt.Fprintf(cfg.Room.Log, "bench: round %d of %d: %s\n", round+1, cfg.Rounds, s.title)
			r, err := cfg.Measure(ctx, rooms[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			report.Scenarios[i].Runs = append(report.Scenarios[i].Runs, r)
		}
		report.compare(round)
		fmt.Fprintf(cfg.Room.Log, "bench: round %d of %d: coming and going\n", round+1, cfg.Rounds)
		churn, err := cfg.Churn(ctx, headlineChurn(cfg.Room))
		if err != nil {
			return nil, fmt.Errorf("churn: %w", err)
		}
		report.Churn = append(report.Churn, churn)
		if cfg.CapacityTo == 0 {
			continue
		}
		fmt.Fprintf(cfg.Room.Log, "bench: round %d of %d: capacity\n", round+1, cfg.Rounds)
		c, err := Capacity(ctx, CapacityConfig{Room: cfg.Room, Talkers: -1, From: min(4, cfg.CapacityTo), To: cfg.CapacityTo, Measure: cfg.Measure})
		if err != nil {
			return nil, fmt.Errorf("capacity: %w", err)
		}
		report.Capacity = append(report.Capacity, c)
	}
	return report, nil
}

// headlineChurn is the coming and going that the README tells of.
func headlineChurn(room Config) ChurnConfig {
	room.Participants = 3
	return ChurnConfig{Room: room, Joins: 20, Within: 2 * time.Second, Cycles: 100, Lanes: 4}
}

// compare fills in what a round's runs say beside that of the base scenario.
func (r *Report) compare(round int) {
	at := slices.IndexFunc(r.Scenarios, func(s ScenarioResult) bool { return s.Name == baseScenario })
	if at < 0 {
		return
	}
	base := r.Scenarios[at].Runs[round]
	for _, s := range r.Scenarios {
		one := s.Runs[round]
		if one.Viewers > base.Viewers {
			one.PerViewer = (one.ServerCores - base.ServerCores) / float64(one.Viewers-base.Viewers)
		}
		if cores := base.encodeCores(); one.Still && cores > 0 {
			one.EncodeShare = one.encodeCores() / cores
		}
	}
}
