package webm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"mixdown/codec"
)

// Errors, to be tested with errors.Is.
var (
	// ErrFormat says that a file is not a WebM that this package can finish.
	// It was not changed.
	ErrFormat = errors.New("not a recording that can be finished")
	// ErrOrder says that a frame is not later than the one before it on its
	// track, or negative, or too late to be stored. Nothing was written.
	ErrOrder = errors.New("frame out of order")
	// ErrNoTrack says that the file has no track for a frame's codec.
	ErrNoTrack = errors.New("no track for this codec")
	// ErrClosed says that the Writer was closed.
	ErrClosed = errors.New("webm: writer is closed")
)

const (
	// maxCluster is the length at which a new Cluster starts.
	maxClusterMs = 2000
	// maxClusterBytes keeps what a seek must read small at any bitrate.
	maxClusterBytes = 4 << 20
	// firstPicture and maxPicture are the length of a picture that has no
	// successor to tell: 1/30 s, or as long as the one before it took.
	firstPicture = time.Second / 30
	maxPicture   = 200 * time.Millisecond
)

// Writer writes one file. See the package comment for the layout. It is not
// safe for concurrent use; its calls block for as long as the disk does.
type Writer struct {
	dst    io.WriterAt
	layout layout
	order

	end       int64 // of the last whole element
	cluster   int64 // where the open Cluster starts; 0 for none
	clusterMs int64
	cues      cueList
	scratch   []byte
	err       error // the first write error; nothing is written after it
	closed    bool
}

// NewWriter writes the header and returns a Writer. dst is written at absolute
// positions from 0 on, and should be empty; an *os.File that was not opened
// for appending does. Truncate and Sync are used when dst has them. The caller
// closes dst, after [Writer.Close].
func NewWriter(dst io.WriterAt, cfg Config) (*Writer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	head, err := marshalHeader(cfg)
	if err != nil {
		return nil, fmt.Errorf("webm: header: %w", err)
	}
	w := &Writer{dst: dst, order: newOrder(cfg), end: int64(len(head))}
	if w.layout, err = parseLayout(newReader(bytes.NewReader(head), w.end)); err != nil {
		return nil, fmt.Errorf("webm: header: %w", err)
	}
	if _, err := dst.WriteAt(head, 0); err != nil {
		return nil, fmt.Errorf("webm: header: %w", err)
	}
	return w, nil
}

// Write takes a frame at time at in the file; zero is the file's start. Times
// must rise by at least a millisecond within a track, and a video track starts
// with a key frame. It lends f, which may be retained until Close.
//
// [ErrOrder], [ErrNoTrack], [codec.ErrNeedKey] and [codec.ErrTooLarge] refuse
// the frame and change nothing. Any other error comes from dst: the file ends
// at the last whole block, every later Write returns the same error, and Close
// still makes a playable file of it.
func (w *Writer) Write(f *codec.EncodedFrame, at time.Duration) error {
	if w.closed {
		return ErrClosed
	}
	if w.err != nil {
		return w.err
	}
	if err := w.take(f, at); err != nil {
		return err
	}
	return w.drain(false)
}

// Flush writes what is held back. What comes later and belongs before it is
// written late, which players bear, at its true time.
func (w *Writer) Flush() error {
	if w.closed {
		return ErrClosed
	}
	if w.err != nil {
		return w.err
	}
	return w.drain(true)
}

// Cut hands what is held back at or after at to take, which must not keep the
// frame without retaining it, instead of writing it. It is for ending a file
// at an instant and going on in another.
func (w *Writer) Cut(at time.Duration, take func(f *codec.EncodedFrame, at time.Duration)) {
	w.cut(at, take)
}

// drain writes the blocks whose place in the order is known, or all of them.
func (w *Writer) drain(all bool) error {
	for w.err == nil {
		t := w.next(all)
		if t == nil {
			break
		}
		b := t.pop()
		w.err = w.put(t, b)
		b.frame.Release()
	}
	return w.err
}

// put writes one block, in a new Cluster where one is due.
func (w *Writer) put(t *track, b block) error {
	f := b.frame
	key := t == w.video && f.Key
	rel := b.ms - w.clusterMs
	cluster := w.cluster
	if cluster == 0 || key || rel >= maxClusterMs ||
		w.end-cluster >= maxClusterBytes || w.video == nil && w.cues.due(b.ms) {
		if err := w.endCluster(); err != nil {
			return err
		}
		cluster, w.clusterMs, rel = w.end, b.ms, 0
	}
	buf := w.scratch[:0]
	if cluster == w.end {
		buf = appendCluster(buf, b.ms)
	}
	buf = appendBlock(buf, t.number, int16(rel), w.flags(t, f), f.Data)
	w.scratch = buf
	// One write: a crash leaves at most one partial block, and a write that
	// fails halfway is not counted in end.
	if _, err := w.dst.WriteAt(buf, w.end); err != nil {
		return fmt.Errorf("webm: block at %v: %w", b.at, err)
	}
	w.end += int64(len(buf))
	if cluster != w.cluster {
		w.cluster = cluster
		if key || w.video == nil && w.cues.due(b.ms) {
			w.cues.add(b.ms, cluster-w.layout.data)
		}
	}
	length := opusDuration(f.Data)
	if t == w.video {
		length = firstPicture
		if t.written {
			length = min(b.at-t.last, maxPicture)
		}
	}
	t.last, t.written = b.at, true
	t.end = b.at + length
	return nil
}

// endCluster patches the open Cluster's size.
func (w *Writer) endCluster() error {
	if w.cluster == 0 {
		return nil
	}
	size := append(w.scratch[:0], make([]byte, 8)...)
	putSize(size, w.end-w.cluster-clusterHead)
	if _, err := w.dst.WriteAt(size, w.cluster+4); err != nil {
		return fmt.Errorf("webm: cluster size: %w", err)
	}
	w.cluster = 0
	return nil
}

// Bytes returns the file's length so far.
func (w *Writer) Bytes() int64 { return w.end }

// Duration returns when what was written so far ends: the end of the last
// packet of sound or of the last picture, whose own length is taken to be that
// of the one before it.
func (w *Writer) Duration() time.Duration {
	var d time.Duration
	for _, t := range []*track{w.video, w.audio} {
		if t != nil {
			d = max(d, t.end)
		}
	}
	return d
}

// Close writes what is held back, the index, the duration and all sizes, and
// leaves dst open. After a write error it makes the best of what is there, and
// returns an error only when that failed too. Twice is fine.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	var err error
	if w.err == nil {
		err = w.drain(true)
	}
	w.Cut(0, func(*codec.EncodedFrame, time.Duration) {}) // after an error some are left
	w.closed = true
	if cerr := w.endCluster(); cerr != nil {
		err = errors.Join(err, cerr)
	}
	end, ferr := w.layout.finish(w.dst, w.end, &w.cues, w.Duration())
	w.end = end
	if ferr != nil {
		err = errors.Join(err, fmt.Errorf("webm: finish: %w", ferr))
	}
	return err
}
