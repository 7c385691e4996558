package mixer

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/mixer/video"
)

// The queue of an [Outlet]. Bound: so many frames and bytes, and so much time
// from the oldest to the newest. Drop policy: all of it, since who is that far
// behind wants to see what is now, and after that everything until the reader
// has taken something; pictures then go on with the next key frame. Counters:
// OutletStats.Dropped and Resyncs.
const (
	outletFrames = 256 // 2 s of sound and of 60 pictures a second, and a bit
	outletBytes  = 2 << 20
	outletTime   = 2 * time.Second
)

var (
	// ErrNobody says that there is nobody in the room, so that there is nothing
	// to be seen or heard.
	ErrNobody = errors.New("there is nobody in the room")
	// ErrOutletClosed is what an outlet ends with that was closed.
	ErrOutletClosed = errors.New("the outlet was closed")
)

// OutletRequest says what an outlet is to give.
type OutletRequest struct {
	// Group is whose picture and sound it is; "" is the main program's.
	Group GroupID
	// Tier is what the pictures should be like; what comes nearest to it is
	// taken. The zero value is the largest. Its bitrate is not looked at.
	Tier video.Tier
	// NoVideo leaves pictures out.
	NoVideo bool
}

// Outlet is where a program's media leaves to somebody who is no participant:
// one who watches by plain HTTP. It takes what is coded for all anyway, one tier
// for as long as it lives, and keeps a little of it until its reader comes. It
// never waits for the reader. Get one from [Room.OpenOutlet]. Safe for concurrent
// use, but there is one reader.
type Outlet struct {
	room          *Room
	prog          *program
	rendition     *video.Rendition // nil: sound alone
	width, height int
	keys          *keyBudget
	count         *outletCounters
	subscription  *video.Subscription // by the control loop, before it is handed out

	ready chan struct{} // one slot
	done  chan struct{} // closed when nothing more will come

	mu struct {
		sync.Mutex
		queue   [outletFrames]*codec.EncodedFrame // a ring
		head, n int
		bytes   int
		// begun says that the reader may have what is queued: with pictures, from
		// the first key frame on.
		begun   bool
		needKey bool
		behind  bool // the queue was dropped, and the reader has taken nothing since
		stream  codec.StreamID
		foreign codec.StreamID // whose key frame had another size
		err     error          // why it ended; nil while it has not
	}
}

// OutletStats counts what outlets did.
type OutletStats struct {
	// Open is how many there are now, Opened how many there ever were.
	Open   int
	Opened uint64
	// Taken is frames that readers have taken.
	Taken uint64
	// Dropped is frames that they have not, being too slow or waiting for a key
	// frame after that; Resyncs how often a queue was dropped.
	Dropped, Resyncs uint64
	// KeyRequests is how often a key frame was asked for, so that pictures go on.
	KeyRequests uint64
}

func (s *OutletStats) add(o OutletStats) {
	s.Opened += o.Opened
	s.Taken += o.Taken
	s.Dropped += o.Dropped
	s.Resyncs += o.Resyncs
	s.KeyRequests += o.KeyRequests
}

// outletCounters are those of all outlets of a room.
type outletCounters struct {
	opened, taken, dropped, resyncs, keyRequests atomic.Uint64
}

func (c *outletCounters) stats() OutletStats {
	return OutletStats{
		Opened: c.opened.Load(), Taken: c.taken.Load(), Dropped: c.dropped.Load(),
		Resyncs: c.resyncs.Load(), KeyRequests: c.keyRequests.Load(),
	}
}

