package clip

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"mixdown/codec"
	"mixdown/codec/vp8"
)

// readIVF reads an IVF file: a header of 32 bytes, then for each frame its
// size, its timestamp in units of the header's time base, and its bytes.
func readIVF(r io.Reader) (*Clip, error) {
	var head [32]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: IVF header is cut off", ErrFormat)
	}
	if size := binary.LittleEndian.Uint16(head[6:]); size != 32 {
		return nil, fmt.Errorf("%w: IVF header size %d: want 32", ErrFormat, size)
	}
	if string(head[8:12]) != "VP80" {
		return nil, fmt.Errorf("%w: IVF FourCC %q: want VP80", ErrFormat, head[8:12])
	}
	rate, scale := binary.LittleEndian.Uint32(head[16:]), binary.LittleEndian.Uint32(head[20:])
	if rate == 0 || scale == 0 {
		return nil, fmt.Errorf("%w: IVF time base %d/%d: want both above 0", ErrFormat, scale, rate)
	}
	c := &Clip{
		Codec: codec.VP8,
		Width: int(binary.LittleEndian.Uint16(head[12:])), Height: int(binary.LittleEndian.Uint16(head[14:])),
	}
	tick := time.Duration(float64(time.Second) * float64(scale) / float64(rate))
	if tick < time.Millisecond {
		// A time base of 1/90000 and the like: the distance of frames then
		// comes from their timestamps alone, and the last one's is guessed.
		tick = time.Second / 30
	}
	var last uint64
	for {
		data, pts, err := readIVFFrame(r, len(c.Units))
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if n := len(c.Units); n > 0 {
			step := time.Duration(float64(pts-last) * float64(time.Second) * float64(scale) / float64(rate))
			if pts <= last || step > time.Minute || step <= 0 {
				return nil, fmt.Errorf("%w: IVF frame %d: timestamp %d after %d: want growing ones, at most a minute apart", ErrFormat, n, pts, last)
			}
			c.Units[n-1].Duration = step
		}
		last = pts
		if len(data) == 0 {
			// A frame that the encoder dropped: time passes, nothing is sent.
			// It joins the one before.
			continue
		}
		h, err := vp8.ParseHeader(data)
		if err != nil {
			return nil, fmt.Errorf("%w: IVF frame %d: %w", ErrFormat, len(c.Units), err)
		}
		c.Units = append(c.Units, Unit{Data: data, Duration: tick, Key: h.Key})
	}
	if len(c.Units) == 0 || !c.Units[0].Key {
		return nil, fmt.Errorf("%w: IVF has no frames or does not start with a key frame", ErrFormat)
	}
	return c, nil
}

// readIVFFrame returns io.EOF at the end of the file; a frame that is cut off
// there counts as the end, since that is how a killed writer leaves a file.
func readIVFFrame(r io.Reader, n int) (data []byte, pts uint64, err error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, io.EOF
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > maxUnitBytes || n >= maxUnits {
		return nil, 0, fmt.Errorf("%w: IVF frame %d: %d bytes: want at most %d, and at most %d frames", ErrFormat, n, size, maxUnitBytes, maxUnits)
	}
	data = make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, 0, io.EOF
	}
	return data, binary.LittleEndian.Uint64(head[4:]), nil
}

// WriteIVF writes pictures as an IVF file of that many a second. Every duration
// must be a multiple of that (to the nearest): the last one is taken for one.
func WriteIVF(w io.Writer, c *Clip, fps int) error {
	if c.Codec != codec.VP8 || fps < 1 {
		return fmt.Errorf("%w: %v at %d fps: want VP8, and 1 or more", ErrFormat, c.Codec, fps)
	}
	out := bufio.NewWriter(w)
	var head [32]byte
	copy(head[:], "DKIF")
	le := binary.LittleEndian
	le.PutUint16(head[6:], uint16(len(head)))
	copy(head[8:], "VP80")
	le.PutUint16(head[12:], uint16(c.Width))
	le.PutUint16(head[14:], uint16(c.Height))
	le.PutUint32(head[16:], uint32(fps))
	le.PutUint32(head[20:], 1)
	le.PutUint32(head[24:], uint32(len(c.Units)))
	_, _ = out.Write(head[:]) // Flush tells
	pts := uint64(0)
	for _, u := range c.Units {
		var frame [12]byte
		le.PutUint32(frame[:], uint32(len(u.Data)))
		le.PutUint64(frame[4:], pts)
		_, _ = out.Write(frame[:])
		_, _ = out.Write(u.Data)
		pts += uint64(max(1, (u.Duration*time.Duration(fps)+time.Second/2)/time.Second))
	}
	return out.Flush()
}
