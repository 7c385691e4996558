package bench

import (
	"fmt"
	"math"
	"slices"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
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
	// Layout is what was asked for, empty for a grid. Still says that all pictures
	// stood still.
	Layout string `json:"layout,omitempty"`
	Still  bool   `json:"still,omitempty"`
	// PerViewer is cores for each viewer, EncodeShare encoding by that of a room
	// that moves: both against another run, by a headline; 0 otherwise.
	PerViewer   float64 `json:"coresPerViewer,omitempty"`
	EncodeShare float64 `json:"encodeShare,omitempty"`
	// TopTier is nil when nobody waited for it.
	TopTier *TopTier `json:"topTier,omitempty"`

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

	// OwnVoiceBelowDB is how far his own probe lies, in what a talker hears, below
	// what somebody else hears of it at the same time; OwnVoiceFloorDB what the same
	// measurement reads of a probe that is not there, by coding noise: where the
	// former is no less than the latter, nothing was heard. They are of so many
	// talkers as OwnVoices: only those were in the mix. 0 without two talkers.
	OwnVoiceBelowDB MinMedian `json:"ownVoiceBelowDb"`
	OwnVoiceFloorDB MinMedian `json:"ownVoiceFloorDb"`
	OwnVoices       int       `json:"ownVoices"`

	// OwnMarkerBelowDB is how far his own marker of sound lies below what he sent,
	// in what somebody hears who alone makes himself heard: then there is hardly
	// any coding noise to hide it. 0 when it was not measured.
	OwnMarkerBelowDB MinMedian `json:"ownMarkerBelowDb"`

	// SoundLatency, PictureLatency and Skews are nil when they were not measured;
	// see [Skews].
	SoundLatency   *Latency `json:"soundLatency,omitempty"`
	PictureLatency *Latency `json:"pictureLatency,omitempty"`
	Skew           *Skew    `json:"skew,omitempty"`
	SkewPoor       *Skew    `json:"skewPoor,omitempty"`
	SkewLate       *Skew    `json:"skewLate,omitempty"`
	SkewRecorded   *Skew    `json:"skewRecorded,omitempty"`

	// Requests is nil when none were sent.
	Requests *Requests `json:"requests,omitempty"`

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
	// PerClient are figures of single clients.
	PerClient PerClient `json:"perClient"`
}

// PerClient is what single clients got, over the measured time.
type PerClient struct {
	// AudioLossPercent never came; VideoLossPercent came late, by
	// retransmission, or never.
	AudioLossPercent MinMedian `json:"audioLossPercent"`
	VideoLossPercent MinMedian `json:"videoLossPercent"`
	Keyframes        MinMedian `json:"keyframes"`
	// PLIs were sent, KeyframeRequests received.
	PLIs             MinMedian `json:"plis"`
	KeyframeRequests MinMedian `json:"keyframeRequests"`
	// The kilobits per second on the way down, and up.
	AudioKbps MinMedian `json:"audioKbps"`
	VideoKbps MinMedian `json:"videoKbps"`
	SentKbps  MinMedian `json:"sentKbps"`
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
	AudioTickLatenessP99Ms float64 `json:"audioTickLatenessP99Ms"`
	VideoTickLatenessP99Ms float64 `json:"videoTickLatenessP99Ms"`
	PoolBusy               float64 `json:"poolBusy"` // share of all its threads
	PoolQueueDelayP99Ms    float64 `json:"poolQueueDelayP99Ms"`
	VideoDecodes           float64 `json:"videoDecodes"`
	// DecodedPixels a second, and how many times those of the canvas they are.
	DecodedPixels    float64            `json:"decodedPixels"`
	DecodedPerCanvas float64            `json:"decodedPixelsPerCanvas"`
	AudioDecodes     float64            `json:"audioDecodes"`
	AudioEncodes     float64            `json:"audioEncodes"`
	AudioRelayed     float64            `json:"audioRelayed,omitempty"` // packets handed on as they came
	VideoEncodes     map[string]float64 `json:"videoEncodes"`           // by tier
	Keyframes        float64            `json:"keyframes"`
	// Canvases were composed, Passed are pictures of a source that were sent on as
	// they came, Rested those that were not coded because nothing had changed; all
	// a second.
	Canvases float64 `json:"canvases"`
	Passed   float64 `json:"passed"`
	Rested   float64 `json:"rested"`
	// Cores of the rooms by what they were spent on; the network's are not in it.
	Cores StageCores `json:"cores"`
	// GovernorLevel is how far quality was lowered when the measurement ended,
	// GovernorClimbs how often it was lowered meanwhile.
	GovernorLevel  float64 `json:"governorLevel,omitempty"`
	GovernorClimbs float64 `json:"governorClimbs,omitempty"`
	// EncodeMsPerCanvas is the processor time of all encodes of a canvas.
	EncodeMsPerCanvas float64 `json:"encodeMsPerCanvas"`
}

