package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"mixdown/cmd/mixdown/internal/client"
)

// Result is one measurement; its JSON is what --json prints. Times are in
// milliseconds, rates per second.
type Result struct {
	Machine      string  `json:"machine"`
	Participants int     `json:"participants"`
	Talkers      int     `json:"talkers"`
	Viewers      int     `json:"viewers"`
	AudioOnly    bool    `json:"audioOnly"`
	Video        string  `json:"video,omitempty"`  // that each participant sends
	Canvas       string  `json:"canvas,omitempty"` // that the room composes
	Seconds      float64 `json:"seconds"`
	Impaired     int     `json:"impaired"`

	ServerCores float64 `json:"serverCores"`
	// CoresPerParticipant counts viewers as well.
	CoresPerParticipant float64 `json:"coresPerParticipant"`
	RSSBytes            int64   `json:"rssBytes"`
	PeakRSSBytes        int64   `json:"peakRssBytes"`
	// ClientCores is what all clients together took of the same machine.
	ClientCores float64 `json:"clientCores"`

	FloorBefore Floor   `json:"floorBefore"`
	FloorAfter  Floor   `json:"floorAfter"`
	Floor       Floor   `json:"floor"`
	Ratio       float64 `json:"ratio"`
	// PacedFloor is the floor's work at a room's pace, in cores; see
	// floorWork.paced.
	PacedFloor float64 `json:"pacedFloor"`
	PacedRatio float64 `json:"pacedRatio"`

	// Healthy are those whose links are as they are, Poor those with faults.
	Healthy Group  `json:"healthy"`
	Poor    *Group `json:"poor,omitempty"`

	// OwnToneBelowDB is how far each talker's own tone lies below the others'
	// in what he hears; OwnToneAboveNoiseDB how far above the coding noise
	// beside it, which is what bounds the former. 0 without two talkers.
	OwnToneBelowDB      MinMedian `json:"ownToneBelowDb"`
	OwnToneAboveNoiseDB MinMedian `json:"ownToneAboveNoiseDb"`

	// SoundLatency, PictureLatency and Skew are nil when they were not measured.
	SoundLatency   *Latency `json:"soundLatency,omitempty"`
	PictureLatency *Latency `json:"pictureLatency,omitempty"`
	Skew           *Skew    `json:"skew,omitempty"`

	// WitnessLate is how often the machine was late by itself.
	WitnessLate    int     `json:"witnessLate"`
	WitnessWorstMs float64 `json:"witnessWorstMs"`

	// Server is what the server says of itself, nil when it has no metrics.
	Server *ServerView `json:"server,omitempty"`

	healthy, poor []perClient
}

// Group sums up several clients.
type Group struct {
	Clients      int       `json:"clients"`
	FPS          MinMedian `json:"fps"`
	AudioPackets MinMedian `json:"audioPackets"`
	// AudioGaps are all pauses between packets of sound; Unexcused are those
	// during which the machine was not late.
	AudioGaps        Gaps      `json:"audioGaps"`
	Unexcused        Gaps      `json:"audioGapsUnexcused"`
	Excused          int       `json:"excused"`
	PictureGaps      Gaps      `json:"pictureGaps"`
	VideoKbps        MinMedian `json:"videoKbps"`
	AudioLost        uint64    `json:"audioLost"`
	VideoMissing     uint64    `json:"videoMissing"`
	VideoLost        uint64    `json:"videoLost"`
	Undecodable      uint64    `json:"undecodable"`
	Keyframes        uint64    `json:"keyframes"`
	PLIs             uint64    `json:"plis"`
	KeyframeRequests uint64    `json:"keyframeRequests"`
	// FirstPictureMs and FirstSoundMs count from the posting of the offer.
	FirstPictureMs MinMedian `json:"firstPictureMs"`
	FirstSoundMs   MinMedian `json:"firstSoundMs"`
	WidthHeight    string    `json:"size"`
}

