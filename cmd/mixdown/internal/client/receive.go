package client

import (
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// Packet is one packet of sound as it came.
type Packet struct {
	// Data is one Opus packet, valid until the callback returns.
	Data []byte
	// PTS counts from the stream's first packet, by RTP timestamps.
	PTS time.Duration
	// Seq is the RTP sequence number, extended.
	Seq int64
}

// pliInterval is as often as a key frame is asked for at most.
const pliInterval = 500 * time.Millisecond

// receiver holds what came. Callbacks run under its lock, so that one that
// has been taken away is not running any more.
type receiver struct {
	posted time.Duration // when the offer went out

	mu struct {
		sync.Mutex
		audio, video ReceivedStats
		arrivals     Arrivals // of packets of sound
		pictures     Arrivals // of whole pictures
		onAudio      func(Packet)
		onVideo      func(Frame)
	}
}

// readAudio runs until the track ends.
func (r *receiver) readAudio(t *webrtc.TrackRemote) {
	var (
		buf     = make([]byte, 1600)
		packet  rtp.Packet
		highest int64 = -1
		first   uint32
		base    int64
	)
	for {
		n, _, err := t.Read(buf)
		if err != nil {
			return
		}
		now := codec.Now()
		if packet.Unmarshal(buf[:n]) != nil || len(packet.Payload) == 0 {
			continue
		}
		r.mu.Lock()
		s := &r.mu.audio
		s.Packets++
		s.Bytes += uint64(n)
		r.mu.arrivals.add(now)
		var seq int64
		if highest < 0 {
			base, first = int64(packet.SequenceNumber), packet.Timestamp
			seq, highest = base, base
			s.First = now - r.posted
		} else {
			seq = highest + int64(int16(packet.SequenceNumber-uint16(highest)))
			if seq > highest {
				s.Lost += uint64(seq - highest - 1)
				highest = seq
			} else {
				// It was counted as lost when its successor came.
				s.Reordered++
				s.Lost -= min(s.Lost, 1)
			}
		}
		if r.mu.onAudio != nil {
			r.mu.onAudio(Packet{
				Data: packet.Payload, Seq: seq,
				PTS: time.Duration(int32(packet.Timestamp-first)) * time.Second / codec.SampleRate,
			})
		}
		r.mu.Unlock()
	}
}

// readVideo runs until the track ends. sendPLI asks for a key frame.
func (r *receiver) readVideo(t *webrtc.TrackRemote, sendPLI func([]rtcp.Packet) error) {
	var (
		buf     = make([]byte, 1600)
		packet  rtp.Packet
		lastPLI time.Duration
		now     time.Duration
		askKey  bool
	)
	r.mu.Lock()
	a := newAssembler(&r.mu.video, func(f Frame) {
		r.mu.pictures.add(now)
		if r.mu.video.First == 0 {
			r.mu.video.First = now - r.posted
		}
		if r.mu.onVideo != nil {
			r.mu.onVideo(f)
		}
	}, func() { askKey = true })
	r.mu.Unlock()
	for {
		n, _, err := t.Read(buf)
		if err != nil {
			return
		}
		now = codec.Now()
		if packet.Unmarshal(buf[:n]) != nil {
			continue
		}
		if lastPLI == 0 {
			lastPLI = now // the stream begins with a key frame: let it come
		}
		askKey = false
		r.mu.Lock()
		a.push(&packet, now)
		if askKey = askKey && now-lastPLI >= pliInterval; askKey {
			r.mu.video.PLIs++
			lastPLI = now
		}
		r.mu.Unlock()
		if askKey {
			// It fails only while the connection closes.
			_ = sendPLI([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(t.SSRC())}})
		}
	}
}
