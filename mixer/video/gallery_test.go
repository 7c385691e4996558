package video

import (
	"bytes"
	"encoding/binary"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/mixer/layout"
)

const (
	galleryDir   = "testdata/gallery"
	clipDir      = "../../.cache/clips"
	galleryBytes = 600_000
)

// gallery is the pictures of the README, with the clips that they show: the man
// at his desk, the dog, and a desktop with a terminal.
func gallery(t testing.TB, pool *codec.VideoPool, clip func(name string, n int) *codec.VideoFrame) map[string]*staged {
	names := []string{"Ada Lovelace", "김민수", "山田さくら", "Анна", "محمد علي", "Ελένη", "王小明", "Zoë 🎉", "Žofie Ångström"}
	people := func(n int) (list []*member) {
		for i, name := range names[:n] {
			file := []string{"video-01", "video-09", "video-05", "video-03", "video-10", "video-02", "video-04", "video-12", "video-08"}[i]
			list = append(list, &member{name: name, picture: clip(file, 20+31*i)})
		}
		return list
	}
	nine := people(9)
	nine[1].muted, nine[4].muted = true, true
	nine[3].link = LinkWeak
	nine[5].picture = nil
	nine[6].picture, nine[6].avatar = nil, clip("video-09", 60)
	nine[7].link = LinkLost
	sharing := people(6)
	sharing[0].screen = clip("video-13", 60)
	sharing[2].muted = true
	wide, tall := layout.Canvas{Width: 640, Height: 360, FPS: 30}, layout.Canvas{Width: 360, Height: 640, FPS: 30}
	return map[string]*staged{
		"grid":         {wide, modeSpec(layout.Grid), nine, 0, Background{}},
		"speaker":      {wide, modeSpec(layout.Speaker), people(6), 2, Background{}},
		"sidebar":      {wide, modeSpec(layout.Sidebar), people(6), 0, Background{}},
		"presentation": {wide, modeSpec(layout.Presentation), sharing, 3, Background{}},
		"pip":          {wide, modeSpec(layout.PIP), people(2), 1, Background{}},
		"seven":        {wide, modeSpec(layout.Seven), people(8), 0, Background{}},
		"custom":       {wide, staircase(), people(4), 2, Background{Image: wallpaper(t, pool, 640, 360)}},
		"portrait":     {tall, layout.Spec{Mode: layout.Grid, Fill: true}, people(6), 1, Background{Colour: [3]uint8{24, 44, 66}, HasColour: true}},
	}
}

// staircase is a custom layout: one large, three steps over its side.
func staircase() layout.Spec {
	yes := true
	spec := layout.Spec{Mode: layout.Custom, Tiles: []layout.CustomTile{{X: 0.03, Y: 0.1, W: 0.72, H: 0.72, Show: "speaker"}}}
	for i, show := range []string{"rank:1", "rank:2", "rank:3"} {
		step := float64(i)
		spec.Tiles = append(spec.Tiles, layout.CustomTile{X: 0.66 - 0.04*step, Y: 0.04 + 0.31*step, W: 0.3, H: 0.3, Z: 1, Show: show, Fill: &yes})
	}
	return spec
}

// TestGallery: the README's pictures are there, of every layout, and small.
// -update makes them from the clips of `make clips`.
func TestGallery(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	if *update {
		labeller := startLabeller(t, LabellerConfig{})
		for name, s := range gallery(t, pool, func(name string, n int) *codec.VideoFrame { return clipPicture(t, pool, name, n) }) {
			f := s.draw(t, pool, labeller)
			var b bytes.Buffer
			if err := jpeg.Encode(&b, toImage(f), &jpeg.Options{Quality: 85}); err != nil {
				t.Fatal(err)
			}
			f.Release()
			if err := os.WriteFile(filepath.Join(galleryDir, name+".jpg"), b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := 0
	blank := func(string, int) *codec.VideoFrame { return newFrame(t, pool, 64, 36, backdrop) }
	for name, s := range gallery(t, pool, blank) {
		data, err := os.ReadFile(filepath.Join(galleryDir, name+".jpg"))
		if err != nil {
			t.Error(err)
			continue
		}
		total += len(data)
		header, err := jpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil || header.Width != s.canvas.Width || header.Height != s.canvas.Height {
			t.Errorf("%s: %dx%d, %v", name, header.Width, header.Height, err)
		}
	}
	if total > galleryBytes {
		t.Errorf("%d bytes, want at most %d", total, galleryBytes)
	}
}

// clipPicture decodes a clip up to its picture n.
func clipPicture(t testing.TB, pool *codec.VideoPool, name string, n int) *codec.VideoFrame {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(clipDir, name+".ivf"))
	if err != nil {
		t.Fatalf("the gallery is made of clips; try: make clips: %v", err)
	}
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	data = data[32:] // the file's header; each frame has one of 12 bytes
	for range n {
		size := binary.LittleEndian.Uint32(data)
		if err := dec.Decode(data[12 : 12+size]); err != nil {
			t.Fatal(err)
		}
		if data = data[12+size:]; len(data) == 0 {
			break
		}
	}
	w, h := dec.Size()
	f, err := pool.Get(w, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := dec.Picture(f); err != nil {
		t.Fatal(err)
	}
	return f
}
