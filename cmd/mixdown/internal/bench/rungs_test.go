package bench

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/mixer/layout"
)

func TestRungs(t *testing.T) {
	want := []layout.Canvas{{Width: 640, Height: 360, FPS: 30}, {Width: 426, Height: 240, FPS: 30}, {Width: 320, Height: 180, FPS: 30}, {Width: 212, Height: 120, FPS: 15}, {Width: 160, Height: 90, FPS: 15}}
	if got := rungs(asFetched); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := rungs(layout.Canvas{Width: 160, Height: 90, FPS: 10}); len(got) != 1 {
		t.Errorf("below the ladder: %v", got)
	}
}

// sized is a sender of a clip in every size; what is in them does not matter.
func sized() (*sender, []variant) {
	var sizes []variant
	for _, size := range rungs(asFetched) {
		c := &clip.Clip{}
		for range 3 {
			c.Units = append(c.Units, clip.Unit{Data: []byte{0}})
		}
		sizes = append(sizes, variant{c, size})
	}
	return newPictures(sizes, false), sizes
}

func TestSenderObeys(t *testing.T) {
	s, sizes := sized()
	next := func() clip.Unit {
		u, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	plays := func(what string, i int) {
		t.Helper()
		for n := range 2 {
			if u := next(); &u.Data[0] != &sizes[i].clip.Units[n].Data[0] {
				t.Errorf("%s: unit %d is not that of %v", what, n, sizes[i].size)
			}
		}
		if s.playing() != sizes[i].clip {
			t.Errorf("%s: another clip counts as played", what)
		}
	}
	plays("at first", 0)
	s.Limit(codec.UplinkTarget{Width: 426, Height: 240, FPS: 30})
	plays("one of nine", 1)
	s.Limit(codec.UplinkTarget{Width: 426, Height: 240, FPS: 30, BitrateBps: 1000})
	if u := next(); &u.Data[0] != &sizes[1].clip.Units[2].Data[0] {
		t.Error("the same size once more begins anew")
	}
	s.Limit(codec.UplinkTarget{Width: 320, Height: 180, FPS: 15})
	plays("half the pictures", 3)
	s.Limit(codec.UplinkTarget{Width: 16, Height: 16, FPS: 1})
	plays("less than there is", 4)
	s.Limit(codec.UplinkTarget{Width: 320, Height: 180, FPS: 30})
	s.Limit(codec.UplinkTarget{}) // before anybody has looked
	plays("all there is", 0)
	s.watch(true)
	s.Limit(codec.UplinkTarget{Width: 320, Height: 180, FPS: 30})
	next()
	if s.playing() != sizes[0].clip || len(s.taken()) != 0 {
		t.Error("who is watched plays another clip")
	}
	s.watch(false)
	plays("after that", 2)
	s.Limit(codec.UplinkTarget{Width: 160, Height: 90, Paused: true})
	if s.playing() != nil {
		t.Error("who pauses counts as sending")
	}
}

// What the floor is measured with before a run is what the server will ask for.
func TestExpected(t *testing.T) {
	s, sizes := sized()
	m := &member{video: s}
	cfg := Config{Uplink: true}.withDefaults()
	for people, want := range map[int]int{1: 0, 2: 0, 4: 0, 5: 1, 9: 1, 10: 2, 16: 2, 25: 2, 36: 3, 49: 3} {
		if got := m.expected(cfg, people); got != sizes[want].clip {
			t.Errorf("%d people: another size than %v", people, sizes[want].size)
		}
	}
	cfg.Uplink = false
	if m.expected(cfg, 9) != sizes[0].clip {
		t.Error("who obeys nothing sends less")
	}
}

// A clip that was made is not made again.
func TestMadeOnce(t *testing.T) {
	dir := t.TempDir()
	s := newStreams(Config{Clips: dir}.withDefaults())
	source := &clip.Clip{Codec: codec.VP8, Units: []clip.Unit{{Data: []byte{1}}}}
	c, err := clip.Load(filepath.Join("../../../../.cache/clips", "video-01.ivf"))
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	get := func(source *clip.Clip, to layout.Canvas, numbered bool) *clip.Clip {
		t.Helper()
		got, err := s.kept(source, to, numbered, func() (*clip.Clip, error) { made++; return c, nil })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := get(source, asFetched, false)
	if again := get(source, asFetched, false); made != 1 || len(again.Units) != len(first.Units) || again.Duration() != first.Duration() {
		t.Errorf("made %d times, of %d and %d units", made, len(first.Units), len(again.Units))
	}
	other := &clip.Clip{Codec: codec.VP8, Units: []clip.Unit{{Data: []byte{2}}}}
	get(other, asFetched, false)
	get(source, layout.Canvas{Width: 320, Height: 180, FPS: 30}, false)
	if get(source, asFetched, true); made != 4 {
		t.Errorf("four different clips were made %d times", made)
	}
	// Nowhere to keep them: they are made each time.
	s.cfg.Clips = filepath.Join(dir, "file")
	if err := os.WriteFile(s.cfg.Clips, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	get(source, asFetched, false)
	if get(source, asFetched, false); made != 6 {
		t.Errorf("made %d times in all, want 6", made)
	}
	if _, err := s.kept(source, asFetched, false, func() (*clip.Clip, error) { return nil, fs.ErrClosed }); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("what cannot be made: %v", err)
	}
}
