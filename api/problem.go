package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"mixdown/mixer"
	"mixdown/mixer/record"
	"mixdown/transport"
)

// Problem is the body of every error (RFC 9457).
type Problem struct {
	Type   string  `json:"type" format:"uri-reference" doc:"Where the code is explained: /docs#{code}"`
	Title  string  `json:"title" doc:"The code in a few words; the same for every occurrence"`
	Status int     `json:"status" doc:"The HTTP status"`
	Code   string  `json:"code" doc:"What programs should look at" example:"locked"`
	Detail string  `json:"detail,omitempty" doc:"What is wrong here, and how to mend it"`
	Errors []Fault `json:"errors,omitempty" doc:"What is wrong in the request, place by place"`
	// Of an overload by the price of what was asked for.
	Needed *Amount `json:"needed,omitempty" doc:"overloaded: what the request would have taken"`
	Left   *Amount `json:"left,omitempty" doc:"overloaded: what there was for it"`

	header http.Header // sent with the problem
}

// Fault is one thing that is wrong with a request. Either Pointer or Parameter
// says where.
type Fault struct {
	Pointer   string `json:"pointer,omitempty" doc:"A JSON pointer into the body, as a URI fragment" example:"#/canvas/width"`
	Parameter string `json:"parameter,omitempty" doc:"The name of a parameter in path, query or header" example:"maxWidth"`
	Detail    string `json:"detail" doc:"What would be accepted" example:"even, 16..3840"`
}

// Amount is of what servers run out of.
type Amount struct {
	Cores float64 `json:"cores" doc:"Processor time, in seconds a second"`
}

// Error returns the code and the detail.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Code
	}
	return p.Code + ": " + p.Detail
}

// GetStatus makes a Problem an error that huma understands.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders returns what is to be sent beside the body.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType names the media type for huma.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// with adds a header; it returns p.
func (p *Problem) with(name, value string) *Problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(name, value)
	return p
}

// kind of problem: one stable code.
type kind struct {
	code   string
	status int
	title  string
	// retryAfter in seconds goes into the header of that name; 0 sends none.
	retryAfter int
}

