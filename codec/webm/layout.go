package webm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"
)

// layout is where a file has its parts. Positions count from the file's start.
type layout struct {
	segmentSize int64 // where the Segment's size stands
	sizeLen     int   // in how many bytes
	size        int64 // its value, or unknownSize
	data        int64 // where the Segment's content starts
	seek        int64 // the region of the SeekHead
	seekBytes   int
	info        int64
	duration    int64 // the Duration, or the Void in its place
	tracks      int64
	clusters    int64 // behind the last element before the first Cluster

	durationMs    float64 // NaN when there is none
	video, audio  int64   // track numbers, 0 for none
	width, height int64
}

const (
	// maxHeadBytes bounds what is looked at for a first Cluster.
	maxHeadBytes = 1 << 20
	maxHeadElems = 64
	// maxSeekHeadBytes bounds the region that is rewritten at the end.
	maxSeekHeadBytes = 4096
)

// parseLayout reads everything before the first Cluster. ErrFormat when the
// file is not a WebM with VP8 or Opus.
func parseLayout(r *reader) (layout, error) {
	l := layout{durationMs: math.NaN()}
	head, err := r.element(0)
	if err != nil || head.id != idEBML || head.size < 0 || head.size > 4096 {
		return l, fmt.Errorf("%w: no EBML header", ErrFormat)
	}
	docType := ""
	if err := r.children(head, func(c element) {
		if c.id == idDocType && c.size <= 16 {
			docType = string(r.bytes(c.data, int(c.size)))
		}
	}); err != nil || docType != "webm" {
		return l, fmt.Errorf("%w: DocType %q", ErrFormat, docType)
	}
	seg, err := r.element(head.end())
	if err != nil || seg.id != idSegment {
		return l, fmt.Errorf("%w: no Segment", ErrFormat)
	}
	l.segmentSize, l.sizeLen, l.size, l.data = seg.data-int64(seg.sizeLen), seg.sizeLen, seg.size, seg.data
	pos := seg.data
	for n := 0; ; n++ {
		e, err := r.element(pos)
		if pos >= r.size || err == nil && e.id == idCluster {
			break
		}
		if err != nil || e.size == unknownSize || e.end() > r.size {
			if l.tracks != 0 {
				break // the scan decides about what follows
			}
			return l, fmt.Errorf("%w: header: at byte %d: not an element", ErrFormat, pos)
		}
		if n == maxHeadElems || pos > maxHeadBytes {
			return l, fmt.Errorf("%w: header: no Cluster within %d bytes", ErrFormat, pos)
		}
		switch {
		case e.id == idSeekHead && l.seek == 0:
			l.seek, l.seekBytes = e.at, int(min(e.end()-e.at, math.MaxInt32))
		case e.id == idVoid && l.seek != 0 && e.at == l.seek+int64(l.seekBytes):
			l.seekBytes = int(min(e.end()-l.seek, math.MaxInt32))
		case e.id == idInfo && l.info == 0:
			if err := l.parseInfo(r, e); err != nil {
				return l, err
			}
		case e.id == idTracks && l.tracks == 0:
			l.tracks = e.at
			if err := r.children(e, func(c element) { l.parseTrack(r, c) }); err != nil {
				return l, fmt.Errorf("%w: Tracks: %w", ErrFormat, err)
			}
		}
		pos = e.end()
	}
	l.clusters = pos
	if l.tracks == 0 || l.info == 0 || l.video == 0 && l.audio == 0 {
		return l, fmt.Errorf("%w: header: no Info, or no VP8 or Opus track", ErrFormat)
	}
	return l, nil
}

func (l *layout) parseInfo(r *reader, info element) error {
	l.info = info.at
	scale := int64(timecodeScale)
	err := r.children(info, func(c element) {
		switch {
		case c.id == idTimecodeScale:
			scale, _ = r.uint(c)
		case c.id == idDuration:
			if v, ok := r.float(c); ok {
				l.duration, l.durationMs = c.at, v
			}
		case c.id == idVoid && l.duration == 0 && c.end()-c.at == durationBytes:
			l.duration = c.at
		}
	})
	if err != nil {
		return fmt.Errorf("%w: Info: %w", ErrFormat, err)
	}
	if scale != timecodeScale {
		return fmt.Errorf("%w: TimestampScale %d: only %d is known", ErrFormat, scale, timecodeScale)
	}
	return nil
}

