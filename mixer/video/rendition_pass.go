package video

import (
	"time"

	"mixdown/codec"
)

// What a sender made may be as good as what would be made of it: then its
// coded frames are the rendition, and nothing is decoded, drawn or coded. The
// encoder goes on until the sender's next key frame, and a source goes on being
// passed through until a canvas that shows it has been drawn, so that nobody
// sees a gap either way.

// The frames on their way from the source to the task. Bound: so many frames
// and bytes. Drop policy: all of them, and what follows up to the next key
// frame, which is asked for. Counter: RenditionStats.PassDropped.
const (
	maxPassed      = 32
	maxPassedBytes = 1 << 20
)

const (
	// leaveWithin is how long a source is passed through for want of a canvas
	// that shows it. A key frame from its sender takes less, if it comes at all.
	leaveWithin = 500 * time.Millisecond
	// passAskEvery is the pause between two requests for the key frame with which
	// a source could begin, or go on.
	passAskEvery = time.Second
	// passAhead is how much later than now a frame may be due: no longer than
	// pictures ever wait for their sound, and half of what receivers put up with.
	passAhead = 400 * time.Millisecond
	// passStep is the least time between two frames.
	passStep = time.Millisecond
)

// passing is the state of pass-through. Under Rendition.mu.
type passing struct {
	// wanted is the source that SetPassthrough named, from the one whose frames
	// are sent; nil is the encoder. They differ while one waits for a key frame
	// of the one and the other for a canvas.
	wanted, from *tap
	// leaving says that leaveBy means something, ready that the canvas before
	// showed the source.
	leaving, ready bool
	leaveBy        time.Duration // PTS of the canvas that is coded come what may

	queue    [maxPassed]passedFrame
	n, bytes int

	asked    time.Duration // when a key frame was asked for
	hasAsked bool
}

// passedFrame is one frame on its way; the frame is retained.
type passedFrame struct {
	frame         *codec.EncodedFrame
	stream        codec.StreamID
	due           time.Duration // on codec.Now's clock
	key           bool
	width, height int
}

// tap is where a Source hands its coded frames on. Its state is under
// Rendition.mu.
type tap struct {
	r   *Rendition
	src *Source

	live          bool           // has had a key frame, and all since
	foreign       codec.StreamID // what the source's frames say
	stream        codec.StreamID // ours
	width, height int
}

// requestKeyframe asks the sender; of a nil tap nobody.
func (t *tap) requestKeyframe() {
	if t != nil {
		t.src.requestKeyframe()
	}
}

// SetPassthrough makes the frames that src receives the rendition's own, from
// its next key frame on, which is asked for; until then the encoder goes on. nil
// ends that, as soon as a canvas is written that shows src, or after half a
// second of canvases. Whether src suits is for the caller to say (see
// [PassRule]); frames larger than the tier end it as well, and
// RenditionConfig.OnPassthrough tells. It does not block.
func (r *Rendition) SetPassthrough(src *Source) {
	var begins, asks *tap
	var ends []*tap
	r.mu.Lock()
	p := &r.mu.pass
	unseen := src == nil && len(*r.subs.Load()) == 0 // nobody minds a gap
	if r.mu.closed || src == p.wanted.source() && !unseen {
		r.mu.Unlock()
		return
	}
	if unseen {
		ends = r.dropTaps()
	} else if p.wanted != nil && p.wanted != p.from {
		ends = append(ends, p.wanted)
	}
	p.wanted, p.leaving, p.ready = nil, false, false
	switch {
	case src == nil:
	case src == p.from.source():
		p.wanted = p.from
		if !p.from.live {
			asks = p.from
		}
	default:
		begins = &tap{r: r, src: src}
		p.wanted, asks = begins, begins
	}
	r.mu.Unlock()
	for _, t := range ends {
		t.src.untap(t)
	}
	if begins != nil {
		src.addTap(begins)
	}
	asks.requestKeyframe()
}

func (t *tap) source() *Source {
	if t == nil {
		return nil
	}
	return t.src
}

