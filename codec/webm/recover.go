package webm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Info is what a file holds.
type Info struct {
	// Duration is from the file's start to the end of its last block.
	Duration time.Duration
	// Bytes is the file's length.
	Bytes int64
	// Blocks is how many coded frames were found; 0 for a file that was
	// finished already, in which nobody looked.
	Blocks int
	// Width and Height are the picture's size, 0 without pictures.
	Width, Height int
	// Video and Audio tell which tracks there are.
	Video, Audio bool
	// Finished says that the file was whole already, and was not changed.
	Finished bool
	// Cut is how many bytes behind the last whole block were taken off.
	Cut int64
}

// Recover finishes a file that a killed process left: it takes off a partial
// last block and writes the index, the duration and the sizes that are
// missing. A finished file stays as it is, so twice is fine, and so is being
// killed in between. f must be open for reading and writing; nobody else may
// write to it.
//
// Memory is bounded whatever the file holds. [ErrFormat] for a file that is no
// such recording, or is damaged before its end: it is not changed.
func Recover(f *os.File) (Info, error) {
	st, err := f.Stat()
	if err != nil {
		return Info{}, fmt.Errorf("webm: recover: %w", err)
	}
	if !st.Mode().IsRegular() {
		return Info{}, fmt.Errorf("webm: recover: %w: not a regular file", ErrFormat)
	}
	info, err := recoverFile(f, st.Size())
	if err != nil {
		return info, fmt.Errorf("webm: recover: %w", err)
	}
	return info, nil
}

type readerWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

func recoverFile(f readerWriterAt, size int64) (Info, error) {
	r := newReader(f, size)
	l, err := parseLayout(r)
	if r.err != nil {
		return Info{}, r.err
	}
	if err != nil {
		return Info{}, err
	}
	info := Info{
		Bytes: size, Video: l.video != 0, Audio: l.audio != 0,
		Width: int(l.width), Height: int(l.height),
	}
	if l.complete(size) {
		info.Finished, info.Duration = true, l.length()
		return info, nil
	}
	if err := l.finishable(); err != nil {
		return info, err
	}
	s := scan{r: r, l: &l, end: l.clusters}
	err = s.clusters()
	if r.err != nil {
		return info, r.err
	}
	if err != nil {
		return info, err
	}
	// From here on the file is changed.
	if c := s.last; c.at != 0 {
		b := make([]byte, c.sizeLen)
		putSize(b, s.end-c.data)
		if _, err := f.WriteAt(b, c.data-int64(c.sizeLen)); err != nil {
			return info, err
		}
	}
	info.Duration = max(s.videoEnd(), s.audioEnd)
	info.Blocks, info.Cut = s.blocks, size-s.end
	info.Bytes, err = l.finish(f, s.end, &s.cues, info.Duration)
	return info, err
}

// scan walks through the Clusters of an unfinished file.
type scan struct {
	r *reader
	l *layout

	end    int64   // of the last whole block, or of the last whole Cluster
	last   element // the last Cluster that reaches end; at 0 for none
	cues   cueList
	blocks int

	videoMs, videoStepMs int64
	videoBlocks          int
	audioEnd             time.Duration
}

// videoEnd is when the last picture ends; see [Writer.Duration].
func (s *scan) videoEnd() time.Duration {
	switch s.videoBlocks {
	case 0:
		return 0
	case 1:
		return time.Duration(s.videoMs)*time.Millisecond + firstPicture
	}
	step := min(time.Duration(max(s.videoStepMs, 0))*time.Millisecond, maxPicture)
	return time.Duration(s.videoMs)*time.Millisecond + step
}

