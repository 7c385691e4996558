package mixer

import (
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/mixer/video"
)

// relabelled is an encoder of VP8 that passes for one of H.264: what is tested
// here is who gets what.
type relabelled struct{ codec.VideoEncoder }

func (r relabelled) Encode(src *codec.VideoFrame, pts time.Duration, key bool) (*codec.EncodedFrame, error) {
	f, err := r.VideoEncoder.Encode(src, pts, key)
	if f != nil {
		f.Codec = codec.H264
	}
	return f, err
}

func withH264(c *Config) {
	c.Codecs.H264Encoder = func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) {
		e, err := vp8.NewEncoder(c)
		return relabelled{e}, err
	}
}

// lookIn264 is look for a viewer that takes H.264.
func lookIn264(t *testing.T, r *Room, l Limits) (*Participant, *viewer) {
	t.Helper()
	p, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer, Limits: l, Codec: codec.H264})
	if err != nil {
		t.Fatal(err)
	}
	v := &viewer{}
	takes := all
	takes.Codec = codec.H264
	p.Attach(v, Media{}, takes)
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	await(t, "a first picture in H.264", func() bool { return v.keys() > 0 })
	return p, v
}

// kinds counts the renditions of the shared canvas that somebody watches, by codec.
func kinds(t *testing.T, r *Room) (watched map[codec.Codec]int, all int) {
	return on(t, r, func() map[codec.Codec]int {
		watched = make(map[codec.Codec]int)
		for _, rendition := range *r.main.shared().all.Load() {
			all++
			if rendition.Watched() {
				watched[rendition.Codec()]++
			}
		}
		return watched
	}), all
}

// TestRenditionsByCodec: those of H.264 are made when the first client comes that
// takes nothing else, shared by all of them, and adapted like the others.
func TestRenditionsByCodec(t *testing.T) {
	t.Parallel()
	m := newManager(t, withH264)
	r := newTestRoom(t, m, RoomConfig{})
	stir(t, r)
	plain, _ := look(t, r, Limits{})
	if watched, n := kinds(t, r); watched[codec.H264] != 0 || n != 3 {
		t.Fatalf("%v of %d, and nobody takes H.264", watched, n)
	}
	one, v := lookIn264(t, r, Limits{})
	two, w := lookIn264(t, r, Limits{})
	if a, b := one.watching.Load(), two.watching.Load(); a != b || a.Codec() != codec.H264 || a.Tier() != plain.watching.Load().Tier() {
		t.Errorf("they watch %v in %v, and %v in %v", a.Tier(), a.Codec(), b.Tier(), b.Codec())
	}
	if watched, n := kinds(t, r); watched[codec.H264] != 1 || watched[codec.VP8] != 1 || n != 6 {
		t.Errorf("%v of %d", watched, n)
	}
	if got := one.Info().Takes.VideoCodec(); got != codec.H264 {
		t.Errorf("takes %v", got)
	}
	estimate(t, one, 3_000_000, topTier)
	await(t, "the top tier in H.264", func() bool { return v.last().width == 1280 })
	if one.watching.Load().Codec() != codec.H264 || w.last().width != 640 {
		t.Errorf("in %v, the other's is %d wide", one.watching.Load().Codec(), w.last().width)
	}
	middle := two.watching.Load().Tier()
	// The subscription that was left is given up a moment after the switch.
	await(t, "one who takes the middle tier in H.264", func() bool {
		return r.Stats().Renditions[RenditionKind{middle, codec.H264}].Subscribers == 1
	})
	if n := r.Stats().Renditions[RenditionKind{middle, codec.VP8}].Subscribers; n < 1 {
		t.Errorf("%d take %v in VP8", n, middle)
	}
	m.Governor().level.Store(uint32(LevelLowTop))
	await(t, "no top tier in H.264 either", func() bool { r.wake(); return v.last().width == 640 })
	for _, p := range []*Participant{one, two} {
		p.Leave(nil)
	}
	await(t, "nobody coding H.264", func() bool { watched, _ := kinds(t, r); return watched[codec.H264] == 0 })
}

// TestLevelsBound: a level of H.264 is not exceeded where a tier is within it.
func TestLevelsBound(t *testing.T) {
	t.Parallel()
	m := newManager(t, withH264)
	r := newTestRoom(t, m, RoomConfig{})
	stir(t, r)
	// 3.0: 1620 macroblocks, 40,500 a second; 640x360 at 30 has 920 and 27,600.
	p, _ := lookIn264(t, r, Limits{MaxBlocks: 1620, MaxBlockRate: 40_500})
	if got := on(t, r, func() []string {
		var tiers []string
		for _, rung := range p.view.rungs {
			tiers = append(tiers, rung.Tier().String())
		}
		return tiers
	}); !slices.Equal(got, []string{"320x180@15", "640x360@30"}) {
		t.Errorf("rungs %v", got)
	}
	// 1.1 for one whose size must stay: the smallest, and slower ones of it.
	q, _ := lookIn264(t, r, Limits{MaxBlocks: 396, MaxBlockRate: 3000, ConstantSize: true})
	if tier := q.Info().Tier; tier.Width != 320 || tier.FPS > 15 {
		t.Errorf("is sent %v", tier)
	}
	codecs := on(t, r, func() map[codec.Codec]bool {
		seen := make(map[codec.Codec]bool)
		for _, rung := range append(slices.Clone(p.view.rungs), q.view.rungs...) {
			seen[rung.Codec()] = true
		}
		return seen
	})
	if len(codecs) != 1 || !codecs[codec.H264] {
		t.Errorf("rungs in %v", codecs)
	}
}

// TestWithoutH264: a room that has no encoder for it makes no renditions of it.
func TestWithoutH264(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	c := r.main.shared()
	if got := on(t, r, func() []*video.Rendition { return c.renditionsIn(codec.H264, r) }); got[0] != c.renditions[0] {
		t.Error("renditions of H.264")
	}
	if m.cfg.Codecs.others() != nil {
		t.Error("decoders of H.264")
	}
}
