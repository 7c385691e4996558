package ogg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
)

// ErrOrder says that a packet begins before the one before it ends. Nothing was
// written.
var ErrOrder = errors.New("packet out of order")

const (
	// pageSamples is how much sound goes into a page: a header of 28 bytes each
	// 100 ms, and nobody waits longer than that.
	pageSamples = codec.SampleRate / 10
	// maxLacing is how many lengths a page can hold (RFC 3533 section 6).
	maxLacing = 255
	// maxFill bounds the packets that stand in for missing ones: for a minute,
	// of 20 ms each. What is missing beyond is missing from the time as well.
	maxFill = 3000
	// defaultPreSkip is libopus's lookahead outside its low-delay mode.
	defaultPreSkip = 312
)

// WriterConfig says what a stream begins with.
type WriterConfig struct {
	// Channels is 1 or 2. Defaults to 1.
	Channels int
	// PreSkip is the encoder's lookahead in samples at 48 kHz, 1..65535. Defaults
	// to 312, libopus's own.
	PreSkip int
	// Serial tells the stream from others that may be put into one file.
	Serial uint32
	// Vendor names who made the stream. Defaults to "mixdown".
	Vendor string
}

// Writer makes a stream of Opus packets, one after the other, in pages of 100
// ms. It does no I/O, and is not safe for concurrent use.
type Writer struct {
	cfg     WriterConfig
	started bool
	toc     byte          // of the last packet, as one of no bytes would have it
	next    time.Duration // when the last packet ends

	number  uint32 // of the next page
	granule int64  // samples in all packets so far
	paged   int64  // of these, in pages that were written
	lacing  []byte // of the page that is being filled
	body    []byte
	closed  bool
}

// NewWriter checks cfg. The error names the field.
func NewWriter(cfg WriterConfig) (*Writer, error) {
	if cfg.Channels == 0 {
		cfg.Channels = 1
	}
	if cfg.PreSkip == 0 {
		cfg.PreSkip = defaultPreSkip
	}
	if cfg.Vendor == "" {
		cfg.Vendor = "mixdown"
	}
	switch {
	case cfg.Channels < 1 || cfg.Channels > 2:
		return nil, fmt.Errorf("ogg: Channels: %d: want 1 or 2", cfg.Channels)
	case cfg.PreSkip < 0 || cfg.PreSkip > 0xffff:
		return nil, fmt.Errorf("ogg: PreSkip: %d: want 1..65535", cfg.PreSkip)
	case len(cfg.Vendor) > 64:
		return nil, fmt.Errorf("ogg: Vendor: %d bytes: want at most 64", len(cfg.Vendor))
	}
	return &Writer{cfg: cfg}, nil
}

// Append takes the packet that begins at pts, and appends to dst what is to be
// sent now, which may be nothing. The first packet may begin at any time. Where
// some are missing, packets without content take their place, which decoders
// conceal (RFC 7845 section 4.1), so that the stream goes on as long as time
// does. It copies the packet. [ErrOrder]; an error of [opus.Duration] for what
// is no packet; dst is returned in any case.
func (w *Writer) Append(dst, packet []byte, pts time.Duration) ([]byte, error) {
	samples, err := opus.Duration(packet)
	if err != nil {
		return dst, fmt.Errorf("ogg: %w", err)
	}
	length := durationOf(samples)
	if !w.started {
		dst = w.begin(dst)
		w.started, w.next = true, pts
	}
	// Time in frames of 20 ms needs no better than half of one.
	gap := pts - w.next
	if gap < -length/2 {
		return dst, fmt.Errorf("ogg: %w: it begins %v before the end of the last", ErrOrder, -gap)
	}
	if w.granule > 0 {
		dst = w.fill(dst, gap)
	}
	w.toc = packet[0] &^ 3 // code 0: one frame
	w.next = pts + length
	return w.put(dst, packet, int64(samples)), nil
}

// fill stands in for packets that are missing.
func (w *Writer) fill(dst []byte, gap time.Duration) []byte {
	empty := [1]byte{w.toc}
	samples, _ := opus.Duration(empty[:]) // a byte like those before it
	length := durationOf(samples)
	for n := 0; n < maxFill && gap >= length/2; n++ {
		dst = w.put(dst, empty[:], int64(samples))
		gap -= length
	}
	return dst
}

// put adds a packet to the page, which it writes when it is full.
func (w *Writer) put(dst, packet []byte, samples int64) []byte {
	if len(w.lacing)+len(packet)/255+1 > maxLacing {
		dst = w.page(dst, 0)
	}
	for range len(packet) / 255 {
		w.lacing = append(w.lacing, 255)
	}
	w.lacing = append(w.lacing, byte(len(packet)%255))
	w.body = append(w.body, packet...)
	w.granule += samples
	if w.granule-w.paged >= pageSamples {
		dst = w.page(dst, 0)
	}
	return dst
}

// Close appends what is left, marked as the last page. Without a packet there is
// no stream, and nothing is appended. Twice is fine; Append must not follow.
func (w *Writer) Close(dst []byte) []byte {
	if w.closed || !w.started {
		return dst
	}
	w.closed = true
	return w.page(dst, flagLast)
}

// begin writes the two headers, each in a page of its own.
func (w *Writer) begin(dst []byte) []byte {
	head := append([]byte("OpusHead"), 1, byte(w.cfg.Channels))
	head = binary.LittleEndian.AppendUint16(head, uint16(w.cfg.PreSkip))
	head = binary.LittleEndian.AppendUint32(head, codec.SampleRate)
	head = append(head, 0, 0, 0) // gain, channel mapping family 0
	tags := binary.LittleEndian.AppendUint32([]byte("OpusTags"), uint32(len(w.cfg.Vendor)))
	tags = append(tags, w.cfg.Vendor...)
	tags = append(tags, 0, 0, 0, 0) // no comments
	for i, packet := range [][]byte{head, tags} {
		w.lacing, w.body = append(w.lacing, byte(len(packet))), append(w.body, packet...)
		flags := byte(0)
		if i == 0 {
			flags = flagFirst
		}
		dst = w.page(dst, flags)
	}
	return dst
}

// page writes what has been collected (RFC 3533 section 6).
func (w *Writer) page(dst []byte, flags byte) []byte {
	at := len(dst)
	dst = append(dst, "OggS\x00"...)
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(w.granule))
	dst = binary.LittleEndian.AppendUint32(dst, w.cfg.Serial)
	dst = binary.LittleEndian.AppendUint32(dst, w.number)
	dst = append(dst, 0, 0, 0, 0, byte(len(w.lacing)))
	dst = append(append(dst, w.lacing...), w.body...)
	binary.LittleEndian.PutUint32(dst[at+22:], checksum(dst[at:]))
	w.number++
	w.paged = w.granule
	w.lacing, w.body = w.lacing[:0], w.body[:0]
	return dst
}

// durationOf is how long so many samples at 48 kHz last.
func durationOf(samples int) time.Duration {
	return time.Duration(samples) * time.Second / codec.SampleRate
}
