package bench

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/mixer/layout"
)

// The sizes in which senders that obey the server have their clip: its own, and
// those below on the ladder by which servers ask. What is made once is kept in
// the directory of the clips.

// rungHeights are the ladder's, of 16:9, the highest first.
var rungHeights = []int{720, 540, 360, 240, 180, 120, 90}

// slowRung and below are sent at slowFPS, as servers ask for thumbnails.
const slowRung, slowFPS = 120, 15

// rungs are the canvases to make of a clip of that one, the largest first.
func rungs(own layout.Canvas) []layout.Canvas {
	list := []layout.Canvas{own}
	for _, h := range rungHeights {
		if h >= own.Height {
			continue
		}
		c := layout.Canvas{Width: own.Width * h / own.Height &^ 1, Height: h, FPS: own.FPS}
		if h <= slowRung {
			c.FPS = min(c.FPS, slowFPS)
		}
		if c.Validate() == nil {
			list = append(list, c)
		}
	}
	return list
}

// sizes are a participant's pictures in every size in which they may be asked
// for, the largest first: where nobody obeys, in one.
func (s *streams) sizes(i int, numbered bool) (list []variant, err error) {
	want := rungs(s.cfg.Video)
	if !s.cfg.Uplink {
		want = want[:1]
	}
	for _, size := range want {
		c, err := s.made(i, size, numbered)
		if err != nil {
			return nil, err
		}
		list = append(list, variant{c, size})
	}
	return list, nil
}

// variant is a clip in one size.
type variant struct {
	clip *clip.Clip
	size layout.Canvas
}

// fits reports whether a target allows the variant.
func (v *variant) fits(t codec.UplinkTarget) bool {
	within := func(value, limit int) bool { return limit == 0 || value <= limit }
	return within(v.size.Width, t.Width) && within(v.size.Height, t.Height) && within(v.size.FPS, t.FPS)
}

// rungVersion goes into the names of what is kept: another way of making it
// wants another number.
const rungVersion = 1

// kept returns what was made of a clip before, or has it made and keeps it.
func (s *streams) kept(source *clip.Clip, to layout.Canvas, numbered bool, remake func() (*clip.Clip, error)) (*clip.Clip, error) {
	h := sha256.New()
	for _, u := range source.Units {
		_ = binary.Write(h, binary.LittleEndian, []int64{int64(len(u.Data)), int64(u.Duration)}) // a hash takes anything
		h.Write(u.Data)
	}
	fmt.Fprintf(h, "%d %v %v %v %d", rungVersion, to, numbered, s.cfg.Still, videoBitrateBps)
	dir := filepath.Join(s.cfg.Clips, "rungs")
	name := filepath.Join(dir, hex.EncodeToString(h.Sum(nil)[:12])+".ivf")
	if c, err := clip.Load(name); err == nil {
		return c, nil // what is broken is made anew
	}
	c, err := remake()
	if err != nil {
		return nil, err
	}
	if keep(c, to.FPS, dir, name) != nil {
		return c, nil // a directory that cannot be written costs time, each time
	}
	return clip.Load(name) // what the next will get
}

// keep writes a clip to a file in dir. Others may do the same at the same time.
func keep(c *clip.Clip, fps int, dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "making-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after a rename there is nothing left
	if err = errors.Join(clip.WriteIVF(f, c, fps), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
