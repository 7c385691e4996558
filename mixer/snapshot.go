package mixer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

const (
	// snapshotLife is for how long a snapshot is given to all who ask.
	snapshotLife = time.Second
	// snapshotStep is what widths are rounded up to: so there are few sizes,
	// and clients cannot make us encode more than these once a second.
	snapshotStep = 160
	// snapshotLinger is for how long a canvas goes on being drawn that nobody
	// else wants: whoever polls each second or two does not have all senders
	// begin anew each time.
	snapshotLinger = 3 * time.Second
	// snapshotWhole is how long a snapshot waits for pictures that are shown but
	// have not come yet, snapshotWithin how long for any.
	snapshotWhole  = 2 * time.Second
	snapshotWithin = 4 * time.Second
	// snapshotDeadline is lax: pictures that somebody watches come first.
	snapshotDeadline = 200 * time.Millisecond
)

var errNoSnapshot = errors.New("no picture was drawn in time")

// photographer takes snapshots of a canvas. While nobody asks it costs an atomic
// load per tick.
type photographer struct {
	until  atomic.Int64 // on the process's clock: the canvas is drawn up to then
	wanted atomic.Pointer[photo]
	turn   chan struct{} // one slot: one photo at a time

	mu struct {
		sync.Mutex
		byWidth map[int]finished
	}
}

// finished is a snapshot as it is given to all; immutable.
type finished struct {
	jpeg []byte
	made time.Duration
}

// photo is one that the compose task is to take.
type photo struct {
	width, height int
	whole         time.Duration          // when one with pictures missing will do
	taken         chan *codec.VideoFrame // one slot; nil when there was no memory
}

func newPhotographer() *photographer {
	p := &photographer{turn: make(chan struct{}, 1)}
	p.mu.byWidth = make(map[int]finished)
	return p
}

// draws reports whether the canvas is to be drawn for a snapshot's sake.
func (p *photographer) draws(now time.Duration) bool { return now < time.Duration(p.until.Load()) }

// saved returns a snapshot that is young enough, and forgets the others.
func (p *photographer) saved(width int, now time.Duration) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, s := range p.mu.byWidth {
		if now-s.made >= snapshotLife {
			delete(p.mu.byWidth, w)
		}
	}
	return p.mu.byWidth[width].jpeg
}

func (p *photographer) save(width int, jpeg []byte, now time.Duration) {
	p.mu.Lock()
	p.mu.byWidth[width] = finished{jpeg, now}
	p.mu.Unlock()
}

// take has the photo that is wanted, if any, of a canvas that was just drawn. Of
// the compose task.
func (p *photographer) take(picture *codec.VideoFrame, scene *video.Scene, frames *codec.VideoPool, now time.Duration) {
	want := p.wanted.Load()
	if want == nil || now < want.whole && !whole(scene) || !p.wanted.CompareAndSwap(want, nil) {
		return
	}
	// A copy at once: the canvas has few buffers, and they are all in use.
	out, err := frames.Get(want.width, want.height)
	if err == nil {
		if err = yuv.Scale(out, picture); err != nil {
			out.Release()
		}
	}
	if err != nil {
		out = nil
	}
	want.taken <- out
}

// whole reports whether everything has a picture that shall have one.
func whole(scene *video.Scene) bool {
	for i := range scene.Tiles {
		if s, ok := scene.Tiles[i].Source.(*video.Source); ok && !s.Shown() {
			return false
		}
	}
	return true
}

// shoot waits for a photo, which the caller releases. The caller has the turn.
func (p *photographer) shoot(ctx context.Context, width, height int) (*codec.VideoFrame, error) {
	want := &photo{width: width, height: height, whole: codec.Now() + snapshotWhole, taken: make(chan *codec.VideoFrame, 1)}
	p.wanted.Store(want)
	select {
	case out := <-want.taken:
		if out == nil {
			return nil, codec.ErrBudget
		}
		return out, nil
	case <-ctx.Done():
	}
	if !p.wanted.CompareAndSwap(want, nil) {
		if out := <-want.taken; out != nil { // it is being taken, which is soon done
			out.Release()
		}
	}
	return nil, errNoSnapshot
}

