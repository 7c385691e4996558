package mixer

import (
	"math"
	"testing"
	"time"

	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9+0.01*math.Abs(b) }

func TestPriceOfAJoin(t *testing.T) {
	hd := layout.Canvas{Width: 1280, Height: 720, FPS: 30}
	top := video.Tier{Width: 1280, Height: 720, FPS: 30}
	r := rates{decode: 0.001, compose: 0.002, encode: 0.004, sound: 0.01, network: 0.02}
	r.compose *= defaultRates.decode / r.decode // so that it is 0.002 here
	const million = 1280 * 720 * 30 / 1e6
	for _, c := range []struct {
		name string
		j    joining
		want Price
	}{
		{"the first", joining{canvas: hd, starts: top, first: true},
			Price{Decode: 0.001 * million, Compose: 0.002 * million, Encode: 0.004 * million, Sound: 0.01, Network: 0.02}},
		{"the tenth, who starts nothing", joining{canvas: hd, tiles: 9}, Price{Decode: 0.001 * million * 0.15, Sound: 0.01, Network: 0.02}},
		{"a viewer", joining{role: RoleViewer, canvas: hd, tiles: 9}, Price{Network: 0.02}},
		{"a viewer of a tier of its own", joining{role: RoleViewer, canvas: hd, tiles: 9, starts: top}, Price{Encode: 0.004 * million, Network: 0.02}},
		{"a viewer without pictures", joining{role: RoleViewer, noVideo: true, canvas: hd, starts: top}, Price{Network: 0.02}},
		{"one with a canvas of his own", joining{canvas: hd, tiles: 9, own: top},
			Price{Decode: 0.001 * million * 0.15, Compose: 0.002 * million, Encode: 0.004 * million, Sound: 0.01, Network: 0.02}},
		{"a publisher takes nothing", joining{role: RolePublisher, canvas: hd, tiles: 1, starts: top},
			Price{Decode: 0.001 * million * 0.75, Sound: 0.01, Network: 0.02}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := r.join(c.j)
			if !near(got.Decode, c.want.Decode) || !near(got.Compose, c.want.Compose) || !near(got.Encode, c.want.Encode) ||
				got.Sound != c.want.Sound || got.Network != c.want.Network {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if got.Cores() != got.Decode+got.Compose+got.Encode+got.Sound+got.Network {
				t.Errorf("the sum of %+v is not %v", got, got.Cores())
			}
		})
	}
	// Senders who do not care for their tile cost what they send.
	r.decoded = 0.9216
	if got := r.join(joining{canvas: hd, tiles: 9}); !near(got.Decode, 0.001*million) {
		t.Errorf("decoding full pictures costs %v", got.Decode)
	}
}

func TestDefaultPricesAreOfTheRightSize(t *testing.T) {
	// Measured: a room of 4 to 64 people takes 0.013 core for each more, all
	// sending 640x360; a canvas of 1280x720 without a sender 0.12 or so.
	hd := layout.Canvas{Width: 1280, Height: 720, FPS: 30}
	r := defaultRates
	if got := r.join(joining{canvas: hd, tiles: 16}).Cores(); got < 0.01 || got > 0.03 {
		t.Errorf("one more costs %v cores", got)
	}
	if got := r.canvas(hd, video.Tier{Width: 1280, Height: 720, FPS: 30}).Cores(); got < 0.1 || got > 0.2 {
		t.Errorf("a canvas costs %v cores", got)
	}
}

// TestRatesAreLearnt has a machine that is twice as slow.
func TestRatesAreLearnt(t *testing.T) {
	r := defaultRates
	d := &defaultRates
	var was, now work
	now.senders, now.participants = 10, 20
	step := func(n int, slow float64) {
		for range n {
			was = now
			decode := time.Duration(slow * d.decode * 60 * 2 * float64(time.Second)) // 60 Mpx/s for two seconds
			encode := time.Duration(slow * d.encode * 30 * 2 * float64(time.Second))
			sound := time.Duration(slow * d.sound * 10 * 2 * float64(time.Second))
			network := time.Duration(slow * d.network * 20 * 2 * float64(time.Second))
			now.cpu.Decode += decode
			now.cpu.Encode += encode
			now.cpu.Sound += sound
			now.pool += decode + encode
			now.process += decode + encode + sound + network
			now.decoded += 600
			now.decodedPixels += 120e6
			now.encodedPixels += 60e6
			r.learn(&now, &was, 2*time.Second)
		}
	}
	step(200, 2)
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"decode", r.decode, 2 * d.decode}, {"encode", r.encode, 2 * d.encode},
		{"sound", r.sound, 2 * d.sound}, {"network", r.network, 2 * d.network}, {"decoded", r.decoded, 0.2},
	} {
		if !near(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	step(200, 0.1)
	if !near(r.encode, leastRate*d.encode) {
		t.Errorf("a canvas at rest makes encoding cost %v, want no less than %v", r.encode, leastRate*d.encode)
	}
	step(200, 100)
	if !near(r.decode, greatestRate*d.decode) {
		t.Errorf("decoding costs %v, want no more than %v", r.decode, greatestRate*d.decode)
	}
	before := r
	r.learn(&was, &now, 2*time.Second) // a room has ended: totals went back
	r.learn(&now, &now, 2*time.Second)
	r.learn(&now, &was, 0)
	if r != before {
		t.Errorf("%+v learnt from nothing", r)
	}
}