// clusters finds the end of what is whole. ErrFormat when there is more behind
// a place that cannot be read: cutting there would lose it.
func (s *scan) clusters() error {
	for pos := s.l.clusters; pos < s.r.size; {
		e, err := s.r.element(pos)
		if errors.Is(err, errShort) {
			return nil
		}
		switch {
		case err == nil && e.id == idCluster:
			next, err := s.oneCluster(e)
			if err != nil {
				return err
			}
			if next == 0 {
				return nil // the file ends within
			}
			pos = next
		case err == nil && e.id == idVoid && e.size != unknownSize && e.end() <= s.r.size:
			pos = e.end()
		case err == nil && e.id == idCues && (e.size == unknownSize || e.end() >= s.r.size):
			return nil // the end of a finish that was killed: it is done anew
		default:
			return s.garbage(pos)
		}
	}
	return nil
}

// garbage decides about bytes that make no sense: nothing behind them is lost
// by cutting, or the file is left alone.
func (s *scan) garbage(pos int64) error {
	if s.r.contains(pos) {
		return fmt.Errorf("%w: damaged at byte %d, with more behind it", ErrFormat, pos)
	}
	return nil
}

// oneCluster walks through a Cluster's blocks and returns where the next
// element of the Segment starts; 0 when the file ends first.
func (s *scan) oneCluster(c element) (next int64, err error) {
	end, whole := s.r.size, false
	if c.size != unknownSize && c.end() <= s.r.size {
		end, whole = c.end(), true
	}
	timeMs := int64(-1)
	for pos := c.data; pos < end; {
		e, err := s.r.element(pos)
		switch {
		case errors.Is(err, errShort) && !whole:
			return 0, nil
		case err == nil && c.size == unknownSize && topLevel(e.id):
			return pos, nil
		case err != nil || e.size == unknownSize || timeMs < 0 && e.id == idSimpleBlock:
			if whole {
				return s.wholeCluster(c), nil // lose this one's rest, not what follows
			}
			return 0, s.garbage(pos)
		case e.end() > end:
			if whole {
				return s.wholeCluster(c), nil
			}
			return 0, nil
		case e.id == idTimecode:
			ms, ok := s.r.uint(e)
			if !ok {
				if whole {
					return s.wholeCluster(c), nil
				}
				return 0, s.garbage(pos)
			}
			timeMs = ms
		case e.id == idSimpleBlock:
			s.block(c, e, timeMs)
			s.end, s.last = e.end(), c
		}
		pos = e.end()
	}
	if whole {
		return s.wholeCluster(c), nil
	}
	return 0, nil
}

// wholeCluster takes a Cluster of known size as it is.
func (s *scan) wholeCluster(c element) int64 {
	s.end, s.last = c.end(), element{}
	return c.end()
}

// block notes what a SimpleBlock adds to duration and index.
func (s *scan) block(cluster, e element, clusterMs int64) {
	b := s.r.bytes(e.data, 6)
	if e.size < 4 || len(b) < 4 {
		return
	}
	n := sizeLen(b[0])
	if n != 1 {
		return // a track above 126: none of ours
	}
	s.blocks++
	number := int64(b[0] & 0x7f)
	ms := max(clusterMs+int64(int16(uint16(b[1])<<8|uint16(b[2]))), 0)
	key := b[3]&flagKey != 0
	switch number {
	case s.l.video:
		if s.videoBlocks == 0 || ms > s.videoMs {
			s.videoStepMs, s.videoMs = ms-s.videoMs, ms
		}
		s.videoBlocks++
		if key {
			s.cues.add(ms, cluster.at-s.l.data)
		}
	case s.l.audio:
		end := time.Duration(ms)*time.Millisecond + opusDuration(b[4:min(len(b), int(e.size))])
		s.audioEnd = max(s.audioEnd, end)
		if s.l.video == 0 && s.cues.due(ms) {
			s.cues.add(ms, cluster.at-s.l.data)
		}
	}
}

// topLevel tells the elements that end a Cluster of unknown size.
func topLevel(id uint32) bool {
	switch id {
	case idCluster, idCues, idSeekHead, idInfo, idTracks, idTags, idAttachments, idChapters:
		return true
	}
	return false
}
