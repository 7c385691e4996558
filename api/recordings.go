package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"mixdown/api/token"
	"mixdown/mixer"
	"mixdown/mixer/record"
)

// Recordings is where recordings are kept; *record.Store is one.
type Recordings interface {
	Get(id string) (record.Recording, error)
	Recorder(id string) (*record.Recorder, error)
	List(record.Query) (page []record.Recording, next string, err error)
	Open(id string, part int) (*record.Media, error)
	Delete(id string) error
	Storage() record.Storage
}

// Recording is a recording as clients see it.
type Recording struct {
	ID        string     `json:"id" readOnly:"true"`
	Room      string     `json:"room" readOnly:"true"`
	RoomID    string     `json:"roomId" readOnly:"true" doc:"The life of the room that was recorded"`
	State     string     `json:"state" required:"false" enum:"starting,active,paused,stopped,complete,failed" doc:"Set it to paused, active or stopped; stopped becomes complete, or failed"`
	StartedAt time.Time  `json:"startedAt" readOnly:"true"`
	StoppedAt *time.Time `json:"stoppedAt,omitempty" readOnly:"true"`
	Format    string     `json:"format" required:"false" enum:"webm"`
	Source    string     `json:"source" required:"false" enum:"program" doc:"What everybody hears and sees"`
	Bytes     int64      `json:"bytes" readOnly:"true"`
	Duration  float64    `json:"duration" readOnly:"true" doc:"Seconds"`
	Media     string     `json:"media" readOnly:"true" doc:"Where the first part is downloaded, once it is final"`
	Parts     []Part     `json:"parts" readOnly:"true" doc:"A picture that changes its size starts a new file"`
	Error     string     `json:"error,omitempty" readOnly:"true" doc:"Why it failed"`
	EndedBy   string     `json:"endedBy,omitempty" readOnly:"true" enum:"storage" doc:"storage: there was no more room for it; what was recorded until then is whole"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty" readOnly:"true" doc:"When the server deletes it for its age; missing where it does not"`
}

// Part is one file of a recording.
type Part struct {
	Media    string  `json:"media"`
	Bytes    int64   `json:"bytes"`
	Duration float64 `json:"duration" doc:"Seconds"`
	Width    int     `json:"width,omitempty" doc:"Missing when there is only sound"`
	Height   int     `json:"height,omitempty"`
}

// lastingRecording are the fields that a client can send back but not change.
var lastingRecording = []string{"id", "room", "roomId", "startedAt", "format", "source"}

func recordingOf(rec record.Recording) Recording {
	r := Recording{
		ID: rec.ID, Room: rec.Room, RoomID: rec.RoomID, State: string(rec.State),
		StartedAt: rec.Started.Truncate(time.Millisecond), Format: rec.Format, Source: "program",
		Bytes: rec.Bytes, Duration: roundSeconds(rec.Duration), Media: mediaPath(rec.ID, 1), Error: rec.Error, EndedBy: rec.Ended,
		Parts: make([]Part, 0, len(rec.Parts)),
	}
	if !rec.Stopped.IsZero() {
		at := rec.Stopped.Truncate(time.Millisecond)
		r.StoppedAt = &at
	}
	if !rec.Expires.IsZero() {
		at := rec.Expires.Truncate(time.Millisecond)
		r.ExpiresAt = &at
	}
	for i, p := range rec.Parts {
		r.Parts = append(r.Parts, Part{mediaPath(rec.ID, i+1), p.Bytes, roundSeconds(p.Duration), p.Width, p.Height})
	}
	return r
}

func mediaPath(id string, part int) string {
	path := "/v1/recordings/" + id + "/media"
	if part > 1 {
		path += "?part=" + strconv.Itoa(part)
	}
	return path
}

func roundSeconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

func (r Recording) tag() string {
	return entityTag([]string{r.ID, r.State}, r)
}

// RecordingPath names a recording in a path.
type RecordingPath struct {
	ID string `path:"id" doc:"The recording's id"`
}

type recordingWrite struct {
	RecordingPath
	WriteIf
}

type recordingOutput struct {
	Tagged
	Location string `header:"Location"`
	Body     Recording
}

