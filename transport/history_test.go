package transport

import (
	"testing"
	"time"

	"mixdown/codec"
)

// one makes a history entry that owns its frame; the test keeps a reference.
func one(seq uint16, size int, now time.Duration) (videoPacket, *codec.EncodedFrame) {
	f := paceVideo(1, 0, size, "T0")
	return videoPacket{frame: f.Retain(), n: int32(size), seq: seq, sentAt: now}, f
}

func TestHistoryBounds(t *testing.T) {
	for _, tc := range []struct {
		name     string
		size     int
		interval time.Duration
		keeps    int
	}{
		{"packets", 100, 0, historySize},
		{"bytes", 10_000, 0, historyBytes / 10_000},
		{"age", 100, 10 * ms, 101},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHistory()
			var frames []*codec.EncodedFrame
			const count = 1000
			first := uint16(65000) // across the wrap
			now := time.Second
			for i := range count {
				if i > 0 {
					now += tc.interval
				}
				v, f := one(first+uint16(i), tc.size, now)
				h.add(v, now)
				frames = append(frames, f)
			}
			if h.count != tc.keeps {
				t.Errorf("keeps %d packets, want %d", h.count, tc.keeps)
			}
			for i, f := range frames {
				v := h.get(first + uint16(i))
				if kept := i >= count-tc.keeps; kept != (v != nil) || kept && v.frame != f {
					t.Fatalf("packet %d of %d: %+v", i, count, v)
				}
			}
			if h.get(first+count) != nil || h.get(first-1) != nil {
				t.Error("found what was never added")
			}
			h.clear()
			if h.bytes != 0 || h.get(first) != nil {
				t.Error("something is left after clear")
			}
			for _, f := range frames {
				if f.Release(); f.Data != nil {
					t.Fatal("a frame is still held")
				}
			}
		})
	}
}
