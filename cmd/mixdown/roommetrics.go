package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer"
	"mixdown/mixer/video"
)

// roomsCollector exposes what all rooms did.
type roomsCollector struct{ rooms *mixer.Manager }

// roomMetric reads one number out of a snapshot.
type roomMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*mixer.Stats) float64
}

func roomCounter(name, help string, read func(*mixer.Stats) uint64) roomMetric {
	return roomMetric{desc(name, help), prometheus.CounterValue, func(s *mixer.Stats) float64 { return float64(read(s)) }}
}

func roomGauge(name, help string, read func(*mixer.Stats) int) roomMetric {
	return roomMetric{desc(name, help), prometheus.GaugeValue, func(s *mixer.Stats) float64 { return float64(read(s)) }}
}

func roomSeconds(name, help string, read func(*mixer.Stats) float64) roomMetric {
	return roomMetric{desc(name, help), prometheus.CounterValue, read}
}

var roomMetrics = []roomMetric{
	roomGauge("rooms", "Rooms now.", func(s *mixer.Stats) int { return s.Rooms }),
	roomGauge("participants", "Participants now, in all rooms.", func(s *mixer.Stats) int { return s.Participants }),
	roomGauge("recordings", "Recordings that run now.", func(s *mixer.Stats) int { return s.Recordings }),

	roomCounter("audio_ticks_total", "Audio ticks carried out.", func(s *mixer.Stats) uint64 { return s.AudioClock.Ticks }),
	roomCounter("audio_ticks_skipped_total", "Audio ticks jumped over, being too late.", func(s *mixer.Stats) uint64 { return s.AudioClock.Skipped }),
	roomCounter("video_ticks_total", "Video ticks carried out.", func(s *mixer.Stats) uint64 { return s.VideoClock.Ticks }),
	roomCounter("video_ticks_skipped_total", "Video ticks jumped over, being too late.", func(s *mixer.Stats) uint64 { return s.VideoClock.Skipped }),
	roomCounter("compose_skipped_total", "Video ticks that found the last canvas unfinished.", func(s *mixer.Stats) uint64 { return s.ComposeSkipped }),
	roomCounter("canvas_drawn_total", "Canvases composed.", func(s *mixer.Stats) uint64 { return s.Canvas.Drawn }),
	roomCounter("canvas_unchanged_total", "Canvases that looked like the one before.", func(s *mixer.Stats) uint64 { return s.Canvas.Unchanged }),
	roomSeconds("canvas_seconds_total", "Time spent composing.", func(s *mixer.Stats) float64 { return s.Canvas.Time.Seconds() }),

	roomCounter("audio_encodes_total", "Opus frames coded.", func(s *mixer.Stats) uint64 { return s.Mix.Encodes }),
	roomCounter("audio_shared_encodes_total", "Opus frames coded for all who are silent.", func(s *mixer.Stats) uint64 { return s.Mix.SharedEncodes }),
	roomCounter("audio_decodes_total", "Opus packets decoded.", func(s *mixer.Stats) uint64 { return s.Mix.Decoded }),
	roomCounter("audio_to_personal_total", "Listeners given a mix of their own.", func(s *mixer.Stats) uint64 { return s.Mix.ToPersonal }),
	roomCounter("audio_to_shared_total", "Listeners returned to the shared mix.", func(s *mixer.Stats) uint64 { return s.Mix.ToShared }),
	roomCounter("audio_crowded_ticks_total", "Ticks in which more wanted to be heard than can be.", func(s *mixer.Stats) uint64 { return s.Mix.Crowded }),
	roomCounter("audio_encode_errors_total", "Opus frames that could not be coded.", func(s *mixer.Stats) uint64 { return s.Mix.EncodeErrors }),

	roomCounter("playout_packets_total", "Packets of sound received.", func(s *mixer.Stats) uint64 { return s.Sound.Packets }),
	roomCounter("playout_lost_total", "Packets of sound that were missing at their turn.", func(s *mixer.Stats) uint64 { return s.Sound.Lost }),
	roomCounter("playout_recovered_total", "Lost packets restored by FEC.", func(s *mixer.Stats) uint64 { return s.Sound.Recovered }),
	roomCounter("playout_late_total", "Packets of sound that came after their turn.", func(s *mixer.Stats) uint64 { return s.Sound.Late }),
	roomCounter("playout_underruns_total", "Ticks without anything to play.", func(s *mixer.Stats) uint64 { return s.Sound.Underruns }),
	roomCounter("playout_overflowed_total", "Packets of sound dropped, the inbox being full.", func(s *mixer.Stats) uint64 { return s.Sound.Overflowed }),
	roomCounter("playout_corrupt_total", "Packets that are no Opus.", func(s *mixer.Stats) uint64 { return s.Sound.Corrupt }),

	roomCounter("video_frames_received_total", "Coded pictures received.", func(s *mixer.Stats) uint64 { return s.Sources.Received }),
	roomCounter("video_decodes_total", "Pictures decoded.", func(s *mixer.Stats) uint64 { return s.Sources.Decoded }),
	roomCounter("video_pictures_total", "Pictures scaled for display.", func(s *mixer.Stats) uint64 { return s.Sources.Pictures }),
	roomCounter("video_overflow_total", "Coded pictures dropped, the decoder being behind.", func(s *mixer.Stats) uint64 { return s.Sources.Overflow }),
	roomCounter("video_superseded_total", "Pictures replaced before they were shown.", func(s *mixer.Stats) uint64 { return s.Sources.Superseded }),
	roomCounter("video_refused_total", "Coded pictures refused: too large, too many pixels, too many changes of size.", func(s *mixer.Stats) uint64 {
		return s.Sources.TooLarge + s.Sources.TooManyPixels + s.Sources.SizeChanges
	}),
	roomCounter("video_corrupt_total", "Coded pictures that are none.", func(s *mixer.Stats) uint64 { return s.Sources.Corrupt }),
	roomCounter("video_keyframe_requests_total", "Key frames asked of senders.", func(s *mixer.Stats) uint64 { return s.Sources.KeyframeRequests }),
	roomSeconds("video_decode_seconds_total", "Time spent decoding and scaling to tiles.", func(s *mixer.Stats) float64 { return s.Sources.DecodeTime.Seconds() }),
}

