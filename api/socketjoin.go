package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"mixdown/mixer"
)

// answerEvent is the type of the answer to an offer that came over a WebSocket.
const answerEvent = "answer"

// OfferMessage is the data of an offer on a room's WebSocket: what a POST to the
// room's participants has in body, query and headers.
type OfferMessage struct {
	SDP   string `json:"sdp" doc:"The offer"`
	Query string `json:"query" required:"false" example:"name=Ann&maxWidth=640" doc:"The query of a join"`
	Token string `json:"token" required:"false" doc:"A token that lets one join, where the WebSocket was opened without one, or with one for events only"`
	PIN   string `json:"pin" required:"false" doc:"The room's PIN, where it has one"`
}

// AnswerMessage is the data of the answer.
type AnswerMessage struct {
	SDP         string `json:"sdp"`
	Session     string `json:"session" doc:"The Location of a join: whoever knows it is the client"`
	ETag        string `json:"etag" doc:"Of the session"`
	Participant string `json:"participant" doc:"The participant's id"`
}

// offered has a client join by a message. The request that it stands for goes the
// way of every request, authorisation and limits included; then the WebSocket is
// the session's own, and goes on with a snapshot as such.
func (h *hearing) offered(ctx context.Context, m OfferMessage) (*AnswerMessage, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(m.SDP))
	if err != nil {
		return nil, err
	}
	r.URL = &url.URL{Path: "/v1/rooms/" + h.f.room + "/participants", RawQuery: m.Query}
	r.Host, r.RemoteAddr, r.TLS = h.upgrade.Host, h.upgrade.RemoteAddr, h.upgrade.TLS
	// Who asks, from where and from which page; not what is about the WebSocket.
	for _, name := range []string{"Authorization", "Origin", "X-Forwarded-For", "User-Agent", "Sec-Fetch-Site"} {
		if values := h.upgrade.Header.Values(name); len(values) > 0 {
			r.Header[name] = values
		}
	}
	r.Header.Set("Content-Type", sdpType)
	if m.Token != "" {
		r.Header.Set("Authorization", "Bearer "+m.Token)
	}
	if m.PIN != "" {
		r.Header.Set(pinHeader, m.PIN)
	}
	w := &kept{header: http.Header{}}
	h.s.ServeHTTP(w, r)
	if w.status != http.StatusCreated {
		var p Problem
		if json.Unmarshal(w.body.Bytes(), &p) != nil || p.Code == "" {
			return nil, byKind[mixer.Internal].problem("")
		}
		return nil, &p
	}
	location := w.header.Get("Location")
	x, err := h.s.sessions.find(location[strings.LastIndexByte(location, '/')+1:])
	if err != nil {
		return nil, err // it has ended already
	}
	h.x = x
	joined := make(chan struct{})
	close(joined)
	h.f.moved, h.f.again = joined, x.feed
	return &AnswerMessage{w.body.String(), location, w.header.Get("ETag"), string(x.ID())}, nil
}

// kept is an answer that is not sent to anybody.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (k *kept) Header() http.Header { return k.header }

// WriteHeader implements http.ResponseWriter.
func (k *kept) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

// Write implements http.ResponseWriter.
func (k *kept) Write(b []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(b)
}
