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
	"mixdown/mixer/audio"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// program is a common output of a room: one mix of sound, and one canvas with
// its renditions. Every room has the main one; each group that has members has
// one more. The mix belongs to the audio loop, the compositor to the compose
// task.
type program struct {
	log   *slog.Logger
	group GroupID // "" is the main program

	mix      *audio.Mix
	voices   voices        // the audio loop's own
	inputs   []*Input      // the control loop's own; replaced, never changed
	floor    atomic.Uint32 // the csrc of who has it, by the audio loop; 0 is nobody
	soundCPU atomic.Int64  // nanoseconds of processor time in audio ticks

	canvas     layout.Canvas
	compositor *video.Compositor
	renditions []*video.Rendition // largest first
	pool       *worker.Pool
	compose    *worker.Task
	scene      atomic.Pointer[video.Scene]
	layout     atomic.Pointer[LayoutInfo]
	toldLayout *LayoutInfo // the one that an event was last about; the control loop's own
	speaker    atomic.Pointer[ParticipantID]
	pts        atomic.Int64  // of the canvas to be drawn next
	skipped    atomic.Uint64 // ticks that found the compose task busy
	failed     time.Duration // when drawing last failed and was logged; the task's own
	closing    atomic.Bool
	drawn      chan struct{} // closed by the compose task's last run
	drawnOnce  sync.Once
	counted    bool // in the room's past; under Room.past's lock

	mu struct {
		sync.Mutex
		mixed     audio.MixStats // of the last tick
		composing worker.Histogram
	}
}

func newProgram(cfg Config, rc RoomConfig, group GroupID, frames *codec.VideoPool, log *slog.Logger) (*program, error) {
	g := &program{
		log: log, group: group, canvas: rc.Canvas, pool: cfg.Pool, drawn: make(chan struct{}),
	}
	if group != "" {
		g.log = log.With("group", group)
	}
	g.scene.Store(&video.Scene{})
	g.compose = worker.NewTask(g.draw)
	var err error
	if g.compositor, err = video.NewCompositor(rc.Canvas, frames, cfg.Labels); err != nil {
		return nil, err
	}
	for _, tier := range rc.Tiers {
		rendition, err := video.NewRendition(video.RenditionConfig{
			Tier: tier, NewEncoder: cfg.Codecs.VideoEncoder, Pool: cfg.Pool, Frames: frames, Log: log,
		})
		if err != nil {
			return nil, err
		}
		g.renditions = append(g.renditions, rendition)
	}
	// Last, because it owns C memory from the start.
	g.mix, err = audio.NewMix(audio.MixConfig{NewEncoder: cfg.Codecs.AudioEncoder, Classes: audioClasses})
	return g, err
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
func (g *program) top() *video.Rendition { return g.renditions[0] }

// renditionFor returns the largest rendition that is within limits, or the
// smallest when none is.
func (g *program) renditionFor(l Limits) *video.Rendition {
	fits := func(limit, value int) bool { return limit == 0 || value <= limit }
	i := slices.IndexFunc(g.renditions, func(r *video.Rendition) bool {
		t := r.Tier()
		bitrate := t.BitrateBps
		if bitrate == 0 {
			bitrate = t.DefaultBitrate()
		}
		return fits(l.MaxWidth, t.Width) && fits(l.MaxHeight, t.Height) &&
			fits(l.MaxFPS, t.FPS) && fits(l.MaxBitrateBps, bitrate)
	})
	if i < 0 {
		i = len(g.renditions) - 1
	}
	return g.renditions[i]
}

// tickVideo starts the drawing of the canvas of that time. When the last one
// is not finished the tick is lost: nothing queues up.
func (g *program) tickVideo(pts time.Duration) {
	g.pts.Store(int64(pts))
	if !g.pool.Submit(g.compose, codec.Now()+time.Second/time.Duration(g.canvas.FPS)/2) {
		g.skipped.Add(1)
	}
}

// draw is the compose task: it draws the canvas and hands it to the renditions.
func (g *program) draw() {
	if g.closing.Load() {
		g.drawnOnce.Do(func() { close(g.drawn) })
		return
	}
	now, pts := codec.Now(), time.Duration(g.pts.Load())
	canvas, changed, err := g.compositor.Draw(g.scene.Load(), now, pts)
	if err != nil {
		// Busy buffers are counted where they are; the encoders' own counters
		// tell why.
		if !errors.Is(err, video.ErrCanvasBusy) && now-g.failed > time.Second {
			g.failed = now
			g.log.Error("drawing the canvas", "error", err)
		}
		return
	}
	for _, r := range g.renditions {
		r.Write(canvas, changed)
	}
	canvas.Release()
	g.mu.Lock()
	g.mu.composing.Observe(codec.Now() - now)
	g.mu.Unlock()
}

// mixed keeps the audio loop's counters for others to read.
func (g *program) mixed(s audio.MixStats) {
	g.mu.Lock()
	g.mu.mixed = s
	g.mu.Unlock()
}

// close ends the mix and the renditions and frees the canvas. The audio loop
// has let go of the program; should the video loop still tick it, nothing is
// drawn.
func (g *program) close() {
	if err := g.mix.Close(); err != nil {
		g.log.Warn("closing a mix", "error", err)
	}
	for _, r := range g.renditions {
		r.Close()
	}
	g.closing.Store(true)
	g.pool.Submit(g.compose, codec.Now())
	select {
	case <-g.drawn:
	case <-g.pool.Done(): // the task never runs again
	}
	g.compositor.Close()
}
