package client

import (
	"sync"
	"sync/atomic"
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
	// Capture is the sender's instant by its sender reports; 0 before the first.
	Capture codec.NTPTime
	// Seq is the RTP sequence number, extended.
	Seq int64
	// Arrival is when it was read from the socket, on the process's clock.
	Arrival time.Duration
}

// pliInterval is as often as a key frame is asked for at most.
const pliInterval = 500 * time.Millisecond

// receiver holds what came. Callbacks run under its lock, so that one that
// has been taken away is not running any more.
type receiver struct {
	posted  time.Duration // when the offer went out
	wantKey atomic.Bool   // somebody asked for a key frame

	mu struct {
		sync.Mutex
		audio, video ReceivedStats
		arrivals     Arrivals // of packets of sound
		pictures     Arrivals // of whole pictures
		onAudio      func(Packet)
		onVideo      func(Frame)
		audioClock   senderClock
		videoClock   senderClock
	}
}

// senderClock ties RTP timestamps to the sender's clock (RFC 3550 section 6.4.1).
type senderClock struct {
	ntp  codec.NTPTime // 0 before the first report
	rtp  uint32
	rate int64
}

func (c *senderClock) capture(ts uint32) codec.NTPTime {
	if c.ntp == 0 {
		return 0
	}
	// Reports come each second: the product stays far inside 64 bits.
	return c.ntp + codec.NTPTime(int64(int32(ts-c.rtp))<<32/c.rate)
}

// readReports keeps a clock up to date until the track ends. Reading is also
// what drives pion's receiver reports.
func (r *receiver) readReports(from *webrtc.RTPReceiver, c *senderClock, rate int64) {
	for {
		packets, _, err := from.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				r.mu.Lock()
				*c = senderClock{codec.NTPTime(sr.NTPTime), sr.RTPTime, rate}
				r.mu.Unlock()
			}
		}
	}
}

// audioCounter follows one stream of sound by its packets' headers.
type audioCounter struct {
	highest   int64 // sequence number, extended; -1 before the first packet
	first     uint32
	timestamp uint32 // of the packet with the highest number
}

// usual is the media time of a packet from the server.
const usual = codec.FrameSamples

// count enters one packet into the counters and returns its extended number.
// The caller holds r.mu.
func (r *receiver) count(c *audioCounter, number uint16, timestamp uint32, bytes int, now time.Duration) (seq int64) {
	s := &r.mu.audio
	s.Packets++
	s.Bytes += uint64(bytes)
	var paused time.Duration
	if c.highest < 0 {
		seq = int64(number)
		c.highest, c.first, c.timestamp = seq, timestamp, timestamp
		s.First = now - r.posted
	} else if seq = c.highest + int64(int16(number-uint16(c.highest))); seq > c.highest {
		// Nothing is missing and yet time has passed: that was meant.
		if left := int32(timestamp - c.timestamp - usual); seq == c.highest+1 && left > 0 {
			paused = time.Duration(left) * time.Second / codec.SampleRate
			s.Paused += paused
		}
		s.Lost += uint64(seq - c.highest - 1)
		c.highest, c.timestamp = seq, timestamp
	} else {
		// It was counted as lost when its successor came.
		s.Reordered++
		s.Lost -= min(s.Lost, 1)
	}
	r.mu.arrivals.add(now, paused)
	return seq
}

// readAudio runs until the track ends.
func (r *receiver) readAudio(t *webrtc.TrackRemote) {
	var (
		buf     = make([]byte, 1600)
		packet  rtp.Packet
		counter = audioCounter{highest: -1}
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
		seq := r.count(&counter, packet.SequenceNumber, packet.Timestamp, n, now)
		if r.mu.onAudio != nil {
			r.mu.onAudio(Packet{
				Data: packet.Payload, Seq: seq, Arrival: now, Capture: r.mu.audioClock.capture(packet.Timestamp),
				PTS: time.Duration(int32(packet.Timestamp-counter.first)) * time.Second / codec.SampleRate,
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
		r.mu.pictures.add(now, 0)
		if r.mu.video.First == 0 {
			r.mu.video.First = now - r.posted
		}
		if r.mu.onVideo != nil {
			f.Capture, f.Arrival = r.mu.videoClock.capture(f.timestamp), now
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
		if askKey = r.wantKey.Swap(false) || askKey && now-lastPLI >= pliInterval; askKey {
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
