package video

import (
	"testing"
	"time"
)

// TestStillness goes through the decisions about single canvases, at 30 a second.
func TestStillness(t *testing.T) {
	type step struct {
		tick           int
		changed, key   bool // the canvas changed; somebody wants a key frame
		take, base     bool
		isKey, isSharp bool // what the encoder makes of it
		failed         bool
	}
	for name, steps := range map[string][]step{
		"moving": {
			{tick: 0, changed: true, take: true, isKey: true},
			{tick: 1, changed: true, take: true},
			{tick: 2, changed: true, take: true},
		},
		"the first is taken": {{tick: 5, take: true}},
		"a camera of half the rate is at its rate": {
			{tick: 0, changed: true, take: true, isKey: true},
			{tick: 1}, {tick: 2, changed: true, take: true},
			{tick: 3}, {tick: 4, changed: true, take: true},
		},
		"sharp after three": {
			{tick: 0, changed: true, take: true, isKey: true},
			{tick: 1}, {tick: 2},
			{tick: 3, take: true, base: true},
			{tick: 4}, {tick: 5},
			{tick: 6, take: true, base: true, isSharp: true},
			{tick: 9}, {tick: 20}, {tick: 35},
			{tick: 36, take: true, base: true, isSharp: true},
			{tick: 65},
			{tick: 66, take: true, base: true, isSharp: true},
			// What moves at last is of the base layer, what follows is as ever.
			{tick: 68, changed: true, take: true, base: true},
			{tick: 69, changed: true, take: true},
			{tick: 70},
		},
		"a key frame at once, and sharp anew": {
			{tick: 0, changed: true, take: true, isKey: true},
			{tick: 3, take: true, base: true, isSharp: true},
			{tick: 6},
			{tick: 12, key: true, take: true, base: true, isKey: true},
			{tick: 13, key: true}, // within the window
			{tick: 15, take: true, base: true},
			{tick: 18, take: true, base: true, isSharp: true},
			{tick: 21},
		},
		"what failed comes again": {
			{tick: 0, changed: true, take: true, failed: true},
			{tick: 1, take: true, isKey: true},
			{tick: 2},
		},
		"time goes back": {
			{tick: 30, changed: true, take: true, isKey: true},
			{tick: 2, take: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s stillness
			for _, x := range steps {
				pts := time.Duration(x.tick) * time.Second / 30
				s.dirty = s.dirty || x.changed
				if take, base := s.take(pts, x.key); take != x.take || base != x.base {
					t.Fatalf("tick %d: take %v, base %v", x.tick, take, base)
				}
				switch {
				case x.failed:
					s.lost()
				case x.take:
					s.coded(pts, x.isKey, x.isSharp)
				}
			}
		})
	}
}

// TestStillGivesUp: a picture that never becomes sharp is not coded for ever.
func TestStillGivesUp(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	s.tick()
	for range 10 * 30 {
		s.rest()
	}
	// One, then sharpenMost ten times a second, then one a second.
	if n := len(k.seen()); n < sharpenMost+8 || n > sharpenMost+11 {
		t.Errorf("%d frames in 10 s at rest", n)
	}
	if st := s.Stats(); st.Written+st.Still != 301 || st.Written != st.Encoded {
		t.Errorf("%+v", st)
	}
}

// rest writes a canvas that has not changed and waits for the encoder.
func (s *studio) rest() {
	s.canvas.PTS = time.Duration(s.ticks) * time.Second / 30
	s.ticks++
	s.Write(s.canvas, false)
	settle(s.pool)
}

// TestStillCanvas: what a viewer gets of a canvas at rest.
func TestStillCanvas(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	s.tick()
	s.encoders[0].sharp.Store(true)
	for range 59 {
		s.rest()
	}
	if n := len(k.seen()); n != 3 { // the first, one that was sharp, one a second later
		t.Errorf("%d frames in two seconds at rest", n)
	}
	// Who joins, and who asks, has a key frame within a tick.
	late := &sink{}
	s.Subscribe(late)
	s.rest()
	if f := late.seen(); len(f) != 1 || !f[0].key {
		t.Errorf("who joins gets %+v", f)
	}
	for range 10 {
		s.rest()
	}
	before := len(k.seen())
	s.RequestKeyframe(KeyClient)
	s.rest()
	if f := k.seen(); len(f) != before+1 || !f[before].key {
		t.Errorf("who asks gets %+v", f[before:])
	}
	// What changes is coded at once, in a frame that others may refer to.
	for range 40 {
		s.rest()
	}
	before, bases := len(k.seen()), s.encoders[0].bases.Load()
	s.tick()
	s.tick()
	if n := len(k.seen()); n != before+2 || s.encoders[0].bases.Load() != bases+1 {
		t.Errorf("%d frames of two changes, %d of the base layer", n-before, s.encoders[0].bases.Load()-bases)
	}
}

// TestSlowTierSeesEveryChange: a change in a tick that the tier leaves out is
// coded with the next that it takes.
func TestSlowTierSeesEveryChange(t *testing.T) {
	s := newStudio(t, "320x180@15", nil)
	k := &sink{}
	s.Subscribe(k)
	s.tick()
	s.encoders[0].sharp.Store(true)
	for range 9 {
		s.rest()
	}
	before := len(k.seen())
	s.tick() // of an odd number: left out
	s.rest()
	s.rest()
	if n := len(k.seen()); n > before+2 || n == before {
		t.Fatalf("%d frames of one change", n-before)
	}
	if f := k.seen()[before]; f.pts > time.Duration(11)*time.Second/30 {
		t.Errorf("the change was coded at %v", f.pts)
	}
}

func TestSpeedAndLayersLive(t *testing.T) {
	s := newStudio(t, "640x360@30", nil)
	k := &sink{}
	s.Subscribe(k)
	for range 10 {
		s.tick()
	}
	s.SetSpeed(12)
	s.SetBaseLayerOnly(true)
	if e := s.encoders[0]; e.speed.Load() != 0 || e.baseOnly.Load() {
		t.Error("the encoder was touched outside its task")
	}
	for range 20 {
		s.tick()
	}
	if e := s.encoders[0]; e.speed.Load() != 12 || !e.baseOnly.Load() || len(s.encoders) != 1 {
		t.Errorf("speed %d, base layer only %v, %d encoders", e.speed.Load(), e.baseOnly.Load(), len(s.encoders))
	}
	if n := len(k.seen()); n < 19 || n > 21 {
		t.Errorf("%d frames, want 10 and half of 20", n)
	}
	s.SetSpeed(0)
	s.SetBaseLayerOnly(false)
	for range 10 {
		s.tick()
	}
	if e := s.encoders[0]; e.speed.Load() != 0 || e.baseOnly.Load() || len(keys(k.seen())) != 1 {
		t.Errorf("speed %d, base layer only %v, keys at %v", e.speed.Load(), e.baseOnly.Load(), keys(k.seen()))
	}
	if n := len(k.seen()); n < 29 || n > 31 {
		t.Errorf("%d frames", n)
	}
	// A new encoder is told as well.
	s.SetSpeed(14)
	s.SetBaseLayerOnly(true)
	s.resize(360, 640)
	s.tick()
	s.tick()
	if e := s.encoders[len(s.encoders)-1]; e.c.Speed != 14 || !e.baseOnly.Load() {
		t.Errorf("a new encoder has speed %d, base layer only %v", e.c.Speed, e.baseOnly.Load())
	}
}