// parseTrack notes the first VP8 and the first Opus track.
func (l *layout) parseTrack(r *reader, entry element) {
	if entry.id != idTrackEntry {
		return
	}
	var number, width, height int64
	var codecID string
	_ = r.children(entry, func(c element) { // a broken entry is a track less
		switch c.id {
		case idTrackNumber:
			number, _ = r.uint(c)
		case idCodecID:
			codecID = string(r.bytes(c.data, int(min(c.size, 16))))
		case idVideo:
			_ = r.children(c, func(c element) {
				switch c.id {
				case idPixelWidth:
					width, _ = r.uint(c)
				case idPixelHeight:
					height, _ = r.uint(c)
				}
			})
		}
	})
	switch {
	case number < 1 || number > 126:
	case codecID == "V_VP8" && l.video == 0:
		l.video, l.width, l.height = number, width, height
	case codecID == "A_OPUS" && l.audio == 0:
		l.audio = number
	}
}

// cueTrack is the track that the index is about.
func (l *layout) cueTrack() uint64 {
	if l.video != 0 {
		return uint64(l.video)
	}
	return uint64(l.audio)
}

// complete reports whether the file was finished and is whole.
func (l *layout) complete(fileBytes int64) bool {
	return l.size != unknownSize && l.data+l.size <= fileBytes && l.length() >= 0
}

// length is the Duration of a finished file; -1 for none.
func (l *layout) length() time.Duration {
	if !(l.durationMs >= 0 && l.durationMs < float64(math.MaxInt64/time.Millisecond)) { // NaN too
		return -1
	}
	return time.Duration(l.durationMs * float64(time.Millisecond))
}

// finish completes a file whose last whole block ends at end: it cuts off what
// is behind, appends the index, and patches index position, duration and, as
// the mark that all of this is done, the Segment's size. It returns the file's
// length. When the index does not fit on the disk the file is left without it,
// its Segment's size unknown, and a later Recover can add it.
func (l *layout) finish(dst io.WriterAt, end int64, cues *cueList, duration time.Duration) (int64, error) {
	var cuesAt int64
	var indexErr error
	if len(cues.cues) > 0 {
		index, err := cues.marshal(l.cueTrack())
		if err != nil {
			return end, err
		}
		if _, indexErr = dst.WriteAt(index, end); indexErr == nil {
			cuesAt = end
			end += int64(len(index))
		}
	}
	// Behind the index, so that a crash never leaves the file cut but without
	// one for want of room. Behind a failed one, it takes off its torso.
	if err := truncate(dst, end); err != nil {
		return end, err
	}
	var cuesPos int64
	if cuesAt > 0 {
		cuesPos = cuesAt - l.data
	}
	seek, err := marshalSeekHead(l.seekBytes, l.info-l.data, l.tracks-l.data, cuesPos)
	if err != nil {
		return end, err
	}
	if _, err := dst.WriteAt(seek, l.seek); err != nil {
		return end, err
	}
	ms := make([]byte, 0, durationBytes)
	ms = append(ms, idDuration>>8, idDuration&0xff, 0x88)
	ms = binary.BigEndian.AppendUint64(ms, math.Float64bits(float64(duration)/float64(time.Millisecond)))
	if _, err := dst.WriteAt(ms, l.duration); err != nil {
		return end, err
	}
	if err := sync(dst); err != nil {
		return end, err
	}
	if indexErr != nil {
		return end, fmt.Errorf("index: %w", indexErr)
	}
	size := make([]byte, l.sizeLen)
	putSize(size, end-l.data)
	if _, err := dst.WriteAt(size, l.segmentSize); err != nil {
		return end, err
	}
	return end, sync(dst)
}

// finishable says what keeps a file from being finished in place.
func (l *layout) finishable() error {
	if l.sizeLen != 8 || l.seek == 0 || l.seekBytes > maxSeekHeadBytes || l.duration == 0 {
		return fmt.Errorf("%w: its header has no room for size, index and duration", ErrFormat)
	}
	_, err := marshalSeekHead(l.seekBytes, l.info-l.data, l.tracks-l.data, math.MaxInt64)
	return err
}

func truncate(dst io.WriterAt, size int64) error {
	if t, ok := dst.(interface{ Truncate(int64) error }); ok {
		return t.Truncate(size)
	}
	return nil
}

func sync(dst io.WriterAt) error {
	if s, ok := dst.(interface{ Sync() error }); ok {
		return s.Sync()
	}
	return nil
}

// contains reports whether a Cluster's ID stands anywhere from pos on.
func (r *reader) contains(pos int64) bool {
	id := binary.BigEndian.AppendUint32(nil, idCluster)
	for pos < r.size && r.err == nil {
		b := r.bytes(pos, windowBytes)
		if bytes.Contains(b, id) {
			return true
		}
		if len(b) <= len(id) {
			return false
		}
		pos += int64(len(b) - len(id) + 1)
	}
	return false
}
