package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
	"golang.org/x/text/unicode/norm"

	"mixdown/mixer"
	"mixdown/mixer/video"
	"mixdown/transport"
)

const (
	sdpType = "application/sdp"
	// maxSDP in bytes. Chromium's largest offers are a tenth of it.
	maxSDP = 64 << 10
	// bodyTimeout is how long a body may take to come, and an answer to go.
	bodyTimeout = 10 * time.Second
	// joinTimeout bounds everything that a join waits for.
	joinTimeout = 15 * time.Second
)

// joiner is a transport's engine. *transport.Engine satisfies it by way of
// acceptWith.
type joiner func(context.Context, transport.Offer) (connection, transport.Answer, error)

// acceptWith keeps a nil *Peer from becoming a connection that is not nil.
func acceptWith(e *transport.Engine) joiner {
	return func(ctx context.Context, o transport.Offer) (connection, transport.Answer, error) {
		peer, answer, err := e.Accept(ctx, o)
		if err != nil {
			return nil, transport.Answer{}, err
		}
		return peer, answer, nil
	}
}

// join answers an offer: POST on a room's participants (RoleParticipant), /whip
// (RFC 9725 section 4.2) and /whep.
func (s *Server) join(role mixer.Role) rawHandler {
	return func(w http.ResponseWriter, r *http.Request) (err error) {
		traced, trace := s.traceJoin(r, mixer.RoomID(chi.URLParam(r, "room")), role)
		defer func() {
			if err != nil {
				trace.end(err)
			}
		}()
		if s.draining.Load() {
			return draining.problem("try again, on another server")
		}
		req, err := joinRequest(r.URL.RawQuery)
		if err != nil {
			return err
		}
		who := scopeOf(r.Context()).identity
		role := who.narrow(role, &req)
		looked := trace.step("offer")
		offer, wishes, err := s.readOffer(w, r, role) // before a room is made for it
		looked(err)
		if err != nil {
			return err
		}
		req.Codec, req.Limits.MaxBlocks, req.Limits.MaxBlockRate = wishes.Codec, wishes.MaxBlocks, wishes.MaxBlockRate
		address, _ := limitKey(r)
		req.PIN, req.Moderator, req.Audience, req.Hidden = pinOf(r), who.Moderator, who.Audience, who.Hidden
		if err := s.mayEnter(mixer.RoomID(chi.URLParam(r, "room")), &who, address); err != nil {
			return err
		}
		if err := s.sessions.reserve(address); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(traced, joinTimeout)
		defer cancel()
		x, answer, err := s.connect(ctx, mixer.RoomID(chi.URLParam(r, "room")), who, req, offer, address, r.URL.Query().Get("replaces"))
		if err != nil {
			return err
		}
		x.setTag(answer.UFrag)
		trace.answered()
		secret := s.sessions.publish(x)
		h := w.Header()
		h.Set("Content-Type", sdpType)
		h.Set("Cache-Control", "no-store")
		h.Set("Location", "/v1/sessions/"+secret)
		h.Set("ETag", x.tag())
		h.Set("Accept-Patch", acceptPatch)
		h.Set("Link", fmt.Sprintf(`</v1/rooms/%s/participants/%s>; rel="describedby"`, x.Room().Info().ID, x.ID()))
		s.linkICEServers(h, r, string(x.ID()))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer.SDP) // a client that has gone will not connect either
		return nil
	}
}

// readOffer reads the body, and looks at what it asks for.
func (s *Server) readOffer(w http.ResponseWriter, r *http.Request, role mixer.Role) (string, transport.Wishes, error) {
	offer, err := readSDP(w, r)
	if err != nil {
		return "", transport.Wishes{}, err
	}
	wishes, err := s.check(offer, roles[role])
	return offer, wishes, err
}

