package api

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"mixdown/mixer"
)

// A join is traced from its request until the client's media path is up, which is
// some round trips after the answer:
//
//	join
//	├ offer       the body is read and looked at
//	├ admit       the room is found or made, and there is a place in it
//	├ negotiate   sockets, ICE credentials, the answer
//	└ connect     the client's checks and its DTLS handshake
//
// A client that sends traceparent (W3C Trace Context) has it in its own trace.
// There are no secrets, names or addresses in it.

// joinTrace is the trace of one join; nil is none. Safe for concurrent use.
type joinTrace struct {
	tracer trace.Tracer
	root   trace.Span
	ctx    context.Context // with root in it, and nothing to cancel

	mu struct {
		sync.Mutex
		connect trace.Span // nil before the answer
		ended   bool
	}
}

type joinTraceKey struct{}

// traceJoin begins a trace, which the context carries along.
func (s *Server) traceJoin(r *http.Request, room mixer.RoomID, role mixer.Role) (context.Context, *joinTrace) {
	if s.tracer == nil {
		return r.Context(), nil
	}
	parent := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, root := s.tracer.Start(parent, "join", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("mixdown.room", clip(string(room))), attribute.String("mixdown.role", role.String()),
		attribute.String("mixdown.request", scopeOf(r.Context()).id)))
	t := &joinTrace{tracer: s.tracer, root: root, ctx: context.WithoutCancel(ctx)}
	return context.WithValue(ctx, joinTraceKey{}, t), t
}

// traceOf returns the trace of the join that ctx belongs to.
func traceOf(ctx context.Context) *joinTrace {
	t, _ := ctx.Value(joinTraceKey{}).(*joinTrace)
	return t
}

// step begins a part of the join; what it returns ends it.
func (t *joinTrace) step(name string) (end func(error)) {
	if t == nil {
		return func(error) {}
	}
	_, span := t.tracer.Start(t.ctx, name)
	return func(err error) { endSpan(span, err) }
}

// joined says who has joined.
func (t *joinTrace) joined(id mixer.ParticipantID, sends, takes mixer.Media) {
	if t == nil {
		return
	}
	t.root.SetAttributes(attribute.String("mixdown.participant", string(id)),
		attribute.Bool("mixdown.sends.audio", sends.Audio), attribute.Bool("mixdown.sends.camera", sends.Camera),
		attribute.Bool("mixdown.takes.audio", takes.Audio), attribute.Bool("mixdown.takes.video", takes.Camera),
		attribute.String("mixdown.video.codec", takes.VideoCodec().String()))
}

// answered begins the last part. It may come after the end.
func (t *joinTrace) answered() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mu.ended {
		_, t.mu.connect = t.tracer.Start(t.ctx, "connect")
	}
}

// end ends the trace, once: the path is up, or err says why it will not be.
func (t *joinTrace) end(err error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.ended {
		return
	}
	t.mu.ended = true
	if t.mu.connect != nil {
		endSpan(t.mu.connect, err)
	}
	endSpan(t.root, err)
}

// errLeftEarly ends the trace of a client that went before its path was up.
var errLeftEarly = errors.New("left before it was connected")

func endSpan(span trace.Span, err error) {
	if err != nil {
		why := problemOf(err)
		if why.Status == http.StatusInternalServerError { // a connection's own words
			span.SetStatus(codes.Error, err.Error())
		} else {
			span.SetStatus(codes.Error, why.Code)
		}
	}
	span.End()
}
