package record

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/at-wat/ebml-go"
	ebmlwebm "github.com/at-wat/ebml-go/webm"

	"mixdown/codec"
)

// sink is what the mixer wants of a Recorder.
type sink interface {
	WriteAudio(*codec.EncodedFrame)
	WriteVideo(*codec.EncodedFrame) codec.Verdict
}

var _ sink = (*Recorder)(nil)

// memFile is a file in memory. A gate that is not nil holds every write back
// until it is closed; a limit makes the disk full.
type memFile struct {
	mu     sync.Mutex
	b      []byte
	limit  int
	gate   chan struct{}
	closed int
}

var errDiskFull = errors.New("no space left on device")

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fits := len(p)
	if m.limit > 0 {
		fits = max(min(fits, m.limit-int(off)), 0)
	}
	if need := int(off) + fits; need > len(m.b) && fits > 0 {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	copy(m.b[min(int(off), len(m.b)):], p[:fits])
	if fits < len(p) {
		return fits, errDiskFull
	}
	return fits, nil
}

func (m *memFile) Truncate(size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if size > int64(len(m.b)) {
		return io.ErrShortWrite
	}
	m.b = m.b[:size]
	return nil
}

func (m *memFile) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed++
	return nil
}

// block is a frame in a file.
type block struct {
	video bool
	ms    int
	key   bool
	pts   int // by the frame's content
}

// blocks reads a file by ebml-go.
func blocks(t testing.TB, b []byte) (out []block) {
	t.Helper()
	var d struct {
		Segment struct {
			Tracks  ebmlwebm.Tracks    `ebml:"Tracks"`
			Info    ebmlwebm.Info      `ebml:"Info"`
			Cluster []ebmlwebm.Cluster `ebml:"Cluster"`
		} `ebml:"Segment"`
	}
	if err := ebml.Unmarshal(bytes.NewReader(b), &d, ebml.WithIgnoreUnknown(true)); err != nil {
		t.Fatalf("not a file: %v", err)
	}
	if d.Segment.Info.Duration <= 0 {
		t.Error("no duration")
	}
	for _, c := range d.Segment.Cluster {
		for _, s := range c.SimpleBlock {
			data := s.Data[0]
			out = append(out, block{
				video: s.TrackNumber == 1, ms: int(c.Timecode) + int(s.Timecode), key: s.Keyframe,
				pts: int(data[1])<<16 | int(data[2])<<8 | int(data[3]),
			})
		}
	}
	return out
}

// rig is a Recorder on files in memory, and a room that feeds it.
type rig struct {
	*Recorder
	t      *testing.T
	files  []*memFile
	states []State
	state  chan State // each of states as it comes
	ran    chan error
	stream codec.StreamID
	all    []*codec.EncodedFrame
	extra  int // bytes of a picture
}

func newRig(t *testing.T, cfg Config, file func(part int) (*memFile, error)) *rig {
	t.Helper()
	g := &rig{t: t, ran: make(chan error, 1), state: make(chan State, 1000), stream: codec.NewStreamID(), extra: 100}
	if file == nil {
		file = func(int) (*memFile, error) { return &memFile{}, nil }
	}
	cfg.Create = func(part int) (File, error) {
		if part != len(g.files)+1 {
			t.Errorf("part %d after %d", part, len(g.files))
		}
		f, err := file(part)
		if err != nil {
			return nil, err
		}
		g.files = append(g.files, f)
		return f, nil
	}
	cfg.OnState = func(st Status) {
		g.states = append(g.states, st.State)
		g.state <- st.State
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.Recorder = r
	t.Cleanup(func() {
		_ = g.Close()
		for _, f := range g.all {
			if f.Release(); f.Data != nil {
				t.Fatal("the Recorder kept a frame")
			}
		}
	})
	return g
}

func (g *rig) run(ctx context.Context) { go func() { g.ran <- g.Run(ctx) }() }

// stop ends the recording and returns the status and Run's error.
func (g *rig) stop() (Status, error) {
	g.t.Helper()
	st, err := g.Stop(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	return st, <-g.ran
}

func (g *rig) frame(n, pts int) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(n + 8)
	f.Data = f.Buffer()[:n+4]
	clear(f.Data)
	f.Data[0], f.Data[1], f.Data[2], f.Data[3] = 0x48, byte(pts>>16), byte(pts>>8), byte(pts)
	f.PTS = time.Duration(pts) * time.Millisecond
	g.all = append(g.all, f)
	return f
}

func (g *rig) sound(ms int) {
	f := g.frame(4, ms)
	f.Codec = codec.Opus
	g.WriteAudio(f)
}

func (g *rig) picture(ms int, key bool) codec.Verdict {
	return g.sized(ms, key, 640, 360)
}

func (g *rig) sized(ms int, key bool, w, h int) codec.Verdict {
	f := g.frame(g.extra, ms)
	f.Codec, f.Stream, f.Key, f.Width, f.Height = codec.VP8, g.stream, key, w, h
	return g.WriteVideo(f)
}

// play feeds sound and pictures (25 fps) from one time to another, pictures
// lag late; a picture is a key frame when the Recorder asked for one, two
// pictures later, or when key says so.
func (g *rig) play(from, to, lag int) {
	asked := -1
	for ms := from; ms < to; ms += 20 {
		g.sound(ms)
		if v := ms - lag; v >= 0 && v%40 == 0 {
			key := asked >= 0 && v >= asked+80
			if g.picture(v, key) == codec.NeedKey && asked < 0 {
				asked = v
			} else if key {
				asked = -1
			}
		}
	}
}

// settle waits until the queue is empty and what was in it is written.
func (g *rig) settle() {
	g.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		queued := g.mu.n
		g.mu.Unlock()
		st := g.Stats()
		if queued == 0 && st.VideoWritten+st.AudioWritten+st.Refused > 0 {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatal("the queue is not written")
		}
	}
}

// only returns the blocks of one kind.
func only(all []block, video bool) (out []block) {
	for _, b := range all {
		if b.video == video {
			out = append(out, b)
		}
	}
	return out
}