// KeepSize says which size pictures must have to be passed through, for the sake
// of a recorder or of clients that cannot bear another; 0, 0 is any. What is
// passed through already and has another goes on until it ends, but nobody begins
// with it. It does not block.
func (r *Rendition) KeepSize(width, height int) {
	r.mu.Lock()
	r.mu.keep = [2]int{width, height}
	r.mu.Unlock()
}

// Encodes reports whether the rendition needs the canvas: somebody watches, and
// what he gets is not passed through, or will not be for much longer.
func (r *Rendition) Encodes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.mu.pass
	return len(*r.subs.Load()) > 0 && (p.from == nil || p.from != p.wanted)
}

// Passing reports whether what is sent is passed through, and shall be.
func (r *Rendition) Passing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.pass.from != nil && r.mu.pass.from == r.mu.pass.wanted
}

// Watched reports whether anybody is subscribed.
func (r *Rendition) Watched() bool { return len(*r.subs.Load()) > 0 }

// Bitrate returns the target, in bit/s.
func (r *Rendition) Bitrate() int { return int(r.bitrate.Load()) }

// senderToAsk returns the tap whose sender has to be asked for the key frame
// that somebody wants, or nil: while frames are passed through, at most once in
// keyWindow. The caller holds mu.
func (r *Rendition) senderToAsk() *tap {
	p := &r.mu.pass
	if p.from == nil || p.from != p.wanted || r.mu.wanted == [NumKeyReasons]bool{} {
		return nil
	}
	if now := codec.Now(); !p.hasAsked || now-p.asked >= keyWindow {
		p.asked, p.hasAsked = now, true
		return p.from
	}
	return nil
}

// canvasReady says whether a canvas that is about to be taken is not needed,
// because a source is passed through. ended is the tap to which that one put an
// end. The caller holds mu.
func (r *Rendition) canvasReady(pts time.Duration) (ended *tap, passes bool) {
	p := &r.mu.pass
	if p.from == nil || p.from == p.wanted {
		return nil, p.from != nil
	}
	if !p.leaving {
		p.leaving, p.leaveBy = true, pts+leaveWithin
	}
	next := p.from
	if p.wanted != nil {
		next = p.wanted
	}
	shown, closed := next.src.showing()
	if pts < p.leaveBy && !closed {
		// The canvas was drawn before the source was asked: the next one will do.
		ready := p.ready && shown
		p.ready = shown
		if !ready {
			return nil, true
		}
	}
	r.mu.rest.lost()
	return r.endPass(), false
}

// endPass ends that frames are passed through and returns the tap that is to be
// taken off. The caller holds mu.
func (r *Rendition) endPass() *tap {
	p := &r.mu.pass
	ended := p.from
	p.from, p.leaving, p.ready = nil, false, false
	p.clear()
	return ended
}

// dropTaps ends all pass-through and returns the taps that are to be taken off.
// The caller holds mu.
func (r *Rendition) dropTaps() (taps []*tap) {
	p := &r.mu.pass
	if p.wanted != nil && p.wanted != p.from {
		taps = append(taps, p.wanted)
	}
	if p.from != nil {
		taps = append(taps, r.endPass())
	}
	p.wanted = nil
	return taps
}

// take offers a frame that the source has just received. It borrows f. bad says
// that it is none that can be passed through, due when it is to be shown.
func (t *tap) take(f *codec.EncodedFrame, header codedHeader, bad bool, due time.Duration) {
	r := t.r
	r.mu.Lock()
	before := r.mu.pass.wanted == r.mu.pass.from
	queued, ask, ended := r.takePassed(t, f, header, bad, due)
	changed := before != (r.mu.pass.wanted == r.mu.pass.from)
	if again := r.senderToAsk(); again == t {
		ask = true
	}
	r.mu.Unlock()
	if queued {
		r.c.Pool.Submit(r.task, codec.Now()+r.interval/2)
	}
	if ended != nil {
		ended.src.untap(ended)
	}
	if ask {
		t.requestKeyframe()
	}
	if changed {
		r.c.OnPassthrough()
	}
}

