package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"mixdown/transport"
)

// maxMessage is how many bytes a message of a data channel or a WebSocket has at
// most, either way. (To a WebSocket events may be larger.)
const maxMessage = transport.MaxMessage

// errorEvent is the type of the answer to a message that was refused. Its data is
// the Problem.
const errorEvent = "error"

// Message is what a client says on its session's data channel or WebSocket.
type Message struct {
	Type string `json:"type" enum:"chat,candidate,leave,offer" doc:"chat: data is a ChatMessage. On WebSockets only: candidate, data is an ICEFragment; leave ends the session; offer, on a room's, joins it, and the WebSocket goes on as the session's own: data is an OfferMessage"`
	Data any    `json:"data" required:"false"`
}

// messagesOf calls each with every event among the frames of a stream, as JSON,
// until that returns false; it reports whether it never did.
func messagesOf(frames []byte, each func(message []byte) bool) bool {
	for {
		_, data, found := bytes.Cut(frames, []byte("data: "))
		if !found {
			return true
		}
		var message []byte
		if message, frames, found = bytes.Cut(data, []byte("\n\n")); !found || !each(message) {
			return found
		}
	}
}

// hearing is who may say what.
type hearing struct {
	s *Server
	x *session // nil: nobody in particular, who has nothing to say
	f *feed
	// signals says that the session may be told of its connection as well: not
	// over that very connection.
	signals bool
	// upgrade is the request for a room's WebSocket, whose client may join by it;
	// nil elsewhere.
	upgrade *http.Request
}

// hear does what a message asks for, and answers it with frames of events; more
// says whether to go on. No message does harm: what cannot be done is answered
// by the Problem that a request would get.
func (h *hearing) hear(ctx context.Context, message []byte, at position) (answer []byte, more bool, err error) {
	typ, data, more, fault := h.obey(ctx, message)
	if fault != nil {
		typ, data = errorEvent, h.s.told(ctx, fault)
	}
	if typ != "" {
		answer, err = h.s.frame(at.id, typ, time.Now(), h.f.room, h.f.seq(at), data)
	}
	return answer, more, err
}

// obey returns the answer, if there is one: its type and its data.
func (h *hearing) obey(ctx context.Context, message []byte) (typ string, data any, more bool, err error) {
	doc, err := parseDocument(message)
	if err != nil {
		return "", nil, true, err
	}
	joins := h.x == nil && h.upgrade != nil && h.f.room != ""
	if h.x == nil && !joins {
		return "", nil, true, badRequest.problem("there is nothing to be said here: a session's own events are where its client may")
	}
	content, isObject := doc["data"].(document)
	if doc["data"] != nil && !isObject {
		return "", nil, true, invalid("", Fault{Pointer: "#/data", Detail: "want an object"})
	}
	switch typ, _ := doc["type"].(string); {
	case joins && typ != "offer":
		return "", nil, true, badRequest.problem("before one has joined there is nothing to be said here but an offer")
	case joins:
		var m OfferMessage
		if err := h.s.take(content, &m, nil, nil); err != nil {
			return "", nil, true, inData(err)
		}
		answer, err := h.offered(ctx, m)
		if err != nil {
			return "", nil, true, err
		}
		return answerEvent, answer, true, nil
	case typ == "chat":
		var m ChatMessage
		if err := h.s.take(content, &m, nil, nil); err != nil {
			return "", nil, true, inData(err)
		}
		return "", nil, true, inData(h.s.say(ctx, h.x, m))
	case typ == candidateEvent && h.signals:
		var m ICEFragment
		if err := h.s.take(content, &m, nil, nil); err != nil {
			return "", nil, true, inData(err)
		}
		answer, err := h.x.signalled(ctx, m)
		if err != nil || answer == nil {
			return "", nil, true, err
		}
		return candidateEvent, answer, true, nil
	case typ == "leave" && h.signals:
		h.s.sessions.end(h.x, nil)
		h.x.Leave(nil)
		return "", nil, false, nil
	}
	known := "chat"
	if h.signals {
		known = "chat, candidate, leave"
	}
	return "", nil, true, invalid("", Fault{Pointer: "#/type", Detail: "known are " + known})
}

