package api

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer/video"
)

const (
	// liveWrite is how long a client may read nothing, liveStart how long the
	// first picture may take.
	liveWrite = 10 * time.Second
	liveStart = 10 * time.Second
	// livePiece is what goes in one write: a client that reads so much within
	// liveWrite is not disconnected.
	livePiece = 16 << 10
	// leastBuffer is four seconds of sound.
	leastBuffer = 16 << 10
)

// liveStreams counts the clients of live streams. Safe for concurrent use.
type liveStreams struct {
	max, perRoom int // negative is no limit
	write, start time.Duration

	stalled atomic.Uint64 // streams that ended because the client did not read
	refused atomic.Uint64 // by the limits

	mu struct {
		sync.Mutex
		open   int
		byRoom map[string]int // by life
	}
}

func newLiveStreams(limit, perRoom int) *liveStreams {
	l := &liveStreams{max: limit, perRoom: perRoom, write: liveWrite, start: liveStart}
	l.mu.byRoom = make(map[string]int)
	return l
}

func (l *liveStreams) enter(life string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.perRoom >= 0 && l.mu.byRoom[life] >= l.perRoom:
		l.refused.Add(1)
		return tooManyViewers.problem("the room has as many as it may")
	case l.max >= 0 && l.mu.open >= l.max:
		l.refused.Add(1)
		return overloaded.problem("the server streams to as many clients as it may")
	}
	l.mu.open++
	l.mu.byRoom[life]++
	return nil
}

func (l *liveStreams) leave(life string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.open--
	if l.mu.byRoom[life]--; l.mu.byRoom[life] <= 0 {
		delete(l.mu.byRoom, life)
	}
}

// enterLive counts one more live stream of a client (see streamClient) and a room,
// or refuses it.
func (s *Server) enterLive(who []string, life string) (leave func(), err error) {
	if err := s.streams.enter(who...); err != nil {
		return nil, err
	}
	if err := s.live.enter(life); err != nil {
		s.streams.leave(who...)
		return nil, err
	}
	return func() {
		s.live.leave(life)
		s.streams.leave(who...)
	}, nil
}

type connKey struct{}

// withConn makes a request's connection known to its handler.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// boundBuffer has the kernel keep about a second of a stream for a client that
// does not read. By itself it would keep megabytes, which is minutes of sound: so
// late would a client be, and so late would we notice. HTTP/2 has many streams on
// a connection, and bounds each by itself.
func boundBuffer(r *http.Request, t video.Tier) {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = wrapped.NetConn()
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok || r.ProtoMajor != 1 {
		return
	}
	bytes := leastBuffer
	if t != (video.Tier{}) {
		bytes = max(bytes, t.DefaultBitrate()/8)
	}
	_ = tcp.SetWriteBuffer(bytes) // it works without, only later
}

// liveMetrics exposes who was refused or disconnected; who watches, and what they
// missed, is the mixer's to tell.
type liveMetrics struct{ live *liveStreams }

var (
	liveStalled = prometheus.NewDesc("mixdown_live_streams_stalled_total", "Live streams over HTTP that ended because the client did not read.", nil, nil)
	liveRefused = prometheus.NewDesc("mixdown_live_streams_refused_total", "Live streams over HTTP refused, there being too many.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c liveMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c liveMetrics) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(liveStalled, prometheus.CounterValue, float64(c.live.stalled.Load()))
	ch <- prometheus.MustNewConstMetric(liveRefused, prometheus.CounterValue, float64(c.live.refused.Load()))
}
