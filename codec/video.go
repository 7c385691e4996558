package codec

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// VideoFrame is one decoded picture: 8 bit I420, planes Y, U and V, chroma
// halved (rounded up) in both directions. It is immutable once published and
// reference counted; see the package comment. Get one from [VideoPool.Get].
type VideoFrame struct {
	// Width and Height of the picture in luma samples.
	Width, Height int
	// Y, U and V hold whole rows: Height rows of StrideY bytes, and
	// (Height+1)/2 rows of StrideUV bytes. Only the first Width (or
	// (Width+1)/2) bytes of a row are picture.
	Y, U, V           []byte
	StrideY, StrideUV int
	// PTS is the media time of the coded frame it was decoded from, or, for a
	// composed picture, the room's time.
	PTS time.Duration

	pool *VideoPool
	refs atomic.Int32
}

// strideAlign keeps rows apart by whole cache lines, so that SIMD rows start
// aligned and two threads never share a line.
const strideAlign = 64

func alignUp(n int) int { return (n + strideAlign - 1) &^ (strideAlign - 1) }

// VideoFrameBytes returns the memory that a picture of that size takes.
func VideoFrameBytes(width, height int) int {
	return alignUp(width)*height + 2*alignUp((width+1)/2)*((height+1)/2)
}

type videoSize struct{ width, height int }

// VideoPool hands out pictures and takes them back. Its budget bounds the
// bytes of all pictures that exist, idle ones included. Idle ones of a size that
// is not asked for any more are freed by and by. The zero value is not
// usable; see [NewVideoPool]. Safe for concurrent use.
type VideoPool struct {
	budget int64

	mu   sync.Mutex
	idle map[videoSize]*idleFrames // under mu
	used int64                     // bytes of all live frames, under mu
	gets int                       // since the last sweep, under mu
}

// idleFrames are the pictures of one size that nobody has.
type idleFrames struct {
	list   []*VideoFrame
	wanted bool // the size was asked for since the last sweep
}

// sweepEvery is after how many pictures sizes that were not asked for meanwhile
// are freed: two seconds of four people.
const sweepEvery = 256

// NewVideoPool returns a pool that holds at most budget bytes of pictures.
func NewVideoPool(budget int64) *VideoPool {
	return &VideoPool{budget: budget, idle: make(map[videoSize]*idleFrames)}
}

// Get returns a picture with one reference and undefined content. It does not
// block. When the budget is used up, idle pictures of other sizes are freed;
// when that does not help, the error is [ErrBudget].
func (p *VideoPool) Get(width, height int) (*VideoFrame, error) {
	if width <= 0 || height <= 0 || width > 16383 || height > 16383 {
		return nil, fmt.Errorf("picture size %dx%d: want 1..16383: %w", width, height, ErrBadConfig)
	}
	size := videoSize{width, height}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gets++; p.gets >= sweepEvery {
		p.sweep()
	}
	idle := p.idle[size]
	if idle == nil {
		idle = &idleFrames{}
		p.idle[size] = idle
	}
	idle.wanted = true
	if n := len(idle.list); n > 0 {
		f := idle.list[n-1]
		idle.list[n-1] = nil
		idle.list = idle.list[:n-1]
		f.refs.Store(1)
		return f, nil
	}
	bytes := int64(VideoFrameBytes(width, height))
	if p.used+bytes > p.budget {
		p.trim(p.used + bytes - p.budget)
	}
	if p.used+bytes > p.budget {
		return nil, fmt.Errorf("%dx%d wants %d of %d bytes, %d used: %w",
			width, height, bytes, p.budget, p.used, ErrBudget)
	}
	p.used += bytes
	f := &VideoFrame{
		Width: width, Height: height,
		StrideY: alignUp(width), StrideUV: alignUp((width + 1) / 2),
		pool: p,
	}
	mem := make([]byte, bytes)
	ySize, uvSize := f.StrideY*height, f.StrideUV*((height+1)/2)
	f.Y, f.U, f.V = mem[:ySize:ySize], mem[ySize:ySize+uvSize:ySize+uvSize], mem[ySize+uvSize:]
	f.refs.Store(1)
	return f, nil
}

// sweep frees the sizes that nobody asks for. The caller holds mu.
func (p *VideoPool) sweep() {
	p.gets = 0
	for size, idle := range p.idle {
		if !idle.wanted {
			p.used -= int64(len(idle.list)) * int64(VideoFrameBytes(size.width, size.height))
			delete(p.idle, size)
		}
		idle.wanted = false
	}
}

// trim frees idle pictures until want bytes are free or none is left. The
// caller holds mu.
func (p *VideoPool) trim(want int64) {
	for size, idle := range p.idle {
		bytes := int64(VideoFrameBytes(size.width, size.height))
		for n := len(idle.list); n > 0 && want > 0; n-- {
			idle.list[n-1] = nil
			idle.list = idle.list[:n-1]
			p.used -= bytes
			want -= bytes
		}
		if want <= 0 {
			return
		}
	}
}

// Used returns the bytes of all pictures that exist, idle ones included.
func (p *VideoPool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Retain adds a reference and returns f.
func (f *VideoFrame) Retain() *VideoFrame {
	if f.refs.Add(1) <= 1 {
		panic("codec: VideoFrame retained after its last Release")
	}
	return f
}

// Shared reports whether anybody but the caller holds a reference: a producer
// may draw into its frame again only when it is not shared.
func (f *VideoFrame) Shared() bool { return f.refs.Load() > 1 }

// Release gives one reference back; the last one returns the picture to its
// pool, and the caller must not touch it afterwards.
func (f *VideoFrame) Release() {
	switch n := f.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("codec: VideoFrame released once too often")
	}
	f.PTS = 0
	p := f.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	size := videoSize{f.Width, f.Height}
	idle := p.idle[size]
	if idle == nil { // swept meanwhile
		idle = &idleFrames{}
		p.idle[size] = idle
	}
	idle.list = append(idle.list, f)
}
