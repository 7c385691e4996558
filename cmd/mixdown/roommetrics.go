package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer"
	"mixdown/mixer/video"
)

// roomsCollector exposes what all rooms did.
type roomsCollector struct{ rooms *mixer.Manager }

var roomMetrics = []metric[mixer.Stats]{
	gauge("rooms", "Rooms now.", func(s *mixer.Stats) int { return s.Rooms }),
	gauge("participants", "Participants now, in all rooms.", func(s *mixer.Stats) int { return s.Participants }),
	gauge("recordings", "Recordings that run now.", func(s *mixer.Stats) int { return s.Recordings }),

	counter("audio_ticks_total", "Audio ticks carried out.", func(s *mixer.Stats) uint64 { return s.AudioClock.Ticks }),
	counter("audio_ticks_skipped_total", "Audio ticks jumped over, being too late.", func(s *mixer.Stats) uint64 { return s.AudioClock.Skipped }),
	counter("video_ticks_total", "Video ticks carried out.", func(s *mixer.Stats) uint64 { return s.VideoClock.Ticks }),
	counter("video_ticks_skipped_total", "Video ticks jumped over, being too late.", func(s *mixer.Stats) uint64 { return s.VideoClock.Skipped }),
	counter("canvas_drawn_total", "Canvases composed.", func(s *mixer.Stats) uint64 { return s.Canvas.Drawn }),
	counter("canvas_unchanged_total", "Canvases that looked like the one before.", func(s *mixer.Stats) uint64 { return s.Canvas.Unchanged }),
	counter("canvas_tiles_total", "Tiles drawn.", func(s *mixer.Stats) uint64 { return s.Canvas.Tiles }),

	counter("audio_encodes_total", "Opus frames coded.", func(s *mixer.Stats) uint64 { return s.Mix.Encodes }),
	counter("audio_shared_encodes_total", "Opus frames coded for all who are silent.", func(s *mixer.Stats) uint64 { return s.Mix.SharedEncodes }),
	counter("audio_decodes_total", "Opus packets decoded.", func(s *mixer.Stats) uint64 { return s.Mix.Decoded }),
	counter("audio_to_personal_total", "Listeners given a mix of their own.", func(s *mixer.Stats) uint64 { return s.Mix.ToPersonal }),
	counter("audio_to_shared_total", "Listeners returned to the shared mix.", func(s *mixer.Stats) uint64 { return s.Mix.ToShared }),
	counter("audio_silent_ticks_total", "Audio ticks in which nobody was heard and nothing was coded.", func(s *mixer.Stats) uint64 { return s.Mix.Silent }),
	counter("audio_decodes_skipped_total", "Ticks of senders who were not decoded, since they said that they are silent or their packets were handed on.", func(s *mixer.Stats) uint64 { return s.Mix.Skipped }),
	counter("audio_relayed_total", "Opus packets handed on to the only other as they came, neither decoded nor coded.", func(s *mixer.Stats) uint64 { return s.Mix.Relayed }),
	counter("audio_to_relay_total", "Listeners given the packets of the only other as they came.", func(s *mixer.Stats) uint64 { return s.Mix.ToRelay }),
	counter("audio_from_relay_total", "Listeners of those for whom it is coded again.", func(s *mixer.Stats) uint64 { return s.Mix.FromRelay }),
	counter("audio_levels_checked_total", "Ticks of senders who were decoded only to check the level that they tell.", func(s *mixer.Stats) uint64 { return s.Mix.Checked }),
	counter("audio_levels_distrusted_total", "Senders whose level was not what they told.", func(s *mixer.Stats) uint64 { return s.Mix.Distrusted }),
	counter("audio_class_changes_total", "Listeners moved to another bitrate or amount of error correction.", func(s *mixer.Stats) uint64 { return s.Mix.ClassChanges }),
	counter("audio_echo_held_total", "Ticks of senders who were kept out of the mix because it was echo.", func(s *mixer.Stats) uint64 { return s.Mix.EchoHeld }),
	counter("audio_crowded_ticks_total", "Ticks in which more wanted to be heard than can be.", func(s *mixer.Stats) uint64 { return s.Mix.Crowded }),
	counter("audio_encode_errors_total", "Opus frames that could not be coded.", func(s *mixer.Stats) uint64 { return s.Mix.EncodeErrors }),

	counter("playout_packets_total", "Packets of sound received.", func(s *mixer.Stats) uint64 { return s.Sound.Packets }),
	counter("playout_lost_total", "Packets of sound that were missing at their turn.", func(s *mixer.Stats) uint64 { return s.Sound.Lost }),
	counter("playout_recovered_total", "Lost packets restored by redundancy or FEC.", func(s *mixer.Stats) uint64 { return s.Sound.Recovered }),
	counter("playout_late_total", "Packets of sound that came after their turn.", func(s *mixer.Stats) uint64 { return s.Sound.Late }),
	counter("playout_duplicate_total", "Packets of sound that came twice.", func(s *mixer.Stats) uint64 { return s.Sound.Duplicate }),
	counter("playout_redundant_total", "Packets of sound that came as redundancy of later ones (RFC 2198).", func(s *mixer.Stats) uint64 { return s.Sound.Redundant }),
	counter("playout_undecoded_total", "Packets of sound that were not decoded, being too quiet or handed on.", func(s *mixer.Stats) uint64 { return s.Sound.Undecoded }),
	counter("playout_splices_total", "Times that much sound was left out at once, too much having waited.", func(s *mixer.Stats) uint64 { return s.Sound.Splices }),
	counter("playout_underruns_total", "Ticks without anything to play.", func(s *mixer.Stats) uint64 { return s.Sound.Underruns }),
	counter("playout_corrupt_total", "Packets that are no Opus.", func(s *mixer.Stats) uint64 { return s.Sound.Corrupt }),
	counter("playout_restarts_total", "Sources of sound that began anew or jumped in time.", func(s *mixer.Stats) uint64 { return s.Sound.Restarts }),
	counter("playout_stretched_seconds_total", "Seconds of sound put in to hold the delay.", func(s *mixer.Stats) float64 { return s.Sound.Stretched.Seconds() }),
	counter("playout_squeezed_seconds_total", "Seconds of sound left out to hold the delay.", func(s *mixer.Stats) float64 { return s.Sound.Squeezed.Seconds() }),

	counter("video_frames_received_total", "Coded pictures received.", func(s *mixer.Stats) uint64 { return s.Sources.Received }),
	counter("video_decodes_total", "Pictures decoded.", func(s *mixer.Stats) uint64 { return s.Sources.Decoded }),
	counter("video_decoded_pixels_total", "Luma samples of the pictures decoded.", func(s *mixer.Stats) uint64 { return s.Sources.DecodedPixels }),
	counter("video_pictures_total", "Pictures scaled for display.", func(s *mixer.Stats) uint64 { return s.Sources.Pictures }),
	counter("video_keyframe_requests_total", "Times that a source wanted a key frame of its sender; connections merge them.",
		func(s *mixer.Stats) uint64 { return s.Sources.KeyframeRequests }),
}

