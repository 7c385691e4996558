package ogg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"mixdown/codec/opus"
)

// ErrFormat says that a file is not what [NewReader] takes; the wrapping error
// names the fault.
var ErrFormat = errors.New("bad Ogg file")

const (
	// maxPacketBytes is what the longest packet of one stream takes, 48 frames
	// of 2.5 ms, rounded up (RFC 7845 section 6).
	maxPacketBytes = 61440
	// maxTagBytes bounds the second header, which may hold a picture and is
	// skipped.
	maxTagBytes = 16 << 20

	// convert is how anything becomes what is wanted.
	convert = "make one with: ffmpeg -i FILE -vn -ac 1 -c:a libopus -b:a 32k FILE.ogg"
)

// Head is the identification header (RFC 7845 section 5.1).
type Head struct {
	// Channels is 1 or 2. A decoder gives either as mono or stereo, as it was
	// made.
	Channels int
	// PreSkip is how many samples at 48 kHz at the start are not to be heard:
	// the decoder needs them to settle. [Packet] has it accounted for.
	PreSkip int
	// InputRate is the rate in Hz of what was encoded, for information; 0 is
	// unknown.
	InputRate int
	// GainDB is to be added to what the decoder gives.
	GainDB float64
}

// Packet is one Opus packet.
type Packet struct {
	// Data belongs to the reader and is valid until the next call of Next. It
	// is never empty, and its framing is sound.
	Data []byte
	// Samples is how many samples at 48 kHz it decodes to, 120 to 5760.
	Samples int
	// Of these, From to To are to be heard: all of them, but for the first
	// packets (pre-skip) and the last ones (end trimming, RFC 7845 section
	// 4.4). A packet of which nothing is heard must be decoded all the same.
	From, To int
}

// Reader reads one file. It holds about 130 kB, and is not safe for concurrent
// use.
type Reader struct {
	src    io.Reader
	page   page
	serial uint32
	head   Head

	partial []byte // a packet that goes on in the next page
	queue   []Packet
	next    int   // of queue
	skip    int   // samples that are still to be skipped
	offset  int64 // granule position minus samples, at the stream's start
	samples int64 // in all pages so far
	granule int64 // of the last page
	err     error // sticky
}

// NewReader reads the two headers, which begin the file. It blocks as src
// does, and reads no further than the page it needs.
func NewReader(src io.Reader) (*Reader, error) {
	r := &Reader{src: src}
	if err := r.readHead(); err != nil {
		return nil, err
	}
	if err := r.readTags(); err != nil {
		return nil, err
	}
	r.skip = r.head.PreSkip
	return r, nil
}

// Head returns the identification header.
func (r *Reader) Head() Head { return r.head }

// Next returns the next packet, [io.EOF] after the last one. A file that ends
// after a whole page without saying that this was the last one is taken to end
// there; one that ends within a page is an error. Errors are final.
func (r *Reader) Next() (Packet, error) {
	for r.next == len(r.queue) && r.err == nil {
		r.err = r.readPage()
	}
	if r.next == len(r.queue) {
		return Packet{}, r.err
	}
	p := r.queue[r.next]
	r.next++
	return p, nil
}

// readHead reads the first page, which must hold OpusHead and nothing else.
func (r *Reader) readHead() error {
	if err := r.page.read(r.src); err == io.EOF {
		return fmt.Errorf("%w: it is empty", ErrFormat)
	} else if err != nil {
		return err
	}
	p := &r.page
	if p.flags&flagFirst == 0 {
		return p.fault("it does not begin a stream: the start of the file is missing")
	}
	if !bytes.HasPrefix(p.body, []byte("OpusHead")) {
		return p.fault("a stream of %s: want Opus; %s", formatOf(p.body), convert)
	}
	if len(p.lacing) == 0 || p.lacing[len(p.lacing)-1] == 255 || p.packets() != 1 {
		return p.fault("OpusHead is not alone in its page")
	}
	var err error
	if r.head, err = parseHead(p.body); err != nil {
		return p.fault("%w", err)
	}
	r.serial = p.serial
	return nil
}

// formatOf names what is in other people's files.
func formatOf(body []byte) string {
	for _, f := range []struct{ magic, name string }{
		{"\x01vorbis", "Vorbis"}, {"\x80theora", "Theora (video)"}, {"Speex   ", "Speex"}, {"\x7fFLAC", "FLAC"},
		{"fishead\x00", "Skeleton (video)"}, {"OVP80", "VP8 (video)"},
	} {
		if bytes.HasPrefix(body, []byte(f.magic)) {
			return f.name
		}
	}
	return fmt.Sprintf("something that starts with %q", body[:min(len(body), 8)])
}

// parseHead reads OpusHead. Its faults do not wrap ErrFormat yet.
func parseHead(b []byte) (Head, error) {
	if len(b) < 19 {
		return Head{}, fmt.Errorf("OpusHead has %d bytes: want 19", len(b))
	}
	h := Head{
		Channels:  int(b[9]),
		PreSkip:   int(binary.LittleEndian.Uint16(b[10:])),
		InputRate: int(binary.LittleEndian.Uint32(b[12:])),
		GainDB:    float64(int16(binary.LittleEndian.Uint16(b[16:]))) / 256,
	}
	switch version, family := b[8], b[18]; {
	case version>>4 != 0:
		return Head{}, fmt.Errorf("OpusHead version %d: want 1", version)
	case h.Channels < 1 || h.Channels > 2:
		return Head{}, fmt.Errorf("OpusHead channels %d: want 1 or 2; %s", h.Channels, convert)
	case family != 0:
		return Head{}, fmt.Errorf("OpusHead channel mapping %d: want 0; %s", family, convert)
	}
	return h, nil
}

