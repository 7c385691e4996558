package mixer

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio"
)

// program is a common output of a room: one mix of sound, and the canvas that
// all share, besides those that single members have for themselves. Every room
// has the main program; each group that has members has one more. The mix
// belongs to the audio loop.
type program struct {
	log   *slog.Logger
	group GroupID // "" is the main program

	mix      *audio.Mix
	voices   voices        // the audio loop's own
	inputs   []*Input      // the control loop's own; replaced, never changed
	floor    atomic.Uint32 // the csrc of who has it, by the audio loop; 0 is nobody
	soundCPU atomic.Int64  // nanoseconds of processor time in audio ticks
	speaker  atomic.Pointer[ParticipantID]
	// granted has the floor whoever speaks; "" is nobody. The control loop's own.
	granted ParticipantID

	// canvases are the shared one and then personal ones, in no order; the
	// control loop's own; replaced, never changed.
	canvases []*canvas
	common   *canvas // canvases[0], which never changes: any goroutine may ask
	counted  bool    // in the room's past; under Room.past's lock

	mu struct {
		sync.Mutex
		mixed audio.MixStats // of the last tick
	}
}

func newProgram(cfg Config, rc RoomConfig, looks style, group GroupID, frames *codec.VideoPool, log *slog.Logger) (*program, error) {
	g := &program{log: log, group: group}
	if group != "" {
		g.log = log.With("group", group)
	}
	shared, err := newCanvas(cfg, rc, nil, frames, g.log)
	if err != nil {
		return nil, err
	}
	shared.style = looks
	g.canvases, g.common = []*canvas{shared}, shared
	// Last, because it owns C memory from the start.
	g.mix, err = audio.NewMix(audio.MixConfig{NewEncoder: cfg.Codecs.AudioEncoder, Classes: audioClasses})
	return g, err
}

// shared is the canvas of all who have none of their own.
func (g *program) shared() *canvas { return g.common }

// canvasOf is the canvas that p watches in this program.
func (g *program) canvasOf(p *Participant) *canvas {
	if i := slices.IndexFunc(g.canvases, func(c *canvas) bool { return c.owner == p }); i > 0 {
		return g.canvases[i]
	}
	return g.shared()
}

// mixed keeps the audio loop's counters for others to read.
func (g *program) mixed(s audio.MixStats) {
	g.mu.Lock()
	g.mu.mixed = s
	g.mu.Unlock()
}

// close ends the mix and the canvases. The audio loop has let go of the
// program.
func (g *program) close() {
	if err := g.mix.Close(); err != nil {
		g.log.Warn("closing a mix", "error", err)
	}
	for _, c := range g.canvases {
		c.close()
	}
}

// soundTime is what the audio ticks have used.
func (g *program) soundTime() time.Duration { return time.Duration(g.soundCPU.Load()) }