// refusals are why coded pictures were not decoded, or not scaled, on purpose.
var refusals = []struct {
	reason string
	read   func(*video.SourceStats) uint64
}{
	{"awaiting_key", func(s *video.SourceStats) uint64 { return s.AwaitingKey }},
	{"hidden", func(s *video.SourceStats) uint64 { return s.Hidden }},
	{"too_large", func(s *video.SourceStats) uint64 { return s.TooLarge }},
	{"size_changes", func(s *video.SourceStats) uint64 { return s.SizeChanges }},
	{"pixel_rate", func(s *video.SourceStats) uint64 { return s.TooManyPixels }},
	{"corrupt", func(s *video.SourceStats) uint64 { return s.Corrupt }},
	{"unscaled", func(s *video.SourceStats) uint64 { return s.Unscaled }},
}

var (
	audioLateness = desc("audio_tick_lateness_seconds", "Seconds after it was due at which an audio tick began.")
	videoLateness = desc("video_tick_lateness_seconds", "Seconds after it was due at which a video tick began.")
	audioTook     = desc("audio_tick_seconds", "Seconds that an audio tick took: playout, mix, codecs, handing over.")
	composeTook   = desc("compose_seconds", "Seconds that drawing a canvas took.")
	decodeTook    = desc("video_decode_seconds", "Seconds that decoding a picture and scaling it to its tile took.")
	syncWaited    = desc("picture_delay_seconds", "Seconds that each picture with sound to go with it was held back for that.")
	syncApart     = desc("picture_skew_seconds", "Seconds that each such picture was believed to be shown before or after its sound.")
	videoRefused  = desc("video_frames_refused_total", "Coded pictures that were not decoded, or not scaled, by reason.", "reason")

	tierSwitches = desc("tier_switches_total", "Clients that were sent another tier, by direction and reason.", "direction", "reason")

	renditionEncoded     = desc("rendition_encoded_total", "Pictures coded.", "tier", "codec")
	renditionKeyframes   = desc("rendition_keyframes_total", "Key frames coded, by what made them necessary; unasked ones the encoder chose.", "tier", "codec", "reason")
	renditionKeyRequests = desc("rendition_key_requests_total", "Key frames asked for, by reason; one answers many.", "tier", "codec", "reason")
	renditionSkipped     = desc("rendition_skipped_total", "Pictures not coded because the one before was not ready.", "tier", "codec")
	renditionRateDropped = desc("rendition_rate_dropped_total", "Pictures that the encoder's rate control left out.", "tier", "codec")
	renditionErrors      = desc("rendition_errors_total", "Failures of the encoder, each of which costs a new one.", "tier", "codec")
	renditionBytes       = desc("rendition_bytes_total", "Coded bytes.", "tier", "codec")
	renditionTook        = desc("rendition_encode_seconds", "Seconds that scaling and encoding a picture took.", "tier", "codec")
	renditionPassed      = desc("rendition_passed_total", "Pictures of a source that were sent on as they came, and not coded.", "tier", "codec")
	renditionStill       = desc("rendition_still_total", "Pictures not coded because the canvas looked as before.", "tier", "codec")
	renditionSubscribers = desc("rendition_subscribers", "Who takes it now.", "tier", "codec")
)