// readTags skips the second header, which may take several pages but ends one.
func (r *Reader) readTags() error {
	for bytesRead := 0; ; {
		if err := r.nextPage(); err == io.EOF {
			return fmt.Errorf("%w: it ends before OpusTags", ErrFormat)
		} else if err != nil {
			return err
		}
		p := &r.page
		if p.continued() != (bytesRead > 0) || bytesRead == 0 && !bytes.HasPrefix(p.body, []byte("OpusTags")) {
			return p.fault("want OpusTags, which follows OpusHead")
		}
		bytesRead += len(p.body)
		switch n := p.packets(); {
		case bytesRead > maxTagBytes:
			return p.fault("OpusTags has more than %d bytes; %s", maxTagBytes, convert)
		case n == 1 && p.lacing[len(p.lacing)-1] != 255:
			return nil
		case n > 0:
			return p.fault("OpusTags does not end its page")
		case p.flags&flagLast != 0:
			return p.fault("the stream ends within OpusTags")
		}
	}
}

// nextPage reads a page and checks that it belongs here.
func (r *Reader) nextPage() error {
	last, number := r.page.flags&flagLast != 0, r.page.number
	if err := r.page.read(r.src); err != nil {
		return err
	}
	switch p := &r.page; {
	case p.flags&flagFirst != 0 && last:
		return p.fault("another stream begins after the first (a chained file): keep one, or %s", convert)
	case p.flags&flagFirst != 0, p.serial != r.serial:
		return p.fault("a second stream (a multiplexed file, with pictures?): keep one, or %s", convert)
	case last:
		return p.fault("it comes after the one that says it is the last")
	case p.number != number+1:
		return p.fault("it is numbered %d after %d: pages are missing", p.number, number)
	}
	return nil
}

// readPage reads a page of sound into the queue. Before a packet is handed out
// all that end in its page are known, since how much of the last ones is to be
// heard is told by the page's granule position.
func (r *Reader) readPage() error {
	r.queue, r.next = r.queue[:0], 0
	if err := r.nextPage(); err == io.EOF {
		if r.partial != nil {
			return fmt.Errorf("%w: it ends within a packet", ErrFormat)
		}
		if r.samples == 0 {
			return fmt.Errorf("%w: no packets of sound", ErrFormat)
		}
		return io.EOF
	} else if err != nil {
		return err
	}
	if err := r.cut(); err != nil {
		r.queue = r.queue[:0]
		return err
	}
	return nil
}

// cut cuts a page into packets.
func (r *Reader) cut() error {
	p := &r.page
	if p.continued() != (r.partial != nil) {
		return p.fault("flags %#x do not fit the packet before it", p.flags)
	}
	carried, begin, at, n := r.partial, 0, 0, int64(0)
	for _, l := range p.lacing {
		at += int(l)
		if len(carried)+at-begin > maxPacketBytes {
			return p.fault("a packet of more than %d bytes", maxPacketBytes)
		}
		if l == 255 {
			continue // the packet goes on
		}
		data := p.body[begin:at:at]
		if carried != nil {
			data, carried = append(carried, data...), nil
		}
		begin = at
		samples, err := opus.Duration(data)
		if err != nil {
			return p.fault("packet %d: %w", len(r.queue), err)
		}
		r.queue = append(r.queue, Packet{Data: data, Samples: samples, To: samples})
		n += int64(samples)
	}
	// What goes on must survive the page's memory.
	r.partial = nil
	if begin < at || carried != nil {
		r.partial = append(carried, p.body[begin:at]...)
	}
	if p.flags&flagLast != 0 && r.partial != nil {
		return p.fault("the stream ends within a packet")
	}
	return r.trim(n)
}

// trim takes off the page's n samples what is not to be heard (RFC 7845
// sections 4.2 to 4.5).
func (r *Reader) trim(n int64) error {
	p := &r.page
	if len(r.queue) == 0 {
		return nil // no packet ends here, so the granule position means nothing
	}
	last := p.flags&flagLast != 0
	switch {
	case p.granule < 0 || p.granule < r.granule:
		return p.fault("granule position %d after %d", p.granule, r.granule)
	case r.samples > 0:
	case p.granule >= n:
		r.offset = p.granule - n
	case !last:
		return p.fault("granule position %d, and %d samples until there", p.granule, n)
	}
	r.samples += n
	r.granule = p.granule
	if tail := r.offset + r.samples - p.granule; last && tail > 0 {
		if tail > n {
			return p.fault("granule position %d, but %d samples before this page", p.granule, r.samples-n)
		}
		for i := len(r.queue) - 1; tail > 0; i-- {
			q := &r.queue[i]
			q.To -= int(min(tail, int64(q.To)))
			tail -= int64(q.Samples)
		}
	}
	for i := range r.queue {
		q := &r.queue[i]
		q.From = min(r.skip, q.Samples)
		r.skip -= q.From
		q.From = min(q.From, q.To)
	}
	return nil
}