// connect puts a participant into the room and connects it, or connects the one
// whose session is to be replaced. The address was reserved, and is given
// back when this fails.
func (s *Server) connect(ctx context.Context, id mixer.RoomID, who Identity, req mixer.JoinRequest, offer, address, replaces string) (*session, transport.Answer, error) {
	if replaces != "" {
		old, err := s.sessions.replaced(replaces)
		if err != nil {
			s.sessions.cancel(address)
			return nil, transport.Answer{}, err
		}
		if old != nil {
			return s.comeBack(ctx, old, id, who, req, offer, address)
		}
	}
	if old := s.sessions.same(id, req); old != nil {
		return s.comeBack(ctx, old, id, who, req, offer, address)
	}
	trace := traceOf(ctx)
	admitted := trace.step("admit")
	var room *mixer.Room
	var p *mixer.Participant
	err := s.pins.try(pinKey{address, id}, req.PIN, func() (err error) {
		room, p, err = s.enter(ctx, id, who.MayCreate, req)
		return err
	})
	admitted(err)
	if err != nil {
		s.sessions.cancel(address)
		return nil, transport.Answer{}, parameterFault(err)
	}
	info := room.Info()
	x := s.sessions.add(p, info.ID, address, who)
	x.trace = trace
	if err := s.mayEnter(info.ID, &who, address); err != nil {
		s.sessions.end(x, nil)
		p.Leave(err)
		return nil, transport.Answer{}, err
	}
	negotiated := trace.step("negotiate")
	peer, answer, err := s.accept(ctx, transport.Offer{
		SDP:     offer,
		Role:    roles[req.Role],
		Epoch:   room.Epoch(),
		CNAME:   info.Life,
		Handler: x,
	})
	negotiated(err)
	if err != nil {
		trace.end(err)
		s.sessions.end(x, nil)
		p.Leave(err)
		return nil, transport.Answer{}, err
	}
	x.connection = peer
	sends, takes := agreed(req, who.Mute, answer)
	trace.joined(p.ID(), sends, takes)
	p.LimitSound(answer.MaxAudioBps, answer.AudioFEC)
	p.Attach(peer, sends, takes)
	return x, answer, nil
}

// agreed is what offer and answer have in common, as the mixer puts it, as far as
// the client may.
func agreed(req mixer.JoinRequest, mute Silence, a transport.Answer) (sends, takes mixer.Media) {
	return mixer.Media{
			Audio: a.ReceivesAudio && !mute.Microphone, Camera: a.ReceivesCamera && !mute.Camera,
			Screen: a.ReceivesScreen && !mute.Screen, Codec: a.VideoReceived,
		},
		mixer.Media{Audio: a.SendsAudio, Camera: a.SendsVideo && !req.Limits.NoVideo, Codec: a.VideoSent}
}

// roles are the transport's words for the mixer's.
var roles = [...]transport.Role{
	mixer.RoleParticipant: transport.RoleParticipant,
	mixer.RolePublisher:   transport.RolePublisher,
	mixer.RoleViewer:      transport.RoleViewer,
}

