package api

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"golang.org/x/time/rate"

	"mixdown/codec"
	"mixdown/mixer"
	"mixdown/transport"
)

// maxGone bounds how many ended sessions are remembered; the oldest is
// forgotten first and then answers 404 instead of 410.
const maxGone = 4096

// secretKey is the digest of a session's secret. The secrets themselves are not
// kept: neither a memory dump nor the time that a look-up takes gives one away.
type secretKey [sha256.Size]byte

func keyOf(secret string) secretKey { return sha256.Sum256([]byte(secret)) }

// newSecret returns 128 random bits as 22 characters that need no escaping.
func newSecret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// session is one signalling session. It stands between a connection and its
// participant, to learn when the connection comes up and when it ends.
type session struct {
	registry *sessions
	// speaks is held for reading while the connection's calls are passed on, and
	// for writing while the participant becomes what it is in another room.
	speaks   sync.RWMutex
	at       place
	room     mixer.RoomID // in which it was joined
	address  string       // what the limit of half-open sessions counts by
	who      Identity
	halfOpen atomic.Bool
	// silent says that it does not speak for its participant: not yet, or no more,
	// since another session does.
	silent     atomic.Bool
	connection connection // set before the session can be found
	trace      *joinTrace // set before there is a connection
	// handing is held while its participant gets another session, or it another
	// room.
	handing sync.Mutex
	// signalling is held while a fragment is carried out.
	signalling sync.Mutex
	etag       atomic.Value // string
	// reason is why the server ends it; nil while it does not.
	reason atomic.Pointer[kind]
	done   chan struct{} // closed when it has ended
	chats  *rate.Limiter // of what its client writes to others
	serve  func(*session, messageChannel)

	// Guarded by registry.mu.
	key   secretKey
	open  bool // it is in the registry
	ended bool
}

// WriteAudio transfers one packet to the participant. It does not block.
func (s *session) WriteAudio(f *codec.EncodedFrame) {
	if s.silent.Load() || s.who.Mute.Microphone {
		f.Release()
		return
	}
	s.speaks.RLock()
	defer s.speaks.RUnlock()
	s.at.participant.WriteAudio(f)
}

// WriteVideo transfers one picture to the participant. It does not block.
func (s *session) WriteVideo(id codec.SourceID, f *codec.EncodedFrame) {
	if s.silent.Load() || id == codec.Camera && s.who.Mute.Camera || id == codec.Screen && s.who.Mute.Screen {
		f.Release()
		return
	}
	s.speaks.RLock()
	defer s.speaks.RUnlock()
	s.at.participant.WriteVideo(id, f)
}

// Feedback watches the connection come up. It does not block.
func (s *session) Feedback(fb codec.Feedback) {
	if fb.Link == codec.LinkUp {
		s.connected()
		s.trace.end(nil)
	}
	s.speaks.RLock()
	defer s.speaks.RUnlock()
	if !s.silent.Load() {
		s.at.participant.Feedback(fb)
	}
}

// PeerClosed ends the session along with the participant. It does not block.
func (s *session) PeerClosed(err error) {
	s.registry.end(s, err)
	s.Leave(err)
}

// Leave takes the participant out of its room, if the session speaks for it. It
// does not block.
func (s *session) Leave(reason error) {
	s.speaks.RLock()
	defer s.speaks.RUnlock()
	if !s.silent.Load() {
		s.at.participant.Leave(reason)
	}
}

func (s *session) connected() {
	if s.halfOpen.CompareAndSwap(true, false) {
		s.registry.release(s.address)
	}
}

// sessions knows all sessions by the digest of their secret. Safe for
// concurrent use.
type sessions struct {
	// maxHalfOpen and most are per address; negative is no limit.
	maxHalfOpen, most int
	draining          *atomic.Bool
	// serve speaks with a session's client over its data channel.
	serve func(*session, messageChannel)
	mu    struct {
		sync.Mutex
		live        map[secretKey]*session
		participant map[mixer.ParticipantID]*session
		halfOpen    map[string]int
		// clients counts those of each address, from the offer to the end.
		clients map[string]int
		gone    map[secretKey]kind
		// order is a ring of the keys in gone, oldest at next once it is full.
		order []secretKey
		next  int
	}
}

func newSessions(maxHalfOpen, most int, draining *atomic.Bool) *sessions {
	s := &sessions{maxHalfOpen: maxHalfOpen, most: most, draining: draining}
	s.mu.live = make(map[secretKey]*session)
	s.mu.participant = make(map[mixer.ParticipantID]*session)
	s.mu.halfOpen, s.mu.clients = make(map[string]int), make(map[string]int)
	s.mu.gone = make(map[secretKey]kind)
	return s
}

// reserve counts one more client of the address, and half-open session, or
// refuses. If no session comes of it, the caller calls cancel.
func (s *sessions) reserve(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxHalfOpen >= 0 && s.mu.halfOpen[address] >= s.maxHalfOpen {
		return tooMany.problem("too many clients of this address have not connected yet")
	}
	if s.most >= 0 && s.mu.clients[address] >= s.most {
		return tooMany.problem("too many clients of this address are connected")
	}
	s.mu.halfOpen[address]++
	s.mu.clients[address]++
	return nil
}

