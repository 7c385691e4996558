package video

import (
	"fmt"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/codec/worker"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// camera codes a moving picture as a client would.
type camera struct {
	w, h    int
	picture *codec.VideoFrame
	encoder codec.VideoEncoder
	source  *Source
}

func newCamera(t testing.TB, frames *codec.VideoPool, pool *worker.Pool, w, h int) *camera {
	t.Helper()
	encoder, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: w, Height: h, FPS: 30, BitrateBps: 500_000})
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	c := &camera{w: w, h: h, encoder: encoder, picture: gradient(t, frames, w, h)}
	c.source, err = NewSource(SourceConfig{
		Decoder: decoder, Pool: pool, Frames: frames,
		RequestKeyframe: func() { t.Error("a key frame was asked for") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.source.Close()
		encoder.Close()
		c.picture.Release()
	})
	return c
}

// shoot moves a bright square over the gradient and returns the coded picture.
func (c *camera) shoot(t testing.TB, n int) *codec.EncodedFrame {
	t.Helper()
	for y := range c.h {
		row := c.picture.Y[y*c.picture.StrideY:][:c.w]
		for x := range row {
			row[x] = uint8(32 + (x*160/c.w+y*30/c.h+n)%190)
		}
	}
	side := c.h / 4
	x := n * 3 % (c.w - side) &^ 1
	for y := c.h / 3; y < c.h/3+side; y++ {
		fillBytes(c.picture.Y[y*c.picture.StrideY+x:][:side], 225)
	}
	f, err := c.encoder.Encode(c.picture, time.Duration(n)*time.Second/30, false)
	if err != nil {
		t.Fatal(err)
	}
	f.Arrival = f.PTS
	return f
}

// decodingSink is a client: it decodes what it gets.
type decodingSink struct {
	t       testing.TB
	decoder *vp8.Decoder
	frames  int
	keys    int
	lastPTS time.Duration
}

func (s *decodingSink) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	if err := s.decoder.Decode(f.Data); err != nil {
		s.t.Error(err)
	}
	if s.frames++; f.Key {
		s.keys++
	}
	s.lastPTS = f.PTS
	return codec.Sent
}

var nineNames = []string{
	"Ada Lovelace", "김민수", "山田 さくら", "محمد علي", "Анна Каренина",
	"Zoë 🎉", "Maximilian-Alexander von und zu Hohenlohe-Waldenburg-Schillingsfürst", "王小明", "Ελένη Παπαδοπούλου",
}

