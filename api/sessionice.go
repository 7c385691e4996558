package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/go-chi/chi/v5"

	"mixdown/mixer"
	"mixdown/transport"
)

// connection is a transport's connection. *transport.Peer satisfies it.
type connection interface {
	mixer.Endpoint
	ClientUFrag() string
	AddCandidates(transport.Fragment) error
	Restart(context.Context, transport.Fragment) (transport.Restarted, error)
}

// acceptPatch is what PATCH on a session takes.
const acceptPatch = transport.FragmentType + ", " + patchType

// patchSession takes what the client says of ICE after its offer (RFC 9725
// section 4.3): candidates that it has found, or, with other credentials than
// before, that it begins another ICE session. For that it must say If-Match, with
// the ETag or *, lest a fragment that comes late begin one by accident; for
// candidates published clients leave it out. Or it takes, as a merge patch, whether
// the client is muted.
func (s *Server) patchSession(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, maxSDP)
	if err != nil {
		return err
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	known := (mediaType == transport.FragmentType || mediaType == patchType) && (err == nil || errors.Is(err, mime.ErrInvalidMediaParameter))
	if len(body) > 0 && !known {
		return wrongType.problem("send a fragment as "+transport.FragmentType+", or a merge patch as "+patchType).with("Accept-Patch", acceptPatch)
	}
	x, err := s.sessions.find(chi.URLParam(r, "secret"))
	if err != nil {
		return err
	}
	if mediaType == patchType {
		scopeOf(r.Context()).body = body
		return s.muteSelf(w, r, x)
	}
	fragment, err := transport.ParseFragment(string(body))
	if err != nil {
		return err
	}
	restarted, err := x.signal(r.Context(), fragment, r.Header.Get("If-Match"))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("ETag", x.tag())
	if restarted == "" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	h.Set("Content-Type", transport.FragmentType)
	_, _ = io.WriteString(w, restarted) // a client that has gone will not connect either
	return nil
}

// signal carries a fragment out. ifMatch is the condition, or "". What it
// returns is the server's fragment, if another ICE session has begun.
func (x *session) signal(ctx context.Context, f transport.Fragment, ifMatch string) (restarted string, err error) {
	x.signalling.Lock() // so that of two restarts the second is stale
	defer x.signalling.Unlock()
	restart := f.UFrag != "" && f.UFrag != x.connection.ClientUFrag()
	switch {
	case ifMatch != "" && !listed(ifMatch, x.tag(), wholeTag):
		return "", byKind[mixer.Precondition].problem("If-Match: the ICE session is another by now").with("ETag", x.tag())
	case restart && ifMatch == "":
		return "", conditionMissing.problem(`a=ice-ufrag is a new one: to restart ICE, say If-Match with the session's ETag, or *`)
	case restart:
		var r transport.Restarted
		if r, err = x.connection.Restart(ctx, f); err == nil {
			x.setTag(r.UFrag)
			return r.Fragment, nil
		}
	default:
		err = x.connection.AddCandidates(f)
	}
	if errors.Is(err, transport.ErrClosed) {
		return "", vanished.problem("its connection is being closed") // the session ends in a moment
	}
	return "", err
}

// candidateEvent is the type of messages by which a client signals on its
// session's WebSocket, and of the answer to a restart.
const candidateEvent = "candidate"

// ICEFragment is what PATCH on a session takes and answers, in a message.
type ICEFragment struct {
	Fragment string `json:"fragment" doc:"Of application/trickle-ice-sdpfrag: candidates, or, with another ice-ufrag than before, a restart, which is answered by the server's"`
	ETag     string `json:"etag" readOnly:"true" required:"false" doc:"In answers: the session's ETag now"`
}

// signalled does for a message what patchSession does for a request. There is no
// condition: messages come in order, so none is of an old session by accident.
// The answer is nil for candidates.
func (x *session) signalled(ctx context.Context, m ICEFragment) (*ICEFragment, error) {
	f, err := transport.ParseFragment(m.Fragment)
	if err != nil {
		return nil, err
	}
	restarted, err := x.signal(ctx, f, "*")
	if err != nil || restarted == "" {
		return nil, err
	}
	return &ICEFragment{Fragment: restarted, ETag: x.tag()}, nil
}

// tag is the session's entity tag, which names its ICE session.
func (x *session) tag() string {
	tag, _ := x.etag.Load().(string)
	return tag
}

func (x *session) setTag(ufrag string) { x.etag.Store(`"` + ufrag + `"`) }

// sessionOptions answers OPTIONS that is no CORS preflight.
func sessionOptions(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Accept-Patch", acceptPatch)
	w.WriteHeader(http.StatusOK)
	return nil
}
