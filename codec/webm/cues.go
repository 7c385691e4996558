package webm

import (
	"bytes"

	"github.com/at-wat/ebml-go"
	ebmlwebm "github.com/at-wat/ebml-go/webm"
)

const (
	// maxCues bounds the index in memory and in the file (about 20 bytes
	// each). At a key frame every 10 s it lasts for 45 hours; beyond, every
	// second one goes.
	maxCues = 1 << 14
	// audioCueMs is how far apart the cues of a file without pictures are.
	audioCueMs = 5000
)

// cue is a place where playing can start.
type cue struct {
	ms  int64
	pos int64 // of the Cluster, from the Segment's data
}

// cueList is an index of bounded length. Not safe for concurrent use.
type cueList struct {
	cues  []cue
	gapMs int64
}

// add appends a place; times must not fall, or it is left out.
func (l *cueList) add(ms, pos int64) {
	if n := len(l.cues); n > 0 && ms <= l.cues[n-1].ms+l.gapMs {
		return
	}
	if len(l.cues) == maxCues {
		for i := range maxCues / 2 {
			l.cues[i] = l.cues[2*i]
		}
		l.cues = l.cues[:maxCues/2]
		// From here on keep the density that is left.
		l.gapMs = (l.cues[len(l.cues)-1].ms - l.cues[0].ms) / (maxCues / 2)
		l.add(ms, pos)
		return
	}
	l.cues = append(l.cues, cue{ms, pos})
}

// due reports whether a file without pictures wants a cue at ms.
func (l *cueList) due(ms int64) bool {
	return len(l.cues) == 0 || ms >= l.cues[len(l.cues)-1].ms+audioCueMs
}

// marshal returns the Cues element.
func (l *cueList) marshal(track uint64) ([]byte, error) {
	var el struct {
		Cues ebmlwebm.Cues `ebml:"Cues"`
	}
	el.Cues.CuePoint = make([]ebmlwebm.CuePoint, len(l.cues))
	positions := make([]ebmlwebm.CueTrackPosition, len(l.cues))
	for i, c := range l.cues {
		positions[i] = ebmlwebm.CueTrackPosition{CueTrack: track, CueClusterPosition: uint64(c.pos)}
		el.Cues.CuePoint[i] = ebmlwebm.CuePoint{CueTime: uint64(c.ms), CueTrackPositions: positions[i : i+1]}
	}
	var out bytes.Buffer
	err := ebml.Marshal(&el, &out)
	return out.Bytes(), err
}
