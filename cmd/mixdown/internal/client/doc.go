// Package client is a native participant of a room: it joins by HTTP, sends
// coded pictures and sound from a [Source] each, and hands out what it
// receives without decoding it.
//
//	c, err := client.New(client.Config{URL: "http://127.0.0.1:8080/r/standup", Video: v, Audio: a})
//	err = c.Run(ctx) // joins, plays, leaves when ctx is done
//
// It is written to be light, since a benchmark runs it many times over on the
// machine that it measures: one goroutine per track, packets cut from shared
// clips, no decoding, and of pion's interceptors only receiver reports and
// NACK. Sender reports, retransmission and the reassembly of pictures are its
// own. It shares no RTP code with the server, so that each checks the other.
package client