func (s *Server) recordingRoutes() {
	if s.recordings == nil {
		return // a server that keeps none has no such routes
	}
	const inRoomPath, path = "/v1/rooms/{room}/recordings", "/v1/recordings/{id}"
	register(s, operation{id: "start-recording", method: http.MethodPost, path: inRoomPath, summary: "Start to record what everybody hears and sees", need: inRoom(Record), status: http.StatusCreated, body: Recording{}}, s.startRecording)
	register(s, operation{id: "list-room-recordings", method: http.MethodGet, path: inRoomPath, summary: "List the recordings of rooms of this name, newest first", need: inRoom(ReadRecordings)}, s.listRoomRecordings)
	register(s, operation{id: "list-recordings", method: http.MethodGet, path: "/v1/recordings", summary: "List all recordings, newest first", need: static(ReadRecordings)}, s.listRecordings)
	register(s, operation{id: "get-recording", method: http.MethodGet, path: path, summary: "Look at a recording", need: s.onRecording(ReadRecordings)}, s.getRecording)
	register(s, operation{id: "patch-recording", method: http.MethodPatch, path: path, summary: "Pause, resume or stop a recording; stopped answers when the file is final", need: s.onRecording(Record), body: Recording{}}, s.patchRecording)
	register(s, operation{id: "delete-recording", method: http.MethodDelete, path: path, summary: "Delete a recording and its files", need: s.onRecording(ReadRecordings)}, s.deleteRecording)
	s.raw(huma.Operation{
		OperationID: "get-recording-media", Method: http.MethodGet, Path: path + "/media",
		Summary: "Download a recording, or ranges of it",
		Parameters: []*huma.Param{
			pathParam("id", "The recording's id"),
			queryParam("part", "The first is 1, which is the default", &huma.Schema{Type: huma.TypeInteger}),
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "The whole file", Content: map[string]*huma.MediaType{"video/webm": {}, "audio/webm": {}}},
			"206": {Description: "The ranges that were asked for", Content: map[string]*huma.MediaType{"video/webm": {}, "audio/webm": {}}},
		},
	}, scoped(token.ScopeRecordings, s.onRecording(ReadRecordings)), s.getMedia)
}

// onRecording needs a right to recordings of the room that was recorded. One that
// is not there is none of any room that somebody has a token for.
func (s *Server) onRecording(a Action) grantOf {
	return func(r *http.Request) Grant {
		return Grant{Action: a, Find: func(g *Grant) {
			g.Room = "?"
			if rec, err := s.recordings.Get(chi.URLParam(r, "id")); err == nil {
				g.Room = mixer.RoomID(rec.Room)
			}
		}}
	}
}

// storeError gives a store's errors their codes.
func (s *Server) storeError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, record.ErrNotFound):
		return noRecording.problem("")
	case errors.Is(err, record.ErrActive):
		return recordingActive.problem("stop it first")
	case errors.Is(err, record.ErrFinal):
		return byKind[mixer.Conflict].problem("the recording has ended")
	}
	return s.told(ctx, err)
}

func (s *Server) recording(ctx context.Context, id string) (Recording, error) {
	rec, err := s.recordings.Get(id)
	if err != nil {
		return Recording{}, s.storeError(ctx, err)
	}
	return recordingOf(rec), nil
}

func (s *Server) startRecording(ctx context.Context, in *roomWrite) (*recordingOutput, error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	if err := in.check(""); err != nil {
		return nil, err
	}
	want := Recording{}
	if err := s.put(ctx, &want, document{"room": in.Room}, "room"); err != nil {
		return nil, s.told(ctx, err)
	}
	started, err := room.StartRecording(ctx)
	if err != nil {
		return nil, s.told(ctx, err)
	}
	body, err := s.recording(ctx, started.ID)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Tagged: tagged(body.tag()), Location: "/v1/recordings/" + body.ID, Body: body}, nil
}

func (s *Server) listRoomRecordings(ctx context.Context, in *struct {
	RoomPath
	ListQuery
	ReadIf
}) (*listOutput[Recording], error) {
	return s.pageOfRecordings(ctx, in.Room, in.ListQuery, in.ReadIf)
}

func (s *Server) listRecordings(ctx context.Context, in *struct {
	ListQuery
	ReadIf
}) (*listOutput[Recording], error) {
	return s.pageOfRecordings(ctx, "", in.ListQuery, in.ReadIf)
}

// pageOfRecordings cuts a page in the store, which may hold very many.
func (s *Server) pageOfRecordings(ctx context.Context, room string, q ListQuery, when ReadIf) (*listOutput[Recording], error) {
	after, err := base64.RawURLEncoding.DecodeString(q.PageToken)
	if err != nil {
		return nil, badPageToken()
	}
	recs, next, err := s.recordings.List(record.Query{Room: room, After: string(after), Limit: q.Limit})
	if errors.Is(err, record.ErrNotFound) {
		return nil, badPageToken()
	}
	if err != nil {
		return nil, s.storeError(ctx, err)
	}
	list := List[Recording]{Items: make([]Recording, 0, len(recs)), NextPageToken: base64.RawURLEncoding.EncodeToString([]byte(next))}
	for _, rec := range recs {
		list.Items = append(list.Items, recordingOf(rec))
	}
	return answer(list, nil, when)
}

