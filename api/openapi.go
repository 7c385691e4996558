package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"mixdown/mixer"
	"mixdown/transport"
)

func pathParam(name, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "path", Required: true, Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
}

func queryParam(name, doc string, schema *huma.Schema) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: schema}
}

func header(doc string) *huma.Header {
	return &huma.Header{Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
}

// joinRoutes registers what takes SDP, and the sessions that come of it.
func (s *Server) joinRoutes(limit func(http.Handler) http.Handler) {
	room := pathParam("room", "The room's id")
	integer := &huma.Schema{Type: huma.TypeInteger}
	sdp := map[string]*huma.MediaType{sdpType: {Schema: &huma.Schema{Type: huma.TypeString}}}
	for _, j := range []struct {
		id, path, summary string
		role              mixer.Role
		get               int // 0: the path has a GET of its own
	}{
		{"join", "/v1/rooms/{room}/participants", "Join a room: send and receive as the offer says", mixer.RoleParticipant, 0},
		{"whip", "/whip/{room}", "Publish into a room (RFC 9725): the answer only receives", mixer.RolePublisher, http.StatusNoContent},
		{"whep", "/whep/{room}", "View a room (WHEP): the answer only sends", mixer.RoleViewer, http.StatusNoContent},
	} {
		need := func(r *http.Request) Grant {
			g := inRoom(Join)(r)
			g.Role = j.role
			if secret := r.URL.Query().Get("replaces"); secret != "" {
				g.Session = func() (Identity, bool) { return s.sessions.comingBack(secret, g.Room) }
			}
			return g
		}
		s.raw(huma.Operation{
			OperationID: j.id, Method: http.MethodPost, Path: j.path, Summary: j.summary,
			Parameters: moderated([]*huma.Param{room,
				queryParam("name", "Shown under the tile; a token's name wins", &huma.Schema{Type: huma.TypeString}),
				queryParam("maxWidth", "Bounds the picture that is sent to the client", integer),
				queryParam("maxHeight", "Bounds the picture that is sent to the client", integer),
				queryParam("maxFps", "Bounds its rate", integer),
				queryParam("maxBitrate", "Bounds its bitrate, bit/s", integer),
				queryParam("constantSize", "true: the picture keeps its size; only frame rate and bitrate follow the link",
					&huma.Schema{Type: huma.TypeBoolean}),
				queryParam("video", "false: send no picture", &huma.Schema{Type: huma.TypeBoolean}),
				queryParam("replaces", "The secret of the client's last session, which ends: the client is the same participant as before, with its tile and all that was set", &huma.Schema{Type: huma.TypeString}),
			}),
			RequestBody: &huma.RequestBody{Required: true, Description: "An SDP offer, at most 64 KiB, with or without candidates", Content: sdp},
			Responses: map[string]*huma.Response{"201": {
				Description: "The SDP answer, with all candidates", Content: sdp,
				Headers: map[string]*huma.Param{
					"Location":     header("The session, whose path is its credential"),
					"ETag":         header("The ICE session"),
					"Accept-Patch": header(acceptPatch),
					"Link":         header(`The participant, rel="describedby"; servers that the client may use to reach the media, rel="ice-server" (RFC 9725 section 4.6)`),
				},
			}},
		}, need, s.join(j.role), limit)
		s.raw(huma.Operation{
			OperationID: j.id + "-options", Method: http.MethodOptions, Path: j.path, Summary: "What can be posted here",
			Parameters: []*huma.Param{room},
			Responses:  map[string]*huma.Response{"200": {Description: "See Accept-Post", Headers: map[string]*huma.Param{"Accept-Post": header(sdpType)}}},
		}, static(Public), joinOptions)
		if j.get != 0 {
			s.raw(huma.Operation{
				OperationID: j.id + "-get", Method: http.MethodGet, Path: j.path, Summary: "Nothing: offers are posted",
				Parameters: []*huma.Param{room}, Responses: map[string]*huma.Response{"204": {Description: "Always"}},
			}, static(Public), noContent)
		}
	}
	s.raw(huma.Operation{
		OperationID: "whep-head", Method: http.MethodHead, Path: "/whep/{room}", Summary: "Whether this is a WHEP endpoint",
		Parameters: []*huma.Param{room}, Responses: map[string]*huma.Response{"200": {Description: "Always"}},
	}, static(Public), emptyOK)

	const session = "/v1/sessions/{secret}"
	secret := pathParam("secret", "From the Location of a join")
	s.raw(huma.Operation{
		OperationID: "get-session", Method: http.MethodGet, Path: session, Summary: "Whether the session lives; 410 says why it does not",
		Parameters: []*huma.Param{secret}, Responses: map[string]*huma.Response{"204": {Description: "It lives"}},
	}, static(UseSession), s.getSession)
	s.raw(huma.Operation{
		OperationID: "delete-session", Method: http.MethodDelete, Path: session, Summary: "Leave",
		Parameters: []*huma.Param{secret}, Responses: map[string]*huma.Response{"200": {Description: "The client has left"}},
	}, static(UseSession), s.deleteSession)
	fragment := map[string]*huma.MediaType{transport.FragmentType: {Schema: &huma.Schema{Type: huma.TypeString}}}
	s.raw(huma.Operation{
		OperationID: "patch-session", Method: http.MethodPatch, Path: session,
		Summary: "Candidates that the client has found (RFC 8840), or, with a new ice-ufrag and ice-pwd, an ICE restart; or, as a merge patch, whether the client is muted",
		Parameters: []*huma.Param{secret, {
			Name: "If-Match", In: "header", Description: "The session's ETag, or *; required for a restart", Schema: &huma.Schema{Type: huma.TypeString},
		}},
		RequestBody: &huma.RequestBody{Required: true, Description: "At most 64 KiB and 64 candidates", Content: map[string]*huma.MediaType{
			transport.FragmentType: fragment[transport.FragmentType], patchType: {Schema: s.schemaOf(Mute{})},
		}},
		Responses: map[string]*huma.Response{
			"204": {Description: "The candidates were taken, or the client is as muted as it asked for"},
			"200": {Description: "Another ICE session has begun: the server's credentials and candidates", Content: fragment,
				Headers: map[string]*huma.Param{"ETag": header("The new ICE session")}},
		},
	}, static(UseSession), s.patchSession)
	s.raw(huma.Operation{
		OperationID: "session-options", Method: http.MethodOptions, Path: session, Summary: "What can be patched here",
		Parameters: []*huma.Param{secret},
		Responses:  map[string]*huma.Response{"200": {Description: "See Accept-Patch", Headers: map[string]*huma.Param{"Accept-Patch": header(acceptPatch)}}},
	}, static(Public), sessionOptions)
}

func (s *Server) documentRoutes() {
	register(s, operation{id: "get-ice-servers", method: http.MethodGet, path: "/v1/ice-servers", summary: "A fragment of RTCConfiguration for the client", need: static(Join), experimental: true}, s.iceServers)
	s.raw(huma.Operation{
		OperationID: "get-openapi", Method: http.MethodGet, Path: "/openapi.json", Summary: "This document",
		Responses: map[string]*huma.Response{"200": {Description: "OpenAPI 3.1", Content: map[string]*huma.MediaType{jsonType: {}}}},
	}, static(Public), func(w http.ResponseWriter, r *http.Request) error {
		return fixed(w, r, jsonType, s.document)
	})
	s.raw(huma.Operation{
		OperationID: "get-docs", Method: http.MethodGet, Path: "/docs", Summary: "This document, for people",
		Responses: map[string]*huma.Response{"200": {Description: "A page", Content: map[string]*huma.MediaType{"text/html": {}}}},
	}, static(Public), func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
		return fixed(w, r, "text/html; charset=utf-8", s.docsPage)
	})
}

