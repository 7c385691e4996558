package mixer

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"testing"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// develop decodes a snapshot.
func develop(t *testing.T, file []byte) image.Image {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// hasColour reports whether a place of a picture, as shares of it, has a colour.
func hasColour(img image.Image, x, y float64, r, g, b int) bool {
	at := img.At(int(x*float64(img.Bounds().Dx())), int(y*float64(img.Bounds().Dy())))
	ar, ag, ab, _ := at.RGBA()
	for _, d := range []int{int(ar>>8) - r, int(ag>>8) - g, int(ab>>8) - b} {
		if d < -25 || d > 25 {
			return false
		}
	}
	return true
}

// drawn is how many pictures of the main canvas were drawn.
func drawn(r *Room) uint64 { return r.main.shared().compositor.Stats().Drawn }

// TestSnapshot: it shows the tiles, though nobody watches and so nothing was
// decoded; those who ask within a second get the same; later nothing is drawn any
// more.
func TestSnapshot(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{Canvas: layout.Canvas{Width: 640, Height: 360, FPS: 30}})
	if _, err := r.Snapshot(t.Context(), "", 0); !errors.Is(err, ErrNobody) || KindOf(err) != Conflict {
		t.Errorf("an empty room: %v", err)
	}
	// They send, and take sound alone.
	for _, tone := range [][3]byte{{80, 90, 240}, {40, 240, 110}} {
		p, err := r.Join(t.Context(), JoinRequest{Limits: Limits{NoVideo: true}})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t)
		p.Attach(c, all, Media{Audio: true})
		p.Feedback(codec.Feedback{Link: codec.LinkUp})
		defer film(t, p, c, 320, 180, tone[0], tone[1], tone[2])()
	}
	await(t, "two tiles with pictures", func() bool {
		scene := r.main.shared().scene.Load()
		return len(scene.Tiles) == 2 && scene.Tiles[0].Source != nil && scene.Tiles[1].Source != nil
	})
	if n := drawn(r); n != 0 {
		t.Fatalf("%d canvases were drawn that nobody wants", n)
	}
	file, err := r.Snapshot(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	img := develop(t, file)
	if b := img.Bounds(); b.Dx() != 640 || b.Dy() != 360 {
		t.Errorf("%v, want the canvas", b)
	}
	red, blue := colourAt(80, 90, 240), colourAt(40, 240, 110)
	if !hasColour(img, 0.15, 0.5, red[0], red[1], red[2]) || !hasColour(img, 0.85, 0.5, blue[0], blue[1], blue[2]) {
		t.Errorf("the tiles are %v and %v, want %v and %v", img.At(96, 180), img.At(544, 180), red, blue)
	}
	again, err := r.Snapshot(t.Context(), "", 640)
	if err != nil || &again[0] != &file[0] {
		t.Errorf("within a second another one is made: %v", err)
	}
	small, err := r.Snapshot(t.Context(), "", 300)
	if err != nil {
		t.Fatal(err)
	}
	if b := develop(t, small).Bounds(); b.Dx() != 320 || b.Dy() != 180 {
		t.Errorf("asked for 300, got %v, want 320x180", b)
	}
	for kind, rendition := range r.Stats().Renditions {
		if rendition.Encoded != 0 {
			t.Errorf("%d pictures of %v were coded", rendition.Encoded, kind)
		}
	}
	if n := r.Stats().Participants; n != 2 {
		t.Errorf("%d participants", n)
	}
	// drew is the control loop's, and so are the sources' targets.
	await(t, "the canvas rests again", func() bool {
		return !on(t, r, func() bool { return r.main.shared().drew })
	})
	if _, err := r.Snapshot(t.Context(), "none", 0); !errors.Is(err, ErrNoGroup) {
		t.Errorf("no such group: %v", err)
	}
	if _, err := r.Snapshot(t.Context(), "", -1); KindOf(err) != Invalid {
		t.Errorf("a negative width: %v", err)
	}
}

// colourAt is a colour as R, G, B (BT.601).
func colourAt(y, u, v int) [3]int {
	c, d, e := 298*(y-16), u-128, v-128
	clamp := func(n int) int { return min(max((n+128)>>8, 0), 255) }
	return [3]int{clamp(c + 409*e), clamp(c - 100*d - 208*e), clamp(c + 516*d)}
}

// Who gives up leaves nothing behind that somebody else would wait for.
func TestSnapshotGivenUp(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{Canvas: layout.Canvas{Width: 320, Height: 180, FPS: 30}})
	if _, err := r.Join(t.Context(), JoinRequest{}); err != nil { // and never connects: no ticks
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.Snapshot(ctx, "", 0)
		done <- err
	}()
	photos := r.main.shared().photos
	await(t, "a photo is wanted", func() bool { return photos.wanted.Load() != nil })
	cancel()
	if err := <-done; KindOf(err) != Unavailable {
		t.Errorf("given up: %v", err)
	}
	if photos.wanted.Load() != nil || len(photos.turn) != 0 {
		t.Error("the photo is wanted still")
	}
	// Now there is somebody, and a picture.
	enter(t, r, "Ann")
	if _, err := r.Snapshot(t.Context(), "", 0); err != nil {
		t.Error(err)
	}
}

func TestSnapshotSize(t *testing.T) {
	hd, tall := layout.Canvas{Width: 1280, Height: 720, FPS: 30}, layout.Canvas{Width: 360, Height: 640, FPS: 30}
	for _, c := range []struct {
		canvas      layout.Canvas
		width, w, h int
	}{
		{hd, 0, 1280, 720}, {hd, 1, 160, 90}, {hd, 160, 160, 90}, {hd, 161, 320, 180}, {hd, 1279, 1280, 720}, {hd, 1 << 40, 1280, 720},
		{tall, 0, 360, 640}, {tall, 320, 320, 568}, {tall, 321, 360, 640},
	} {
		if w, h := snapshotSize(c.canvas, c.width); w != c.w || h != c.h {
			t.Errorf("%d of %v: %dx%d, want %dx%d", c.width, c.canvas, w, h, c.w, c.h)
		}
	}
}
