package bench

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
)

// pacedSeconds is how long the paced floor is measured.
const pacedSeconds = 4

// paced measures the floor's work once more, at the pace of a room: every
// stream's next picture and one encode each 1/30 s, sound each 20 ms, and sleep
// in between. The floor's own loops run one stream after the other without a
// pause, with caches that stay warm; what the same codecs cost at a room's
// pace is what a server could reach that did nothing besides. The difference
// is the machine's, not the server's. In cores.
func (w *floorWork) paced() (cores float64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := newPacedCodecs(w)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	start, began := time.Now(), threadCPU()
	for sound, picture := 0, 0; sound < pacedSeconds*50; {
		nextSound, nextPicture := time.Duration(sound)*codec.FrameDuration, time.Duration(picture)*time.Second/30
		time.Sleep(time.Until(start.Add(min(nextSound, nextPicture)))) // the pace is what is measured
		if nextPicture <= nextSound {
			if err := c.picture(w, picture); err != nil {
				return 0, err
			}
			picture++
			continue
		}
		if err := c.sound(w, sound); err != nil {
			return 0, err
		}
		sound++
	}
	return (threadCPU() - began).Seconds() / pacedSeconds, nil
}

// pacedCodecs are those of a room, of the largest tier alone.
type pacedCodecs struct {
	videoIn  []*vp8.Decoder
	videoOut *vp8.Encoder
	audioIn  []*opus.Decoder
	audioOut []*opus.Encoder
}

func newPacedCodecs(w *floorWork) (c *pacedCodecs, err error) {
	c = &pacedCodecs{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for range w.videos {
		d, err := vp8.NewDecoder(vp8.DecoderConfig{})
		if err != nil {
			return c, err
		}
		c.videoIn = append(c.videoIn, d)
	}
	for range w.audios {
		d, err := opus.NewDecoder()
		if err != nil {
			return c, err
		}
		c.audioIn = append(c.audioIn, d)
	}
	for range w.talkers + 1 {
		e, err := opus.NewEncoder(opus.EncoderConfig{BitrateBps: floorBitrateBps, Complexity: floorComplexity})
		if err != nil {
			return c, err
		}
		c.audioOut = append(c.audioOut, e)
	}
	t := w.tiers[0]
	c.videoOut, err = vp8.NewEncoder(codec.VideoEncoderConfig{
		Width: t.Width, Height: t.Height, FPS: t.FPS, BitrateBps: t.DefaultBitrate(), TemporalLayers: floorLayers, Speed: floorSpeed,
	})
	return c, err
}

func (c *pacedCodecs) picture(w *floorWork, n int) error {
	for i, d := range c.videoIn {
		// Where a clip ends it begins anew, with its key frame.
		if err := d.Decode(w.videos[i][n%len(w.videos[i])]); err != nil {
			return err
		}
	}
	pictures := w.canvas[w.tiers[0]]
	f, err := c.videoOut.Encode(pictures[n%len(pictures)], time.Duration(n)*time.Second/30, n == 0)
	if errors.Is(err, codec.ErrDropped) {
		return nil
	}
	if err == nil {
		f.Release()
	}
	return err
}

func (c *pacedCodecs) sound(w *floorWork, n int) error {
	var pcm [codec.MaxPacketSamples]int16
	for i, d := range c.audioIn {
		if _, err := d.Decode(w.audios[i][n%len(w.audios[i])], pcm[:]); err != nil {
			return err
		}
	}
	var packet [1275]byte
	for _, e := range c.audioOut {
		if _, err := e.Encode(&w.ticks[n%len(w.ticks)], packet[:]); err != nil {
			return err
		}
	}
	return nil
}

func (c *pacedCodecs) close() error {
	var errs []error
	for _, d := range c.videoIn {
		errs = append(errs, d.Close())
	}
	for _, d := range c.audioIn {
		errs = append(errs, d.Close())
	}
	for _, e := range c.audioOut {
		errs = append(errs, e.Close())
	}
	if c.videoOut != nil {
		errs = append(errs, c.videoOut.Close())
	}
	return errors.Join(errs...)
}

// threadCPU is what the calling thread has used.
func threadCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