// fixed sends what does not change while the server runs.
func fixed(w http.ResponseWriter, r *http.Request, mediaType string, body []byte) error {
	tag := entityTag(nil, body)
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache")
	if listed(r.Header.Get("If-None-Match"), tag, wholeTag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", mediaType)
	_, _ = w.Write(body)
	return nil
}

//go:embed docs.html.tmpl
var docsTemplate string

// finishDocument renders the OpenAPI document and its page once all routes are
// there.
func (s *Server) finishDocument() error {
	doc := s.huma.OpenAPI()
	// huma documents its own error type, which no answer has.
	delete(doc.Components.Schemas.Map(), "ErrorModel")
	delete(doc.Components.Schemas.Map(), "ErrorDetail")
	var err error
	if s.document, err = json.Marshal(doc); err != nil {
		return err
	}
	page, err := template.New("docs").Funcs(template.FuncMap{"lower": strings.ToLower}).Parse(docsTemplate)
	if err != nil {
		return err
	}
	type entry struct {
		Method, Path string
		*huma.Operation
		Experimental bool
		Statuses     []string
	}
	var data struct {
		Title, Version, Description string
		Operations                  []entry
		Codes                       []codeEntry
	}
	data.Title, data.Version, data.Description = doc.Info.Title, doc.Info.Version, doc.Info.Description
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if op := methodOf(doc.Paths[path], method); op != nil {
				statuses := slices.Sorted(maps.Keys(op.Responses))
				data.Operations = append(data.Operations, entry{method, path, op, op.Extensions != nil, statuses})
			}
		}
	}
	for _, k := range kinds() {
		data.Codes = append(data.Codes, codeEntry{k.code, k.title, k.status})
	}
	slices.SortFunc(data.Codes, func(a, b codeEntry) int { return strings.Compare(a.Code, b.Code) })
	var buf bytes.Buffer
	if err := page.Execute(&buf, data); err != nil {
		return err
	}
	s.docsPage = buf.Bytes()
	return nil
}

type codeEntry struct {
	Code, Title string
	Status      int
}
