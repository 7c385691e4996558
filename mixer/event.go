package mixer

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"mixdown/mixer/record"
)

// EventType says what happened.
type EventType uint8

// The types of events, with the type of Event.Data in brackets.
const (
	// EventRoomStarted is the first event of a room's life [RoomInfo].
	EventRoomStarted EventType = iota
	// EventRoomFinished is the last [RoomInfo].
	EventRoomFinished
	// EventParticipantJoined: who joins is waiting until the connection is up
	// [ParticipantInfo].
	EventParticipantJoined
	// EventParticipantLeft [ParticipantLeft].
	EventParticipantLeft
	// EventParticipantMoved: another group, and whatever else has changed with
	// it [ParticipantMoved].
	EventParticipantMoved
	// EventParticipantUpdated: a name, a state, what is sent or taken; not what
	// moves all the time, as loss does [ParticipantInfo].
	EventParticipantUpdated
	// EventLayoutChanged comes at most twice a second and tells the last
	// layout: epochs may be left out [LayoutChange].
	EventLayoutChanged
	// EventSpeakerChanged: somebody else has the floor [SpeakerChange].
	EventSpeakerChanged
	// EventRecordingStarted and the others up to Failed follow a recording's
	// state [record.Recording].
	EventRecordingStarted
	EventRecordingPaused
	EventRecordingResumed
	EventRecordingStopped
	EventRecordingFailed
	// EventOverload: the server has lowered what is sent to everybody, or raised
	// it again [OverloadChange].
	EventOverload
	// EventChat: somebody has written to all, or to one [Chat].
	EventChat
	// EventStorage: there is little room left for recordings, or none, or enough
	// again [StorageChange].
	EventStorage
	// EventRoomUpdated: what its owner chose, or who has the floor [RoomInfo]. Of
	// its layout EventLayoutChanged tells.
	EventRoomUpdated
	// NumEventTypes is how many there are.
	NumEventTypes
)

// String returns the type's name in the API, as "participant.joined".
func (t EventType) String() string {
	names := [NumEventTypes]string{"room.started", "room.finished",
		"participant.joined", "participant.left", "participant.moved", "participant.updated",
		"layout.changed", "speaker.changed",
		"recording.started", "recording.paused", "recording.resumed", "recording.stopped", "recording.failed", "overload", "chat", "storage", "room.updated"}
	if t < NumEventTypes {
		return names[t]
	}
	return "unknown"
}

// Event is something that happened in a room. It is shared by all who are told
// of it: nobody changes it.
type Event struct {
	// ID grows with every event of the process, from 1, without gaps.
	ID   uint64
	Type EventType
	Time time.Time
	Room RoomID
	// Life is the room's RoomInfo.Life.
	Life string
	// Seq counts the events of this life of the room, from 1 and without gaps,
	// so that who misses one notices.
	Seq uint64
	// Data says more; its type goes with Type.
	Data any
	// Private says that it is for a few only: it is not kept, and ID and Seq are
	// those of the event before it.
	Private bool
}

// ParticipantLeft is the data of EventParticipantLeft.
type ParticipantLeft struct {
	ParticipantInfo
	// Reason is why; nil when the client left by itself. It may hold what is
	// for the log only.
	Reason error
	// Stayed is for how long.
	Stayed time.Duration
}

// ParticipantMoved is the data of EventParticipantMoved.
type ParticipantMoved struct {
	ParticipantInfo
	From GroupID
}

// LayoutChange is the data of EventLayoutChanged.
type LayoutChange struct {
	// Group is whose canvas it is; "" is the main program's.
	Group GroupID
	// Participant has this canvas for himself; "" is the one that all share.
	Participant ParticipantID
	LayoutInfo
}

// SpeakerChange is the data of EventSpeakerChanged.
type SpeakerChange struct {
	Group GroupID
	// Participant speaks before all others of the group; empty when nobody does.
	Participant ParticipantID
}

// ErrRoomEnded is the reason of those who leave because their room ends.
var ErrRoomEnded = errRoomEnded

// layoutPeriod is the least time between two layouts that are told: when
// fifty people join at once, nobody wants fifty of them.
const layoutPeriod = 500 * time.Millisecond

// tidings is what a room has to tell. All but records belongs to the control
// loop (to the Manager before it begins and after it has ended).
type tidings struct {
	hub     *eventHub
	seq     uint64
	pending []*Event // raised since the last publish
	// layoutAt is when a layout was last told, and layoutWaits whether there is
	// one that was not.
	layoutAt    time.Duration
	layoutWaits bool
	updated     bool // the room is another one than was told

	records struct {
		sync.Mutex
		changes []recordChange // of recorders, which run by themselves
	}
}

type recordChange struct {
	event EventType
	rec   record.Recording
}

// raise notes an event, which publish tells along with the state that came of
// it. Control loop only.
func (r *Room) raise(t EventType, data any) {
	r.tidings.seq++
	r.tidings.pending = append(r.tidings.pending, &Event{
		Type: t, Time: time.Now(), Room: r.room.ID, Life: r.life, Seq: r.tidings.seq, Data: data,
	})
}

