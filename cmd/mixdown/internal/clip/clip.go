// Package clip holds coded pictures and sound from files in memory, cut into
// the units that a sender sends, and plays them in a loop.
//
// A [Clip] is immutable: any number of players may share one, which is what
// lets a benchmark send nine streams from a few megabytes.
package clip

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mixdown/codec"
)

// ErrFormat says that a file is not what it should be; the wrapping error
// names the field and where it is.
var ErrFormat = errors.New("bad clip")

// Bounds on what a file may ask for. They are far above anything useful and
// keep a broken length field from eating the memory.
const (
	maxUnitBytes = 4 << 20
	maxClipBytes = 512 << 20
	maxUnits     = 1 << 20
)

// Unit is one coded picture or one packet of sound.
type Unit struct {
	// Data belongs to the clip: read it, do not keep or change it.
	Data []byte
	// Duration until the next unit, > 0. Only live pictures have 0: nobody
	// knows when the next one comes.
	Duration time.Duration
	// Key says that a decoder can start here. Always true for sound.
	Key bool
	// Level of sound, for the RFC 6464 header extension; not Valid when
	// nobody has measured it. See [Clip.Measure].
	Level codec.AudioLevel
}

// Clip is the content of one file.
type Clip struct {
	Codec codec.Codec
	// Width and Height as the file's header says; 0 for sound.
	Width, Height int
	// Units has at least one element, the first of which is Key.
	Units []Unit
}

// Duration is the time until the clip begins again.
func (c *Clip) Duration() time.Duration {
	var d time.Duration
	for i := range c.Units {
		d += c.Units[i].Duration
	}
	return d
}

// Bytes is the size of all units together.
func (c *Clip) Bytes() int {
	n := 0
	for i := range c.Units {
		n += len(c.Units[i].Data)
	}
	return n
}

// Load reads an IVF file with VP8 or an Ogg file with Opus; which one is told
// by its first bytes, not by its name.
func Load(path string) (*Clip, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Read is [Load] for something that is open already. It reads to the end.
func Read(r io.Reader) (*Clip, error) {
	in := bufio.NewReaderSize(io.LimitReader(r, maxClipBytes), 64<<10)
	magic, err := in.Peek(4)
	switch {
	case bytes.Equal(magic, []byte("DKIF")):
		return readIVF(in)
	case bytes.Equal(magic, []byte("OggS")):
		return readOgg(in)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	}
	return nil, fmt.Errorf("%w: starts with %q: want an IVF file with VP8 or an Ogg file with Opus", ErrFormat, magic)
}

// Player walks through a clip, over and over. It is not safe for concurrent use.
type Player struct {
	clip *Clip
	next int
}

// Play returns a player at the clip's start.
func (c *Clip) Play() *Player { return &Player{clip: c} }

// Next returns the next unit, the first one again after the last.
func (p *Player) Next() Unit {
	u := p.clip.Units[p.next]
	p.next = (p.next + 1) % len(p.clip.Units)
	return u
}

// Restart makes the next unit the clip's first, which is a key frame: a
// stored clip's way of answering a request for one.
func (p *Player) Restart() { p.next = 0 }