// StageCores is processor time by stage, seconds a second.
type StageCores struct {
	Decode  float64 `json:"decode"`
	Compose float64 `json:"compose"`
	Encode  float64 `json:"encode"`
	Sound   float64 `json:"sound"`
}

// perClient is one client's figures over the measured time.
type perClient struct {
	fps, audio, kbps         float64
	audioKbps, sentKbps      float64
	audioLoss, videoLoss     float64 // per cent
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
		r.Layout, r.Still = cfg.Arrangement.text(), cfg.Still
	}
	var worst time.Duration
	r.WitnessLate, worst = w.between(start.at, end.at)
	r.WitnessWorstMs = ms(worst)
	for i, m := range members {
		c := clientFigures(start.clients[i], end.clients[i], seconds)
		c.audioGaps = m.client.AudioGaps(start.at, end.at)
		if !cfg.AudioOnly {
			c.pictureGaps = m.client.PictureGaps(start.at, end.at)
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
		r.Server.DecodedPerCanvas = r.Server.DecodedPixels / float64(cfg.Canvas.Width*cfg.Canvas.Height*cfg.Canvas.FPS)
		r.Server.GovernorLevel = end.metrics["mixdown_governor_level"]
		if threads := end.metrics["mixdown_pool_workers"]; threads > 0 {
			r.Server.PoolBusy = d["mixdown_pool_busy_seconds_total"] / seconds / threads
		}
	}
	return r
}

// compare fills in the floors, and the ratios to those that are not 0: of little
// work in little time the operating system may have counted none.
func (r *Result) compare(before, after Floor, paced float64) {
	r.FloorBefore, r.FloorAfter, r.Floor = before, after, before.mean(after)
	r.PacedFloor = paced
	if r.Floor.Total > 0 {
		r.Ratio = r.ServerCores / r.Floor.Total
	}
	if r.PacedFloor > 0 {
		r.PacedRatio = r.ServerCores / r.PacedFloor
	}
}