// raiseChanges finds out what is new since it was last told. Control loop only,
// once the views are published.
func (r *Room) raiseChanges(now time.Duration) {
	for _, p := range r.participants {
		f, told := p.facts.Load(), p.told
		if f == told || p.hidden {
			continue
		}
		p.told = f
		switch {
		case told == nil:
			r.raise(EventParticipantJoined, p.Info())
		case f.group != told.group:
			for _, g := range r.programs { // the floor of what he has left
				r.followFloor(g)
			}
			r.raise(EventParticipantMoved, ParticipantMoved{p.Info(), told.group})
		case !reflect.DeepEqual(f, told): // a patch may say nothing new
			r.raise(EventParticipantUpdated, p.Info())
		}
	}
	r.raiseLayouts(now)
	if r.tidings.updated {
		r.tidings.updated = false
		r.raise(EventRoomUpdated, r.describe())
	}

	records := &r.tidings.records
	records.Lock()
	changes := records.changes
	records.changes = nil
	records.Unlock()
	for _, c := range changes {
		r.raise(c.event, c.rec)
	}
}

// raiseLeft tells that p, which is no longer in the roster, has left. Control
// loop only.
func (r *Room) raiseLeft(p *Participant, reason error) {
	if p.told == nil {
		return // he came and went unseen
	}
	r.silence(p.id)
	r.raise(EventParticipantLeft, ParticipantLeft{p.Info(), reason, time.Since(p.joined)})
}

// raiseLayouts tells the layouts that have changed, unless it did so a moment
// ago.
func (r *Room) raiseLayouts(now time.Duration) {
	t := &r.tidings
	due := t.layoutAt == 0 || now-t.layoutAt >= layoutPeriod
	t.layoutWaits = false
	for _, g := range r.programs {
		for _, c := range g.canvases {
			l := c.info.Load()
			switch {
			case l == nil || l == c.told:
			case c.told == nil && len(l.Tiles) == 0:
				c.told = l // a new canvas is empty: that is no news
			case !due:
				t.layoutWaits = true
			default:
				c.told, t.layoutAt = l, now
				change := LayoutChange{Group: g.group, LayoutInfo: *l}
				if c.owner != nil {
					change.Participant = c.owner.id
				}
				r.raise(EventLayoutChanged, change)
			}
		}
	}
}

// untold returns how long the control loop may sleep at most for what waits to
// be told, and for uplinks that are to change.
func (r *Room) untold(now, most time.Duration) time.Duration {
	most = r.uplinks.sleep(now, most)
	if !r.tidings.layoutWaits {
		return most
	}
	return min(most, max(0, layoutPeriod-(now-r.tidings.layoutAt)))
}

// speakerChanged says who speaks before all others of a group; "" is nobody.
// Control loop only.
func (r *Room) speakerChanged(group GroupID, id ParticipantID) {
	for _, g := range r.programs {
		if g.group == group && g.dominant() != id {
			g.speaker.Store(&id)
			if i := slices.IndexFunc(r.participants, func(p *Participant) bool { return p.id == id }); i >= 0 {
				r.spoken++
				r.participants[i].spoke = r.spoken
			}
			r.raise(EventSpeakerChanged, SpeakerChange{group, id})
		}
	}
}

// silence takes the floor from somebody who is going.
func (r *Room) silence(id ParticipantID) {
	for _, g := range r.programs {
		if g.dominant() == id {
			r.speakerChanged(g.group, "")
		}
	}
}

// dominant is who speaks before all others in the program.
func (g *program) dominant() ParticipantID {
	if id := g.speaker.Load(); id != nil {
		return *id
	}
	return ""
}

// recordingState returns what a recorder calls with each of its states. The
// calls come one at a time, from a goroutine of the recorder's.
func (r *Room) recordingState() func(record.Recording) {
	last := record.Starting
	return func(rec record.Recording) {
		was := last
		last = rec.State
		var e EventType
		switch {
		case rec.State == was:
			return // one more file
		case rec.State == record.Complete:
			e = EventRecordingStopped
		case rec.State == record.Failed:
			e = EventRecordingFailed
		case rec.State == record.Paused:
			e = EventRecordingPaused
		case was == record.Paused:
			e = EventRecordingResumed
		default:
			return // starting became active
		}
		r.tidings.records.Lock()
		r.tidings.records.changes = append(r.tidings.records.changes, recordChange{e, rec})
		r.tidings.records.Unlock()
		r.wake()
	}
}

// tell gives the hub what was raised; store makes the state visible that came
// of it. Control loop only.
func (r *Room) tell(store func()) {
	events := r.tidings.pending
	if len(events) == 0 {
		store()
		return
	}
	r.tidings.pending = nil
	r.tidings.hub.add(r.life, events, store)
}
