package mixer

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixdown/codec"
)

// TestChurnOfGroups moves people about while they connect, vanish, whisper, are
// recorded and played to, and then ends the room in the middle of it.
func TestChurnOfGroups(t *testing.T) {
	dir := t.TempDir()
	writeTone(t, filepath.Join(dir, "tone.ogg"), 500, 300*time.Millisecond)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	m := newManager(t)
	m.cfg.Media = root
	var open atomic.Int64
	m.cfg.Codecs = countedCodecs(&open)
	const large = 8000
	m.cfg.RoomVideoBytes = int64(codec.VideoFrameBytes(large, large))
	r := newTestRoom(t, m, RoomConfig{})
	groups := []GroupID{"", "a", "b", "c"}
	stay, _ := enter(t, r, "stays")
	defer speak(t, stay, 440, 80, 90, 200)()

	// What is refused is refused for one of these reasons.
	expected := func(what string, err error) {
		switch KindOf(err) {
		case NotFound, Gone, Exhausted, Conflict, Invalid:
		default:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	var all sync.WaitGroup
	var joined atomic.Int64
	for n := range 4 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 7))
			group := func() *GroupID { return &groups[rng.IntN(len(groups))] }
			for {
				select {
				case <-r.Done():
					return
				default:
				}
				p, err := r.Join(t.Context(), JoinRequest{Role: Role(rng.IntN(3))})
				if err != nil {
					expected("join", err)
					return
				}
				joined.Add(1)
				for range 12 {
					var err error
					switch rng.IntN(9) {
					case 0:
						p.Attach(nowhere{}, Media{Audio: true, Camera: true}, Media{Audio: true, Camera: true})
						p.Feedback(codec.Feedback{Link: codec.LinkUp})
					case 1:
						p.Feedback(codec.Feedback{Link: codec.LinkLost})
					case 2, 3:
						_, err = r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Group: group()})
					case 4:
						_, err = r.UpdateParticipant(t.Context(), stay.ID(), ParticipantPatch{Group: group(), AlsoTo: &[]GroupID{*group(), *group()}})
					case 5:
						_, err = r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Suppress: ptr(rng.IntN(2) == 0), AlsoTo: &[]GroupID{*group()}})
					case 6:
						var in InputInfo
						if in, err = r.Play(t.Context(), InputRequest{File: "tone.ogg", Group: *group()}); err == nil && rng.IntN(2) == 0 {
							err = r.EndInput(t.Context(), in.ID)
						}
					case 7:
						_, err = r.StartRecording(t.Context())
						r.CPU()
						m.Stats()
					case 8:
						if s, _, err := r.Subscribe(); err == nil {
							s.Close()
						}
						p.source.write(rng)
					}
					expected("a step", err)
				}
				if rng.IntN(2) == 0 {
					p.Leave(errors.New("enough"))
				} else {
					expected("remove", r.Remove(t.Context(), p.ID(), nil))
				}
			}
		})
	}
	await(t, "much to have happened", func() bool { return joined.Load() > 200 })
	if err := m.DeleteRoom(t.Context(), "test"); err != nil {
		t.Error(err)
	}
	all.Wait()
	if n := open.Load(); n != 0 {
		t.Errorf("%d codecs were made and not closed", n)
	}
	// One picture as large as the budget fits only when no other is in use.
	if _, err := r.frames.Get(large, large); err != nil {
		t.Errorf("pictures are in use: %v", err)
	}
}

// counted is a codec that is counted while it is open.
type counted[T io.Closer] struct {
	codec T
	open  *atomic.Int64
	once  sync.Once
}

func count[T io.Closer](open *atomic.Int64, c T, err error) (*counted[T], error) {
	if err == nil {
		open.Add(1)
	}
	return &counted[T]{codec: c, open: open}, err
}

func (c *counted[T]) close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.codec.Close()
}

type (
	countedAudioDecoder struct {
		codec.AudioDecoder
		*counted[codec.AudioDecoder]
	}
	countedAudioEncoder struct {
		codec.AudioEncoder
		*counted[codec.AudioEncoder]
	}
	countedVideoDecoder struct {
		codec.VideoDecoder
		*counted[codec.VideoDecoder]
	}
	countedVideoEncoder struct {
		codec.VideoEncoder
		*counted[codec.VideoEncoder]
	}
	countedSuppressor struct {
		Suppressor
		*counted[Suppressor]
	}
)

func (c countedAudioDecoder) Close() error { return c.close() }
func (c countedAudioEncoder) Close() error { return c.close() }
func (c countedVideoDecoder) Close() error { return c.close() }
func (c countedVideoEncoder) Close() error { return c.close() }
func (c countedSuppressor) Close() error   { return c.close() }

func (c countedAudioEncoder) CopyFrom(src codec.AudioEncoder) error {
	return c.AudioEncoder.CopyFrom(src.(countedAudioEncoder).AudioEncoder)
}

// countedCodecs are realCodecs that say how many are open.
func countedCodecs(open *atomic.Int64) Codecs {
	made := realCodecs()
	return Codecs{
		AudioDecoder: func() (codec.AudioDecoder, error) {
			d, err := made.AudioDecoder()
			c, err := count(open, d, err)
			return countedAudioDecoder{d, c}, err
		},
		AudioEncoder: func() (codec.AudioEncoder, error) {
			e, err := made.AudioEncoder()
			c, err := count(open, e, err)
			return countedAudioEncoder{e, c}, err
		},
		VideoDecoder: func() (codec.VideoDecoder, error) {
			d, err := made.VideoDecoder()
			c, err := count(open, d, err)
			return countedVideoDecoder{d, c}, err
		},
		VideoEncoder: func(vc codec.VideoEncoderConfig) (codec.VideoEncoder, error) {
			e, err := made.VideoEncoder(vc)
			c, err := count(open, e, err)
			return countedVideoEncoder{e, c}, err
		},
		Suppressor: func() (Suppressor, error) {
			var s Suppressor = halver{new(bool)}
			c, err := count(open, s, nil)
			return countedSuppressor{s, c}, err
		},
	}
}

// write sends something in every kind.
func (s *source) write(rng *rand.Rand) {
	if s == nil {
		return
	}
	f := codec.NewEncodedFrame(20)
	f.Codec, f.Data, f.Seq, f.Arrival = codec.Opus, append(f.Data, 0xf8, 0xff, 0xfe), 1+rng.Int64N(100), codec.Now()
	s.playout.Push(f, codec.Now())
	f = codec.NewEncodedFrame(20)
	f.Codec, f.Data, f.Arrival = codec.VP8, append(f.Data, 1, 2, 3), codec.Now()
	s.writeVideo(codec.Camera, f)
}
