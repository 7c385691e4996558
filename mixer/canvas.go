package mixer

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// canvas is one composed picture of a program, and its renditions. Each program
// has one that all share; a participant who wants another picture has one of
// its own, which nobody else pays for or takes. The compositor belongs to the
// compose task.
type canvas struct {
	log        *slog.Logger
	owner      *Participant // nil: the program's
	size       layout.Canvas
	compositor *video.Compositor
	renditions []*video.Rendition // largest first, in VP8
	// h264 are the same ones for those who take no VP8; none before somebody came.
	// The control loop's own.
	h264 []*video.Rendition
	// all are the renditions, and those in H.264 and the slower ones of the same
	// sizes that were ever wanted; replaced, never changed.
	all     atomic.Pointer[[]*video.Rendition]
	pool    *worker.Pool
	compose *worker.Task

	scene atomic.Pointer[video.Scene]
	info  atomic.Pointer[LayoutInfo] // nil before the first arrangement
	cost  costMeter                  // observed by the control loop
	// photos takes snapshots, when somebody asks for one.
	photos *photographer
	frames *codec.VideoPool
	// The control loop's own: what the canvas is to look like, how that was
	// solved last, and the layout that an event was last about.
	style
	plan *layout.Plan
	told *LayoutInfo
	drew bool // it needed pictures when sources were aimed last

	pts       atomic.Int64  // of the picture to be drawn next
	skipped   atomic.Uint64 // ticks that found the compose task busy
	failed    time.Duration // when drawing last failed and was logged; the task's own
	closing   atomic.Bool
	drawn     chan struct{} // closed by the compose task's last run
	drawnOnce sync.Once
	counted   bool // in the room's past; under Room.past's lock

	mu struct {
		sync.Mutex
		composing worker.Histogram
	}
}

func newCanvas(cfg Config, rc RoomConfig, owner *Participant, frames *codec.VideoPool, log *slog.Logger) (*canvas, error) {
	c := &canvas{log: log, owner: owner, size: rc.Canvas, pool: cfg.Pool, drawn: make(chan struct{}), photos: newPhotographer(), frames: frames}
	c.scene.Store(&video.Scene{})
	c.compose = worker.NewTask(c.draw)
	var err error
	if c.compositor, err = video.NewCompositor(rc.Canvas, frames, cfg.Labels); err != nil {
		return nil, err
	}
	for _, tier := range rc.Tiers {
		rendition, err := newRendition(cfg, tier, codec.VP8, frames, log)
		if err != nil {
			return nil, err
		}
		c.renditions = append(c.renditions, rendition)
	}
	c.all.Store(&c.renditions)
	return c, nil
}

func newRendition(cfg Config, tier video.Tier, of codec.Codec, frames *codec.VideoPool, log *slog.Logger) (*video.Rendition, error) {
	return video.NewRendition(video.RenditionConfig{
		Tier: tier, Codec: of, NewEncoder: cfg.Codecs.encoder(of), Pool: cfg.Pool, Frames: frames, Log: log,
		Epoch: cfg.passing.epoch, OnPassthrough: cfg.passing.wake,
	})
}

// defaultTiers are the canvas itself, half and a quarter of its size, the last
// at half the rate: for a 1280x720@30 canvas 640x360@30 and 320x180@15.
func defaultTiers(c layout.Canvas) []video.Tier {
	tiers := []video.Tier{{Width: c.Width, Height: c.Height, FPS: c.FPS}}
	for divisor, fps := 2, c.FPS; divisor <= 4; divisor, fps = divisor*2, max(1, c.FPS/2) {
		t := video.Tier{Width: c.Width / divisor &^ 1, Height: c.Height / divisor &^ 1, FPS: fps}
		if t.Validate() != nil {
			break
		}
		tiers = append(tiers, t)
	}
	return tiers
}

// top is the rendition of the largest tier.
func (c *canvas) top() *video.Rendition { return c.renditions[0] }

// renditionFor returns the largest rendition that is within limits, or the
// smallest when none is.
func (c *canvas) renditionFor(l Limits) *video.Rendition { return largestFor(c.renditions, l) }

