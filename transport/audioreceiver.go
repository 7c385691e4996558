package transport

import (
	"time"

	"github.com/pion/rtp"

	"mixdown/codec"
)

// maxOpusPayload is the longest Opus packet that is taken. RFC 6716 section 3.4
// allows longer ones, of several frames, but they do not fit an MTU.
const maxOpusPayload = maxPayload

// audioReceiverStats counts since the receiver was made.
type audioReceiverStats struct {
	Packets, Bytes uint64 // taken, payload only
	Padding        uint64 // packets without payload
	Oversize       uint64 // payload over 1500 bytes
	Stray          uint64 // far off in sequence numbers, ignored
	Restarts       uint64 // senders that started anew
	Redundant      uint64 // lost packets that came as redundancy
	MalformedRED   uint64 // packets of redundancy that cannot be read, dropped
}

// An audioReceiver turns the RTP packets of one Opus stream, with or without
// redundancy around them (RFC 2198), into frames with unwrapped numbers. It
// keeps no packets: order, duplicates and loss are the playout's affair, which
// conceals instead of asking again. It is not safe for concurrent use and does
// not block.
type audioReceiver struct {
	stats  audioReceiverStats
	seq    seqTracker
	media  mediaClock
	sender senderClock
	stream codec.StreamID
	came   redLog

	blocks [maxREDBlocks]redBlock            // scratch
	frames [maxREDBlocks]*codec.EncodedFrame // scratch
}

func newAudioReceiver() *audioReceiver {
	return &audioReceiver{
		media:  mediaClock{rate: audioClockRate},
		sender: senderClock{rate: audioClockRate},
		stream: codec.NewStreamID(),
	}
}

// senderReport tells the pair of a sender report (RFC 3550 section 6.4.1).
func (r *audioReceiver) senderReport(ntp codec.NTPTime, rtpTime uint32) {
	r.sender.report(ntp, rtpTime)
}

// push takes one packet, without its padding, that came at now. The frame has
// one reference, which is the caller's, and its own copy of the payload. It is
// nil for packets without sound and for strays.
func (r *audioReceiver) push(h *rtp.Header, payload []byte, level codec.AudioLevel, now time.Duration) *codec.EncodedFrame {
	switch {
	case len(payload) == 0:
		// The number is used up: the playout sees a hole without sound in it,
		// which costs one concealed frame at worst.
		r.stats.Padding++
		if seq, verdict := r.seq.unwrap(h.SequenceNumber); verdict == seqOK {
			r.came.note(seq, h.Timestamp)
		}
		return nil
	case len(payload) > maxOpusPayload:
		r.stats.Oversize++
		return nil
	}
	seq, verdict := r.seq.unwrap(h.SequenceNumber)
	switch verdict {
	case seqStray:
		r.stats.Stray++
		return nil
	case seqRestart:
		r.stats.Restarts++
		r.stream = codec.NewStreamID()
		r.media.restart()
		r.sender.valid = false
		r.came = redLog{}
	}
	r.came.note(seq, h.Timestamp)
	r.stats.Packets++
	r.stats.Bytes += uint64(len(payload))
	f := r.frame(seq, payload, now)
	f.PTS, f.Capture = r.media.pts(h.Timestamp, now), r.sender.capture(h.Timestamp)
	f.Level = level
	return f
}

func (r *audioReceiver) frame(seq int64, data []byte, now time.Duration) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(len(data))
	f.Data = append(f.Data, data...)
	f.Codec, f.Stream, f.Seq, f.Arrival = codec.Opus, r.stream, seq, now
	return f
}

// pushRED is push for a packet with redundancy, whose blocks are Opus where
// their payload type is pt. It returns the packets of which none has come
// before, oldest first, then the packet's own; the level is only that one's.
// The slice is valid until the next call, the references are the caller's.
func (r *audioReceiver) pushRED(h *rtp.Header, payload []byte, pt uint8, level codec.AudioLevel, now time.Duration) []*codec.EncodedFrame {
	blocks, ok := parseRED(r.blocks[:0], payload)
	if !ok || blocks[len(blocks)-1].pt != pt {
		r.stats.MalformedRED++
		return nil
	}
	last := len(blocks) - 1
	primary := r.push(h, blocks[last].data, level, now)
	if primary == nil {
		return nil
	}
	frames := r.frames[:0]
	for _, b := range blocks[:last] {
		if b.pt != pt || len(b.data) == 0 || b.offset == 0 {
			continue
		}
		timestamp := h.Timestamp - b.offset
		seq, missed := r.came.place(primary.Seq, timestamp, opusTicks(b.data))
		if !missed {
			continue
		}
		r.came.note(seq, timestamp)
		r.stats.Redundant++
		f := r.frame(seq, b.data, now)
		f.PTS, f.Capture = r.media.before(timestamp), r.sender.capture(timestamp)
		f.Redundant = true
		frames = append(frames, f)
	}
	return append(frames, primary)
}

// parseAudioLevel reads the client-to-mixer audio level extension (RFC 6464
// section 3); the level is not Valid when ext is empty.
func parseAudioLevel(ext []byte) codec.AudioLevel {
	if len(ext) == 0 {
		return codec.AudioLevel{}
	}
	return codec.AudioLevel{DBov: ext[0] & 0x7f, Voice: ext[0]&0x80 != 0, Valid: true}
}
