package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/cmd/mixdown/internal/tone"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/webm/webmtest"
	"mixdown/mixer"
)

// phrases is a tone, with pauses in a rhythm that each tone has for itself.
func phrases(t *testing.T, hz float64) *clip.Clip {
	t.Helper()
	c, err := tone.Make(tone.Spec{Hz: hz, Level: 0.12, Duration: 20 * time.Second, Add: func(pcm []int16, from int) {
		if from/codec.FrameSamples%(40+int(hz)/40) < 12 {
			clear(pcm)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hearer keeps what a client hears.
type hearer struct {
	hz  float64 // his own
	mu  sync.Mutex
	dec *opus.Decoder
	pcm []int16
	pts []time.Duration
	to  time.Duration // the PTS at which what is in pcm ends
}

// take decodes a packet; what is missing before it is concealed, as a player does.
func (h *hearer) take(p client.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var pcm [codec.MaxPacketSamples]int16
	for ; len(h.pts) > 0 && h.to < p.PTS; h.to += codec.FrameDuration {
		if h.dec.Conceal(pcm[:codec.FrameSamples]) == nil {
			h.pcm = append(h.pcm, pcm[:codec.FrameSamples]...)
		}
	}
	if n, err := h.dec.Decode(p.Data, pcm[:]); err == nil {
		h.pcm = append(h.pcm, pcm[:n]...)
	}
	h.pts, h.to = append(h.pts, p.PTS), p.PTS+codec.FrameDuration
}

// hears reports whether of the last second just these tones were heard, of all.
func (h *hearer) hears(all []float64, want ...float64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pcm) < codec.SampleRate {
		return false
	}
	return slices.Equal(audible(h.pcm[len(h.pcm)-codec.SampleRate:], all), want)
}

// audible returns which of the tones are in pcm.
func audible(pcm []int16, all []float64) (heard []float64) {
	for i, db := range tone.LevelsDB(pcm, all) {
		if db > -36 {
			heard = append(heard, all[i])
		}
	}
	return heard
}

// packets is how many have come.
func (h *hearer) packets() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pts)
}

// TestTwoAreRelayed has two talk, whose packets are handed on to each other; a
// third joins in mid-word and leaves, and a recording begins and ends. Everybody
// hears the others and never himself, nobody's sound has a gap, and the file holds
// all.
func TestTwoAreRelayed(t *testing.T) {
	app, url := startApp(t)
	all := []float64{500, 860, 1220}
	join := func(hz float64) (*hearer, func()) {
		dec, err := opus.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		h := &hearer{hz: hz, dec: dec}
		c, err := client.New(client.Config{URL: url + "/r/two", NoVideo: true, Audio: client.Loop(phrases(t, hz)), OnAudio: h.take})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		leave := sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the client of %v Hz: %v", hz, err)
			}
			dec.Close()
		})
		t.Cleanup(leave)
		return h, leave
	}
	stats := func() mixer.Stats { return app.rooms.Stats() }
	a, _ := join(all[0])
	b, _ := join(all[1])
	// talks waits until the two hear each other as they should.
	talks := func(what string, relayed bool) {
		t.Helper()
		soon(t, what+": the two have each other's packets", func() bool {
			s := stats().Mix
			return (s.ToRelay-s.FromRelay == 2) == relayed && (s.ToRelay == s.FromRelay) == !relayed
		})
		from := a.packets()
		soon(t, what+": the two hear each other", func() bool {
			return a.packets() > from+60 && a.hears(all, all[1]) && b.hears(all, all[0])
		})
	}
	talks("at first", true)
	before, from := stats(), [2]int{a.packets(), b.packets()}

	c, leave := join(all[2])
	soon(t, "three hear each other", func() bool {
		return a.hears(all, all[1], all[2]) && b.hears(all, all[0], all[2]) && c.hears(all, all[0], all[1])
	})
	leave()
	talks("without the third", true)

	rec := struct{ ID string }{}
	if err := json.Unmarshal([]byte(ask(t, 201, "POST", url+"/v1/rooms/two/recordings", "{}")), &rec); err != nil {
		t.Fatal(err)
	}
	talks("recorded", false)
	n := a.packets()
	soon(t, "two more seconds", func() bool { return a.packets() > n+100 })
	ask(t, 200, "PATCH", url+"/v1/recordings/"+rec.ID, `{"state":"stopped"}`)
	talks("recorded no more", true)

	after := stats()
	if d := after.Mix.Relayed - before.Mix.Relayed; d < 100 {
		t.Errorf("%d packets were handed on", d)
	}
	// Whoever was late here made a gap that is not to be judged.
	excused := int(after.Sound.Underruns-before.Sound.Underruns+after.Sound.Lost-before.Sound.Lost) +
		int(after.AudioClock.Skipped-before.AudioClock.Skipped)
	for i, h := range []*hearer{a, b} {
		h.mu.Lock()
		gaps := 0
		for n := from[i] + 1; n < len(h.pts); n++ {
			if h.pts[n]-h.pts[n-1] > 60*time.Millisecond {
				gaps++
			}
		}
		if gaps > excused {
			t.Errorf("%v Hz: %d gaps of more than 60 ms, %d packets were late or lost", h.hz, gaps, excused)
		}
		h.mu.Unlock()
	}
	files, err := filepath.Glob(filepath.Join(app.cfg.Data, "recordings", "*.webm"))
	if err != nil || len(files) != 1 {
		t.Fatalf("recordings %v, %v: want one", files, err)
	}
	raw, _ := webmtest.Run(t, "ffmpeg", "-v", "error", "-i", files[0], "-vn", "-f", "s16le", "-ac", "1", "-ar", "48000", "-")
	pcm := make([]int16, len(raw)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	if len(pcm) < 2*codec.SampleRate || !slices.Equal(audible(pcm[codec.SampleRate/2:], all), all[:2]) {
		t.Errorf("the recording of %d samples holds %v Hz", len(pcm), audible(pcm, all))
	}
}
