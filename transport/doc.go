// Package transport moves media between WebRTC clients and a mixer.
//
// An [Engine] owns the sockets. [Engine.Accept] turns a client's offer into an
// answer and a [Peer], which lives until the client goes:
//
//	engine, err := transport.New(transport.Config{UDP: []string{":8189"}})
//	go engine.Run(ctx)
//	peer, answer, err := engine.Accept(ctx, transport.Offer{
//		SDP: body, Role: transport.RoleParticipant, Epoch: epoch, Handler: participant,
//	})
//
// The [Handler] gets what the client sends, the Peer takes what the client is
// to hear and see. A client gets exactly one sound and one picture stream, and
// may send a microphone, a camera and a shared screen.
//
// # The way in
//
// One reader a socket takes datagrams off the kernel, as many as there are in one
// call (see receiveBatch), and finds the client by its address (RFC 7983 tells STUN,
// DTLS and SRTP apart). On machines with many cores several sockets share an
// address. Clients that no UDP
// reaches connect over TCP (see tcpMux), which carries the same packets. pion decrypts; from
// there on it has no say: for every SSRC it asks the BufferFactory for a
// buffer, and ours (see Peer.buffer) handles each packet in the very call, on
// the SRTP session's goroutine:
//
//	police (packets/s, bytes/s)
//	-> which m-line? by the offer's a=ssrc, the MID extension, the payload type
//	-> transport-wide sequence number noted for the feedback
//	-> sound: numbered, stamped; of redundancy (RFC 2198) what has not come
//	   before                             -> Handler.WriteAudio
//	-> picture: assembler (order, repairs) -> Handler.WriteVideo
//
// Repairs (RFC 4588) are unwrapped here and given to the same assembler. What
// the assembler wants of the sender (NACK, PLI), feedback and reports are sent
// by the dispatcher, so that no lock is held while writing.
//
// # The way out
//
//	Peer.WriteAudio, WriteVideo (lend, never block) -> pacer's bounded queues
//	-> the dispatcher: sound, then repairs, then video at the pace
//	   of the path, then probes; packets are cut and numbered at that moment
//	-> SRTP -> ICE's selected pair -> sendto
//
// Frames are shared by all clients and are never changed: every peer numbers
// what it sends. What was sent is remembered by reference, for a second, and
// repeated on request, by RTX where that was negotiated. Sender reports put
// both streams on the room's clock exactly: the RTP timestamp is computed from
// the instant of the report, not from what happens to be written then. So it
// stays right while nothing is: of silence that need not be sent (DTX) only the
// first packet goes out.
//
// What the path carries an estimator says, to the Handler too, from the client's
// transport-wide feedback (see estimator; pacedPath joins it to the pacer). A
// queue that stands somewhere is the first sign of too much, and how fast it
// empties is what the path carries. Larger pictures are probed for: for a moment
// old packets go out again on top of the media. When the path falls, what waits is
// dropped and only sound goes out until what is on its way has come.
// A queue somewhere is full before anybody knows that its path has fallen, so on
// paths that look narrow pictures leave in pieces, each right behind a packet of
// sound: what lies between two of those is how long nothing is heard then (see
// soundGuard). On others a picture leaves in one piece.
//
// There are no pion interceptors: reports, feedback and repairs are ours.
//
// # Messages
//
// A client that offers m=application may open one data channel (see
// [MessagesLabel]), on which a Handler that is [Messages] speaks with it. SCTP is
// pion's; ours are the bounds: of a message, of what waits in each direction,
// and of how fast a client is read. Who offers none pays for none.
//
// # Offers
//
// pion never sees an offer as the client wrote it. It is parsed, every m-line is
// decided upon (see offerPlan), and a new one is written that holds only what
// will be used; pion's answer to that is fitted back to the client's lines. Of a
// picture that is offered in several sizes (simulcast, RFC 8853) one is answered.
// VP8 is answered wherever it is offered, H.264 only where it is not.
//
// # The way around
//
// A client that reaches no media socket, since a firewall lets only TCP or TLS
// out, asks a [TURN] server to relay:
//
//	client -> TCP or TLS -> turnStream (cut into messages, looked at) -> pion's
//	server -> turnRelay: a socket of its own -> media socket, as if from a client
//
// and back. Only media sockets can be reached: pion asks for each address, the relay
// looks at each packet. What is too much is dropped at the relay, in both directions, and
// counted. [TURNSecret] makes the credentials; nothing is remembered of them.
//
// # The life of a peer
//
//	Accept -> (ICE, DTLS) -> Feedback{LinkUp} -> ... -> PeerClosed(why)
//
// A client that says goodbye (DTLS close_notify) is gone at once. Without
// anything from it Feedback says LinkLost after 3 s, and the peer closes after
// 8 s with [ErrVanished]. A client that has changed networks says so
// ([Peer.Restart]) and goes on where it was; of one whose address changes without
// its knowledge ICE finds out (see follower). One that never connects is given up
// after 15 s. Peers share a few dispatchers and have no goroutine of ours (but about twenty of
// pion's) until their end, when one takes everything down; [Engine.Run]
// returns when all are gone.
package transport
