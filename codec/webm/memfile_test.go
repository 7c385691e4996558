package webm

import (
	"errors"
	"io"
)

// memFile is a file in memory on a disk of limit bytes (0 is endless), which
// fails halfway through the write that does not fit, as a disk does.
type memFile struct {
	b      []byte
	limit  int
	writes int
}

var errDiskFull = errors.New("no space left on device")

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	m.writes++
	fits := len(p)
	if m.limit > 0 {
		fits = max(min(fits, m.limit-int(off)), 0)
	}
	if need := int(off) + fits; need > len(m.b) && fits > 0 {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	copy(m.b[min(int(off), len(m.b)):], p[:fits])
	if fits < len(p) {
		return fits, errDiskFull
	}
	return fits, nil
}

func (m *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memFile) Truncate(size int64) error {
	if size < int64(len(m.b)) {
		m.b = m.b[:size]
	} else {
		m.b = append(m.b, make([]byte, int(size)-len(m.b))...)
	}
	return nil
}