var (
	audioLateness = desc("audio_tick_lateness_seconds", "How long after it was due an audio tick began.")
	videoLateness = desc("video_tick_lateness_seconds", "How long after it was due a video tick began.")

	renditionEncoded     = desc("rendition_encoded_total", "Pictures coded.", "tier")
	renditionKeyframes   = desc("rendition_keyframes_total", "Key frames coded.", "tier")
	renditionSkipped     = desc("rendition_skipped_total", "Pictures not coded because the one before was not ready.", "tier")
	renditionBytes       = desc("rendition_bytes_total", "Coded bytes.", "tier")
	renditionSeconds     = desc("rendition_encode_seconds_total", "Time spent scaling and encoding.", "tier")
	renditionSubscribers = desc("rendition_subscribers", "Who takes it now.", "tier")
	renditionKeyRequests = desc("rendition_key_requests_total", "Key frames asked for, by reason.", "tier", "reason")
)

// Describe implements prometheus.Collector. It describes nothing, which makes
// this an unchecked collector: tiers come and go.
func (c roomsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c roomsCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.rooms.Stats()
	for _, m := range roomMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(&s))
	}
	histogram(ch, audioLateness, &s.AudioClock.Lateness)
	histogram(ch, videoLateness, &s.VideoClock.Lateness)
	// Tiers that differ only in bitrate share a label, so they are summed.
	for name, r := range tiersByName(&s) {
		counter := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append([]string{name}, labels...)...)
		}
		counter(renditionEncoded, float64(r.Encoded))
		counter(renditionKeyframes, float64(r.Keyframes))
		counter(renditionSkipped, float64(r.Skipped))
		counter(renditionBytes, float64(r.Bytes))
		counter(renditionSeconds, r.EncodeTime.Seconds())
		ch <- prometheus.MustNewConstMetric(renditionSubscribers, prometheus.GaugeValue, float64(r.Subscribers), name)
		for reason, n := range r.KeyRequests {
			counter(renditionKeyRequests, float64(n), video.KeyReason(reason).String())
		}
	}
}

func tiersByName(s *mixer.Stats) map[string]video.RenditionStats {
	sums := make(map[string]video.RenditionStats, len(s.Renditions))
	for tier, r := range s.Renditions {
		sum := sums[tier.String()]
		sum.Encoded += r.Encoded
		sum.Keyframes += r.Keyframes
		sum.Skipped += r.Skipped
		sum.Bytes += r.Bytes
		sum.EncodeTime += r.EncodeTime
		sum.Subscribers += r.Subscribers
		for i := range sum.KeyRequests {
			sum.KeyRequests[i] += r.KeyRequests[i]
		}
		sums[tier.String()] = sum
	}
	return sums
}
