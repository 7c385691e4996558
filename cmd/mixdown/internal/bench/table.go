package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

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
	if t := r.TopTier; t != nil {
		p("top tier", "%d of %d are sent %s when it begins, %d when it ends; %.1f s after the last had joined", t.AtStart, t.Clients, t.Tier, t.AtEnd, t.Seconds)
	}
	p("server", "%.3f cores, %.4f per participant; RSS %d MB, peak %d MB", r.ServerCores, r.CoresPerParticipant, r.RSSBytes>>20, r.PeakRSSBytes>>20)
	if r.Floor.Total > 0 {
		r.floors(p)
	}
	if v := r.Server; v != nil {
		p("per second", "video decodes %.0f (%.2f canvases of pixels), encodes %s, %.0f left out as unchanged, %.0f passed through; %.1f canvases composed; audio decodes %.0f, encodes %.0f, %.0f handed on; %.0f key frames in all",
			v.VideoDecodes, v.DecodedPerCanvas, byTier(v.VideoEncodes), v.Rested, v.Passed, v.Canvases, v.AudioDecodes, v.AudioEncodes, v.AudioRelayed, v.Keyframes)
		p("spent", "%.3f cores on decoding, %.3f composing, %.3f encoding (%.2f ms a canvas), %.3f sound", v.Cores.Decode, v.Cores.Compose, v.Cores.Encode, v.EncodeMsPerCanvas, v.Cores.Sound)
		if v.GovernorLevel+v.GovernorClimbs > 0 {
			p("overload", "quality was lowered %.0f times, and stood at level %.0f when it ended: these figures are not those of full quality", v.GovernorClimbs, v.GovernorLevel)
		}
		p("clocks", "audio tick late p99 <= %.1f ms, video tick %.1f ms; pool %.0f%% busy, queue p99 <= %.1f ms",
			v.AudioTickLatenessP99Ms, v.VideoTickLatenessP99Ms, v.PoolBusy*100, v.PoolQueueDelayP99Ms)
	}
	if q := r.Requests; q != nil {
		p("requests", "%.0f of %d answered a second, %d failed; p50 %.1f ms, p99 %.1f ms, at most %.1f ms", q.PerSecond, q.Wanted, q.Failed, q.P50Ms, q.P99Ms, q.MaxMs)
	}
	r.Healthy.table(p, "")
	if r.Poor != nil {
		r.Poor.table(p, "poor ")
	}
	if r.OwnVoices > 0 {
		p("own voice", "%.1f dB below what others hear of it at worst, %.1f in the middle, of %d talkers; one that is not heard at all would read %.1f and %.1f",
			r.OwnVoiceBelowDB.Min, r.OwnVoiceBelowDB.Median, r.OwnVoices, r.OwnVoiceFloorDB.Min, r.OwnVoiceFloorDB.Median)
	}
	if r.OwnMarkerBelowDB != (MinMedian{}) {
		p("own marker", "%.1f dB below what was sent at worst, %.1f in the middle, where nobody else is heard", r.OwnMarkerBelowDB.Min, r.OwnMarkerBelowDB.Median)
	}
	r.latencies(p)
	p("clients", "%.3f cores; the machine was late %d times, by %.1f ms at most", r.ClientCores, r.WitnessLate, r.WitnessWorstMs)
}

// floors says what the codecs need.
func (r *Result) floors(p func(name, format string, args ...any)) {
	of := ""
	if r.Layout != "" {
		of = "of a grid: "
	}
	p("floor", "%s%.3f cores (before %.3f, after %.3f): video decode %.3f, encode %.3f; audio decode %.3f, encode %.3f",
		of, r.Floor.Total, r.FloorBefore.Total, r.FloorAfter.Total, r.Floor.VideoDecode, r.Floor.VideoEncode, r.Floor.AudioDecode, r.Floor.AudioEncode)
	p("ratio", "%.2f x the floor; %.2f x the same work at a room's pace, %.3f cores", r.Ratio, r.PacedRatio, r.PacedFloor)
}

func (r *Result) pictures() string {
	if r.AudioOnly {
		return "no pictures"
	}
	text := r.Video + " sent, " + r.Canvas + " composed"
	if r.Still {
		text += ", everything still"
	}
	if r.Layout != "" {
		text += ", layout " + r.Layout
	}
	return text
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
	for _, k := range []struct {
		name string
		s    *Skew
	}{{"skew", r.Skew}, {"poor skew", r.SkewPoor}, {"late skew", r.SkewLate}, {"recorded skew", r.SkewRecorded}} {
		s := k.s
		if s == nil {
			continue
		}
		p(k.name, "picture after sound as they come: p50 %.1f ms, p50 and p95 either way %.1f and %.1f; as shown by sender reports: %.1f, %.1f, %.1f; %d readings, %d left out, %d missed",
			s.Arrival.P50, s.Arrival.P50Abs, s.Arrival.P95Abs, s.Shown.P50, s.Shown.P50Abs, s.Shown.P95Abs, s.Readings, s.Excused, s.Missed)
	}
}

func (g *Group) table(p func(name, format string, args ...any), prefix string) {
	if g.WidthHeight != "" {
		p(prefix+"video", "%s, fps min %.2f median %.2f; pauses p99 %.0f max %.0f ms", g.WidthHeight, g.FPS.Min, g.FPS.Median, g.PictureGaps.P99, g.PictureGaps.Max)
		p(prefix+"packets", "video missing %d, lost for good %d, pictures useless %d; audio lost %d; in all %d key frames, %d PLIs sent, %d received",
			g.VideoMissing, g.VideoLost, g.Undecodable, g.AudioLost, g.Keyframes, g.PLIs, g.KeyframeRequests)
	} else {
		p(prefix+"packets", "audio lost %d", g.AudioLost)
	}
	p(prefix+"audio", "packets/s min %.2f median %.2f; gaps p99 %.1f p99.9 %.1f max %.1f ms (without the machine's: %.1f %.1f %.1f, %d left out)",
		g.AudioPackets.Min, g.AudioPackets.Median, g.AudioGaps.P99, g.AudioGaps.P999, g.AudioGaps.Max,
		g.Unexcused.P99, g.Unexcused.P999, g.Unexcused.Max, g.Excused)
	c := &g.PerClient
	p(prefix+"each", "median and max: loss of sound %.2f and %.2f%%, of pictures %.2f and %.2f%%; key frames %.0f and %.0f, PLIs sent %.0f and %.0f, received %.0f and %.0f; kb/s sound %.0f and %.0f, pictures %.0f and %.0f, sent %.0f and %.0f",
		c.AudioLossPercent.Median, c.AudioLossPercent.Max, c.VideoLossPercent.Median, c.VideoLossPercent.Max, c.Keyframes.Median, c.Keyframes.Max,
		c.PLIs.Median, c.PLIs.Max, c.KeyframeRequests.Median, c.KeyframeRequests.Max,
		c.AudioKbps.Median, c.AudioKbps.Max, c.VideoKbps.Median, c.VideoKbps.Max, c.SentKbps.Median, c.SentKbps.Max)
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
