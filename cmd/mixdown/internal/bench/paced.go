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
// stream's next picture and the canvas's encode when they are due, sound each 20
// ms, and sleep in between. The floor's own loops run one stream after the other without a
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
	rhythms := []rhythm{{every: codec.FrameDuration, do: c.sound}}
	if c.videoOut != nil && len(w.videos) > 0 {
		rhythms = append(rhythms, rhythm{every: time.Duration(float64(time.Second) / w.fps()), do: c.decode})
	}
	if c.videoOut != nil {
		rhythms = append(rhythms, rhythm{every: time.Second / time.Duration(w.tiers[0].FPS), do: c.encode})
	}
	start, began := time.Now(), threadCPU()
	for {
		next := &rhythms[0]
		for i := range rhythms {
			if rhythms[i].due() < next.due() {
				next = &rhythms[i]
			}
		}
		if next.due() >= pacedSeconds*time.Second {
			return (threadCPU() - began).Seconds() / pacedSeconds, nil
		}
		time.Sleep(time.Until(start.Add(next.due()))) // the pace is what is measured
		if err := next.do(w, next.n); err != nil {
			return 0, err
		}
		next.n++
	}
}

// rhythm is work that comes again and again.
type rhythm struct {
	every time.Duration
	n     int // how often it was done
	do    func(w *floorWork, n int) error
}

func (r *rhythm) due() time.Duration { return time.Duration(r.n) * r.every }

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
	if len(w.tiers) == 0 {
		return c, nil
	}
	t := w.tiers[0]
	c.videoOut, err = vp8.NewEncoder(codec.VideoEncoderConfig{
		Width: t.Width, Height: t.Height, FPS: t.FPS, BitrateBps: t.DefaultBitrate(), TemporalLayers: floorLayers, Speed: floorSpeed,
	})
	return c, err
}

func (c *pacedCodecs) decode(w *floorWork, n int) error {
	for i, d := range c.videoIn {
		// Slower ones have not always got a new picture.
		share := w.rates[i] / w.fps()
		picture := int(float64(n) * share)
		if n > 0 && picture == int(float64(n-1)*share) {
			continue
		}
		// Where a clip ends it begins anew, with its key frame.
		if err := d.Decode(w.videos[i][picture%len(w.videos[i])]); err != nil {
			return err
		}
	}
	return nil
}

func (c *pacedCodecs) encode(w *floorWork, n int) error {
	pictures := w.canvas[w.tiers[0]]
	f, err := c.videoOut.Encode(pictures[n%len(pictures)], time.Duration(n)*time.Second/time.Duration(w.tiers[0].FPS), n == 0)
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
