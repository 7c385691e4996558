package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"mixdown/api/token"
	"mixdown/mixer"
	"mixdown/mixer/record"
	"mixdown/transport"
)

// Event is the envelope of everything that is told without being asked for.
type Event struct {
	ID   string    `json:"id" doc:"For Last-Event-ID"`
	Type string    `json:"type" example:"participant.joined" doc:"room.started, .updated, .finished: data is the Room. participant.joined, .updated: the Participant; .left: with reason and duration, also for the room that somebody was moved from; its own streams go on with a snapshot of the other one; .moved: with from. layout.changed: the Layout, with group; at most twice a second. On a session's own stream only of the picture that its client watches, and after the snapshot what that shows now. speaker.changed: group and participant, empty for nobody. recording.started, .paused, .resumed, .stopped, .failed: the Recording. overload: how far the server has lowered what it sends to everybody, or raised it again. storage: how much room there is for recordings. snapshot: the state that the following events go on from. chat: a Chat; of those for one participant only he and the author are told, on their sessions' own streams, and nobody later. uplink: on a session's own stream, how large its client is to send a source, as an Uplink; what is asked now comes first, after the snapshot. error: the Problem of a message that was refused. candidate: on a session's own WebSocket, the answer to an ICE restart, as an ICEFragment. answer: on a room's WebSocket, that to an offer, as an AnswerMessage. reconnect: the server ends the stream"`
	Time time.Time `json:"time"`
	Room string    `json:"room" doc:"The room's id; empty where it is about all rooms"`
	Seq  uint64    `json:"seq" doc:"Counts the events of one life of the room, without gaps; a snapshot has that of the last event that it contains"`
	Data any       `json:"data"`
}

// Types of events that are a stream's own.
const (
	snapshotEvent  = "snapshot"
	reconnectEvent = "reconnect"
)

// ParticipantLeft is the data of participant.left.
type ParticipantLeft struct {
	Participant
	Reason   string  `json:"reason" enum:"left,kicked,moved,room-closed,drained,never-connected,vanished,misbehaved" doc:"left: by itself"`
	Duration float64 `json:"duration" doc:"Seconds that it stayed"`
}

// ParticipantMoved is the data of participant.moved.
type ParticipantMoved struct {
	Participant
	From string `json:"from" doc:"The group that it left"`
}

// LayoutChanged is the data of layout.changed.
type LayoutChanged struct {
	Group       string `json:"group" doc:"Whose picture it is; empty for the room's main program"`
	Participant string `json:"participant,omitempty" doc:"Whose own picture it is; missing for the one that all share"`
	Layout
}

// SpeakerChanged is the data of speaker.changed.
type SpeakerChanged struct {
	Group       string `json:"group"`
	Participant string `json:"participant" doc:"Who speaks before all others; empty when nobody does"`
}

// OverloadChanged is the data of overload.
type OverloadChanged struct {
	Level  int    `json:"level" minimum:"0" maximum:"5" doc:"0 is as good as may be; each level includes those before it"`
	Name   string `json:"name" enum:"normal,fast-encoding,base-layer,low-top-tier,half-tiles,few-tiles" doc:"fast-encoding: blurrier; base-layer: half the pictures a second; low-top-tier: nobody is sent the largest size; half-tiles, few-tiles: placeholders for those who have not spoken lately"`
	Reason string `json:"reason" enum:"none,queue,cpu,sound" doc:"Why it was last lowered: pictures wait, all is used, or sound would come too late"`
}

// RoomSnapshot is the data of a room's snapshot.
type RoomSnapshot struct {
	Room         Room            `json:"room"`
	Participants []Participant   `json:"participants" doc:"In the order of joining"`
	Layout       Layout          `json:"layout" doc:"Of the main program"`
	Speaker      string          `json:"speaker" doc:"In the main program; empty when nobody speaks"`
	Groups       []GroupState    `json:"groups" doc:"Those that have members"`
	Overload     OverloadChanged `json:"overload" doc:"As the event of that name has it"`
	// On data channels only.
	Part  int `json:"part,omitempty" doc:"On data channels a snapshot comes in parts, from 0, each with some of the participants. They have no groups, and no tiles, since layout.changed of the picture that the client watches comes next. Missing elsewhere and where it is 0"`
	Parts int `json:"parts,omitempty" doc:"How many parts there are; missing where there is one"`
}

// GroupState is what a group sees and whom it hears.
type GroupState struct {
	Group   string `json:"group"`
	Layout  Layout `json:"layout"`
	Speaker string `json:"speaker"`
}

// RoomsSnapshot is the data of the snapshot of all rooms.
type RoomsSnapshot struct {
	Rooms []Room            `json:"rooms"`
	Seqs  map[string]uint64 `json:"seqs" doc:"By room: the seq of the last event that it contains"`
}

