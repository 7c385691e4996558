package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer"
)

// liveCollector exposes who watches by plain HTTP. Who was disconnected is told
// by the API, which does that.
type liveCollector struct{ rooms *mixer.Manager }

var liveMetrics = []metric[mixer.Stats]{
	gauge("live_viewers", "Who watches or listens by plain HTTP now; they are not among the participants.", func(s *mixer.Stats) int { return s.Outlets.Open }),
	counter("live_viewers_total", "Who ever did.", func(s *mixer.Stats) uint64 { return s.Outlets.Opened }),
	counter("live_frames_total", "Coded pictures and packets of sound that they have taken.", func(s *mixer.Stats) uint64 { return s.Outlets.Taken }),
	counter("live_frames_dropped_total", "Those that they have missed, reading too slowly.", func(s *mixer.Stats) uint64 { return s.Outlets.Dropped }),
	counter("live_resyncs_total", "Times that one was so far behind that it was sent what is now.", func(s *mixer.Stats) uint64 { return s.Outlets.Resyncs }),
	counter("live_key_requests_total", "Key frames that were asked for after that.", func(s *mixer.Stats) uint64 { return s.Outlets.KeyRequests }),
}

// Describe implements prometheus.Collector.
func (c liveCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c liveCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.rooms.Stats()
	send(ch, liveMetrics, &s)
}