// MinMedian are the least, middle and greatest of some clients' figures.
type MinMedian struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// Gaps are quantiles of pauses, in milliseconds.
type Gaps struct {
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// ServerView is taken from the server's metrics, over the measured time.
type ServerView struct {
	AudioTickLatenessP99Ms float64            `json:"audioTickLatenessP99Ms"`
	VideoTickLatenessP99Ms float64            `json:"videoTickLatenessP99Ms"`
	PoolBusy               float64            `json:"poolBusy"` // share of all its threads
	PoolQueueDelayP99Ms    float64            `json:"poolQueueDelayP99Ms"`
	VideoDecodes           float64            `json:"videoDecodes"`
	AudioDecodes           float64            `json:"audioDecodes"`
	AudioEncodes           float64            `json:"audioEncodes"`
	VideoEncodes           map[string]float64 `json:"videoEncodes"` // by tier
	Keyframes              float64            `json:"keyframes"`
}

// perClient is one client's figures over the measured time.
type perClient struct {
	fps, audio, kbps         float64
	firstPicture, firstSound float64
	audioGaps, pictureGaps   []client.Gap
	audioLost, missing, lost uint64
	undecodable, keys, plis  uint64
	keyRequests              uint64
	width, height            int
}

func evaluate(cfg Config, members []*member, w *witness, start, end snapshot) *Result {
	span := end.at - start.at
	seconds := span.Seconds()
	r := &Result{
		Machine: machine(), Participants: cfg.Participants, Talkers: cfg.Talkers, Viewers: cfg.Viewers, AudioOnly: cfg.AudioOnly, Seconds: seconds,
		ServerCores: (end.server.cpu - start.server.cpu).Seconds() / seconds,
		RSSBytes:    end.server.rssBytes, PeakRSSBytes: end.server.peakRSS,
		ClientCores: (end.own - start.own).Seconds() / seconds,
	}
	r.CoresPerParticipant = r.ServerCores / float64(cfg.Participants+cfg.Viewers)
	if !cfg.AudioOnly {
		r.Video, r.Canvas = cfg.Video.String(), cfg.Canvas.String()
	}
	var worst time.Duration
	r.WitnessLate, worst = w.between(start.at, end.at)
	r.WitnessWorstMs = ms(worst)
	for i, m := range members {
		a, b := start.clients[i], end.clients[i]
		av, bv := a.VideoReceived, b.VideoReceived
		c := perClient{
			fps:          float64(bv.Frames-av.Frames) / seconds,
			audio:        float64(b.AudioReceived.Packets-a.AudioReceived.Packets) / seconds,
			kbps:         float64(bv.Bytes-av.Bytes) * 8 / 1000 / seconds,
			firstPicture: ms(bv.First), firstSound: ms(b.AudioReceived.First),
			audioGaps:   m.client.AudioGaps(start.at, end.at),
			pictureGaps: m.client.PictureGaps(start.at, end.at),
			audioLost:   b.AudioReceived.Lost - min(a.AudioReceived.Lost, b.AudioReceived.Lost),
			missing:     bv.Missing - av.Missing, lost: bv.Lost - av.Lost,
			undecodable: bv.Undecodable - av.Undecodable, keys: bv.Keyframes - av.Keyframes, plis: bv.PLIs - av.PLIs,
			keyRequests: b.VideoSent.KeyframeRequests - a.VideoSent.KeyframeRequests,
			width:       bv.Width, height: bv.Height,
		}
		if m.impaired {
			r.poor = append(r.poor, c)
		} else {
			r.healthy = append(r.healthy, c)
		}
	}
	r.Healthy = summarise(r.healthy, w)
	if len(r.poor) > 0 {
		g := summarise(r.poor, w)
		r.Poor, r.Impaired = &g, len(r.poor)
	}
	if start.metrics != nil && end.metrics != nil {
		d := end.metrics.since(start.metrics)
		r.Server = view(d, seconds)
		if threads := end.metrics["mixdown_pool_workers"]; threads > 0 {
			r.Server.PoolBusy = d["mixdown_pool_busy_seconds_total"] / seconds / threads
		}
	}
	return r
}

func summarise(clients []perClient, w *witness) Group {
	g := Group{Clients: len(clients)}
	var all, clean, pictures []client.Gap
	figures := func(of func(perClient) float64) MinMedian {
		var v []float64
		for _, c := range clients {
			v = append(v, of(c))
		}
		return minMedian(v)
	}
	for _, c := range clients {
		for _, gap := range c.audioGaps {
			all = append(all, gap)
			// Only what is conspicuous needs an excuse.
			if gap.Length > 30*time.Millisecond && w.excuses(gap) {
				g.Excused++
			} else {
				clean = append(clean, gap)
			}
		}
		pictures = append(pictures, c.pictureGaps...)
		g.AudioLost += c.audioLost
		g.VideoMissing += c.missing
		g.VideoLost += c.lost
		g.Undecodable += c.undecodable
		g.Keyframes += c.keys
		g.PLIs += c.plis
		g.KeyframeRequests += c.keyRequests
		g.WidthHeight = fmt.Sprintf("%dx%d", c.width, c.height)
	}
	g.FPS = figures(func(c perClient) float64 { return c.fps })
	g.AudioPackets = figures(func(c perClient) float64 { return c.audio })
	g.VideoKbps = figures(func(c perClient) float64 { return c.kbps })
	g.FirstPictureMs = figures(func(c perClient) float64 { return c.firstPicture })
	g.FirstSoundMs = figures(func(c perClient) float64 { return c.firstSound })
	g.AudioGaps, g.Unexcused, g.PictureGaps = gaps(all), gaps(clean), gaps(pictures)
	return g
}

func view(d series, seconds float64) *ServerView {
	v := &ServerView{
		AudioTickLatenessP99Ms: d.quantile("mixdown_audio_tick_lateness_seconds", 0.99) * 1000,
		VideoTickLatenessP99Ms: d.quantile("mixdown_video_tick_lateness_seconds", 0.99) * 1000,
		PoolQueueDelayP99Ms:    d.quantile("mixdown_pool_queue_delay_seconds", 0.99) * 1000,
		VideoDecodes:           d["mixdown_video_decodes_total"] / seconds,
		AudioDecodes:           d["mixdown_audio_decodes_total"] / seconds,
		AudioEncodes:           d["mixdown_audio_encodes_total"] / seconds,
		VideoEncodes:           make(map[string]float64),
	}
	for name, n := range d {
		if tier, ok := strings.CutPrefix(name, `mixdown_rendition_encoded_total{tier="`); ok && n > 0 {
			v.VideoEncodes[strings.TrimSuffix(tier, `"}`)] = n / seconds
		}
		if strings.HasPrefix(name, "mixdown_rendition_keyframes_total") {
			v.Keyframes += n
		}
	}
	return v
}

// judgeSound fills in the own tones; it decodes, so it comes last.
func (r *Result) judgeSound(got map[*member]received, talkers int) error {
	var below, above []float64
	for m, g := range got {
		o, ok, err := m.judge(g.sound, talkers)
		if err != nil {
			return err
		}
		if ok {
			below, above = append(below, o.belowDB), append(above, o.aboveNoiseDB)
		}
	}
	r.OwnToneBelowDB, r.OwnToneAboveNoiseDB = minMedian(below), minMedian(above)
	return nil
}

func minMedian(v []float64) MinMedian {
	if len(v) == 0 {
		return MinMedian{}
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return MinMedian{v[0], v[len(v)/2], v[len(v)-1]}
}

func gaps(g []client.Gap) Gaps {
	return Gaps{ms(client.Quantile(g, 0.99)), ms(client.Quantile(g, 0.999)), ms(client.Quantile(g, 1))}
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/1e4) / 100 }

// JSON writes the result as one object.
func (r *Result) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table writes the result for people.
func (r *Result) Table(w io.Writer) {
	p := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-17s%s\n", name, fmt.Sprintf(format, args...))
	}
	p("machine", "%s", r.Machine)
	p("room", "%d participants, %d talking, %d viewers, %d on poor links, %.1f s; %s", r.Participants, r.Talkers, r.Viewers, r.Impaired, r.Seconds, r.pictures())
	p("server", "%.3f cores, %.4f per participant; RSS %d MB, peak %d MB", r.ServerCores, r.CoresPerParticipant, r.RSSBytes>>20, r.PeakRSSBytes>>20)
	p("floor", "%.3f cores (before %.3f, after %.3f): video decode %.3f, encode %.3f; audio decode %.3f, encode %.3f",
		r.Floor.Total, r.FloorBefore.Total, r.FloorAfter.Total, r.Floor.VideoDecode, r.Floor.VideoEncode, r.Floor.AudioDecode, r.Floor.AudioEncode)
	p("ratio", "%.2f x the floor; %.2f x the same work at a room's pace, %.3f cores", r.Ratio, r.PacedRatio, r.PacedFloor)
	if v := r.Server; v != nil {
		p("per second", "video decodes %.0f, encodes %s; audio decodes %.0f, encodes %.0f; %.0f key frames in all",
			v.VideoDecodes, byTier(v.VideoEncodes), v.AudioDecodes, v.AudioEncodes, v.Keyframes)
		p("clocks", "audio tick late p99 <= %.1f ms, video tick %.1f ms; pool %.0f%% busy, queue p99 <= %.1f ms",
			v.AudioTickLatenessP99Ms, v.VideoTickLatenessP99Ms, v.PoolBusy*100, v.PoolQueueDelayP99Ms)
	}
	r.Healthy.table(p, "")
	if r.Poor != nil {
		r.Poor.table(p, "poor ")
	}
	if r.OwnToneBelowDB != (MinMedian{}) {
		p("own tone", "%.1f dB below the others' at worst, %.1f in the middle; above the coding noise beside it by %.1f dB in the middle, %.1f at worst",
			r.OwnToneBelowDB.Min, r.OwnToneBelowDB.Median, r.OwnToneAboveNoiseDB.Median, r.OwnToneAboveNoiseDB.Max)
	}
	r.latencies(p)
	p("clients", "%.3f cores; the machine was late %d times, by %.1f ms at most", r.ClientCores, r.WitnessLate, r.WitnessWorstMs)
}

