package transport

import (
	"encoding/binary"
	"errors"
)

// Of STUN (RFC 8489 section 5) and TURN (RFC 8656 section 12.4).
const (
	stunHeader      = 20 // type, length (2 each), cookie (4), transaction id (12)
	stunCookie      = 0x2112a442
	channelHeader   = 4 // number, length
	attrLifetime    = 0x000d
	attrPeer        = 0x0012 // XOR-PEER-ADDRESS
	methodBinding   = 1
	methodAllocate  = 3
	methodRefresh   = 4
	methodSend      = 6
	methodPermit    = 8
	methodBind      = 9
	classRequest    = 0
	classIndication = 1
)

const (
	// maxTURNFrame is the largest message that is taken; it holds a packet as
	// large as networks carry, and is what pion's buffer holds.
	maxTURNFrame = 1596
	// minChannelData is the least that is carried over a channel. Nothing of
	// ICE, DTLS or SRTP is shorter, and pion's reading of streams gets stuck on it.
	minChannelData = 5
	// minLifetime in seconds is what an allocation lives unless it is ended, RFC
	// 8656 section 3.2's default. A client may not ask for less, which pion would
	// grant: see turnRelay.permit.
	minLifetime = 600
)

var (
	errNotTURN   = errors.New("neither STUN nor channel data")
	errTURNSize  = errors.New("longer than any packet")
	errTURNShort = errors.New("broken off")
)

// turnFrameSize returns how long the message is that b begins with, its padding
// on streams included (RFC 8656 section 12.5); 0 when more must be read to tell.
// An error says that b does not begin with one, so that the rest of a stream is
// lost as well.
//
// pion's own framing takes a length that overflows 16 bits for an empty message,
// and then reads it again and again without end.
func turnFrameSize(b []byte) (int, error) {
	if len(b) < channelHeader {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case b[0] < 4: // RFC 7983 section 7
		if n%4 != 0 {
			return 0, errNotTURN
		}
		if len(b) >= 8 && binary.BigEndian.Uint32(b[4:]) != stunCookie {
			return 0, errNotTURN
		}
		n += stunHeader
	case b[0] >= 64 && b[0] <= 79:
		n = channelHeader + (n+3)&^3
	default:
		return 0, errNotTURN
	}
	if n > maxTURNFrame {
		return 0, errTURNSize
	}
	return n, nil
}

// turnMessage is what there is to know of a message before it is authentic.
type turnMessage struct {
	channel       bool // channel data, else STUN
	class, method uint16
	// lifetime is what it asks for in seconds, -1 when it says nothing of that.
	lifetime int64
	// peerPort is that of the first address that it names, 0 when it names none.
	peerPort uint16
}

// parseTURN looks at one whole message; datagrams of channel data need no
// padding.
func parseTURN(b []byte) (turnMessage, error) {
	m := turnMessage{lifetime: -1}
	size, err := turnFrameSize(b)
	if err != nil {
		return m, err
	}
	if size == 0 {
		return m, errTURNShort
	}
	if b[0] >= 64 {
		m.channel = true
		if n := int(binary.BigEndian.Uint16(b[2:])); n < minChannelData || len(b) < channelHeader+n {
			return m, errTURNShort
		}
		return m, nil
	}
	if len(b) != size {
		return m, errTURNShort
	}
	kind := binary.BigEndian.Uint16(b)
	m.class = kind>>7&2 | kind>>4&1 // RFC 8489 figure 3
	m.method = kind&0xf | kind>>1&0x70 | kind>>2&0xf80
	for rest := b[stunHeader:]; len(rest) > 0; {
		if len(rest) < 4 {
			return m, errTURNShort
		}
		attr, n := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		padded := 4 + (n+3)&^3
		if padded > len(rest) {
			return m, errTURNShort
		}
		if attr == attrLifetime && m.lifetime < 0 {
			if n != 4 {
				return m, errTURNShort
			}
			m.lifetime = int64(binary.BigEndian.Uint32(rest[4:]))
		}
		if attr == attrPeer && n >= 4 && m.peerPort == 0 {
			m.peerPort = binary.BigEndian.Uint16(rest[6:]) ^ stunCookie>>16
		}
		rest = rest[padded:]
	}
	return m, nil
}

// wanted reports whether the message is one that a client of ours may send.
func (m turnMessage) wanted() bool {
	if m.channel {
		return true
	}
	if m.class == classIndication {
		return m.method == methodSend
	}
	if m.class != classRequest {
		return false
	}
	switch m.method {
	case methodBinding, methodPermit, methodBind:
		return true
	case methodAllocate:
		return m.lifetime < 0 || m.lifetime >= minLifetime
	case methodRefresh: // 0 ends the allocation
		return m.lifetime <= 0 || m.lifetime >= minLifetime
	}
	return false
}

// binds reports whether the message asks for a channel.
func (m turnMessage) binds() bool {
	return !m.channel && m.class == classRequest && m.method == methodBind
}

// greets reports whether who has no allocation may send it.
func (m turnMessage) greets() bool {
	return !m.channel && m.class == classRequest && (m.method == methodBinding || m.method == methodAllocate)
}
