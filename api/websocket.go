package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

// Messages that a client of a WebSocket may send at once, and on average. Who
// sends more is read more slowly, and waits.
const (
	socketBurst     = 20
	socketPerSecond = 10
)

// upgrades reports whether a request asks for a WebSocket (RFC 6455 section 4.1).
func upgrades(r *http.Request) bool {
	return slices.ContainsFunc(strings.Split(r.Header.Get("Upgrade"), ","), func(token string) bool {
		return strings.EqualFold(strings.TrimSpace(token), "websocket")
	})
}

// fromOwnPages refuses the pages of other sites. Browsers open WebSockets to
// anybody, whatever CORS says.
func (s *Server) fromOwnPages(r *http.Request) error {
	for _, o := range r.Header.Values("Origin") {
		if !sameOrigin(r, o) && !originListed(s.origins, o) {
			return foreignPage.problem("the page comes from another site: have the server allow its origin")
		}
	}
	return nil
}

// socket tells a client of events over a WebSocket, one in a message, and hears
// what the client says; otherwise it is as stream is. x is the session whose
// client it is, or nil.
func (s *Server) socket(w http.ResponseWriter, r *http.Request, f feed, x *session) error {
	if err := s.fromOwnPages(r); err != nil {
		return err
	}
	after, known, err := s.resumeAfter(r)
	if err != nil {
		return err
	}
	if s.draining.Load() {
		return draining.problem("try again, on another server")
	}
	who := streamClient(r)
	if err := s.streams.enter(who...); err != nil {
		return err
	}
	defer s.streams.leave(who...)
	sub, at, first, err := s.opening(r.Context(), f, after, known)
	if err != nil {
		return err
	}
	// Without compression: it would be a dictionary for each client.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		sub.Close()
		return nil // it has answered
	}
	defer conn.CloseNow() //nolint:errcheck // it is closed already, unless something went wrong
	conn.SetReadLimit(maxMessage)
	// Not the request's context: that has ended as far as net/http is concerned.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	said, gone := make(chan []byte), make(chan struct{})
	go func() {
		defer close(gone)
		readSocket(ctx, conn, said)
	}()
	h := hearing{s: s, x: x, f: &f, signals: true, upgrade: r}
	out := &socketOutlet{ctx: ctx, conn: conn, st: s.streams, dead: cancel, pinging: make(chan struct{}, 1)}
	defer out.pings.Wait()
	why := s.tellOn(ctx, &listener{
		out: out, gone: gone, said: said,
		hear:    func(m []byte, at position) ([]byte, bool, error) { return h.hear(ctx, m, at) },
		request: scopeOf(r.Context()).id,
	}, &f, sub, at, first)
	switch {
	case why == departed:
		_ = conn.CloseNow() // nobody is there who would say goodbye
	case why == behind:
		_ = conn.Close(websocket.StatusTryAgainLater, "events were not read fast enough")
	case s.draining.Load():
		_ = conn.Close(websocket.StatusServiceRestart, draining.code)
	default:
		_ = conn.Close(websocket.StatusNormalClosure, "there will be no more events")
	}
	cancel()
	<-gone
	return nil
}

// readSocket hands on what the client says until it, or ctx, is gone.
func readSocket(ctx context.Context, conn *websocket.Conn, said chan<- []byte) {
	pace := rate.NewLimiter(socketPerSecond, socketBurst)
	for {
		_, message, err := conn.Read(ctx)
		if err != nil || pace.Wait(ctx) != nil {
			return
		}
		select {
		case said <- message:
		case <-ctx.Done():
			return
		}
	}
}

// socketOutlet writes to a WebSocket, with a deadline for each message.
type socketOutlet struct {
	ctx     context.Context
	conn    *websocket.Conn
	st      *streams
	dead    context.CancelFunc // of ctx
	pinging chan struct{}      // one slot: a pong is waited for
	pings   sync.WaitGroup     // ends soon after ctx
}

func (o *socketOutlet) put(frames []byte) bool {
	return messagesOf(frames, func(message []byte) bool {
		return o.inTime(func(ctx context.Context) error { return o.conn.Write(ctx, websocket.MessageText, message) })
	})
}

// beat asks for a pong, without which the connection ends. It does not wait: the
// pong cannot be read before what the client has said, which only who tells it of
// events takes.
func (o *socketOutlet) beat() bool {
	select {
	case o.pinging <- struct{}{}:
		o.pings.Go(func() {
			if !o.inTime(o.conn.Ping) {
				o.dead()
			}
			<-o.pinging
		})
	default: // one is due in less than a round trip
	}
	return true
}

// inTime reports whether f, which ends with its context, had no error.
func (o *socketOutlet) inTime(f func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(o.ctx, o.st.write)
	defer cancel()
	err := f(ctx)
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() == context.DeadlineExceeded {
		o.st.stalled.Add(1)
	}
	return err == nil
}