func (r *Result) pictures() string {
	if r.AudioOnly {
		return "no pictures"
	}
	return r.Video + " sent, " + r.Canvas + " composed"
}

func (r *Result) latencies(p func(name, format string, args ...any)) {
	for _, l := range []struct {
		name string
		l    *Latency
	}{{"sound", r.SoundLatency}, {"picture", r.PictureLatency}} {
		if l.l != nil {
			p(l.name+" latency", "p50 %.1f p95 %.1f p99 %.1f max %.1f ms; %d readings, %d left out for the machine, %d missed",
				l.l.P50, l.l.P95, l.l.P99, l.l.Max, l.l.Readings, l.l.Excused, l.l.Missed)
		}
	}
	if s := r.Skew; s != nil {
		p("skew", "picture after sound as they come: p50 %.1f ms, p50 and p95 either way %.1f and %.1f; as shown by sender reports: %.1f, %.1f, %.1f; %d readings, %d left out, %d missed",
			s.Arrival.P50, s.Arrival.P50Abs, s.Arrival.P95Abs, s.Shown.P50, s.Shown.P50Abs, s.Shown.P95Abs, s.Readings, s.Excused, s.Missed)
	}
}

func (g *Group) table(p func(name, format string, args ...any), prefix string) {
	p(prefix+"video", "%s, fps min %.2f median %.2f; %.0f kb/s; pauses p99 %.0f max %.0f ms; %d key frames, %d PLIs sent, %d received",
		g.WidthHeight, g.FPS.Min, g.FPS.Median, g.VideoKbps.Median, g.PictureGaps.P99, g.PictureGaps.Max, g.Keyframes, g.PLIs, g.KeyframeRequests)
	p(prefix+"packets", "video missing %d, lost for good %d, pictures useless %d; audio lost %d", g.VideoMissing, g.VideoLost, g.Undecodable, g.AudioLost)
	p(prefix+"audio", "packets/s min %.2f median %.2f; gaps p99 %.1f p99.9 %.1f max %.1f ms (without the machine's: %.1f %.1f %.1f, %d left out)",
		g.AudioPackets.Min, g.AudioPackets.Median, g.AudioGaps.P99, g.AudioGaps.P999, g.AudioGaps.Max,
		g.Unexcused.P99, g.Unexcused.P999, g.Unexcused.Max, g.Excused)
	p(prefix+"joined", "first picture after %.0f ms, first sound after %.0f ms (median)", g.FirstPictureMs.Median, g.FirstSoundMs.Median)
}

func byTier(m map[string]float64) string {
	var parts []string
	for tier, n := range m {
		parts = append(parts, fmt.Sprintf("%s %.1f", tier, n))
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, " + ")
}
