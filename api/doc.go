// Package api is the HTTP surface of mixdown: rooms, participants, recordings
// and the joining of clients, over JSON and SDP.
//
// # How it is put together
//
// [New] makes a [Server], which is an [net/http.Handler]. It starts no
// goroutine and owns no socket:
//
//	server, err := api.New(api.Config{Rooms: manager, Engine: engine, Recordings: store})
//	httpServer := api.HTTPServer(server) // with the timeouts that the surface was made for
//	...
//	server.Drain() // joins are refused from here on, /readyz fails
//
// A request goes through one chain: request id, log and metrics, recovery, CORS, the
// router, and then, on every route but the health checks and the pages, the one
// authorisation step: each route is registered with the [Grant] that it needs,
// and an [Authorizer] says whether the request has it. Without keys that is
// [Keyless], which guards a server on loopback against web pages.
//
// JSON resources are huma operations, so that the OpenAPI document at
// /openapi.json comes from the code that answers. SDP, sessions and downloads
// are plain handlers, registered by the same function and in the same document.
//
// # Who may
//
// A server with keys has [Keyed] for its Authorizer: package token says what a
// token is, Keyed what it allows. testdata/who-may.md is the table of it, made by
// a test that asks every route with every kind of token. Whoever adds a route says
// which [Action] it is; one that says nothing does not compile.
//
// Not known is answered by 401 before anything is looked up, so that neither words
// nor time tell what exists; not allowed by 403, alike for what is not there. What
// a token says beyond the entering of a room ([Identity], [Silence]) is kept with
// the session and holds for its life, also in another room.
//
// # Resources
//
// A write is always judged as a whole document: PUT's body, or what PATCH's
// merge patch (RFC 7396) makes of the present one. Unknown fields are refused by
// name. A document that was read can be sent back as it is: what only the
// server sets must be unchanged where it is lasting ("id"), and is not looked
// at where it moves by itself ("status").
//
// An entity tag has two halves, "wanted-seen": a digest of what a client can
// change and one of the whole document. If-None-Match compares all of it;
// If-Match, on writes, only the first half, since otherwise somebody who begins to
// speak would spoil an edit.
//
// # Errors
//
// Every error, those of the router included, is a [Problem] (RFC 9457) with a
// stable code. One table in problem.go maps the mixer's kinds to HTTP statuses.
//
// # Rooms that last
//
// A persistent room is kept, as the mixer's RoomConfig, in a bucket of the store:
// a request that changes one is answered when the change is on the disk, and what
// is changed in any other way is found every five seconds. Presets are documents
// of rooms, over which the body of a request is merged.
//
// # Joining
//
// A client posts an offer and gets, with the answer, the address of its session:
// 128 random bits that are the only credential of the session, known to the
// client alone. They are kept as a digest and appear in no log and no list.
// What a session leaves behind is a bounded memory of why it ended, so that
// somebody who was kicked is told 410 and why.
//
// The entity tag of a session names its ICE session. PATCH takes candidates that
// come after the offer, and begins another ICE session for a client whose network
// has changed (RFC 9725 section 4.3); a message on the session's WebSocket does the
// same. A client that has lost its connection for good posts another offer and
// proves by the old session's secret (?replaces=) who it is: it gets another
// session and is the same participant.
//
// # Events
//
// A stream of server-sent events begins with a snapshot, or with what the
// client has missed since its Last-Event-ID, and then tells each event once.
// Data are the same documents that the resources have. It is the request's own
// goroutine that writes, with a deadline for each write; the mixer's queues and
// the limits of streams bound all of it. Events are written as JSON once for all
// streams, and those that open within a second share a snapshot.
//
// A WebSocket at the same addresses, and a session's data channel, tell the same
// events, each as one message. Over them, and by POST, clients write to each
// other. What concerns one client alone (what it is to send, what it watches,
// what was written to it) only its own session's streams tell.
// By a room's WebSocket a client can join: its offer becomes a request like any
// other, and the WebSocket the session's own.
//
// Other servers are told by webhooks (package webhook): [Server.TellWebhooks] puts
// every event that somebody wants on the disk, in order, and from there it is sent.
//
// # Watching without WebRTC
//
// live.webm and live.ogg are what everybody hears and sees, as one answer without
// end: the mixer's outlets hand out what is coded for all anyway, and the
// request's own goroutine puts it into its container and writes it. A client that
// is slow misses something, one that reads nothing is disconnected, and neither
// is noticed by anybody else. Those who watch so are no participants.
package api
