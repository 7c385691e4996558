// Package mixer is the heart of mixdown: it turns what everybody sends into one
// picture and one sound, pays for each once, and lends the result to all who
// take it. This page is the architecture; where the code differs, one of the
// two is a bug.
//
// # The shape
//
//	Manager -- Room -- Participant -- source (playout, camera, screen)
//	        \       \- program, the main one and one for each group
//	         \      |     \- mix
//	          \     |     \- canvas (layout, compositor, renditions): the shared
//	           \    |               one, and those that single members have
//	            \   \- Input (a file that plays)
//	             \  \- recording, outlets (readers by plain HTTP)
//	              \- Governor
//
// A [Manager] holds the rooms. A [Room] is one conference: a control loop that
// owns all of its state, and two clocks. What the room puts out is its program:
// an audio mix and a canvas, each coded once for all who take it; who wants
// another picture has a canvas of his own, at its full price. A [Participant] is a member; what
// it contributes is a source, which knows nothing of participants. A client that
// lost its connection comes back by another ([Room.Replace]), and is the same
// participant to everybody.
//
// A participant can go on in another room by the connection that it has
// ([Manager.Move]). A room has its participants for itself, so there it is another
// Participant, with decoders of its own; what that room lends the connection has the
// time that it would have in the room where the connection was made, since PTS
// that jump are what receivers bear worst. The old room's last sound has been sent
// before the new room's first.
//
// Who waits to be let in ([RoomConfig].WaitingRoom) is in the room and in none of its
// programs: nothing is sent, decoded or told. The audience is in a program, without a
// tile and muted; who is hidden is audience that no list and no event names, and
// is counted all the same. The floor that somebody was given counts for the layout
// alone; who speaks is measured, as ever.
//
// A group ([GroupID]) is people with a program of their own, ticked by the same
// clocks. Everybody belongs to one program, and may be heard in others as
// well; moving somebody is one command and no renegotiation. An [Input]
// contributes without being a participant.
//
// Media comes in through a Participant, which satisfies the transport's
// Handler, and leaves through a [Sink], which a connection or a recorder
// satisfies. This package never sees a socket, a PeerConnection or an HTTP
// request, and the transport never sees a room: package codec holds all that
// they share.
//
// # The way of a picture
//
//	WriteVideo -> video.Source (bounded queue) -> decode on the worker pool, at
//	the size of its tile -> due queue -> compose, once per tick -> one-slot
//	mailbox of each video.Rendition -> encode once -> every subscribed Sink
//
// The video clock ticks at the canvas's rate and only starts the compose task:
// all decoding, scaling, drawing and encoding happens on the pool's niced
// threads, the earliest deadline first. A stage that is still busy is skipped
// and counted, never waited for, so nothing queues up and delay cannot grow.
// A rendition that nobody subscribes to does not run. Those in H.264 are made when
// the first client comes that takes no VP8, of the same tiers and the same canvas,
// and shared like the others; recorders and outlets take VP8. What comes in is
// decoded by its own codec. A canvas that looks as it
// did a tick ago is coded until it is sharp, and then once a second; one that
// nobody watches is not drawn, and what only it shows is not decoded.
//
// Where one bare tile fills a canvas and what its sender sends suits the tier,
// the sender's coded frames are the rendition: they go from the video.Source
// to the Sinks, on the room's time line, and nothing is decoded, drawn or coded.
// Key frame wishes then go to the sender. The control loop decides; the encoder
// goes on until the sender's next key frame, and the sender's frames until the
// canvas shows them, so that nobody sees the change.
//
// What is sent to the room is bounded by what is shown of it: after each
// arrangement every sender is asked for the size of his largest tile, on a ladder
// of sizes, since each change costs him a key frame. Up at once, down late; who is
// hidden pauses, and counts as having a picture all the same. His client learns
// it from [Participant.Uplink], by way of the API; connections of clients that do
// not follow that bound the bitrate instead.
//
// Which rendition a client is sent, a policy of its own decides: the middle one
// to begin with, a larger one when the client's connection believes that the
// path carries three quarters of its nominal bitrate, or what others are sent there
// (it probes for what the room says would come next), a smaller one at once when
// not even 0.6. Going up, the old picture goes on until the new one's
// first key frame; going down it does not, since it is what clogs the link. A
// rendition's bitrate follows those who watch it, from its nominal down to 0.6 of
// that. Who goes up and down again and again stays on the smallest one for a
// while, and has no say. Clients that bear no change of size are sent fewer
// pictures instead of smaller ones. The control loop asks the policy when a
// connection has news that may change something, and about once a second.
//
// Key frames cost everybody, so requests are coalesced where they arrive: at
// most one key frame per 300 ms and rendition, at most one PLI per 500 ms and
// source.
//
// # The way of a sound
//
//	WriteAudio -> audio.Playout (reorder, conceal) -> audio.Mix: gate, exact
//	sum, minus own, limit, encode -> Sink
//
// The audio clock ticks every 20 ms and does its work itself: it is short, it
// must never wait behind a picture, and its thread is not niced. Everybody whose
// gate is closed hears the same bytes; whoever talks hears a mix of their own,
// from an encoder copied from the shared one in the tick in which the gate
// opens. Listeners whose links lose sound share an encode with error correction
// instead. Who is silent by what he says of his level is not decoded, and when
// nobody is heard nothing is coded.
//
// Two who hear only each other are lent each other's packets as they came, like the
// pictures of a source that fills a canvas, as long as nothing is to be done to them.
//
// # Time
//
// Each room has an epoch. Tick n of a clock is due at epoch + n/rate, computed
// from n, and PTS is that distance: never the wall clock, so sound and picture
// share one time line exactly. Up to five late ticks are made up for; beyond
// that the clock jumps, and the jump is counted. An empty room has no ticks.
//
// Sound is never late for a picture, pictures wait for their sound: each source
// has a delay, up to 300 ms, that follows what its playout does to its sound. The
// sender's reports tell what was taken at the same instant; who sends none is
// taken to have sent both equally fast. It changes by 20 ms a second at most.
// Pictures wait decoded, and are shown at the pace at which they were taken.
//
// # Who runs what
//
//	goroutine            owns                               ends when
//	Room.run             roster, layout, recording          the room ends
//	Room.audioLoop       audio.Mix and its members          Room.run says so
//	Room.videoLoop       its pace, nothing else             Room.run says so
//	worker pool          decoders, compositor, encoders:    the pool's owner says so,
//	                     each inside a task of its own      after the Manager is closed
//	Governor             what it measures, the ladder       Manager.Run says so
//	one per leaver       closing a connection and its       all of it is closed
//	                     decoders
//
// Commands of the API run on the control loop, which sends the answer back.
// Flags that connections set (link state, closed, first picture) wake the loop
// and are read by it: many flags, one look. The loops read an immutable
// snapshot through an atomic pointer and notice a change by comparing pointers.
// The control loop waits for nobody: closing a connection, which waits for the
// connection's goroutines, has a goroutine of its own, that the room waits for
// at its end.
//
// A room ends in this order: participants, their connections and sources; the
// clocks; the renditions; the recorder, which drains first.
//
// # Events
//
// Publishing its state, the control loop compares it with what it has told
// last, and raises an [Event] for each difference: whatever changes the facts
// of a participant needs no code for its event. State and events change
// together under the lock of one hub, so [Room.Subscribe] gives a snapshot and
// exactly what follows it. Queues are bounded: who does not read is dropped, and
// goes on with [Room.Resume] where he was, as long as the hub's ring reaches
// back. No audio or video tick ever raises one. What one participant writes to
// another alone goes through the same queues, and into no ring. What a client is
// asked to send ([Uplink]) and what the picture that it is sent shows where
// ([Watching]) are states of which the latest counts, with no queue at all.
//
// # Overload
//
// The [Governor] sees that the process does not take on more than it can, sound
// first. Joins, and canvases beside the shared ones, are admitted against a
// budget of processor time, at a price made of what work has cost in this very
// process; what would take it over 80% is refused with an [Overload]. When
// pictures wait for the pool all the same, or audio ticks come late, it climbs
// a ladder: faster encoding, half the rate, no top tier, placeholders for those
// who have not spoken lately; and step by step back when there is calm. Rooms
// carry its [Level] out in their control loops, never in a tick.
//
// # Room on the disk
//
// The record.Store bounds what is kept of recordings, and leaves some of the disk
// free. What there is no room for any more ends there as if somebody had stopped
// it; rooms tell by an [EventStorage] that it gets scarce, before it is.
//
// # Faults
//
// A media fault is counted and costs at most its own source or rendition a
// moment: corrupt frames are dropped and answered by a key frame request, an
// encoder that fails is made anew. Public methods return an [Error] with a Kind
// from a small closed set.
package mixer
