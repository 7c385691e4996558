package api

import (
	"encoding/json"
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

// ownFeed is what a stream tells of its session's client alone: what it is to
// send, and what it watches. Without a participant it tells nothing.
type ownFeed struct {
	participant *mixer.Participant
	uplink      *mixer.Uplink
	watching    *mixer.Watching
}

// asked is closed when the client is to send something else.
func (o *ownFeed) asked() <-chan struct{} {
	if o.uplink == nil {
		return nil
	}
	return o.uplink.Changed
}

// arranged is closed when the client watches something else.
func (o *ownFeed) arranged() <-chan struct{} {
	if o.watching == nil {
		return nil
	}
	return o.watching.Changed
}

// tellOwn appends what is so now and was not when it was told last. The events
// take the place of the last one of the room's, so that a client that comes back
// misses none of those.
func (s *Server) tellOwn(o *ownFeed, f *feed, at position, b []byte) ([]byte, error) {
	if o.participant == nil {
		return b, nil
	}
	tell := func(typ string, data any) error {
		e, err := s.frame(at.id, typ, time.Now(), f.room, f.seq(at), data)
		b = append(b, e...)
		return err
	}
	before, now := o.uplink, o.participant.Uplink()
	o.uplink = now
	for id, asked := range now.Asked {
		if !asked || before != nil && before.Asked[id] && before.Targets[id] == now.Targets[id] {
			continue
		}
		if err := tell(uplinkEvent, uplinkOf(codec.SourceID(id), now.Targets[id])); err != nil {
			return b, err
		}
	}
	seen, sees := o.watching, o.participant.Watching()
	o.watching = sees
	if seen == sees || sees.Layout == nil {
		return b, nil
	}
	l := sees.Layout
	data := LayoutChanged{string(l.Group), string(l.Participant), layoutOf(l.LayoutInfo)}
	if f.small {
		data.shrink(maxLayout)
	}
	return b, tell(mixer.EventLayoutChanged.String(), data)
}

// maxLayout is how many bytes a layout has at most in a message, which has an
// envelope besides.
const maxLayout = maxMessage - 512

// shrink leaves out what was asked for, and then names, which the roster has,
// until the layout has at most that many bytes as JSON. What is shown where always
// fits.
func (l *Layout) shrink(most int) {
	for _, leaveOut := range []func(){
		func() {},
		func() { l.Order, l.Pins, l.Tiles = []string{}, []string{}, []LayoutTile{} },
		func() {
			for i := range l.Shown {
				l.Shown[i].Name = ""
			}
		},
	} {
		leaveOut()
		if b, err := json.Marshal(l); err == nil && len(b) <= most {
			return
		}
	}
}
