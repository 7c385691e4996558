package api

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"mixdown/api/token"
	"mixdown/codec"
	"mixdown/codec/ogg"
	"mixdown/codec/webm"
	"mixdown/mixer"
	"mixdown/mixer/video"
)

const (
	webmType  = "video/webm"
	soundType = "audio/webm" // WebM without pictures
	oggType   = "audio/ogg"
	jpegType  = "image/jpeg"
)

// liveRoutes registers what is watched without WebRTC.
func (s *Server) liveRoutes(limit func(http.Handler) http.Handler) {
	room := pathParam("room", "The room's id")
	text := &huma.Schema{Type: huma.TypeString}
	group := queryParam("group", "The group that is shown and heard; empty is the room's main program", text)
	// To watch is to join, though nobody sees it.
	need := func(scope string) grantOf {
		return func(r *http.Request) Grant {
			g := inRoom(Join)(r)
			g.Role, g.Scope = mixer.RoleViewer, scope
			return g
		}
	}
	register := func(scope, id, path, summary, answer string, types []string, params []*huma.Param, h rawHandler, between ...func(http.Handler) http.Handler) {
		content := map[string]*huma.MediaType{}
		for _, t := range types {
			content[t] = &huma.MediaType{}
		}
		s.raw(huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Parameters: params,
			Extensions: map[string]any{"x-stability": "experimental"},
			Responses:  map[string]*huma.Response{"200": {Description: answer, Content: content}},
		}, need(scope), h, between...)
	}
	const endless = ". It begins with a key frame and ends when nobody is left in the room. Who reads too slowly misses what came meanwhile; who reads nothing for ten seconds is disconnected"
	register(token.ScopeLive, "watch-room", "/v1/rooms/{room}/live.webm", "Watch a room: what everybody hears and sees", "VP8 and Opus in WebM without end"+endless,
		[]string{webmType, soundType}, []*huma.Param{room, group,
			queryParam("tier", "The nearest of the room's tiers, as 640x360@30; the largest without it", text),
			queryParam("video", "false: sound alone", &huma.Schema{Type: huma.TypeBoolean}),
		}, s.watch(webmStream), limit)
	register(token.ScopeLive, "listen-to-room", "/v1/rooms/{room}/live.ogg", "Listen to a room", "Opus in Ogg without end",
		[]string{oggType}, []*huma.Param{room, group}, s.watch(oggStream), limit)
	register(token.ScopeSnapshot, "get-snapshot", "/v1/rooms/{room}/snapshot.jpg", "What the room's picture shows now", "At most a second old",
		[]string{jpegType}, []*huma.Param{room, group,
			queryParam("width", "In pixels, rounded up to a multiple of 160, at most the canvas's, which is the default", &huma.Schema{Type: huma.TypeInteger}),
		}, s.snapshot)
}

// liveForm is what tells the live resources apart.
type liveForm struct {
	known []string // query parameters
	// begin returns the muxer of a stream whose first frames are these.
	begin func(o *mixer.Outlet, first []*codec.EncodedFrame) (muxer, error)
	typ   func(mixer.OutletRequest) string
	sound bool // alone
}

var (
	webmStream = liveForm{known: []string{"group", "tier", "video"}, begin: beginWebM, typ: func(req mixer.OutletRequest) string {
		if req.NoVideo {
			return soundType
		}
		return webmType
	}}
	oggStream = liveForm{known: []string{"group"}, begin: beginOgg, sound: true, typ: func(mixer.OutletRequest) string { return oggType }}
)

// muxer turns frames into bytes. Neither method keeps a frame without retaining
// it.
type muxer interface {
	// add appends what is to be sent now that f has come. It lends f.
	add(dst []byte, f *codec.EncodedFrame) []byte
	// end appends what is left.
	end(dst []byte) []byte
}

// webmMuxer counts time from the first picture, or the first sound where there
// are none.
type webmMuxer struct {
	live        *webm.Live
	zero        time.Duration
	lastPicture time.Duration // in the stream; -1 ms before the first
}

