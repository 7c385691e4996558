package codec

// Traffic is what went over a client's connection since it was made: RTP, without
// SRTP's tag, UDP and IP.
type Traffic struct {
	// SentPackets and SentBytes were given to the socket, Repairs of them because
	// the client asked for them again.
	SentPackets, SentBytes, Repairs uint64
	// SentLost is how many of the packets the client missed in the end, by its last
	// reports (RFC 3550 section 6.4.1); 0 if it sent none.
	SentLost uint64
	// ReceivedPackets and ReceivedBytes came from the client; ReceivedLost is packets
	// of pictures that never did. Those of sound only their player can count.
	ReceivedPackets, ReceivedBytes, ReceivedLost uint64
	// Restarts is further ICE sessions: changes of network.
	Restarts uint64
}

// Add counts o in.
func (t *Traffic) Add(o Traffic) {
	t.SentPackets += o.SentPackets
	t.SentBytes += o.SentBytes
	t.Repairs += o.Repairs
	t.SentLost += o.SentLost
	t.ReceivedPackets += o.ReceivedPackets
	t.ReceivedBytes += o.ReceivedBytes
	t.ReceivedLost += o.ReceivedLost
	t.Restarts += o.Restarts
}
