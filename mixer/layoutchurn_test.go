package mixer

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// fickle is a connection that takes, or refuses, as it likes.
type fickle struct {
	nowhere
	n    atomic.Uint32
	keys atomic.Int64
}

func (f *fickle) WriteVideo(*codec.EncodedFrame) codec.Verdict {
	switch f.n.Add(1) % 7 {
	case 0:
		return codec.NeedKey
	case 3:
		return codec.Dropped
	}
	return codec.Sent
}

func (f *fickle) RequestKeyframe(codec.SourceID) { f.keys.Add(1) }

// reel is coded pictures of some size, of which every fifth is a key frame.
func reel(t *testing.T, w, h int) [][]byte {
	t.Helper()
	enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: w, Height: h, FPS: 30, BitrateBps: 100_000, TemporalLayers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	picture, err := codec.NewVideoPool(1<<22).Get(w, h)
	if err != nil {
		t.Fatal(err)
	}
	var coded [][]byte
	for i := range 10 {
		for at := range picture.Y {
			picture.Y[at] = byte(at + 20*i)
		}
		out, err := enc.Encode(picture, time.Duration(i)*time.Second/30, i%5 == 0)
		if err != nil {
			t.Fatal(err)
		}
		coded = append(coded, append([]byte(nil), out.Data...))
		out.Release()
	}
	return coded
}

// TestChurnOfLayouts changes what everybody sees, in every way at once, while
// pictures of all sizes come, are passed through or not, and people leave; and
// then ends the room in the middle of it. Nothing is left behind.
func TestChurnOfLayouts(t *testing.T) {
	m := newManager(t)
	var open atomic.Int64
	m.cfg.Codecs = countedCodecs(&open)
	const large = 8000
	m.cfg.RoomVideoBytes = int64(codec.VideoFrameBytes(large, large))
	r := newTestRoom(t, m, RoomConfig{
		Canvas: layout.Canvas{Width: 160, Height: 90, FPS: 30},
		Tiers:  []video.Tier{{Width: 160, Height: 90, FPS: 30}, {Width: 80, Height: 44, FPS: 15}},
	})
	reels := [][][]byte{reel(t, 160, 90), reel(t, 80, 44), reel(t, 17, 31), reel(t, 320, 180), reel(t, 160, 90), reel(t, 90, 160)}
	specs := func(rng *rand.Rand) layout.Spec {
		yes := func() bool { return rng.IntN(2) == 0 }
		spec := layout.Spec{Mode: layout.Modes()[rng.IntN(7)], HideSelf: yes(), NoLabels: rng.IntN(4) > 0, Fill: yes(), Limit: rng.IntN(4), NoBorder: yes()}
		if rng.IntN(6) == 0 {
			spec.Mode = layout.Custom
			spec.Tiles = []layout.CustomTile{
				{W: 1, H: 1, Show: "speaker"}, {X: rng.Float64() / 2, Y: rng.Float64() / 2, W: 0.02 + rng.Float64()*0.48, H: 0.02 + rng.Float64()*0.48, Z: rng.IntN(3) - 1, Show: "rank:1"},
			}
		}
		return spec
	}
	expected := func(what string, err error) {
		switch KindOf(err) {
		case NotFound, Gone, Exhausted, Conflict, Invalid:
		default:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	groups := []GroupID{"", "a", "b"}
	var all sync.WaitGroup
	var steps atomic.Int64
	for n := range 4 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 3))
			for {
				select {
				case <-r.Done():
					return
				default:
				}
				limits := Limits{ConstantSize: rng.IntN(3) == 0}
				p, err := r.Join(t.Context(), JoinRequest{Role: Role(rng.IntN(3)), Limits: limits})
				if err != nil {
					expected("join", err)
					return
				}
				media := Media{Audio: true, Camera: true, Screen: true}
				p.Attach(&fickle{}, media, media)
				p.Feedback(codec.Feedback{Link: codec.LinkUp})
				roll, at := reels[rng.IntN(len(reels))], 0
				for range 60 {
					var err error
					switch rng.IntN(12) {
					case 0:
						_, err = r.SetLayout(t.Context(), groups[rng.IntN(3)], specs(rng))
					case 1:
						spec := specs(rng)
						_, err = r.SetPersonalLayout(t.Context(), p.ID(), &spec, rng.IntN(4) == 0)
					case 2:
						_, err = r.SetPersonalLayout(t.Context(), p.ID(), nil, false)
					case 3:
						_, err = r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Group: &groups[rng.IntN(3)]})
					case 4:
						p.Feedback(codec.Feedback{EstimateBps: 20_000 + rng.IntN(1_000_000), Report: true, LossFraction: rng.Float64() / 3, RTT: time.Millisecond})
						p.Feedback(codec.Feedback{KeyframeWanted: true})
					case 5:
						if rng.IntN(4) == 0 {
							_, err = r.StartRecording(t.Context())
						}
						m.Stats()
					case 6:
						var o *Outlet
						if o, err = r.OpenOutlet(t.Context(), OutletRequest{Group: groups[rng.IntN(3)]}); err == nil {
							for _, f := range o.Take(nil) {
								f.Release()
							}
							o.Close()
						}
					case 7:
						roll, at = reels[rng.IntN(len(reels))], 0
					default:
						for range 5 {
							f := codec.NewEncodedFrame(len(roll[at]))
							f.Codec, f.Data, f.Arrival, f.Stream = codec.VP8, append(f.Data, roll[at]...), codec.Now(), 7
							f.PTS = f.Arrival
							p.WriteVideo(codec.SourceID(rng.IntN(2)), f)
							at = (at + 1) % len(roll)
							time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
						}
					}
					expected("a step", err)
					steps.Add(1)
				}
				p.Leave(nil)
			}
		})
	}
	await(t, "much to have happened", func() bool { return steps.Load() > 500 })
	if err := m.DeleteRoom(t.Context(), "test"); err != nil {
		t.Error(err)
	}
	all.Wait()
	if n := open.Load(); n != 0 {
		t.Errorf("%d codecs were made and not closed", n)
	}
	if _, err := r.frames.Get(large, large); err != nil {
		t.Errorf("pictures are in use: %v", err)
	}
}