// OpenOutlet returns an outlet of the room, which the caller closes. It ends by
// itself with the room, when the last participant leaves, and with its group.
// Conflict/ErrNobody, NotFound/ErrNoGroup, Permission/ErrRoomLocked, an
// [Overload].
func (r *Room) OpenOutlet(ctx context.Context, req OutletRequest) (*Outlet, error) {
	const op = "outlet.open"
	o := newOutlet()
	o.room, o.keys, o.count = r, &r.outletKeys, &r.outletCount
	err := r.do(ctx, op, func() error {
		g, err := r.audible(op, req.Group)
		if err != nil {
			return err
		}
		c := g.shared()
		price := joining{role: RoleViewer, noVideo: req.NoVideo, canvas: c.size}
		if !req.NoVideo {
			o.rendition = nearestTier(c.renditions[r.mostTier(c):], req.Tier)
			o.width, o.height = o.rendition.Tier().SizeOn(c.size)
			price.first = !c.draws()
			if !o.rendition.Watched() {
				price.starts = o.rendition.Tier()
			}
		}
		if err := r.ask(op, nil, r.cfg.governor.priceJoin(price), StandingNew); err != nil {
			return err
		}
		o.prog = g
		if o.rendition != nil {
			// First, so that the first key frame has the right size already.
			o.rendition.KeepSize(o.width, o.height)
			o.subscription = o.rendition.Subscribe(o)
		}
		o.count.opened.Add(1)
		r.outlets = append(r.outlets, o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// audible returns a group's program, if somebody who is no participant may take
// it. Control loop only.
func (r *Room) audible(op string, group GroupID) (*program, error) {
	refuse := func(kind Kind, err error) error { return &Error{Op: op, Kind: kind, Room: r.room.ID, Err: err} }
	i := slices.IndexFunc(r.programs, func(g *program) bool { return g.group == group })
	switch {
	case r.draining():
		return nil, refuse(Unavailable, ErrDraining)
	case r.room.Locked:
		return nil, refuse(Permission, ErrRoomLocked)
	case len(r.participants) == 0:
		return nil, refuse(Conflict, ErrNobody)
	case i < 0:
		return nil, refuse(NotFound, ErrNoGroup)
	}
	return r.programs[i], nil
}

// nearestTier is the rendition that is most like the tier asked for: by the
// ratio of sizes and of rates. Of two as near it is the larger one.
func nearestTier(renditions []*video.Rendition, want video.Tier) *video.Rendition {
	if want.Width == 0 {
		return renditions[0]
	}
	apart := func(r *video.Rendition) float64 {
		t := r.Tier()
		area := float64(t.Width) * float64(t.Height) / (float64(want.Width) * float64(want.Height))
		rate := float64(t.FPS) / float64(max(want.FPS, 1))
		return math.Abs(math.Log(area)) + math.Abs(math.Log(rate))
	}
	return slices.MinFunc(renditions, func(a, b *video.Rendition) int {
		if da, db := apart(a), apart(b); da < db-1e-9 {
			return -1
		} else if da > db+1e-9 {
			return 1
		}
		return 0
	})
}

// outletsOn reports how many outlets take a rendition. Control loop only.
func (r *Room) outletsOn(rendition *video.Rendition) (n int) {
	for _, o := range r.outlets {
		if o.rendition == rendition {
			n++
		}
	}
	return n
}

// sweepOutlets forgets those whose readers are gone. Control loop only.
func (r *Room) sweepOutlets() {
	r.outlets = slices.DeleteFunc(r.outlets, (*Outlet).over)
}

// endOutlets ends those of a program, of all if it is nil. Control loop only.
func (r *Room) endOutlets(g *program, reason error) {
	r.outlets = slices.DeleteFunc(r.outlets, func(o *Outlet) bool {
		if g != nil && o.prog != g {
			return false
		}
		o.end(reason)
		return true
	})
}

func newOutlet() *Outlet {
	return &Outlet{ready: make(chan struct{}, 1), done: make(chan struct{})}
}

// Tier is that of the pictures, and Size how large they are, always; zero and
// 0, 0 without pictures.
func (o *Outlet) Tier() video.Tier {
	if o.rendition == nil {
		return video.Tier{}
	}
	return o.rendition.Tier()
}

// Size is told of at [Outlet.Tier].
func (o *Outlet) Size() (width, height int) { return o.width, o.height }

// Ready has something in it when Take may have something to give.
func (o *Outlet) Ready() <-chan struct{} { return o.ready }

// Done is closed when nothing more will come than what Take still gives.
func (o *Outlet) Done() <-chan struct{} { return o.done }

// Err is why the outlet has ended, nil while it has not.
func (o *Outlet) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.err
}

// Take appends all that waits to frames, in the order in which it was made, and
// transfers it. It does not block. With pictures, the first ever taken are the
// sound of the last two seconds and a key frame.
func (o *Outlet) Take(frames []*codec.EncodedFrame) []*codec.EncodedFrame {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.begun() {
		return frames
	}
	o.count.taken.Add(uint64(o.mu.n))
	for o.mu.n > 0 {
		frames = append(frames, o.pop())
	}
	o.mu.behind = false
	return frames
}

// begun reports whether the reader may have what is queued. The caller holds mu.
func (o *Outlet) begun() bool { return o.mu.begun || o.rendition == nil }

// WriteAudio implements [Sink].
func (o *Outlet) WriteAudio(f *codec.EncodedFrame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.err != nil || f.Codec != codec.Opus {
		return
	}
	o.push(f)
}

// WriteVideo implements [Sink].
func (o *Outlet) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.err != nil || f.Codec != codec.VP8 {
		return codec.Dropped
	}
	switch {
	case f.Key && (f.Width != o.width || f.Height != o.height):
		// A source's own, which the room has ceased to pass through, for our sake.
		o.mu.needKey, o.mu.foreign = true, f.Stream
		return codec.Dropped
	case !f.Key && (o.mu.needKey || f.Stream != o.mu.stream):
		o.mu.needKey = true
		if o.mu.begun {
			o.count.dropped.Add(1)
		}
		// Who does not read makes nobody code anything.
		if o.mu.behind || f.Stream == o.mu.foreign || !o.keys.allow(codec.Now()) {
			return codec.Dropped
		}
		o.count.keyRequests.Add(1)
		return codec.NeedKey
	}
	if !o.push(f) {
		o.mu.needKey = true
		return codec.Dropped
	}
	o.mu.needKey, o.mu.stream = false, f.Stream
	if f.Key && !o.mu.begun {
		o.mu.begun = true
		o.notify()
	}
	return codec.Sent
}

// push queues a frame, or drops it, and what waits with it, when the reader is
// too far behind. The caller holds mu.
func (o *Outlet) push(f *codec.EncodedFrame) bool {
	if o.mu.behind {
		o.count.dropped.Add(1)
		return false
	}
	for o.mu.n > 0 && !o.fits(f) {
		if o.begun() {
			o.count.dropped.Add(uint64(o.mu.n) + 1)
			o.count.resyncs.Add(1)
			o.clear()
			o.mu.behind, o.mu.needKey = true, true
			return false
		}
		o.pop().Release() // sound before the first picture
	}
	o.mu.queue[(o.mu.head+o.mu.n)%outletFrames] = f.Retain()
	o.mu.n++
	o.mu.bytes += len(f.Data)
	if o.begun() {
		o.notify()
	}
	return true
}

// fits reports whether there is room for f. The caller holds mu.
func (o *Outlet) fits(f *codec.EncodedFrame) bool {
	oldest := o.mu.queue[o.mu.head]
	return o.mu.n < outletFrames && o.mu.bytes+len(f.Data) <= outletBytes && f.PTS-oldest.PTS <= outletTime
}

// pop takes the oldest frame out of the queue, which has one; its reference
// passes to the caller. The caller holds mu.
func (o *Outlet) pop() *codec.EncodedFrame {
	f := o.mu.queue[o.mu.head]
	o.mu.queue[o.mu.head] = nil
	o.mu.head, o.mu.n = (o.mu.head+1)%outletFrames, o.mu.n-1
	o.mu.bytes -= len(f.Data)
	return f
}

// clear releases what waits. The caller holds mu.
func (o *Outlet) clear() {
	for o.mu.n > 0 {
		o.pop().Release()
	}
}

func (o *Outlet) notify() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// over reports whether the outlet has ended.
func (o *Outlet) over() bool { return o.Err() != nil }

// end says that nothing more comes; what waits can still be taken.
func (o *Outlet) end(reason error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.err != nil {
		return
	}
	o.mu.err = reason
	close(o.done)
	if o.subscription != nil {
		o.subscription.Close()
	}
}

// Close ends the outlet for its reader, who takes no more. It does not block;
// twice is fine.
func (o *Outlet) Close() {
	o.end(ErrOutletClosed)
	o.mu.Lock()
	o.clear()
	o.mu.Unlock()
	o.room.wake()
}