// Reconnect is the data of reconnect.
type Reconnect struct {
	Reason     string `json:"reason" example:"draining"`
	RetryAfter int    `json:"retryAfter" doc:"Seconds"`
}

func overloadOf(o mixer.OverloadChange) OverloadChanged {
	return OverloadChanged{int(o.Level), o.Level.String(), o.Reason.String()}
}

func roomSnapshotOf(snap mixer.RoomSnapshot) RoomSnapshot {
	out := RoomSnapshot{
		Room: roomOf(snap.Room), Participants: make([]Participant, 0, len(snap.Participants)),
		Layout: layoutOf(mixer.LayoutInfo{}), Groups: []GroupState{}, Overload: overloadOf(snap.Overload),
	}
	for _, p := range snap.Participants {
		out.Participants = append(out.Participants, participantOf(p))
	}
	for _, p := range snap.Programs {
		if p.Group == "" {
			out.Layout, out.Speaker = layoutOf(p.Layout), string(p.Speaker)
		} else {
			out.Groups = append(out.Groups, GroupState{string(p.Group), layoutOf(p.Layout), string(p.Speaker)})
		}
	}
	return out
}

func roomsSnapshotOf(snap mixer.RoomsSnapshot) RoomsSnapshot {
	out := RoomsSnapshot{Rooms: make([]Room, 0, len(snap.Rooms)), Seqs: make(map[string]uint64, len(snap.Rooms))}
	for _, r := range snap.Rooms {
		out.Rooms = append(out.Rooms, roomOf(r))
		out.Seqs[string(r.ID)] = r.Seq
	}
	return out
}

// dataOf is an event's data as clients see it: the same documents as the
// resources have.
func (s *Server) dataOf(e *mixer.Event) any {
	switch d := e.Data.(type) {
	case mixer.RoomInfo:
		return roomOf(d)
	case mixer.ParticipantInfo:
		return participantOf(d)
	case mixer.ParticipantLeft:
		return ParticipantLeft{participantOf(d.ParticipantInfo), s.leftBecause(d.Reason), roundSeconds(d.Stayed)}
	case mixer.ParticipantMoved:
		return ParticipantMoved{participantOf(d.ParticipantInfo), string(d.From)}
	case mixer.LayoutChange:
		return LayoutChanged{string(d.Group), string(d.Participant), layoutOf(d.LayoutInfo)}
	case mixer.SpeakerChange:
		return SpeakerChanged{string(d.Group), string(d.Participant)}
	case mixer.OverloadChange:
		return overloadOf(d)
	case mixer.StorageChange:
		return storageOf(d.Storage)
	case mixer.Chat:
		return Chat{string(d.From), d.Name, d.Text, string(d.To)}
	case record.Recording:
		return recordingOf(d)
	}
	return struct{}{} // a type that this version does not know how to show
}

// leftBecause names the reason why somebody left, in the words of the codes
// that a session answers with. The error's own text is for the log.
func (s *Server) leftBecause(err error) string {
	switch {
	case err == nil:
		return "left"
	case errors.Is(err, errKicked):
		return kicked.code
	case errors.Is(err, mixer.ErrMoved):
		return "moved"
	case errors.Is(err, transport.ErrClosed), errors.Is(err, mixer.ErrRoomEnded) && s.draining.Load():
		return drained.code
	case errors.Is(err, mixer.ErrRoomEnded):
		return roomClosed.code
	case errors.Is(err, transport.ErrNeverConnected):
		return "never-connected"
	case errors.Is(err, transport.ErrMisbehaved):
		return "misbehaved"
	}
	return vanished.code
}

// frame is an event as it goes over the wire. There is no "event" field: the
// type is in the envelope, so that one listener gets all, of types also that
// it does not know yet.
func (s *Server) frame(id uint64, typ string, at time.Time, room string, seq uint64, data any) ([]byte, error) {
	name := s.streams.id(id)
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "id: %s\ndata: ", name)
	err := writeJSON(&buf, Event{name, typ, at.UTC().Truncate(time.Millisecond), room, seq, data})
	buf.WriteByte('\n') // the second one: JSON has none but at its end
	return buf.Bytes(), err
}

// frameOf returns an event's frame. All streams that want it while it is new
// share one.
func (s *Server) frameOf(e *mixer.Event) ([]byte, error) {
	if e.Private { // its id is another's
		return s.frame(e.ID, e.Type.String(), e.Time, string(e.Room), e.Seq, s.dataOf(e))
	}
	slot := &s.streams.frames[e.ID%uint64(len(s.streams.frames))]
	if f := slot.Load(); f != nil && f.id == e.ID {
		return f.bytes, nil
	}
	b, err := s.frame(e.ID, e.Type.String(), e.Time, string(e.Room), e.Seq, s.dataOf(e))
	if err == nil {
		slot.Store(&sharedFrame{e.ID, b})
	}
	return b, err
}

