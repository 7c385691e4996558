package api

import (
	"time"

	"mixdown/codec"
	"mixdown/mixer"
)

// uplinkEvent is the type of events by which a session's client is told what to
// send. They are on its own stream alone, and no part of the room's history:
// what is asked now comes after each snapshot, and after what was missed.
const uplinkEvent = "uplink"

// Uplink is the data of uplink.
type Uplink struct {
	Source  string `json:"source" enum:"camera,screen"`
	Width   int    `json:"width" doc:"The picture is to fit in width x height; 0 is any size"`
	Height  int    `json:"height"`
	FPS     int    `json:"fps" doc:"Pictures per second at most; 0 is any"`
	Bitrate int    `json:"bitrate" doc:"Bits per second at most; 0 is any"`
	Paused  bool   `json:"paused" doc:"Nobody sees the source: send nothing, or what width to bitrate say"`
}

func uplinkOf(id codec.SourceID, t codec.UplinkTarget) Uplink {
	return Uplink{Source: id.String(), Width: t.Width, Height: t.Height, FPS: t.FPS, Bitrate: t.BitrateBps, Paused: t.Paused}
}

// uplinkFeed is what a stream tells of its session's uplink. Without a
// participant it tells nothing.
type uplinkFeed struct {
	participant *mixer.Participant
	told        *mixer.Uplink
}

// changed is closed, or readable, when there is something to tell.
func (u *uplinkFeed) changed() <-chan struct{} {
	if u.told == nil {
		return nil
	}
	return u.told.Changed
}

// tell appends what is asked now and was not when it was told last. The events
// take the place of the last one of the room's, so that a client that comes back
// misses none of those.
func (s *Server) tell(u *uplinkFeed, f *feed, at position, b []byte) ([]byte, error) {
	if u.participant == nil {
		return b, nil
	}
	before, now := u.told, u.participant.Uplink()
	u.told = now
	for id, asked := range now.Asked {
		if !asked || before != nil && before.Asked[id] && before.Targets[id] == now.Targets[id] {
			continue
		}
		e, err := s.frame(at.id, uplinkEvent, time.Now(), f.room, f.seq(at), uplinkOf(codec.SourceID(id), now.Targets[id]))
		if err != nil {
			return b, err
		}
		b = append(b, e...)
	}
	return b, nil
}