// The codes that are not one of the mixer's kinds. Clients see them: a code
// keeps its meaning for ever.
var (
	badJSON         = kind{code: "bad-json", status: 400, title: "The body is not a JSON object"}
	badRequest      = kind{code: "bad-request", status: 400, title: "The request cannot be understood"}
	badSDP          = kind{code: "bad-sdp", status: 400, title: "The offer cannot be understood"}
	badFragment     = kind{code: "bad-fragment", status: 400, title: "The ICE fragment cannot be understood"}
	noUsableCodec   = kind{code: "no-usable-codec", status: 422, title: "The offer has no codec in common with the server"}
	locked          = kind{code: "locked", status: 403, title: "The room is locked"}
	wrongPIN        = kind{code: "pin", status: 403, title: "The room wants its PIN (header Room-Pin)"}
	banned          = kind{code: "banned", status: 403, title: "Whoever asks is banned from the room"}
	staysMuted      = kind{code: "stays-muted", status: 403, title: "In this room only a moderator unmutes people"}
	held            = kind{code: "waiting-room", status: 403, title: "Who enters the room is let in by a moderator first"}
	noBan           = kind{code: "no-such-ban", status: 404, title: "There is no such ban"}
	tooManyPins     = kind{code: "too-many-pins", status: 429, title: "Too many wrong PINs of one address", retryAfter: 60}
	foreignPage     = kind{code: "foreign-page", status: 403, title: "A server without keys serves its own pages on this machine only"}
	full            = kind{code: "full", status: 409, title: "The room is full"}
	roomEmpty       = kind{code: "room-empty", status: 409, title: "There is nobody in the room", retryAfter: 5}
	roomExists      = kind{code: "room-exists", status: 409, title: "A room of this id exists"}
	recordingActive = kind{code: "recording-active", status: 409, title: "There is a recording in progress"}
	noRoom          = kind{code: "no-such-room", status: 404, title: "There is no such room"}
	noParticipant   = kind{code: "no-such-participant", status: 404, title: "There is no such participant"}
	noGroup         = kind{code: "no-such-group", status: 404, title: "There is no such group"}
	noLayout        = kind{code: "no-such-layout", status: 404, title: "The participant has no layout of its own"}
	noInput         = kind{code: "no-such-input", status: 404, title: "There is no such input"}
	noRecording     = kind{code: "no-such-recording", status: 404, title: "There is no such recording"}
	noKeys          = kind{code: "no-keys", status: 409, title: "The server has no keys to make tokens with"}
	noSession       = kind{code: "no-such-session", status: 404, title: "There is no such session"}
	noRoute         = kind{code: "no-such-route", status: 404, title: "There is nothing at this address"}
	noMethod        = kind{code: "method-not-allowed", status: 405, title: "The resource does not know this method"}
	tooLarge        = kind{code: "too-large", status: 413, title: "The body is too large"}
	wrongType       = kind{code: "unsupported-media-type", status: 415, title: "The body has a type that is not taken here"}
	timeout         = kind{code: "timeout", status: 408, title: "The body took too long to come"}
	badRange        = kind{code: "bad-range", status: 416, title: "The file does not have the bytes that were asked for"}
	tooMany         = kind{code: "too-many-joins", status: 429, title: "Too many joins from one address", retryAfter: 1}
	tooManyStreams  = kind{code: "too-many-streams", status: 429, title: "Too many streams to one address", retryAfter: 10}
	tooManyViewers  = kind{code: "too-many-viewers", status: 429, title: "Too many live streams of one room", retryAfter: 10}
	tooManyChats    = kind{code: "too-many-messages", status: 429, title: "Too many messages of one participant", retryAfter: 1}
	notListening    = kind{code: "not-listening", status: 409, title: "Whom a message is for follows no events"}
	tooManyLayouts  = kind{code: "too-many-layouts", status: 429, title: "Too many changes of one layout", retryAfter: 2}
	tooManyRestarts = kind{code: "too-many-restarts", status: 429, title: "Too many ICE restarts of one session", retryAfter: 2}
	draining        = kind{code: "draining", status: 503, title: "The server is shutting down", retryAfter: 5}
	overloaded      = kind{code: "overloaded", status: 503, title: "The server has no room for more", retryAfter: 10}
	kicked          = kind{code: "kicked", status: 410, title: "The participant was removed"}
	roomClosed      = kind{code: "room-closed", status: 410, title: "The room was closed"}
	drained         = kind{code: "drained", status: 410, title: "The server has shut down"}
	vanished        = kind{code: "vanished", status: 410, title: "The client was not heard of for too long"}
	replaced        = kind{code: "replaced", status: 410, title: "The client has come back by another session"}

	storageFull = kind{code: "storage-full", status: 507, title: "There is no room for recordings"}
	notKept     = kind{code: "not-kept", status: 507, title: "What was asked for is done, but may be lost with the next restart"}

	conditionMissing = kind{code: "precondition-required", status: 428, title: "The request must say what it is about (If-Match)"}
)

// byKind maps the mixer's kinds of failure; reasons come first.
var byKind = [...]kind{
	mixer.Internal:        {code: "internal", status: 500, title: "The server failed"},
	mixer.Invalid:         {code: "invalid", status: 422, title: "Some value is out of range"},
	mixer.Unauthenticated: {code: "unauthenticated", status: 401, title: "It is not known who asks"},
	mixer.Permission:      {code: "forbidden", status: 403, title: "Whoever asks may not do this"},
	mixer.NotFound:        {code: "not-found", status: 404, title: "There is no such resource"},
	mixer.Conflict:        {code: "conflict", status: 409, title: "The present state does not allow this"},
	mixer.Precondition:    {code: "precondition-failed", status: 412, title: "The resource was changed meanwhile"},
	mixer.Gone:            {code: "gone", status: 410, title: "The resource is gone for good"},
	mixer.Exhausted:       {code: "overloaded", status: 503, title: "The server has no room for more", retryAfter: 10},
	mixer.Unavailable:     {code: "unavailable", status: 503, title: "The server cannot do this now", retryAfter: 5},
}

// byReason gives the reasons that have a code of their own.
var byReason = []struct {
	err  error
	kind kind
}{
	{mixer.ErrRoomLocked, locked},
	{mixer.ErrPIN, wrongPIN},
	{mixer.ErrStaysMuted, staysMuted},
	{mixer.ErrHeld, held},
	{mixer.ErrRoomFull, full},
	{mixer.ErrRoomExists, roomExists},
	{mixer.ErrNobody, roomEmpty},
	{mixer.ErrNoRoom, noRoom},
	{mixer.ErrNoParticipant, noParticipant},
	{mixer.ErrNoInput, noInput},
	{mixer.ErrNoCanvas, noLayout},
	{mixer.ErrNoGroup, noGroup},
	{mixer.ErrNotListening, notListening},
	{mixer.ErrAlreadyRunning, recordingActive},
	{mixer.ErrDraining, draining},
	{record.ErrStorageFull, storageFull},
	{mixer.ErrTooManyRooms, overloaded},
	{transport.ErrBadSDP, badSDP},
	{transport.ErrBadFragment, badFragment},
	{transport.ErrTooManyRestarts, tooManyRestarts},
	{transport.ErrOldFragment, byKind[mixer.Precondition]},
	{transport.ErrNoUsableCodec, noUsableCodec},
	{transport.ErrExhausted, overloaded},
	{transport.ErrClosed, draining},
}