// takePassed decides about a frame of t. The caller holds mu.
func (r *Rendition) takePassed(t *tap, f *codec.EncodedFrame, header codedHeader, bad bool, due time.Duration) (queued, ask bool, ended *tap) {
	p := &r.mu.pass
	if r.mu.closed || t != p.wanted && t != p.from {
		return false, false, nil
	}
	if len(*r.subs.Load()) == 0 {
		t.live = false
		return false, false, nil
	}
	lost := func() bool {
		t.live = false
		r.mu.stats.PassDropped++
		now := codec.Now()
		again := !p.hasAsked || now-p.asked >= passAskEvery
		if again {
			p.asked, p.hasAsked = now, true
		}
		return again
	}
	switch {
	case bad, f.Codec != r.c.Codec, !header.Key && (!t.live || f.Stream != t.foreign):
		return false, lost(), nil
	case header.Key && !(header.common && r.suits(header.Width, header.Height)):
		t.live = false
		r.mu.stats.PassDropped++
		if t == p.wanted {
			if p.wanted = nil; t != p.from {
				ended = t
			}
		}
		return false, false, ended
	case header.Key:
		if !t.live || f.Stream != t.foreign {
			t.live, t.foreign, t.stream = true, f.Stream, codec.NewStreamID()
		}
		t.width, t.height = header.Width, header.Height
		if t != p.from {
			ended = p.from
			p.from, p.leaving, p.ready = t, false, false
		}
		// Whoever wants one gets this.
		r.mu.wanted = [NumKeyReasons]bool{}
	}
	if t != p.from {
		return false, false, ended
	}
	if p.n == maxPassed || p.bytes+len(f.Data) > maxPassedBytes {
		r.mu.stats.PassDropped += uint64(p.n)
		p.clear()
		return false, lost(), ended
	}
	p.queue[p.n] = passedFrame{f.Retain(), t.stream, min(due, f.Arrival+passAhead), header.Key, t.width, t.height}
	p.n++
	p.bytes += len(f.Data)
	return true, false, ended
}

// suits reports whether a picture of that size may be sent. The caller holds mu.
func (r *Rendition) suits(width, height int) bool {
	same := width == r.mu.width && height == r.mu.height
	return width <= r.c.Tier.Width && height <= r.c.Tier.Height && (same || r.kept(width, height))
}

// kept reports whether a picture of that size is one with which those can begin
// who need a size. The caller holds mu.
func (r *Rendition) kept(width, height int) bool {
	return r.mu.keep == [2]int{} || r.mu.keep == [2]int{width, height}
}

func (p *passing) clear() {
	for i := range p.n {
		p.queue[i].frame.Release()
	}
	clear(p.queue[:p.n])
	p.n, p.bytes = 0, 0
}

// passOn lends all frames that wait to everybody. Of the task.
func (r *Rendition) passOn() {
	e := &r.enc
	for {
		r.mu.Lock()
		p := &r.mu.pass
		if p.n == 0 {
			r.mu.Unlock()
			return
		}
		x := p.queue[0]
		copy(p.queue[:], p.queue[1:p.n])
		p.n--
		p.queue[p.n] = passedFrame{}
		p.bytes -= len(x.frame.Data)
		r.mu.stats.Passed++
		r.mu.stats.PassedBytes += uint64(len(x.frame.Data))
		r.mu.width, r.mu.height = x.width, x.height
		begins := r.kept(x.width, x.height)
		r.mu.Unlock()

		// A frame is a few kilobytes. To copy them is cheaper than to have two
		// frames with one memory, and the source's own keeps its source's time.
		out := codec.NewEncodedFrame(len(x.frame.Data))
		out.Data = append(out.Data, x.frame.Data...)
		out.Codec, out.Stream, out.Key = x.frame.Codec, x.stream, x.key
		out.Temporal, out.LayerSync, out.Discardable = x.frame.Temporal, x.frame.LayerSync, x.frame.Discardable
		out.Width, out.Height = x.width, x.height
		// Drawn, it would have waited for a tick: half of its interval, on average,
		// which lip sync counts on.
		out.PTS = x.due + r.interval/2 - r.c.Epoch
		if e.started {
			out.PTS = max(out.PTS, e.lastPTS+passStep)
		}
		e.started, e.lastPTS = true, out.PTS
		x.frame.Release()
		r.deliver(out, begins)
		out.Release()
	}
}