// Describe implements prometheus.Collector. It describes nothing, which makes
// this an unchecked collector: tiers come and go.
func (c roomsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c roomsCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.rooms.Stats()
	send(ch, roomMetrics, &s)
	for _, r := range refusals {
		ch <- prometheus.MustNewConstMetric(videoRefused, prometheus.CounterValue, float64(r.read(&s.Sources)), r.reason)
	}
	histogram(ch, audioLateness, &s.AudioClock.Lateness)
	histogram(ch, videoLateness, &s.VideoClock.Lateness)
	histogram(ch, audioTook, &s.AudioClock.Took)
	histogram(ch, composeTook, &s.Composing)
	histogram(ch, decodeTook, &s.Sources.DecodeTimes)
	histogram(ch, syncWaited, &s.Sync.Waited)
	histogram(ch, syncApart, &s.Sync.Apart)
	for i := range s.Adapt.Up {
		reason := mixer.SwitchReason(i).String()
		ch <- prometheus.MustNewConstMetric(tierSwitches, prometheus.CounterValue, float64(s.Adapt.Up[i]), "up", reason)
		ch <- prometheus.MustNewConstMetric(tierSwitches, prometheus.CounterValue, float64(s.Adapt.Down[i]), "down", reason)
	}
	// Tiers that differ only in bitrate share a label, so they are summed.
	for kind, r := range tiersByName(&s) {
		r.collect(ch, kind)
	}
}

// tierStats is what the renditions of tiers with one name did.
type tierStats struct{ video.RenditionStats }

// kindNames are the labels that renditions are told apart by.
type kindNames struct{ tier, codec string }

func (r *tierStats) collect(ch chan<- prometheus.Metric, kind kindNames) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{kind.tier, kind.codec}, labels...)...)
	}
	counter(renditionEncoded, r.Encoded)
	counter(renditionSkipped, r.Skipped)
	counter(renditionRateDropped, r.RateDropped)
	counter(renditionErrors, r.Errors)
	counter(renditionBytes, r.Bytes)
	counter(renditionPassed, r.Passed)
	counter(renditionStill, r.Still)
	unasked := r.Keyframes
	for i := range r.KeyframesFor {
		reason := video.KeyReason(i).String()
		counter(renditionKeyframes, r.KeyframesFor[i], reason)
		counter(renditionKeyRequests, r.KeyRequests[i], reason)
		unasked -= r.KeyframesFor[i]
	}
	counter(renditionKeyframes, unasked, "unasked")
	histogram(ch, renditionTook, &r.EncodeTimes, kind.tier, kind.codec)
	ch <- prometheus.MustNewConstMetric(renditionSubscribers, prometheus.GaugeValue, float64(r.Subscribers), kind.tier, kind.codec)
}

func tiersByName(s *mixer.Stats) map[kindNames]*tierStats {
	sums := make(map[kindNames]*tierStats, len(s.Renditions))
	for kind, r := range s.Renditions {
		name := kindNames{kind.Tier.String(), kind.Codec.String()}
		sum := sums[name]
		if sum == nil {
			sum = &tierStats{}
			sums[name] = sum
		}
		sum.Encoded += r.Encoded
		sum.Keyframes += r.Keyframes
		sum.Skipped += r.Skipped
		sum.RateDropped += r.RateDropped
		sum.Errors += r.Errors
		sum.Bytes += r.Bytes
		sum.Passed += r.Passed
		sum.Still += r.Still
		sum.EncodeTimes = sum.EncodeTimes.Add(r.EncodeTimes)
		sum.Subscribers += r.Subscribers
		for i := range sum.KeyRequests {
			sum.KeyRequests[i] += r.KeyRequests[i]
			sum.KeyframesFor[i] += r.KeyframesFor[i]
		}
	}
	return sums
}