// clientFigures is what one client counted between two snapshots.
func clientFigures(a, b client.Stats, seconds float64) perClient {
	av, bv := &a.VideoReceived, &b.VideoReceived
	aa, ba := &a.AudioReceived, &b.AudioReceived
	rate := func(from, to uint64) float64 { return float64(to-from) / seconds }
	kbps := func(from, to uint64) float64 { return rate(from, to) * 8 / 1000 }
	percent := func(of, rest uint64) float64 { return 100 * float64(of) / float64(max(of+rest, 1)) }
	c := perClient{
		fps: rate(av.Frames, bv.Frames),
		// What the sender left out on purpose (DTX) counts as having come.
		audio: rate(aa.Packets, ba.Packets) + (ba.Paused-aa.Paused).Seconds()/codec.FrameDuration.Seconds()/seconds,
		kbps:  kbps(av.Bytes, bv.Bytes), audioKbps: kbps(aa.Bytes, ba.Bytes),
		sentKbps:     kbps(a.AudioSent.Bytes+a.VideoSent.Bytes, b.AudioSent.Bytes+b.VideoSent.Bytes),
		firstPicture: ms(bv.First), firstSound: ms(ba.First),
		// A packet that was counted as lost may have come late.
		audioLost: ba.Lost - min(aa.Lost, ba.Lost),
		missing:   bv.Missing - av.Missing, lost: bv.Lost - av.Lost,
		undecodable: bv.Undecodable - av.Undecodable, keys: bv.Keyframes - av.Keyframes, plis: bv.PLIs - av.PLIs,
		keyRequests: b.VideoSent.KeyframeRequests - a.VideoSent.KeyframeRequests,
		width:       bv.Width, height: bv.Height,
	}
	c.audioLoss = percent(c.audioLost, ba.Packets-aa.Packets)
	c.videoLoss = percent(c.missing, bv.Packets-av.Packets)
	return c
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
		if c.width > 0 {
			g.WidthHeight = fmt.Sprintf("%dx%d", c.width, c.height)
		}
	}
	g.FPS = figures(func(c perClient) float64 { return c.fps })
	g.AudioPackets = figures(func(c perClient) float64 { return c.audio })
	g.VideoKbps = figures(func(c perClient) float64 { return c.kbps })
	g.FirstPictureMs = figures(func(c perClient) float64 { return c.firstPicture })
	g.FirstSoundMs = figures(func(c perClient) float64 { return c.firstSound })
	g.PerClient = PerClient{
		AudioLossPercent: figures(func(c perClient) float64 { return c.audioLoss }),
		VideoLossPercent: figures(func(c perClient) float64 { return c.videoLoss }),
		Keyframes:        figures(func(c perClient) float64 { return float64(c.keys) }),
		PLIs:             figures(func(c perClient) float64 { return float64(c.plis) }),
		KeyframeRequests: figures(func(c perClient) float64 { return float64(c.keyRequests) }),
		AudioKbps:        figures(func(c perClient) float64 { return c.audioKbps }),
		VideoKbps:        figures(func(c perClient) float64 { return c.kbps }),
		SentKbps:         figures(func(c perClient) float64 { return c.sentKbps }),
	}
	g.AudioGaps, g.Unexcused, g.PictureGaps = gaps(all), gaps(clean), gaps(pictures)
	return g
}

func view(d series, seconds float64) *ServerView {
	v := &ServerView{
		AudioTickLatenessP99Ms: d.quantile("mixdown_audio_tick_lateness_seconds", 0.99) * 1000,
		VideoTickLatenessP99Ms: d.quantile("mixdown_video_tick_lateness_seconds", 0.99) * 1000,
		PoolQueueDelayP99Ms:    d.quantile("mixdown_pool_queue_delay_seconds", 0.99) * 1000,
		VideoDecodes:           d["mixdown_video_decodes_total"] / seconds,
		DecodedPixels:          d["mixdown_video_decoded_pixels_total"] / seconds,
		AudioDecodes:           d["mixdown_audio_decodes_total"] / seconds,
		AudioEncodes:           d["mixdown_audio_encodes_total"] / seconds,
		AudioRelayed:           d["mixdown_audio_relayed_total"] / seconds,
		VideoEncodes:           make(map[string]float64),
		Canvases:               d["mixdown_canvas_drawn_total"] / seconds,
		Passed:                 d.sum("mixdown_rendition_passed_total") / seconds,
		Rested:                 d.sum("mixdown_rendition_still_total") / seconds,
		GovernorClimbs:         d.sum("mixdown_governor_climbs_total"),
	}
	for stage, cores := range map[string]*float64{
		"decode": &v.Cores.Decode, "compose": &v.Cores.Compose, "encode": &v.Cores.Encode, "sound": &v.Cores.Sound,
	} {
		*cores = d[`mixdown_cpu_seconds_total{stage="`+stage+`"}`] / seconds
	}
	if v.Canvases > 0 {
		v.EncodeMsPerCanvas = v.Cores.Encode / v.Canvases * 1000
	}
	for tier, n := range d.by("tier", "mixdown_rendition_encoded_total") {
		v.VideoEncodes[tier] = n / seconds
	}
	v.Keyframes = d.sum("mixdown_rendition_keyframes_total")
	return v
}

// encodes is how many pictures were coded, of all tiers, a second.
func (v *ServerView) encodes() (sum float64) {
	for _, n := range v.VideoEncodes {
		sum += n
	}
	return sum
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