// enter joins the room, which it makes if that is allowed. A room may end of
// emptiness between the two steps, so it is tried again.
func (s *Server) enter(ctx context.Context, id mixer.RoomID, mayCreate bool, req mixer.JoinRequest) (room *mixer.Room, p *mixer.Participant, err error) {
	const tries = 3
	for range tries {
		if mayCreate {
			var first mixer.RoomConfig
			if first, err = s.firstConfig(id); err == nil {
				room, _, err = s.rooms.EnsureRoom(ctx, first)
			}
		} else {
			room, err = s.rooms.Room(id)
		}
		if err != nil {
			return nil, nil, err
		}
		p, err = room.Join(ctx, req)
		if err == nil || mixer.KindOf(err) != mixer.Gone {
			return room, p, err
		}
		select {
		case <-room.Done():
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	return nil, nil, err
}

// parameterFault says of a fault in a field that here it came as a parameter.
func parameterFault(err error) error {
	var fault *mixer.Error
	if !errors.As(err, &fault) || fault.Kind != mixer.Invalid || fault.Field == "" {
		return err
	}
	name := strings.TrimPrefix(fault.Field, "/")
	if name == "id" {
		name = "room"
	}
	return invalid("", Fault{Parameter: name, Detail: fault.Err.Error()})
}

// joinParameters are what the query may hold, in the order of the document.
var joinParameters = []string{"name", "maxWidth", "maxHeight", "maxFps", "maxBitrate", "constantSize", "video", "replaces"}

// joinRequest reads the query. What it does not know is refused by name: a
// limit that is misspelt would otherwise be no limit.
func joinRequest(rawQuery string) (req mixer.JoinRequest, err error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return req, badRequest.problem("the query is not well-formed")
	}
	var faults []Fault
	number := func(name string, dst *int, low, high int) {
		if !query.Has(name) {
			return
		}
		n, err := strconv.Atoi(query.Get(name))
		if err != nil || n < low || n > high {
			faults = append(faults, Fault{Parameter: name, Detail: fmt.Sprintf("want a number, %d..%d", low, high)})
		}
		*dst = n
	}
	number("maxWidth", &req.Limits.MaxWidth, 16, 16383)
	number("maxHeight", &req.Limits.MaxHeight, 16, 16383)
	number("maxFps", &req.Limits.MaxFPS, 1, 120)
	number("maxBitrate", &req.Limits.MaxBitrateBps, 10_000, 100_000_000)
	truth := func(name string, otherwise bool) bool {
		switch value := query.Get(name); {
		case value == "true", value == "false":
			return value == "true"
		case query.Has(name):
			faults = append(faults, Fault{Parameter: name, Detail: "want true or false"})
		}
		return otherwise
	}
	req.Limits.ConstantSize = truth("constantSize", false)
	req.Limits.NoVideo = !truth("video", true)
	var detail string
	if req.Name, detail = cleanName(query.Get("name")); detail != "" {
		faults = append(faults, Fault{Parameter: "name", Detail: detail})
	}
	if query.Has("replaces") && !secretPattern.MatchString(query.Get("replaces")) {
		faults = append(faults, Fault{Parameter: "replaces", Detail: "want the secret of a session: what its Location ends with"})
	}
	faults = append(faults, strangers(query, joinParameters...)...)
	if len(faults) > 0 {
		return mixer.JoinRequest{}, invalid("", faults...)
	}
	return req, nil
}

// maxNameBytes is the mixer's own bound, checked here so that the fault names
// the parameter.
const maxNameBytes = 256

// cleanName brings a name into one form (NFC) and takes out what it must not
// hold: controls, line breaks
// and what turns the direction of the text around it (bidi embeddings,
// overrides and isolates). What is left is cut as labels are, to 64 graphemes
// with 4 marks each: whoever lists participants shows what the picture shows.
// fault says why the rest cannot be a name.
func cleanName(s string) (name, fault string) {
	if !utf8.ValidString(s) {
		return "", "want UTF-8"
	}
	name = strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == '\u2028' || c == '\u2029' {
			return -1
		}
		return c
	}, norm.NFC.String(s)))
	if len(name) > maxNameBytes {
		return "", fmt.Sprintf("%d bytes: want at most %d", len(name), maxNameBytes)
	}
	return video.CleanName(name), ""
}

// clip shortens what a client sent before it is sent back.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "?")
}

// readSDP returns the body of a join, at most maxSDP bytes.
func readSDP(w http.ResponseWriter, r *http.Request) (string, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != sdpType || (err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter)) {
		return "", wrongType.problem("send an offer as "+sdpType).with("Accept-Post", sdpType)
	}
	body, err := readBody(w, r, maxSDP)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(body) || !strings.HasPrefix(string(body), "v=0") {
		return "", badSDP.problem(`an offer begins with "v=0"`)
	}
	return string(body), nil
}

// readBody reads a whole body of at most limit bytes, within bodyTimeout.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // not every writer has deadlines
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return nil, err
		}
		return nil, timeout.problem("the body broke off")
	}
	_ = rc.SetReadDeadline(time.Time{})
	return body, nil
}

// joinOptions answers OPTIONS that is no CORS preflight.
func joinOptions(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Accept-Post", sdpType)
	w.WriteHeader(http.StatusOK)
	return nil
}

func noContent(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func emptyOK(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusOK)
	return nil
}
