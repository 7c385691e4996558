package video

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mixdown/codec/yuv"
)

// The queue of texts to be rendered. Bound: so many. Drop policy: a new one is
// refused, and asked for again when the queue has moved. Counter:
// LabelStats.Refused.
const maxLabelRequests = 64

// The cache of rendered texts: whichever bound comes first, the least recently used
// goes. 512 is every tile of ten full rooms; a label at 720p takes 10-40 kB.
const (
	maxLabels     = 512
	maxLabelBytes = 16 << 20
)

// LabellerConfig says where fonts are. The zero value is good.
type LabellerConfig struct {
	// Log is told once if there is nothing to write with. Defaults to none.
	Log *slog.Logger
	// FontDirs are searched for fonts. Defaults to the system's directories.
	FontDirs []string
}

// Labeller renders names and initials, each once, and keeps them. A text takes
// half a millisecond, the first of a script up to 50 (its font is read, of
// which the CJK one then holds 20 MB), so it is done on a thread of its own at
// low priority; who asks before it is done gets nothing yet. One Labeller
// serves the whole process. Safe for concurrent use.
type Labeller struct {
	c      LabellerConfig
	labels int // maxLabels
	// moved counts what was rendered, so that those who still wait look again
	// only when there is something new.
	moved atomic.Uint64

	mu struct {
		sync.Mutex
		wake    *sync.Cond // something was queued or rendered, or Run is to end
		cache   map[labelKey]*list.Element
		recent  *list.List // of *label, most recently used first
		bytes   int
		queue   []*label
		ending  bool
		started bool
		stats   LabelStats
	}
}

// label is one cache entry.
type label struct {
	key     labelKey
	overlay *yuv.Overlay // nil before it is ready, and for what shows nothing
	ready   bool
	dropped bool // left the cache before it was rendered
}

// LabelStats counts since the Labeller was made.
type LabelStats struct {
	// Rendered is texts rendered, Failed those of them that could not be.
	Rendered, Failed uint64
	// Refused is requests that found the queue full.
	Refused uint64
	// Evicted is texts that left the cache.
	Evicted uint64
	// Cached and Bytes are what the cache holds now.
	Cached, Bytes int
}

// NewLabeller returns a labeller; nothing is rendered before Run.
func NewLabeller(c LabellerConfig) (*Labeller, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l := &Labeller{c: c, labels: maxLabels}
	l.mu.wake = sync.NewCond(&l.mu)
	l.mu.cache = make(map[labelKey]*list.Element)
	l.mu.recent = list.New()
	l.moved.Store(1)
	return l, nil
}

// Run finds the fonts, then renders until ctx is done. It can be called once.
// Missing fonts are logged and are no error: tiles then have no names.
func (l *Labeller) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.mu.started {
		l.mu.Unlock()
		return fmt.Errorf("labeller: Run was called twice")
	}
	l.mu.started = true
	l.mu.Unlock()

	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(l.work)
	<-ctx.Done()
	l.mu.Lock()
	l.mu.ending = true
	l.mu.wake.Broadcast()
	l.mu.Unlock()
	return nil
}

// work renders what is queued, on a thread of its own that yields to sound,
// network and codecs. The thread ends with the goroutine, since it is never
// unlocked; where it cannot be niced it renders all the same.
func (l *Labeller) work() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 15)

	setter := l.openFonts()
	for {
		l.mu.Lock()
		for len(l.mu.queue) == 0 && !l.mu.ending {
			l.mu.wake.Wait()
		}
		if l.mu.ending {
			l.mu.Unlock()
			return
		}
		next := l.mu.queue[0]
		l.mu.queue[0] = nil
		l.mu.queue = l.mu.queue[1:]
		skip := next.dropped
		l.mu.Unlock()
		if !skip {
			overlay, err := renderSafely(setter, next.key)
			if err != nil {
				l.c.Log.Warn("cannot render a name", "err", err)
			}
			l.finished(next, overlay, err)
		} else {
			l.moved.Add(1) // the queue has
		}
	}
}

func (l *Labeller) openFonts() *typesetter {
	dirs := l.c.FontDirs
	if dirs == nil {
		dirs = systemFontDirs()
	}
	fonts, err := openFonts(dirs)
	if err != nil {
		l.c.Log.Warn("names are not shown: install a font, such as fonts-dejavu-core and fonts-noto-cjk", "dirs", dirs, "err", err)
	}
	return &typesetter{fonts: fonts}
}

// renderSafely turns a panic into an error: names come from strangers and
// pass through a shaper and font programs that are not ours, and what a
// name does must stay with that name.
func renderSafely(t *typesetter, key labelKey) (o *yuv.Overlay, err error) {
	defer func() {
		if p := recover(); p != nil {
			o, err = nil, fmt.Errorf("rendering %q: %v\n%s", key.text, p, debug.Stack())
		}
	}()
	return t.render(key)
}

func (l *Labeller) finished(e *label, o *yuv.Overlay, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.stats.Rendered++
	if err != nil {
		l.mu.stats.Failed++
	}
	e.overlay, e.ready = o, true
	l.moved.Add(1)
	l.mu.wake.Broadcast()
	if !e.dropped {
		l.mu.bytes += overlayBytes(o)
		l.evict()
	}
}

// get returns what key looks like (nil if it shows nothing) and whether that
// is known yet; if not it is queued. It does not block, and allocates only
// when key is new.
func (l *Labeller) get(key labelKey) (o *yuv.Overlay, ready bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if el := l.mu.cache[key]; el != nil {
		l.mu.recent.MoveToFront(el)
		e := el.Value.(*label)
		return e.overlay, e.ready
	}
	if len(l.mu.queue) >= maxLabelRequests {
		l.mu.stats.Refused++
		return nil, false
	}
	e := &label{key: key}
	l.mu.cache[key] = l.mu.recent.PushFront(e)
	l.mu.queue = append(l.mu.queue, e)
	l.mu.wake.Broadcast()
	l.evict()
	return nil, false
}

// evict makes the cache keep its bounds. Those who show an overlay keep it
// alive. The caller holds mu.
func (l *Labeller) evict() {
	for l.mu.recent.Len() > l.labels || l.mu.bytes > maxLabelBytes && l.mu.recent.Len() > 1 {
		e := l.mu.recent.Remove(l.mu.recent.Back()).(*label)
		delete(l.mu.cache, e.key)
		e.dropped = true
		l.mu.bytes -= overlayBytes(e.overlay)
		l.mu.stats.Evicted++
	}
}

// Stats returns a snapshot.
func (l *Labeller) Stats() LabelStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	stats := l.mu.stats
	stats.Cached, stats.Bytes = l.mu.recent.Len(), l.mu.bytes
	return stats
}

func overlayBytes(o *yuv.Overlay) int {
	if o == nil {
		return 0
	}
	return len(o.Y) + len(o.U) + len(o.V) + len(o.A)
}