func (s *Server) getRecording(ctx context.Context, in *struct {
	RecordingPath
	ReadIf
}) (*recordingOutput, error) {
	body, err := s.recording(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(body.tag()); err != nil {
		return nil, err
	}
	return &recordingOutput{Tagged: tagged(body.tag()), Body: body}, nil
}

func (s *Server) patchRecording(ctx context.Context, in *recordingWrite) (*recordingOutput, error) {
	now, err := s.recording(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(now.tag()); err != nil {
		return nil, err
	}
	current, err := documentOf(now)
	if err != nil {
		return nil, s.told(ctx, err)
	}
	want := now
	if err := s.patch(ctx, &want, current, lastingRecording...); err != nil {
		return nil, s.told(ctx, err)
	}
	if want.State != now.State {
		if err := s.steer(ctx, now, want.State); err != nil {
			return nil, s.storeError(ctx, err)
		}
	}
	body, err := s.recording(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Tagged: tagged(body.tag()), Body: body}, nil
}

// steer brings a recording into a state that a client may ask for.
func (s *Server) steer(ctx context.Context, now Recording, state string) error {
	final := record.State(now.State).Final()
	if final && state == "stopped" {
		return nil // it has been
	}
	if !final && state != "paused" && state != "active" && state != "stopped" {
		return invalid("", Fault{Pointer: "#/state", Detail: "want paused, active or stopped"})
	}
	recorder, err := s.recordings.Recorder(now.ID)
	if err != nil {
		return err
	}
	switch state {
	case "paused":
		return recorder.Pause()
	case "active":
		return recorder.Resume()
	}
	_, err = recorder.Stop(ctx) // why it failed, if it did, is in its description
	return err
}

func (s *Server) deleteRecording(ctx context.Context, in *recordingWrite) (*empty, error) {
	now, err := s.recording(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(now.tag()); err != nil {
		return nil, err
	}
	if err := s.recordings.Delete(in.ID); err != nil {
		return nil, s.storeError(ctx, err)
	}
	return nil, nil
}

// getMedia sends a file, or ranges of it (RFC 9110 section 14).
func (s *Server) getMedia(w http.ResponseWriter, r *http.Request) error {
	part := 1
	if q := r.URL.Query(); q.Has("part") {
		n, err := strconv.Atoi(q.Get("part"))
		if err != nil || n < 1 {
			return invalid("", Fault{Parameter: "part", Detail: "want a number, 1 or more"})
		}
		part = n
	}
	id := chi.URLParam(r, "id")
	rec, err := s.recordings.Get(id)
	if err != nil {
		return s.storeError(r.Context(), err)
	}
	media, err := s.recordings.Open(id, part)
	if err != nil {
		return s.storeError(r.Context(), err)
	}
	defer func() { _ = media.Close() }() // it was only read
	h := w.Header()
	h.Set("Content-Type", media.Type)
	h.Set("ETag", fmt.Sprintf(`"%s.%d-%x"`, id, part, media.Bytes))
	h.Set("Cache-Control", "private, no-cache")
	// The room's name is a user's; FormatMediaType quotes and encodes it.
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": rec.Room + "-" + media.Name}))
	http.ServeContent(&download{ResponseWriter: w, s: s, r: r}, r, "", media.ModTime, media)
	return nil
}

// download turns the one error that ServeContent writes itself into a Problem,
// and gives up on clients that stop reading.
type download struct {
	http.ResponseWriter
	s       *Server
	r       *http.Request
	refused bool
}

// stalled is how long a write of a download may take.
const stalled = 30 * time.Second

// WriteHeader implements http.ResponseWriter.
func (d *download) WriteHeader(code int) {
	if code != http.StatusRequestedRangeNotSatisfiable {
		d.ResponseWriter.WriteHeader(code)
		return
	}
	d.refused = true
	h := d.Header()
	h.Del("Content-Disposition")
	d.s.fail(d.ResponseWriter, d.r, badRange.problem("the file has other bytes: see Content-Range"))
}

// Write implements http.ResponseWriter.
func (d *download) Write(p []byte) (int, error) {
	if d.refused {
		return len(p), nil
	}
	_ = http.NewResponseController(d.ResponseWriter).SetWriteDeadline(time.Now().Add(stalled)) // not every writer has deadlines
	return d.ResponseWriter.Write(p)
}
