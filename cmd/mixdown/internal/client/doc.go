// Package client is a native participant of a room: it joins by HTTP, sends
// coded pictures and sound from a [Source] each, and hands out what it
// receives without decoding it.
//
//	c, err := client.New(client.Config{URL: "http://127.0.0.1:8080/r/standup", Video: v, Audio: a})
//	err = c.Run(ctx) // joins, plays, leaves when ctx is done
//
// It is written to be light, since a benchmark runs it hundreds of times on the
// machine that it measures. There is no PeerConnection in it: one UDP socket,
// one goroutine that reads it and decrypts, handles and counts a packet in the
// same call, and one for each track that is sent. A packet allocates nothing, a
// pause of the sender (DTX) costs nothing, and nothing is decoded.
//
//	ice.go, dtls.go, link.go   the path, the keys, the packets
//	offer.go                   SDP
//	track.go                   what is sent: RED (RFC 2198), levels (RFC 6464),
//	                           DTX, RTX
//	receive.go, reception.go   what comes: gaps, loss, NACK, reports
//	assembler.go               pictures out of packets
//	uplink.go                  what the server asks to be sent
//	arrivals.go                transport-wide feedback: when each packet came
//
// It shares no RTP code with the server, so that each checks the other. Of ICE
// it has what a client needs whose server is reachable: it checks the server's
// addresses and takes the first that answers. There is no TURN.
package client