// feed is what a stream tells of.
type feed struct {
	room string // its id; empty is all
	// life is that of the room; empty is all rooms.
	life string
	// participant is whose own the stream is: it tells of what concerns his client
	// alone as well, and of no picture but his. nil is nobody's.
	participant *mixer.Participant
	// small says that no frame may be larger than a message.
	small bool
	// fresh says that it begins with a snapshot of this very moment.
	fresh bool
	// held says that it is somebody's in the waiting room, or outside of it.
	held bool
	// ended ends the stream; nil never does. After moved and admitted it goes on
	// with what again returns.
	ended, moved, admitted <-chan struct{}
	again                  func() feed
	// resume goes on after an event; begin starts with a snapshot.
	resume func(after uint64) (*mixer.Subscription, []*mixer.Event, bool)
	begin  func() (s *mixer.Subscription, id, seq uint64, data any, err error)
}

// listen has a subscription get what is for the participant alone.
func (f *feed) listen(sub *mixer.Subscription) {
	if f.participant != nil {
		sub.ListenAs(f.participant.ID())
	}
}

// key is what snapshots are shared by.
func (f *feed) key() string {
	if f.small {
		return f.life + " in parts"
	}
	return f.life
}

// seq is that of an envelope which is the stream's own.
func (f *feed) seq(at position) uint64 {
	if f.room == "" {
		return 0
	}
	return at.seq
}

func (s *Server) feedOfAll() feed {
	return feed{
		resume: s.rooms.Resume,
		begin: func() (*mixer.Subscription, uint64, uint64, any, error) {
			sub, snap, err := s.rooms.Subscribe()
			return sub, snap.ID, 0, roomsSnapshotOf(snap), err
		},
	}
}

func feedOf(room *mixer.Room) feed {
	info := room.Info()
	return feed{
		room: string(info.ID), life: info.Life,
		resume: room.Resume,
		begin: func() (*mixer.Subscription, uint64, uint64, any, error) {
			sub, snap, err := room.Subscribe()
			return sub, snap.ID, snap.Room.Seq, roomSnapshotOf(snap), err
		},
	}
}

func (s *Server) eventRoutes() {
	s.schemaOf(Uplink{}) // told by name only
	s.schemaOf(Message{})
	s.schemaOf(ICEFragment{})
	s.schemaOf(OfferMessage{})
	s.schemaOf(AnswerMessage{})
	stream := func(id, path, summary string, need grantOf, of func(*http.Request) (feed, *session, error), params ...*huma.Param) {
		text := &huma.Schema{Type: huma.TypeString}
		s.raw(huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Summary: summary,
			Extensions: map[string]any{"x-stability": "experimental"},
			Parameters: append(params,
				queryParam(lastEventID, "As Last-Event-ID, for those who cannot set headers; the header wins", text),
				&huma.Param{Name: "Last-Event-ID", In: "header", Description: "Go on after this event; without it, or where that is too long ago, a snapshot comes first", Schema: text}),
			Responses: map[string]*huma.Response{
				"200": {
					Description: "Server-sent events without end; each data field is one Event. A comment comes each 15 seconds",
					Content:     map[string]*huma.MediaType{eventsType: {Schema: s.schemaOf(Event{})}},
				},
				"101": {Description: "A WebSocket, for requests that ask for one: each text message is one Event. On a session's own the client may send a Message, of at most 16 KiB, and on a room's an offer; what cannot be done is answered by an Event of type error with a Problem. A ping comes each 15 seconds"},
			},
		}, need, func(w http.ResponseWriter, r *http.Request) error {
			f, x, err := of(r)
			if err != nil {
				return err
			}
			who := scopeOf(r.Context()).identity
			withdrawn, stop := who.withdrawn()
			defer stop()
			if f.ended == nil {
				f.ended = withdrawn
			}
			if upgrades(r) {
				return s.socket(w, r, f, x)
			}
			return s.stream(w, r, f)
		})
	}
	stream("stream-events", "/v1/events", "What happens in all rooms", scoped(token.ScopeEvents, static(ReadRoom)),
		func(*http.Request) (feed, *session, error) { return s.feedOfAll(), nil, nil })
	stream("stream-room-events", "/v1/rooms/{room}/events", "What happens in a room, until it ends", scoped(token.ScopeEvents, inRoom(ReadRoom)),
		func(r *http.Request) (feed, *session, error) {
			room, err := s.room(chi.URLParam(r, "room"))
			if err != nil {
				return feed{}, nil, err
			}
			f, who := feedOf(room), scopeOf(r.Context()).identity
			if guarded(room.Info(), &who) { // who joins by it is told all once he is in
				f.keepOut(func() []Participant { return []Participant{} })
			}
			return f, nil, nil
		}, pathParam("room", "The room's id"))
	stream("stream-session-events", "/v1/sessions/{secret}/events", "What happens in the session's room, what its client is to send (type uplink) and what is shown where in the picture that it is sent (layout.changed, of no other picture), until the session ends", static(UseSession),
		func(r *http.Request) (feed, *session, error) {
			x, err := s.sessions.find(chi.URLParam(r, "secret"))
			if err != nil {
				return feed{}, nil, err
			}
			return x.feed(), x, nil
		}, pathParam("secret", "From the Location of a join"))
}