// TestNineEndToEnd: nine coded cameras of different shapes, two people without, one
// composed picture, coded at three tiers, decoded again and compared.
func TestNineEndToEnd(t *testing.T) {
	frames := codec.NewVideoPool(testBudget)
	pool := startPool(t)
	labeller := startLabeller(t, LabellerConfig{})
	compositor := newCompositor(t, hd, frames, labeller)
	shapes := [][2]int{{640, 360}, {640, 360}, {640, 480}, {320, 180}, {360, 640}, {641, 361}, {640, 360}}
	scene := &Scene{Epoch: 1}
	var cameras []*camera
	for i, r := range layout.Arrange(hd, 9) {
		tile := Tile{Rect: r, Name: nineNames[i], ID: fmt.Sprint("p_", i)}
		if i < len(shapes) {
			cam := newCamera(t, frames, pool, shapes[i][0], shapes[i][1])
			cam.source.SetTarget(r.W, r.H, false)
			cameras = append(cameras, cam)
			tile.Source = cam.source
		} else {
			key, _ := avatarKey(tile.Name, hueOf(tile.ID), r)
			await(labeller, key)
		}
		key, _ := nameKey(tile.Name, r)
		await(labeller, key)
		scene.Tiles = append(scene.Tiles, tile)
	}
	var renditions []*Rendition
	var sinks []*decodingSink
	for _, text := range []string{"1280x720@30", "640x360@30", "320x180@15"} {
		tier, err := ParseTier(text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewRendition(RenditionConfig{Tier: tier, Pool: pool, Frames: frames,
			NewEncoder: func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return vp8.NewEncoder(c) }})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		decoder, err := vp8.NewDecoder(vp8.DecoderConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer decoder.Close()
		sink := &decodingSink{t: t, decoder: decoder}
		r.Subscribe(sink)
		renditions, sinks = append(renditions, r), append(sinks, sink)
	}
	const ticks = 45
	var last *codec.VideoFrame
	for n := range ticks {
		for _, cam := range cameras {
			cam.source.Write(cam.shoot(t, n))
		}
		settle(pool)
		pts := time.Duration(n) * time.Second / 30
		canvas, changed, err := compositor.Draw(scene, pts, pts)
		if err != nil {
			t.Fatal(err)
		}
		if !changed {
			t.Errorf("tick %d: nothing moved", n)
		}
		for _, r := range renditions {
			r.Write(canvas, changed)
		}
		settle(pool)
		if last != nil {
			last.Release()
		}
		last = canvas
	}
	defer last.Release()
	writePNG(t, "compose9.png", last)

	for i, want := range []struct {
		frames int
		psnr   float64
	}{{ticks, 33}, {ticks, 31}, {(ticks + 1) / 2, 26}} {
		sink, r := sinks[i], renditions[i]
		if sink.frames != want.frames || sink.keys != 1 || r.Stats().Errors != 0 {
			t.Errorf("%v: %d frames with %d keys, %+v", r.Tier(), sink.frames, sink.keys, r.Stats())
		}
		got := newFrame(t, frames, r.Tier().Width, r.Tier().Height, backdrop)
		reference := newFrame(t, frames, r.Tier().Width, r.Tier().Height, backdrop)
		if err := sink.decoder.Picture(got); err != nil {
			t.Fatal(err)
		}
		if err := yuv.Scale(reference, last); err != nil {
			t.Fatal(err)
		}
		if psnr := yuv.PSNR(got, reference); psnr < want.psnr {
			t.Errorf("%v: PSNR %.1f dB, want %v", r.Tier(), psnr, want.psnr)
		} else {
			t.Logf("%v: %.1f dB, %+v", r.Tier(), psnr, r.Stats())
		}
		got.Release()
		reference.Release()
	}
	for i, cam := range cameras {
		if s := cam.source.Stats(); s.Decoded != ticks || s.Pictures != ticks || s.Corrupt != 0 {
			t.Errorf("camera %d: %+v", i, s)
		}
	}
}

// TestLayoutChangeWithoutFreeze: people come, and every canvas in between shows
// everybody, never a placeholder where there was a picture.
func TestLayoutChangeWithoutFreeze(t *testing.T) {
	frames := codec.NewVideoPool(testBudget)
	pool := startPool(t)
	compositor := newCompositor(t, hd, frames, nil)
	cameras := make([]*camera, 6)
	for i := range cameras {
		cameras[i] = newCamera(t, frames, pool, 640, 360)
	}
	var versions [6]uint64
	scene := &Scene{}
	for n := range 60 {
		if n%10 == 0 {
			people := 1 + n/10
			scene = &Scene{Epoch: uint64(1 + n)}
			for i, r := range layout.Arrange(hd, people) {
				cameras[i].source.SetTarget(r.W, r.H, false)
				scene.Tiles = append(scene.Tiles, Tile{Rect: r, Source: cameras[i].source})
			}
		}
		// The tick comes before the pool has rendered anything at the new size.
		pts := time.Duration(n) * time.Second / 30
		canvas, _, err := compositor.Draw(scene, pts, pts)
		if err != nil {
			t.Fatal(err)
		}
		for i, tile := range scene.Tiles {
			f, version := tile.Source.Latest(pts)
			newcomer := n%10 == 0 && i == len(scene.Tiles)-1
			if f == nil && !newcomer {
				t.Errorf("tick %d: tile %d shows nothing", n, i)
			}
			if f != nil {
				f.Release()
			}
			if version < versions[i] || version == versions[i] && n%10 > 1 {
				t.Errorf("tick %d: tile %d is frozen", n, i)
			}
			versions[i] = version
		}
		canvas.Release()
		for _, cam := range cameras[:len(scene.Tiles)] {
			f := cam.shoot(t, n)
			cam.source.Write(f)
		}
		settle(pool)
	}
	if s := compositor.Stats(); s.Scaled == 0 {
		t.Error("the first canvas after a change was not tested")
	}
}

// FuzzSourceWrite: whatever comes from the network, nothing panics, no picture
// larger than the tile appears, and a good key frame heals everything.
func FuzzSourceWrite(f *testing.F) {
	frames := codec.NewVideoPool(testBudget)
	encoder, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 64, Height: 36, FPS: 30, BitrateBps: 100_000})
	if err != nil {
		f.Fatal(err)
	}
	defer encoder.Close()
	picture := gradient(f, frames, 64, 36)
	defer picture.Release()
	good, err := encoder.Encode(picture, 0, true)
	if err != nil {
		f.Fatal(err)
	}
	defer good.Release()
	f.Add(good.Data)
	pool := startPool(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		decoder, err := vp8.NewDecoder(vp8.DecoderConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSource(SourceConfig{Decoder: decoder, Pool: pool, Frames: frames, RequestKeyframe: func() {}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.SetTarget(160, 90, false)
		write := func(data []byte, arrival time.Duration) {
			c := codec.NewEncodedFrame(len(data))
			c.Codec, c.Arrival, c.PTS = codec.VP8, arrival, arrival
			c.Data = append(c.Data, data...)
			s.Write(c)
		}
		write(good.Data, 0)
		write(data, time.Second)
		write(data, 2*time.Second)
		write(good.Data, 4*time.Second)
		settle(pool)
		picture, _ := s.Latest(5 * time.Second)
		if picture == nil {
			t.Fatalf("nothing is shown: %+v", s.Stats())
		}
		defer picture.Release()
		if picture.Width != 160 || picture.Height != 90 || s.Stats().Decoded < 2 {
			t.Errorf("%dx%d, %+v", picture.Width, picture.Height, s.Stats())
		}
	})
}

// BenchmarkRoom is the video half of a room's tick on one core: decode, compose,
// encode; and beside it the same decodes and encodes with nothing else.
func BenchmarkRoom(b *testing.B) {
	for _, people := range []int{9, 16} {
		for _, raw := range []bool{true, false} {
			b.Run(fmt.Sprintf("people=%d/raw=%v", people, raw), func(b *testing.B) { benchmarkRoom(b, people, raw) })
		}
	}
}

func benchmarkRoom(b *testing.B, people int, raw bool) {
	frames := codec.NewVideoPool(testBudget)
	pool := startPool(b)
	labeller := startLabeller(b, LabellerConfig{})
	compositor := newCompositor(b, hd, frames, labeller)
	scene := &Scene{Epoch: 1}
	var cameras []*camera
	for i, r := range layout.Arrange(hd, people) {
		cam := newCamera(b, frames, pool, 640, 360)
		cam.source.SetTarget(r.W, r.H, false)
		cameras = append(cameras, cam)
		tile := Tile{Rect: r, Name: nineNames[i%9], Source: cam.source}
		key, _ := nameKey(tile.Name, r)
		await(labeller, key)
		scene.Tiles = append(scene.Tiles, tile)
	}
	const loop = 60
	clips := make([][]*codec.EncodedFrame, people)
	for i, cam := range cameras {
		for n := range loop {
			clips[i] = append(clips[i], cam.shoot(b, n))
		}
		defer func() {
			for _, f := range clips[i] {
				f.Release()
			}
		}()
	}
	tier, _ := ParseTier("1280x720@30")
	newEncoder := func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return vp8.NewEncoder(c) }
	rendition, err := NewRendition(RenditionConfig{Tier: tier, Pool: pool, Frames: frames, NewEncoder: newEncoder})
	if err != nil {
		b.Fatal(err)
	}
	defer rendition.Close()
	rendition.Subscribe(&countingSink{})
	done := make(chan struct{})
	barrier := worker.NewTask(func() { done <- struct{}{} })
	wait := func() { pool.Submit(barrier, time.Duration(1<<62)); <-done }

	// The canvases for the raw run, as the compositor draws them.
	var canvases []*codec.VideoFrame
	decoders := make([]*vp8.Decoder, people)
	for i := range decoders {
		if decoders[i], err = vp8.NewDecoder(vp8.DecoderConfig{}); err != nil {
			b.Fatal(err)
		}
		defer decoders[i].Close()
	}
	encoder, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 1280, Height: 720, FPS: 30, BitrateBps: tier.BitrateBps, TemporalLayers: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer encoder.Close()
	if raw {
		for n := range loop {
			for i, cam := range cameras {
				f := clips[i][n].Retain()
				cam.source.Write(f)
			}
			wait()
			f, _ := drawScene(b, compositor, scene, time.Duration(n)*time.Second/30)
			c := newFrame(b, frames, 1280, 720, backdrop)
			if err := yuv.Blit(c, 0, 0, f); err != nil {
				b.Fatal(err)
			}
			f.Release()
			canvases = append(canvases, c)
			defer c.Release()
		}
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		pts := time.Duration(n) * time.Second / 30
		if raw {
			for i, d := range decoders {
				if err := d.Decode(clips[i][n%loop].Data); err != nil {
					b.Fatal(err)
				}
			}
			out, err := encoder.Encode(canvases[n%loop], pts, false)
			if err != nil {
				b.Fatal(err)
			}
			out.Release()
		} else {
			for i, cam := range cameras {
				cam.source.Write(clips[i][n%loop].Retain())
			}
			wait()
			f, _ := drawScene(b, compositor, scene, pts)
			rendition.Write(f, true)
			f.Release()
			wait()
		}
		n++
	}
}