func beginWebM(o *mixer.Outlet, first []*codec.EncodedFrame) (muxer, error) {
	m := &webmMuxer{zero: first[0].PTS, lastPicture: -time.Millisecond}
	cfg := webm.Config{Audio: &webm.AudioTrack{}}
	if w, h := o.Size(); w > 0 {
		cfg.Video = &webm.VideoTrack{Width: w, Height: h}
		if i := slices.IndexFunc(first, func(f *codec.EncodedFrame) bool { return f.Codec == codec.VP8 }); i >= 0 {
			m.zero = first[i].PTS
		}
	}
	var err error
	m.live, err = webm.NewLive(cfg)
	return m, err
}

func (m *webmMuxer) add(dst []byte, f *codec.EncodedFrame) []byte {
	at := f.PTS - m.zero
	if f.Codec == codec.VP8 {
		// Two pictures may be less than a millisecond apart where a source's own
		// give way to ours. Neither can be left out.
		at = max(at, m.lastPicture+time.Millisecond).Round(time.Millisecond)
		m.lastPicture = at
	}
	if at < 0 {
		return dst // sound from before the first picture
	}
	dst, _ = m.live.Append(dst, f, at) // it refuses only what no player could use
	return dst
}

func (m *webmMuxer) end(dst []byte) []byte { return m.live.Close(dst) }

type oggMuxer struct{ *ogg.Writer }

func beginOgg(*mixer.Outlet, []*codec.EncodedFrame) (muxer, error) {
	w, err := ogg.NewWriter(ogg.WriterConfig{Serial: rand.Uint32()})
	return oggMuxer{w}, err
}

func (m oggMuxer) add(dst []byte, f *codec.EncodedFrame) []byte {
	dst, _ = m.Append(dst, f.Data, f.PTS) // as above
	return dst
}

func (m oggMuxer) end(dst []byte) []byte { return m.Close(dst) }

// watch streams a room until the client goes, reads nothing for too long, nobody
// is left in the room, or the server drains.
func (s *Server) watch(form liveForm) rawHandler {
	return func(w http.ResponseWriter, r *http.Request) error {
		query, err := liveQuery(r, form.known)
		if err != nil {
			return err
		}
		req, err := outletRequest(query)
		if err != nil {
			return err
		}
		req.NoVideo = req.NoVideo || form.sound
		head := r.Method == http.MethodHead
		if s.draining.Load() {
			return draining.problem("try again, on another server")
		}
		room, err := s.room(chi.URLParam(r, "room"))
		if err != nil {
			return err
		}
		if err := s.mayWatch(r, room); err != nil {
			return err
		}
		who, info := scopeOf(r.Context()).identity, room.Info()
		req.Tier = who.boundTier(req.Tier, info.Tiers)
		leave, err := s.enterLive(streamClient(r), info.Life)
		if err != nil {
			return err
		}
		defer leave()
		asked := req
		asked.NoVideo = req.NoVideo || head // which costs nobody anything
		outlet, err := room.OpenOutlet(r.Context(), asked)
		if err != nil {
			return s.told(r.Context(), err)
		}
		defer outlet.Close()
		header := w.Header()
		answer := func() {
			header.Set("Content-Type", form.typ(req))
			header.Set("Cache-Control", "no-store")
			header.Set("X-Accel-Buffering", "no") // nginx collects answers otherwise
			w.WriteHeader(http.StatusOK)
		}
		if head {
			answer()
			return nil
		}
		first, err := s.firstFrames(r, outlet)
		if err != nil {
			return err
		}
		mux, err := form.begin(outlet, first)
		if err != nil {
			release(first)
			return err
		}
		boundBuffer(r, outlet.Tier())
		answer()
		s.sendLive(w, r, outlet, mux, first)
		return nil
	}
}

// boundTier is the one of a room's tiers, the largest of which comes first, that
// somebody gets who asks for want and whose token says how much he may see. Where
// even the smallest is too large he gets that, as participants do.
func (who *Identity) boundTier(want video.Tier, tiers []video.Tier) video.Tier {
	l := who.Limits
	if l.MaxWidth == 0 || len(tiers) == 0 {
		return want
	}
	if want.Width > 0 {
		l.MaxWidth, l.MaxHeight, l.MaxFPS = min(l.MaxWidth, want.Width), min(l.MaxHeight, want.Height), min(l.MaxFPS, want.FPS)
	}
	fits := func(t video.Tier) bool { return t.Width <= l.MaxWidth && t.Height <= l.MaxHeight && t.FPS <= l.MaxFPS }
	if i := slices.IndexFunc(tiers, fits); i >= 0 {
		return tiers[i]
	}
	return tiers[len(tiers)-1]
}