// kinds lists every code once, for the documentation.
func kinds() []kind {
	all := []kind{badJSON, badRequest, badSDP, badFragment, noUsableCodec, locked, wrongPIN, banned, staysMuted, held, noBan, tooManyPins, foreignPage, full, roomEmpty, roomExists,
		recordingActive, noRoom, noParticipant, noGroup, noLayout, noInput, noRecording, noKeys, noSession, noRoute, noMethod,
		tooLarge, wrongType, timeout, badRange, tooMany, tooManyStreams, tooManyViewers, tooManyLayouts, tooManyChats, notListening, draining, overloaded, kicked, roomClosed, drained, vanished, replaced, conditionMissing, tooManyRestarts, storageFull, notKept}
	for _, k := range byKind {
		if k.code != overloaded.code {
			all = append(all, k)
		}
	}
	return all
}

// problem makes a Problem of kind k.
func (k kind) problem(detail string, faults ...Fault) *Problem {
	p := &Problem{Type: "/docs#" + k.code, Title: k.title, Status: k.status, Code: k.code, Detail: detail, Errors: faults}
	p.with("Cache-Control", "no-store")
	if k.retryAfter > 0 {
		p.with("Retry-After", strconv.Itoa(k.retryAfter))
	}
	if k.status == http.StatusUnauthorized {
		p.with("WWW-Authenticate", "Bearer")
	}
	return p
}

func invalid(detail string, faults ...Fault) *Problem {
	return byKind[mixer.Invalid].problem(detail, faults...)
}

// problemOf turns any error into what the client is told. Of an internal
// failure it is told nothing: whoever calls this logs it.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return tooLarge.problem("send at most " + strconv.FormatInt(tooBig.Limit, 10) + " bytes")
	}
	var fault *mixer.Error
	isMixer := errors.As(err, &fault)
	detail := err.Error()
	if isMixer && fault.Err != nil {
		detail = fault.Err.Error()
	}
	var overload *mixer.Overload
	if errors.As(err, &overload) {
		p := overloaded.problem(detail)
		p.Needed, p.Left = amountOf(overload.Needed), amountOf(overload.Left)
		return p
	}
	for _, r := range byReason {
		if errors.Is(err, r.err) {
			return r.kind.problem(detail)
		}
	}
	if isMixer && fault.Kind == mixer.Invalid {
		if faults := faultsOf(fault.Err, fault.Field); len(faults) > 0 {
			return invalid("", faults...)
		}
	}
	switch {
	case isMixer && fault.Kind == mixer.Invalid && fault.Field != "":
		return invalid("", Fault{Pointer: "#" + fault.Field, Detail: detail})
	case isMixer && fault.Kind != mixer.Internal && int(fault.Kind) < len(byKind):
		return byKind[fault.Kind].problem(detail)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return byKind[mixer.Unavailable].problem("it took too long")
	}
	return byKind[mixer.Internal].problem("")
}

// amountOf rounds to what is measured.
func amountOf(cores float64) *Amount { return &Amount{math.Round(cores*1000) / 1000} }

// fail answers with the problem that err is, and logs it when it is our fault.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		s.log.Error("request failed", "request", scopeOf(r.Context()).id, "error", err)
	}
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	h.Set("Content-Type", problemType)
	h.Del("ETag")
	h.Del("Content-Length")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that has gone needs no answer
}

// fromHuma is a transformer that turns huma's own errors (parameters that do
// not fit) into Problems.
func fromHuma(_ huma.Context, _ string, body any) (any, error) {
	m, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	k := byKind[mixer.Internal]
	switch {
	case m.Status == http.StatusUnprocessableEntity:
		k = byKind[mixer.Invalid]
	case m.Status >= 400 && m.Status < 500:
		k = badRequest
	}
	p := k.problem("")
	p.Status = m.Status // the header has gone out, or will, with this one
	for _, e := range m.Errors {
		if e == nil {
			continue
		}
		_, name, _ := strings.Cut(e.Location, ".")
		p.Errors = append(p.Errors, Fault{Parameter: name, Detail: e.Message})
	}
	return p, nil
}
