package ogg

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Flags of a page (RFC 3533 section 6).
const (
	flagContinued = 1 << iota
	flagFirst
	flagLast
)

const (
	pageHeadBytes = 27
	maxPageBytes  = pageHeadBytes + 255 + 255*255
)

// page is one page, whose memory is used for the next one again.
type page struct {
	index   int // in the file, for messages
	flags   byte
	granule int64
	serial  uint32
	number  uint32
	lacing  []byte // lengths; 255 says that the packet goes on
	body    []byte

	pages int
	buf   [maxPageBytes]byte
}

// continued reports whether the page begins in the middle of a packet.
func (p *page) continued() bool { return p.flags&flagContinued != 0 }

// packets is how many packets end in the page.
func (p *page) packets() int {
	n := 0
	for _, l := range p.lacing {
		if l < 255 {
			n++
		}
	}
	return n
}

// fault is an error about the page.
func (p *page) fault(format string, args ...any) error {
	return fmt.Errorf("%w: page %d: "+format, append([]any{ErrFormat, p.index}, args...)...)
}

// read reads the next page, [io.EOF] when there is none. After an error the
// page is as it was but for its memory.
func (p *page) read(src io.Reader) error {
	cutOff := func(err error) error {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return fmt.Errorf("%w: page %d: it is cut off: %w", ErrFormat, p.pages, io.ErrUnexpectedEOF)
		}
		return err
	}
	head := p.buf[:pageHeadBytes]
	if n, err := io.ReadFull(src, head); err == io.EOF {
		return io.EOF
	} else if err != nil && (n < 4 || string(head[:4]) == "OggS") {
		return cutOff(err)
	}
	if string(head[:4]) != "OggS" {
		return fmt.Errorf("%w: page %d starts with %q: want %q; %s", ErrFormat, p.pages, head[:4], "OggS", convert)
	}
	if version := head[4]; version != 0 {
		return fmt.Errorf("%w: page %d: version %d: want 0", ErrFormat, p.pages, version)
	}
	lacing := p.buf[pageHeadBytes : pageHeadBytes+int(head[26])]
	if _, err := io.ReadFull(src, lacing); err != nil {
		return cutOff(err)
	}
	size := 0
	for _, l := range lacing {
		size += int(l)
	}
	begin := pageHeadBytes + len(lacing)
	body := p.buf[begin : begin+size]
	if _, err := io.ReadFull(src, body); err != nil {
		return cutOff(err)
	}
	want := binary.LittleEndian.Uint32(head[22:])
	clear(head[22:26])
	if got := checksum(p.buf[:begin+size]); got != want {
		return fmt.Errorf("%w: page %d: checksum %08x, and %08x of what is there: the file is damaged", ErrFormat, p.pages, want, got)
	}
	p.index = p.pages
	p.pages++
	p.flags = head[5]
	p.granule = int64(binary.LittleEndian.Uint64(head[6:]))
	p.serial = binary.LittleEndian.Uint32(head[14:])
	p.number = binary.LittleEndian.Uint32(head[18:])
	p.lacing, p.body = lacing, body
	return nil
}

// crcTable is of the polynomial 0x04c11db7, the highest bit first, which no
// table of hash/crc32 is.
var crcTable = func() (t [256]uint32) {
	for i := range t {
		crc := uint32(i) << 24
		for range 8 {
			carry := crc >> 31
			crc = crc<<1 ^ carry*0x04c11db7
		}
		t[i] = crc
	}
	return t
}()

// checksum is that of a page whose own field is zero (RFC 3533 section 6).
func checksum(b []byte) uint32 {
	var crc uint32
	for _, x := range b {
		crc = crc<<8 ^ crcTable[byte(crc>>24)^x]
	}
	return crc
}
