package webm

import (
	"fmt"
	"time"

	"mixdown/codec"
)

const (
	// liveClusterMs is the length at which a new Cluster starts in a stream.
	liveClusterMs = 1000
	// liveWindow is how long a block of a stream is held back at most: what a
	// picture needs to be encoded, and no more, since somebody is waiting.
	liveWindow = 200 * time.Millisecond
)

// Live makes a stream of WebM that nobody goes back in: the Segment and all
// Clusters have unknown size (RFC 8794 section 6.2), and there is neither
// duration nor index. What somebody has kept of it is what a killed process
// leaves of a file, and [Recover] gives it both. It does no I/O, and is not safe
// for concurrent use.
type Live struct {
	order
	head      []byte // until it has been given
	clustered bool
	clusterMs int64
}

// NewLive returns the muxer of a stream. Config.Window defaults to 200 ms.
func NewLive(cfg Config) (*Live, error) {
	if cfg.Window == 0 {
		cfg.Window = liveWindow
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	head, err := marshalHeader(cfg)
	if err != nil {
		return nil, fmt.Errorf("webm: header: %w", err)
	}
	return &Live{order: newOrder(cfg), head: head}, nil
}

// Append takes a frame at time at in the stream, and appends to dst what is to
// be sent now, which may be nothing, or several blocks. It lends f, which may be
// retained until a later call. Times and the errors that refuse a frame are those
// of [Writer.Write]; dst is returned in any case.
func (l *Live) Append(dst []byte, f *codec.EncodedFrame, at time.Duration) ([]byte, error) {
	if err := l.take(f, at); err != nil {
		return dst, err
	}
	return l.drain(dst, false), nil
}

// Close appends what is held back, and lets go of all frames. Twice is fine.
func (l *Live) Close(dst []byte) []byte { return l.drain(dst, true) }

func (l *Live) drain(dst []byte, all bool) []byte {
	for t := l.next(all); t != nil; t = l.next(all) {
		b := t.pop()
		dst = l.put(dst, t, b)
		b.frame.Release()
	}
	return dst
}

// put appends one block, in a new Cluster where one is due.
func (l *Live) put(dst []byte, t *track, b block) []byte {
	dst, l.head = append(dst, l.head...), nil
	rel := b.ms - l.clusterMs
	if !l.clustered || t == l.video && b.frame.Key || rel >= liveClusterMs {
		dst = appendCluster(dst, b.ms)
		l.clustered, l.clusterMs, rel = true, b.ms, 0
	}
	return appendBlock(dst, t.number, int16(rel), l.flags(t, b.frame), b.frame.Data)
}
