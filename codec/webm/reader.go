package webm

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// Faults of the bytes, as the reader sees them.
var (
	errShort   = errors.New("the file ends within an element")
	errGarbage = errors.New("not an element")
)

// reader looks at a file through a small window, so that its memory does not
// depend on the file. The first I/O error sticks in err and makes everything
// after it look like the end of the file; callers check err before they act.
type reader struct {
	src  io.ReaderAt
	size int64
	err  error

	window []byte
	at     int64 // of window[0]
}

const windowBytes = 32 << 10

func newReader(src io.ReaderAt, size int64) *reader {
	return &reader{src: src, size: size, window: make([]byte, 0, windowBytes)}
}

// bytes returns n bytes from pos on, fewer at the file's end. n is at most
// windowBytes. The slice is valid until the next call.
func (r *reader) bytes(pos int64, n int) []byte {
	if pos < 0 || pos >= r.size || r.err != nil {
		return nil
	}
	n = int(min(int64(n), r.size-pos))
	if pos < r.at || pos+int64(n) > r.at+int64(len(r.window)) {
		want := int(min(windowBytes, r.size-pos))
		got, err := r.src.ReadAt(r.window[:want], pos)
		r.at, r.window = pos, r.window[:got]
		if err != nil && !errors.Is(err, io.EOF) {
			r.err = err
			return nil
		}
	}
	from := int(pos - r.at)
	return r.window[from:min(from+n, len(r.window))]
}

// element is an element's head.
type element struct {
	id      uint32
	at      int64 // of the ID
	data    int64 // of the content
	size    int64 // of the content, or unknownSize
	sizeLen int   // bytes that hold the size
}

// end returns where the element ends. Its size must be known.
func (e element) end() int64 { return e.data + e.size }

// element reads the head at pos: errShort when the file ends first, errGarbage
// when there is none.
func (r *reader) element(pos int64) (element, error) {
	b := r.bytes(pos, 12)
	if len(b) == 0 {
		return element{}, errShort
	}
	idLen := sizeLen(b[0])
	if idLen == 0 || idLen > 4 {
		return element{}, errGarbage
	}
	if len(b) <= idLen {
		return element{}, errShort
	}
	e := element{at: pos, sizeLen: sizeLen(b[idLen])}
	for _, c := range b[:idLen] {
		e.id = e.id<<8 | uint32(c)
	}
	if e.sizeLen == 0 {
		return element{}, errGarbage
	}
	if len(b) < idLen+e.sizeLen {
		return element{}, errShort
	}
	e.data = pos + int64(idLen+e.sizeLen)
	e.size = vint(b[idLen : idLen+e.sizeLen])
	if e.size > math.MaxInt64-e.data {
		return element{}, errGarbage
	}
	return e, nil
}

// vint decodes a size (RFC 8794 section 4); all ones is unknownSize.
func vint(b []byte) int64 {
	v := uint64(b[0]) & (1<<(8-len(b)) - 1)
	for _, c := range b[1:] {
		v = v<<8 | uint64(c)
	}
	if v == 1<<(7*len(b))-1 {
		return unknownSize
	}
	return int64(v)
}

// uint reads an unsigned integer element; false when it has no usable value.
func (r *reader) uint(e element) (int64, bool) {
	if e.size < 0 || e.size > 8 {
		return 0, false
	}
	b := r.bytes(e.data, int(e.size))
	if int64(len(b)) != e.size {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return int64(v & math.MaxInt64), v <= 1<<53
}

// float reads an 8 byte float element.
func (r *reader) float(e element) (float64, bool) {
	b := r.bytes(e.data, 8)
	if e.size != 8 || len(b) != 8 {
		return 0, false
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), true
}

// children calls visit for every child of a master element of known size.
func (r *reader) children(e element, visit func(element)) error {
	for pos := e.data; pos < e.end(); {
		c, err := r.element(pos)
		if err != nil {
			return err
		}
		if c.size == unknownSize || c.end() > e.end() {
			return errGarbage
		}
		visit(c)
		pos = c.end()
	}
	return nil
}
