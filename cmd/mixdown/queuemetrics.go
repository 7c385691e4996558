package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer"
	"mixdown/mixer/record"
	"mixdown/mixer/video"
	"mixdown/transport"
)

// drops is a snapshot of everything that has a bound.
type drops struct {
	rooms     mixer.Stats
	labels    video.LabelStats
	recorders record.Stats
	transport transport.Stats
	turn      transport.TURNStats
	events    mixer.EventStats
	refused   uint64 // by the worker pool
	webhooks  uint64
}

// queues are the bounds of the program, in the order of the way through it, and
// how much each has cost. A new queue belongs in here.
var queues = []struct {
	name string // what drops, and with the first word where
	read func(*drops) uint64
}{
	// From the network.
	{"socket", func(d *drops) uint64 { return d.transport.SocketDropped }},  // datagrams
	{"uplink_police", func(d *drops) uint64 { return d.transport.Policed }}, // packets
	{"assembler", func(d *drops) uint64 { return d.transport.Overflows }},   // times that all it held went
	{"peer_requests", func(d *drops) uint64 { // requests to and of clients
		return d.transport.RequestsDeferred + d.transport.RequestsCut
	}},
	{"playout_inbox", func(d *drops) uint64 { return d.rooms.Sound.Overflowed }},             // packets
	{"playout_delay", func(d *drops) uint64 { return d.rooms.Sound.Skipped }},                // packets
	{"source", func(d *drops) uint64 { return d.rooms.Sources.Overflow }},                    // coded pictures
	{"turn", func(d *drops) uint64 { return d.turn.SocketDropped + d.turn.Refused["rate"] }}, // datagrams, both ways
	// Through the mixer.
	{"source_due", func(d *drops) uint64 { return d.rooms.Sources.Superseded }}, // pictures
	{"canvas", func(d *drops) uint64 { return d.rooms.ComposeSkipped }},         // ticks
	{"canvas_buffers", func(d *drops) uint64 { return d.rooms.Canvas.Busy }},    // ticks
	{"rendition", func(d *drops) uint64 { return d.renditions().Skipped }},      // canvases
	{"frame_memory", func(d *drops) uint64 { // pictures
		return d.rooms.Sources.NoMemory + d.renditions().NoMemory
	}},
	{"labels", func(d *drops) uint64 { return d.labels.Refused }}, // requests, repeated later
	{"pool", func(d *drops) uint64 { return d.refused }},          // tasks, after its end
	// And out.
	{"peer_audio", func(d *drops) uint64 { return d.transport.AudioDropped }},                            // packets
	{"peer_video", func(d *drops) uint64 { return d.transport.VideoDropped + d.transport.VideoFlushed }}, // pictures, the useless without a key frame included
	{"data_channel", func(d *drops) uint64 { // messages that were too long, and times that a client took nothing
		return d.transport.MessagesRefused + d.transport.ChannelsFull
	}},
	{"socket_send", func(d *drops) uint64 { return d.transport.Unsent }},          // datagrams
	{"tcp_send", func(d *drops) uint64 { return d.transport.TCP.Unsent }},         // packets
	{"peer_repair", func(d *drops) uint64 { return d.transport.RepairsRefused }},  // packets
	{"recorder_audio", func(d *drops) uint64 { return d.recorders.AudioDropped }}, // packets
	{"recorder_video", func(d *drops) uint64 { // pictures
		return d.recorders.VideoDropped + d.recorders.VideoThinned
	}},
	{"events", func(d *drops) uint64 { return d.events.Dropped }}, // subscriptions, which come back
	{"webhooks", func(d *drops) uint64 { return d.webhooks }},     // events
}

// renditions sums over tiers.
func (d *drops) renditions() (sum video.RenditionStats) {
	for _, r := range d.rooms.Renditions {
		sum.Skipped += r.Skipped
		sum.NoMemory += r.NoMemory
	}
	return sum
}

var queueDropped = desc("queue_dropped_total", "What each bounded queue has dropped, in the unit of what it holds.", "queue")

// queueCollector exposes what bounds have cost.
type queueCollector struct{ app *App }

// Describe implements prometheus.Collector.
func (c queueCollector) Describe(ch chan<- *prometheus.Desc) { ch <- queueDropped }

// Collect implements prometheus.Collector.
func (c queueCollector) Collect(ch chan<- prometheus.Metric) {
	a := c.app
	d := drops{
		rooms: a.rooms.Stats(), labels: a.labels.Stats(), recorders: a.store.Stats(),
		transport: a.engine.Stats(), events: a.rooms.EventStats(), refused: a.pool.Stats().Refused,
	}
	if a.hooks != nil {
		d.webhooks = droppedWebhooks(a.hooks)
	}
	if a.turn != nil {
		d.turn = a.turn.Stats()
	}
	for _, q := range queues {
		ch <- prometheus.MustNewConstMetric(queueDropped, prometheus.CounterValue, float64(q.read(&d)), q.name)
	}
}