// release says that one is not half-open any more.
func (s *sessions) release(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	less(s.mu.halfOpen, address)
}

// cancel takes back what reserve did.
func (s *sessions) cancel(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	less(s.mu.halfOpen, address)
	less(s.mu.clients, address)
}

func less(counts map[string]int, address string) {
	if counts[address]--; counts[address] <= 0 {
		delete(counts, address)
	}
}

// make makes a session for a participant whose address was reserved.
func (s *sessions) make(p *mixer.Participant, room mixer.RoomID, address string, who Identity) *session {
	x := &session{at: place{participant: p, moved: make(chan struct{})}, registry: s, room: room, address: address, who: who, done: make(chan struct{}),
		chats: rate.NewLimiter(chatsPerSecond, chatBurst), serve: s.serve}
	x.halfOpen.Store(true)
	return x
}

// add makes the session of a participant. It cannot be found before publish.
func (s *sessions) add(p *mixer.Participant, room mixer.RoomID, address string, who Identity) *session {
	x := s.make(p, room, address, who)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.participant[p.ID()] = x
	return x
}

// publish makes the session known under a fresh secret, which it returns. The
// connection may have ended meanwhile: then the secret leads to that end.
func (s *sessions) publish(x *session) (secret string) {
	secret = newSecret()
	s.mu.Lock()
	defer s.mu.Unlock()
	x.key, x.open = keyOf(secret), true
	if x.ended {
		s.remember(x)
	} else {
		s.mu.live[x.key] = x
	}
	return secret
}

// end takes the session out, once. err is why its connection ended; what the
// server had decided before counts more.
func (s *sessions) end(x *session, err error) {
	x.connected()
	x.trace.end(cmp.Or(err, errLeftEarly))
	if err != nil {
		why := &vanished
		if errors.Is(err, transport.ErrClosed) {
			why = &drained
		}
		x.reason.CompareAndSwap(nil, why)
	}
	if s.draining.Load() {
		x.reason.CompareAndSwap(nil, &drained)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(x)
}

// finish takes x out, once. The caller holds mu.
func (s *sessions) finish(x *session) {
	if x.ended {
		return
	}
	x.ended = true
	close(x.done)
	less(s.mu.clients, x.address)
	if s.mu.participant[x.ID()] == x {
		delete(s.mu.participant, x.ID())
	}
	if x.open {
		delete(s.mu.live, x.key)
		s.remember(x)
	}
}

// remember keeps why x ended; a client that left by itself is not remembered.
// The caller holds mu.
func (s *sessions) remember(x *session) {
	why := x.reason.Load()
	if why == nil {
		return
	}
	if len(s.mu.order) < maxGone {
		s.mu.order = append(s.mu.order, x.key)
	} else {
		delete(s.mu.gone, s.mu.order[s.mu.next])
		s.mu.order[s.mu.next] = x.key
		s.mu.next = (s.mu.next + 1) % maxGone
	}
	s.mu.gone[x.key] = *why
}

// find returns the session of a secret, or a Problem: 410 and why for one that
// the server ended, else 404.
func (s *sessions) find(secret string) (*session, error) {
	key := keyOf(secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.mu.live[key]; x != nil {
		return x, nil
	}
	if why, ok := s.mu.gone[key]; ok {
		return nil, why.problem("")
	}
	return nil, noSession.problem("")
}

// mark says beforehand why the participant's session is about to end. It
// returns the session; nil for a participant that has none.
func (s *sessions) mark(id mixer.ParticipantID, why kind) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.mu.participant[id]
	if x != nil {
		x.reason.CompareAndSwap(nil, &why)
	}
	return x
}

// markRoom does so for everybody in a room.
func (s *sessions) markRoom(id mixer.RoomID, why kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.mu.participant {
		if x.Room().Info().ID == id {
			x.reason.CompareAndSwap(nil, &why)
		}
	}
}

// counts returns how many sessions there are, and how many of them have not
// connected yet.
func (s *sessions) counts() (live, halfOpen int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.mu.halfOpen {
		halfOpen += n
	}
	return len(s.mu.live), halfOpen
}

// getSession answers 204 while the session lives.
func (s *Server) getSession(w http.ResponseWriter, r *http.Request) error {
	x, err := s.sessions.find(chi.URLParam(r, "secret"))
	if err != nil {
		return err
	}
	w.Header().Set("ETag", x.tag())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// deleteSession lets the client leave.
func (s *Server) deleteSession(w http.ResponseWriter, r *http.Request) error {
	x, err := s.sessions.find(chi.URLParam(r, "secret"))
	if err != nil {
		return err
	}
	if match := r.Header.Get("If-Match"); match != "" && !listed(match, x.tag(), wholeTag) {
		return byKind[mixer.Precondition].problem("If-Match: the session has another ETag")
	}
	s.sessions.end(x, nil)
	x.Leave(nil)
	w.WriteHeader(http.StatusOK)
	return nil
}