// lastEventID is the query parameter that stands in for the header.
const lastEventID = "lastEventId"

// resumeAfter reads the id of the last event that the client has seen. What is
// no id of this process's is none: the client has outlived a restart, and gets
// a snapshot.
func (s *Server) resumeAfter(r *http.Request) (id uint64, ok bool, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, false, badRequest.problem("the query is not well-formed")
	}
	if faults := strangers(query, lastEventID); len(faults) > 0 {
		return 0, false, invalid("", faults...)
	}
	text := query.Get(lastEventID)
	if h := r.Header.Get("Last-Event-ID"); h != "" {
		text = h
	}
	id, ok = s.streams.parse(text)
	return id, ok, nil
}

// id writes an event's id. It begins with what the process calls itself, since
// numbers begin anew with each.
func (st *streams) id(n uint64) string { return st.process + "-" + strconv.FormatUint(n, 10) }

// parse reads what id has written.
func (st *streams) parse(text string) (n uint64, ok bool) {
	number, ok := strings.CutPrefix(text, st.process+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(number, 10, 64)
	return n, err == nil && st.id(n) == text
}

// strangers are the faults of query parameters that are not known, or come
// more than once.
func strangers(query url.Values, known ...string) (faults []Fault) {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(known, name) {
			faults = append(faults, Fault{Parameter: clip(name), Detail: "unknown; known are " + strings.Join(known, ", ")})
		} else if len(query[name]) > 1 {
			faults = append(faults, Fault{Parameter: name, Detail: "given more than once"})
		}
		if len(faults) >= maxFaults {
			break
		}
	}
	return faults
}

// opening returns a subscription and what goes before its events: what the
// client has missed, or a snapshot.
func (s *Server) opening(ctx context.Context, f feed, after uint64, known bool) (*mixer.Subscription, position, []byte, error) {
	now := time.Now()
	switch {
	case f.fresh:
	case !known:
		// Many come at once when a meeting begins or a network returns. They
		// share a snapshot, and each gets the events since then.
		if saved, ok := s.streams.saved(f.key(), now); ok {
			if sub, missed, ok := f.resume(saved.at.id); ok {
				f.listen(sub)
				at, b, err := s.frames(&f, saved.at, slices.Clone(saved.frame), missed)
				return sub, at, b, s.closeOn(ctx, sub, err)
			}
		}
	default:
		if sub, missed, ok := f.resume(after); ok {
			f.listen(sub)
			at, b, err := s.frames(&f, position{id: after}, nil, missed)
			return sub, at, b, s.closeOn(ctx, sub, err)
		}
	}
	sub, id, seq, data, err := f.begin()
	if err != nil {
		return nil, position{}, nil, s.told(ctx, err)
	}
	f.listen(sub)
	at := position{id, seq}
	parts := []any{data}
	if whole, ok := data.(RoomSnapshot); ok && f.small {
		parts = whole.parts()
	}
	var b []byte
	for _, part := range parts {
		frame, err := s.frame(id, snapshotEvent, now, f.room, seq, part)
		if err != nil {
			return nil, at, nil, s.closeOn(ctx, sub, err)
		}
		b = append(b, frame...)
	}
	if !f.held {
		s.streams.save(f.key(), snapshotFrame{at, b, now}, now)
	}
	return sub, at, b, nil
}

// closeOn closes a subscription that an error makes useless.
func (s *Server) closeOn(ctx context.Context, sub *mixer.Subscription, err error) error {
	if err == nil {
		return nil
	}
	sub.Close()
	return s.told(ctx, err)
}

// frames appends those of events that the feed tells of, and says where they lead.
func (s *Server) frames(of *feed, at position, b []byte, events []*mixer.Event) (position, []byte, error) {
	for _, e := range events {
		at = position{e.ID, e.Seq}
		if of.held {
			at.id = 0
		}
		if !of.tells(e) {
			continue
		}
		f, err := s.frameOf(e)
		if of.held && err == nil {
			f, err = s.frame(0, e.Type.String(), e.Time, string(e.Room), e.Seq, s.dataOf(e))
		}
		if err != nil {
			return at, b, err
		}
		b = append(b, f...)
	}
	return at, b, nil
}
