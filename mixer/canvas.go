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
	renditions []*video.Rendition // largest first
	// all are the renditions and the slower ones of the same sizes that were
	// ever wanted; replaced, never changed.
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
		rendition, err := newRendition(cfg, tier, frames, log)
		if err != nil {
			return nil, err
		}
		c.renditions = append(c.renditions, rendition)
	}
	c.all.Store(&c.renditions)
	return c, nil
}

func newRendition(cfg Config, tier video.Tier, frames *codec.VideoPool, log *slog.Logger) (*video.Rendition, error) {
	return video.NewRendition(video.RenditionConfig{
		Tier: tier, NewEncoder: cfg.Codecs.VideoEncoder, Pool: cfg.Pool, Frames: frames, Log: log,
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
func (c *canvas) renditionFor(l Limits) *video.Rendition {
	i := slices.IndexFunc(c.renditions, func(r *video.Rendition) bool { return l.allow(r.Tier()) })
	if i < 0 {
		i = len(c.renditions) - 1
	}
	return c.renditions[i]
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
		Renditions: make(map[video.Tier]video.RenditionStats),
	}
	for _, r := range *c.all.Load() {
		sum := s.Renditions[r.Tier()] // two tiers of a room may be alike
		addRendition(&sum, r.Stats())
		s.Renditions[r.Tier()] = sum
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