// snapshotStep is what the width of a snapshot is a multiple of.
const snapshotStep = 160

// liveQuery reads the query, in which each parameter may come once.
func liveQuery(r *http.Request, known []string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest.problem("the query is not well-formed")
	}
	if faults := strangers(query, known...); len(faults) > 0 {
		return nil, invalid("", faults...)
	}
	return query, nil
}

func outletRequest(query url.Values) (req mixer.OutletRequest, err error) {
	var faults []Fault
	req.Group = mixer.GroupID(query.Get("group"))
	if query.Has("tier") {
		if req.Tier, err = video.ParseTier(query.Get("tier")); err != nil {
			faults = append(faults, Fault{Parameter: "tier", Detail: err.Error()})
		}
	}
	if query.Has("video") {
		on, err := strconv.ParseBool(query.Get("video"))
		if err != nil {
			faults = append(faults, Fault{Parameter: "video", Detail: "want true or false"})
		}
		req.NoVideo = !on
	}
	if len(faults) > 0 {
		return req, invalid("", faults...)
	}
	return req, nil
}

// firstFrames waits for what a stream begins with. The caller releases it.
func (s *Server) firstFrames(r *http.Request, o *mixer.Outlet) ([]*codec.EncodedFrame, error) {
	patience := time.NewTimer(s.live.start)
	defer patience.Stop()
	for {
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-s.streams.drained:
			return nil, draining.problem("try again, on another server")
		case <-o.Done():
			return nil, roomEmpty.problem("nobody is left")
		case <-patience.C:
			return nil, byKind[mixer.Unavailable].problem("nothing has come from the room yet")
		case <-o.Ready():
			if frames := o.Take(nil); len(frames) > 0 {
				return frames, nil
			}
		}
	}
}

// sendLive is the life of a stream whose header was written. It releases the
// frames.
func (s *Server) sendLive(w http.ResponseWriter, r *http.Request, o *mixer.Outlet, mux muxer, frames []*codec.EncodedFrame) {
	out := writer{w: w, rc: http.NewResponseController(w), within: s.live.write, stalled: &s.live.stalled}
	defer func() { mux.end(nil) }() // lets go of what it holds
	who := scopeOf(r.Context()).identity
	withdrawn, stop := who.withdrawn()
	defer stop()
	var batch []byte
	for more := true; ; {
		batch = batch[:0]
		for _, f := range frames {
			batch = mux.add(batch, f)
		}
		release(frames)
		if !more {
			batch = mux.end(batch)
		}
		// In pieces, since each has its own deadline: who reads slowly still reads.
		for piece := range slices.Chunk(batch, livePiece) {
			if !out.put(piece) {
				return
			}
		}
		if !more {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-o.Ready():
		case <-o.Done():
			more = false
		case <-s.streams.drained:
			more = false
		case <-withdrawn:
			more = false
		}
		frames = o.Take(frames[:0])
	}
}

func release(frames []*codec.EncodedFrame) {
	for _, f := range frames {
		f.Release()
	}
}

// snapshot answers with what the canvas shows.
func (s *Server) snapshot(w http.ResponseWriter, r *http.Request) error {
	query, err := liveQuery(r, []string{"group", "width"})
	if err != nil {
		return err
	}
	width := 0
	if query.Has("width") {
		if width, err = strconv.Atoi(query.Get("width")); err != nil || width < 1 {
			return invalid("", Fault{Parameter: "width", Detail: "want a number, 1 or more"})
		}
	}
	room, err := s.room(chi.URLParam(r, "room"))
	if err != nil {
		return err
	}
	if err := s.mayWatch(r, room); err != nil {
		return err
	}
	who := scopeOf(r.Context()).identity
	if most := who.Limits.MaxWidth; most > 0 && (width == 0 || width > most) {
		width = max(most/snapshotStep, 1) * snapshotStep
	}
	file, err := room.Snapshot(r.Context(), mixer.GroupID(query.Get("group")), width)
	if err != nil {
		return s.told(r.Context(), err)
	}
	h := w.Header()
	h.Set("Content-Type", jpegType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(file)))
	_, _ = w.Write(file) // a client that has gone needs no picture
	return nil
}