func largestFor(renditions []*video.Rendition, l Limits) *video.Rendition {
	i := slices.IndexFunc(renditions, func(r *video.Rendition) bool { return l.allow(r.Tier()) })
	if i < 0 {
		i = len(renditions) - 1
	}
	return renditions[i]
}

// renditionsIn returns the renditions in that codec, largest first. They are made
// when they are first wanted, and shared; unwatched, they cost nothing. Control
// loop only.
func (c *canvas) renditionsIn(of codec.Codec, r *Room) []*video.Rendition {
	if of != codec.H264 || r.cfg.Codecs.H264Encoder == nil {
		return c.renditions
	}
	if c.h264 != nil {
		return c.h264
	}
	for _, like := range c.renditions {
		rendition, err := newRendition(r.cfg, like.Tier(), of, r.frames, c.log)
		if err != nil { // nothing of it can be wrong that was not with its like
			c.log.Error("a rendition in H.264", "tier", like.Tier().String(), "error", err)
			return c.renditions
		}
		c.h264 = append(c.h264, rendition)
	}
	c.add(c.h264...)
	return c.h264
}

// add makes renditions be written to. Control loop only.
func (c *canvas) add(renditions ...*video.Rendition) {
	all := append(slices.Clone(*c.all.Load()), renditions...)
	c.all.Store(&all)
}

// watched reports whether anybody takes the canvas.
func (c *canvas) watched() bool {
	return slices.ContainsFunc(*c.all.Load(), func(r *video.Rendition) bool { return r.Stats().Subscribers > 0 })
}

// tick starts the drawing of the canvas of that time, if anybody needs it. When
// the last one is not finished the tick is lost: nothing queues up.
func (c *canvas) tick(pts time.Duration) {
	if !c.draws() {
		return
	}
	c.pts.Store(int64(pts))
	if !c.pool.Submit(c.compose, codec.Now()+time.Second/time.Duration(c.size.FPS)/2) {
		c.skipped.Add(1)
	}
}

// draw is the compose task: it draws the canvas and hands it to the renditions.
func (c *canvas) draw() {
	if c.closing.Load() {
		c.drawnOnce.Do(func() { close(c.drawn) })
		return
	}
	now, pts := codec.Now(), time.Duration(c.pts.Load())
	scene := c.scene.Load()
	picture, changed, err := c.compositor.Draw(scene, now, pts)
	if err != nil {
		// Busy buffers are counted where they are; the encoders' own counters
		// tell why.
		if !errors.Is(err, video.ErrCanvasBusy) && now-c.failed > time.Second {
			c.failed = now
			c.log.Error("drawing the canvas", "error", err)
		}
		return
	}
	for _, r := range *c.all.Load() {
		r.Write(picture, changed)
	}
	c.photos.take(picture, scene, c.frames, now)
	picture.Release()
	c.mu.Lock()
	c.mu.composing.Observe(codec.Now() - now)
	c.mu.Unlock()
}

// cpu is what drawing and encoding have used.
func (c *canvas) cpu() CPUTime {
	used := CPUTime{Compose: c.compose.CPU()}
	for _, r := range *c.all.Load() {
		used.Encode += r.CPU()
	}
	return used
}

// stats counts what the canvas did.
func (c *canvas) stats() Stats {
	c.mu.Lock()
	composing := c.mu.composing
	c.mu.Unlock()
	s := Stats{
		ComposeSkipped: c.skipped.Load(), Canvas: c.compositor.Stats(), Composing: composing, CPU: c.cpu(),
		Renditions: make(map[RenditionKind]video.RenditionStats),
	}
	for _, r := range *c.all.Load() {
		kind := RenditionKind{r.Tier(), r.Codec()}
		sum := s.Renditions[kind] // two tiers of a room may be alike
		addRendition(&sum, r.Stats())
		s.Renditions[kind] = sum
	}
	return s
}

// close ends the renditions and frees the canvas. Should the video loop still
// tick it, nothing is drawn.
func (c *canvas) close() {
	for _, r := range *c.all.Load() {
		r.Close()
	}
	c.closing.Store(true)
	c.pool.Submit(c.compose, codec.Now())
	select {
	case <-c.drawn:
	case <-c.pool.Done(): // the task never runs again
	}
	c.compositor.Close()
}
