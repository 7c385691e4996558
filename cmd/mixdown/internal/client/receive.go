package client

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

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
	// Arrival is when it came to the socket, on the process's clock.
	Arrival time.Duration
	// Heard is who is in it, as the server says, loudest first: CSRCs and RFC
	// 6465 levels. It is valid until the callback returns.
	Heard []codec.Contributor
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
		audioLog     reception
		videoLog     reception
		counter      audioCounter
		heard        []codec.Contributor // scratch
		pictureState pictureState
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

// takeAudio handles one packet of sound.
func (r *receiver) takeAudio(h *rtp.Header, payload []byte, size int, now time.Duration) {
	if len(payload) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.audioLog.push(h.SSRC, h.SequenceNumber, h.Timestamp, now)
	c := &r.mu.counter
	seq := r.count(c, h.SequenceNumber, h.Timestamp, size, now)
	if r.mu.onAudio == nil {
		return
	}
	r.mu.heard = appendHeard(r.mu.heard[:0], h)
	r.mu.onAudio(Packet{
		Data: payload, Seq: seq, Arrival: now, Capture: r.mu.audioClock.capture(h.Timestamp),
		PTS:   time.Duration(int32(h.Timestamp-c.first)) * time.Second / codec.SampleRate,
		Heard: r.mu.heard,
	})
}

// appendHeard reads who is in a packet and how loud (RFC 6465).
func appendHeard(dst []codec.Contributor, h *rtp.Header) []codec.Contributor {
	if len(h.CSRC) == 0 {
		return dst
	}
	levels := h.GetExtension(extCSRCLevel)
	for i, csrc := range h.CSRC {
		level := uint8(codec.Silence)
		if i < len(levels) {
			level = levels[i] & 0x7f
		}
		dst = append(dst, codec.Contributor{CSRC: csrc, LevelDBov: level})
	}
	return dst
}

// takeVideo handles one packet of the picture, or a repair of one. It returns
// what is to be asked for, valid until the next call, and whether a key frame is.
func (r *receiver) takeVideo(h *rtp.Header, payload []byte, now time.Duration) (nacks []uint16, wantKey bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := &r.mu.pictureState
	v.packet.Header, v.packet.Payload = *h, payload
	if h.PayloadType == ptRTX {
		if len(payload) < 2 {
			r.mu.video.Probes++
			return nil, false // padding
		}
		// RFC 4588 section 4: the original number before the payload.
		v.packet.SequenceNumber = uint16(payload[0])<<8 | uint16(payload[1])
		v.packet.Payload = payload[2:]
	} else {
		r.mu.videoLog.push(h.SSRC, h.SequenceNumber, h.Timestamp, now)
		v.ssrc = h.SSRC
	}
	if v.lastPLI == 0 {
		v.lastPLI = now // the stream begins with a key frame: let it come
	}
	v.now, v.askKey = now, false
	v.nack.came(v.packet.SequenceNumber, now)
	twice := r.mu.video.Duplicates
	v.assembler.push(&v.packet, now)
	if h.PayloadType == ptRTX {
		// Of what had come already: the server sees what the path carries.
		r.mu.video.Probes += r.mu.video.Duplicates - twice
		r.mu.video.Duplicates = twice
	}
	if v.askKey = r.wantKey.Swap(false) || v.askKey && now-v.lastPLI >= pliInterval; v.askKey {
		r.mu.video.PLIs++
		v.lastPLI = now
	}
	return v.nack.due(now), v.askKey
}

// pictureState is what puts pictures together.
type pictureState struct {
	assembler *assembler
	nack      nacker
	packet    rtp.Packet
	ssrc      uint32
	lastPLI   time.Duration
	now       time.Duration // of the packet that is handled
	askKey    bool
}

// init makes what holds state. It is called once, before anything comes.
func (r *receiver) init() {
	r.mu.counter.highest = -1
	r.mu.audioLog.rate, r.mu.videoLog.rate = codec.SampleRate, videoClockRate
	v := &r.mu.pictureState
	v.assembler = newAssembler(&r.mu.video, func(f Frame) {
		r.mu.pictures.add(v.now, 0)
		if r.mu.video.First == 0 {
			r.mu.video.First = v.now - r.posted
		}
		if r.mu.onVideo != nil {
			f.Capture, f.Arrival = r.mu.videoClock.capture(f.timestamp), v.now
			r.mu.onVideo(f)
		}
	}, func() { v.askKey = true })
}

// senderReport brings the clock of the report's stream up to date.
func (r *receiver) senderReport(sr *rtcp.SenderReport, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range []struct {
		log   *reception
		clock *senderClock
	}{{&r.mu.audioLog, &r.mu.audioClock}, {&r.mu.videoLog, &r.mu.videoClock}} {
		s.log.senderReport(sr.SSRC, codec.NTPTime(sr.NTPTime), now)
		if s.log.started && s.log.ssrc == sr.SSRC {
			*s.clock = senderClock{codec.NTPTime(sr.NTPTime), sr.RTPTime, s.log.rate}
		}
	}
}

// reports returns the blocks about what came.
func (r *receiver) reports(now time.Duration) (blocks []rtcp.ReceptionReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, log := range []*reception{&r.mu.audioLog, &r.mu.videoLog} {
		if b, ok := log.report(now); ok {
			blocks = append(blocks, b)
		}
	}
	return blocks
}
