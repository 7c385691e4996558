// Package transporttest is a bad network in user space, for tests: loss,
// delay, jitter, reordering, duplicates, a bottleneck whose rate changes,
// outages and changes of address, all seeded.
//
// A [Spec] says what the network does, and can be read from a string with
// [ParseSpec]. A [Link] applies it to packets of any kind under a clock that
// the test turns:
//
//	spec, err := transporttest.ParseSpec("loss=5%,burst=3,delay=30ms")
//	...
//	link := transporttest.NewLink[[]byte](spec, 1)
//	link.Push(packet, len(packet), now)
//	for p, ok := link.Pop(now); ok; p, ok = link.Pop(now) { ... }
//
// [WrapPacketConn] applies it to a socket in real time, so that whole clients
// can be put behind it:
//
//	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
//	...
//	bad := transporttest.WrapPacketConn(conn, in, out, 1)
//	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: bad})
package transporttest
