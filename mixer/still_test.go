package mixer

import (
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"mixdown/mixer/layout"
)

// mediaRoom returns a room that may show the files of a directory, in which
// there is red.png.
func mediaRoom(t *testing.T, rc RoomConfig) (*Manager, *Room) {
	t.Helper()
	dir := t.TempDir()
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		img.Set(i%64, i/64, color.RGBA{220, 20, 20, 255})
	}
	for name, write := range map[string]func(*os.File) error{
		"red.png":   func(f *os.File) error { return png.Encode(f, img) },
		"words.png": func(f *os.File) error { _, err := f.WriteString("no picture at all"); return err },
	} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(write(f), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	media, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { media.Close() })
	m := newManager(t)
	m.cfg.Media = media
	return m, newTestRoom(t, m, rc)
}

func TestStills(t *testing.T) {
	m, r := mediaRoom(t, RoomConfig{Layout: layout.Spec{BackgroundImage: "red.png"}})
	ann, a := enter(t, r, "Ann")
	awaitSees := func(what, want string) {
		t.Helper()
		await(t, what, func() bool { return sees(a) == want })
	}
	// Alone she is everywhere but where the layout leaves the canvas free.
	free := layout.Spec{Mode: layout.Custom, BackgroundImage: "red.png",
		Tiles: []layout.CustomTile{{X: 0.5, W: 0.5, H: 1, Show: "rank:1"}}}
	if _, err := r.SetLayout(t.Context(), "", free); err != nil {
		t.Fatal(err)
	}
	awaitSees("the background image", "red")
	free.BackgroundImage, free.Background = "", "#1010f0"
	if _, err := r.SetLayout(t.Context(), "", free); err != nil {
		t.Fatal(err)
	}
	awaitSees("the background colour", "blue")

	// A disc of half the tile's height around its middle.
	free.Tiles[0].X, free.Tiles[0].W = 0.15, 0.2
	if _, err := r.SetLayout(t.Context(), "", free); err != nil {
		t.Fatal(err)
	}
	file := "red.png"
	info, err := r.UpdateParticipant(t.Context(), ann.ID(), ParticipantPatch{Avatar: &file})
	if err != nil || info.Avatar != file {
		t.Errorf("avatar %q, %v", info.Avatar, err)
	}
	awaitSees("the avatar", "red")
	file = ""
	if _, err := r.UpdateParticipant(t.Context(), ann.ID(), ParticipantPatch{Avatar: &file}); err != nil {
		t.Fatal(err)
	}
	await(t, "no avatar", func() bool { return sees(a) != "red" })

	for _, name := range []string{"blue.png", "words.png"} {
		bad := layout.Spec{BackgroundImage: name}
		for what, err := range map[string]error{
			"the room's":   second(r.SetLayout(t.Context(), "", bad)),
			"one's own":    second(r.SetPersonalLayout(t.Context(), ann.ID(), &bad, false)),
			"a new room's": second(m.CreateRoom(context.Background(), RoomConfig{ID: "other", Layout: bad})),
			"an avatar":    second(r.UpdateParticipant(t.Context(), ann.ID(), ParticipantPatch{Avatar: &name})),
		} {
			var e *Error
			if !errors.As(err, &e) || e.Kind != Invalid {
				t.Errorf("%s %s: %v, want Invalid", what, name, err)
			}
		}
	}
	if _, err := newStyle("test", &Config{}, layout.Canvas{}, layout.Spec{BackgroundImage: "red.png"}); !errors.Is(err, ErrNoMedia) {
		t.Errorf("without a directory: %v", err)
	}
}

// While pictures are decoded for a room, other rooms are made and joined.
func TestStillsHoldNobodyUp(t *testing.T) {
	m, other := mediaRoom(t, RoomConfig{})
	m.cfg.stills.Lock() // a picture that takes its time
	made := make(chan error)
	go func() {
		_, err := m.CreateRoom(t.Context(), RoomConfig{ID: "red", Layout: layout.Spec{BackgroundImage: "red.png"}})
		made <- err
	}()
	for range 20 {
		enter(t, other, "Ann")
		m.Stats()
	}
	m.cfg.stills.Unlock()
	if err := <-made; err != nil {
		t.Error(err)
	}
	if n := len(m.Rooms()); n != 2 {
		t.Errorf("%d rooms", n)
	}
}