// Snapshot returns what the shared canvas of a group shows, as a JPEG file that
// the caller must not change. width is rounded up to a multiple of 160 and down to
// the canvas's, 0 is the canvas's. All who ask within a second get the same one.
// It blocks until the next picture, or, where nobody watches, until those in the
// room have sent theirs. Conflict/ErrNobody, NotFound/ErrNoGroup,
// Permission/ErrRoomLocked, Unavailable, an [Overload].
func (r *Room) Snapshot(ctx context.Context, group GroupID, width int) ([]byte, error) {
	const op = "snapshot"
	if width < 0 {
		return nil, &Error{Op: op, Kind: Invalid, Room: r.Info().ID, Field: "/width", Err: fmt.Errorf("%d: want 1 or more", width)}
	}
	if jpeg := r.youngSnapshot(group, width); jpeg != nil {
		return jpeg, nil
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotWithin)
	defer cancel()
	var c *canvas
	err := r.do(ctx, op, func() error {
		g, err := r.audible(op, group)
		if err != nil {
			return err
		}
		c = g.shared()
		if !c.draws() {
			price := joining{role: RoleViewer, noVideo: true, canvas: c.size, first: true}
			if err := r.ask(op, nil, r.cfg.governor.priceJoin(price), StandingNew); err != nil {
				return err
			}
		}
		c.photos.until.Store(int64(codec.Now() + snapshotLinger))
		return nil
	})
	if err != nil {
		return nil, err
	}
	w, h := snapshotSize(c.size, width)
	jpeg, err := r.photograph(ctx, c, w, h)
	if err != nil {
		return nil, &Error{Op: op, Kind: Unavailable, Room: r.Info().ID, Err: err}
	}
	return jpeg, nil
}

// youngSnapshot is one that was taken less than a second ago, if nothing has come
// in between of what refuses them. It leaves the control loop alone: that polling
// costs nothing is due to this.
func (r *Room) youngSnapshot(group GroupID, width int) []byte {
	if info := r.Info(); info.Locked || info.Participants == 0 || r.draining() {
		return nil
	}
	for _, v := range r.snap.Load().views {
		if c := v.prog.shared(); v.prog.group == group {
			w, _ := snapshotSize(c.size, width)
			return c.photos.saved(w, codec.Now())
		}
	}
	return nil
}

// photograph returns a young snapshot, or takes one.
func (r *Room) photograph(ctx context.Context, c *canvas, w, h int) ([]byte, error) {
	p := c.photos
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, errNoSnapshot
	}
	// Only now: whoever had the turn before may have taken it.
	if jpeg := p.saved(w, codec.Now()); jpeg != nil {
		return jpeg, nil
	}
	frame, err := p.shoot(ctx, w, h)
	if err != nil {
		return nil, err
	}
	type result struct {
		jpeg []byte
		err  error
	}
	made := make(chan result, 1)
	task := worker.NewTask(func() {
		jpeg, err := video.EncodeJPEG(frame)
		frame.Release()
		made <- result{jpeg, err}
	})
	r.cfg.Pool.Submit(task, codec.Now()+snapshotDeadline)
	select {
	case m := <-made:
		if m.err == nil {
			p.save(w, m.jpeg, codec.Now())
		}
		return m.jpeg, m.err
	case <-r.cfg.Pool.Done(): // the task may never run, and then everything ends
		return nil, errNoSnapshot
	}
}

// snapshotSize is the size of a snapshot that was asked for at a width.
func snapshotSize(c layout.Canvas, width int) (w, h int) {
	if width == 0 || width > c.Width {
		width = c.Width
	}
	width = (width + snapshotStep - 1) / snapshotStep * snapshotStep
	w = min(width, c.Width)
	return w, max(2, (c.Height*w/c.Width+1)&^1)
}