// inData says of faults in a message's data where in the message they are.
func inData(err error) error {
	if err == nil {
		return nil
	}
	p := problemOf(err)
	for i := range p.Errors {
		if pointer, ok := strings.CutPrefix(p.Errors[i].Pointer, "#"); ok {
			p.Errors[i].Pointer = "#/data" + pointer
		}
	}
	if len(p.Errors) == 0 {
		return err
	}
	return p
}

// ServeMessages speaks with the session's client over its connection. It
// implements transport.Messages.
func (x *session) ServeMessages(c *transport.DataChannel) { x.serve(x, c) }

// messageChannel is a transport.DataChannel.
type messageChannel interface {
	Send(message []byte) error
	Writable() <-chan struct{}
	Received() <-chan []byte
	Done() <-chan struct{}
}

// serveChannel tells a session's client of its events over its data channel, and
// hears what it says, until either is over. A client that does not read costs
// one subscription's queue: when that is full it goes, and when the client reads
// again it is told how everything is by then.
func (s *Server) serveChannel(x *session, c messageChannel) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := x.feed()
	f.small = true
	h := hearing{s: s, x: x, f: &f}
	out := &channelOutlet{c: c}
	for {
		sub, at, first, err := s.opening(ctx, f, 0, false)
		if err != nil {
			return // the room has ended, and soon the session
		}
		why := s.tellOn(ctx, &listener{
			out: out, gone: c.Done(), said: c.Received(),
			hear: func(m []byte, at position) ([]byte, bool, error) { return h.hear(ctx, m, at) },
		}, &f, sub, at, first)
		if why != behind {
			return
		}
		f.fresh = true
	}
}

// channelOutlet writes to a data channel.
type channelOutlet struct{ c messageChannel }

// put waits as long as the client takes nothing: its connection notices when it
// is gone.
func (o *channelOutlet) put(frames []byte) bool {
	return messagesOf(frames, func(message []byte) bool {
		for {
			err := o.c.Send(fitting(message))
			if err == nil {
				return true
			}
			if !errors.Is(err, transport.ErrChannelFull) {
				return false
			}
			select {
			case <-o.c.Writable():
			case <-o.c.Done():
				return false
			}
		}
	})
}

// beat is the connection's own.
func (o *channelOutlet) beat() bool { return true }

// fitting is a message that is small enough: of one that is not, its envelope.
func fitting(message []byte) []byte {
	if len(message) <= maxMessage {
		return message
	}
	var e Event
	if json.Unmarshal(message, &e) != nil {
		return []byte("{}")
	}
	e.Data = struct{}{}
	var buf bytes.Buffer
	_ = writeJSON(&buf, e) // it was JSON a moment ago
	return bytes.TrimSpace(buf.Bytes())
}

// parts cuts a snapshot into such that fit into messages: each has some of the
// participants. What their pictures show is told separately.
func (w RoomSnapshot) parts() []any {
	w.Groups, w.Layout.Shown = []GroupState{}, []Tile{}
	all := w.Participants
	w.Participants = nil
	size := func(v any) int {
		b, err := json.Marshal(v)
		if err != nil { // told as the error of the whole
			return 0
		}
		return len(b)
	}
	w.Layout.shrink(maxMessage / 4)
	if size(w.Room) > maxMessage/4 {
		w.Room.Metadata, w.Room.Layout = "", defaultLayout()
	}
	room := maxMessage - 512 - size(w) // what is left for participants
	cut := []RoomSnapshot{w}
	for left := room; len(all) > 0; all = all[1:] {
		n := size(all[0]) + 1
		if left -= n; left < 0 {
			cut, left = append(cut, w), room-n
		}
		last := &cut[len(cut)-1]
		last.Participants = append(last.Participants, all[0])
	}
	out := make([]any, len(cut))
	for i, part := range cut {
		if len(cut) > 1 {
			part.Part, part.Parts = i, len(cut)
		}
		if part.Participants == nil {
			part.Participants = []Participant{}
		}
		out[i] = part
	}
	return out
}

var _ transport.Messages = (*session)(nil)