// transportCollector exposes the media engine.
type transportCollector struct{ engine *transport.Engine }

var transportMetrics = []metric[transport.Stats]{
	gauge("peers", "Clients connected or connecting.", func(s *transport.Stats) int { return s.Peers }),
	gauge("peers_connected", "Clients whose media keys have been agreed.", func(s *transport.Stats) int { return s.Connected }),
	counter("dtls_forged_total", "Datagrams dropped because they held DTLS records that anybody could have made.", func(s *transport.Stats) uint64 { return s.Forged }),
	counter("connect_path_failed_total", "Clients that never came by any path after their answer.", func(s *transport.Stats) uint64 { return s.PathsFailed }),
	counter("connect_handshake_failed_total", "Clients that came and did not get through the DTLS handshake.", func(s *transport.Stats) uint64 { return s.HandshakesFailed }),
	counter("srtp_refused_total", "SRTP and SRTCP packets that were forged, damaged, repeated or too old.", func(s *transport.Stats) uint64 { return s.Unauthentic }),
	gauge("media_tcp_connections", "TCP connections of clients that no UDP reaches.", func(s *transport.Stats) int { return s.TCP.Connections }),
	counter("media_tcp_refused_total", "TCP connections closed because they did not say whose they are, or were too many.", func(s *transport.Stats) uint64 { return s.TCP.Refused }),
	counter("ice_restarts_total", "Further ICE sessions that clients have begun, having changed networks.", func(s *transport.Stats) uint64 { return s.Restarts }),
	counter("rtp_sent_packets_total", "RTP packets given to the sockets, repairs included.", func(s *transport.Stats) uint64 { return s.SentPackets }),
	counter("rtp_sent_bytes_total", "Bytes of them, without SRTP's tag, UDP and IP.", func(s *transport.Stats) uint64 { return s.SentBytes }),
	counter("rtp_send_errors_total", "RTP and RTCP packets that the sockets refused.", func(s *transport.Stats) uint64 { return s.SendErrors }),
	counter("rtp_repairs_sent_total", "Packets sent again because a client asked.", func(s *transport.Stats) uint64 { return s.Repairs }),
	counter("rtp_received_packets_total", "RTP packets decrypted.", func(s *transport.Stats) uint64 { return s.ReceivedPackets }),
	counter("rtp_received_bytes_total", "Bytes of them, without SRTP's tag, UDP and IP.", func(s *transport.Stats) uint64 { return s.ReceivedBytes }),
	counter("rtp_malformed_total", "RTP and RTCP packets that could not be parsed.", func(s *transport.Stats) uint64 { return s.Malformed }),
	counter("rtp_unknown_total", "RTP packets of streams that were not negotiated.", func(s *transport.Stats) uint64 { return s.Unknown }),
	counter("rtp_video_lost_packets_total", "Packets of pictures that never came.", func(s *transport.Stats) uint64 { return s.PacketsLost }),
	counter("rtp_video_repaired_packets_total", "Packets of pictures that came after they were asked for.", func(s *transport.Stats) uint64 { return s.Repaired }),
	counter("rtp_video_frames_total", "Pictures that came in whole.", func(s *transport.Stats) uint64 { return s.Frames }),
	counter("rtp_video_keyframes_total", "Key frames that came in whole.", func(s *transport.Stats) uint64 { return s.Keyframes }),
	counter("rtp_video_breaks_total", "Times that a picture had to be waited for because packets were lost.", func(s *transport.Stats) uint64 { return s.FramesBroken }),
	counter("nacks_sent_total", "Packets asked for again.", func(s *transport.Stats) uint64 { return s.NACKsSent }),
	counter("nacks_received_total", "Packets that clients asked for again.", func(s *transport.Stats) uint64 { return s.NACKsReceived }),
	counter("plis_sent_total", "Key frames asked of clients, for loss or for a source.", func(s *transport.Stats) uint64 { return s.PLIsSent }),
	counter("messages_received_total", "Messages of clients on data channels.", func(s *transport.Stats) uint64 { return s.Messages }),
	counter("messages_deferred_total", "Those of them that came faster than they may, and waited.", func(s *transport.Stats) uint64 { return s.MessagesDeferred }),
	counter("plis_received_total", "Key frames that clients asked for (PLI and FIR).", func(s *transport.Stats) uint64 { return s.PLIsReceived }),
}

// Describe implements prometheus.Collector.
func (c transportCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c transportCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.engine.Stats()
	send(ch, transportMetrics, &s)
}
