package transport

import (
	"slices"
	"testing"
)

// TestAssemblerPackets pushes the packets of six frames in all sorts of ways.
// Frames of the pattern 01 alternate between base and discardable.
func TestAssemblerPackets(t *testing.T) {
	type frames = [][]simPacket
	last := func(p []simPacket) simPacket { return p[len(p)-1] }
	but := func(p []simPacket, i int) []simPacket { return slices.Delete(slices.Clone(p), i, i+1) }
	all := func(f frames) []simPacket { return slices.Concat(f...) }
	for _, tc := range []struct {
		name   string
		layers string
		push   func(r *rig, f frames)
		want   []int
		pli    bool // wanted at the end
		check  func(t *testing.T, s assemblerStats)
	}{
		{"in order", "0", func(r *rig, f frames) { r.push(all(f)...) }, []int{0, 1, 2, 3, 4, 5}, false, nil},
		{"backwards inside a frame", "0", func(r *rig, f frames) {
			r.push(f[0]...)
			for _, p := range slices.Backward(f[1]) {
				r.push(p)
			}
			r.push(f[2]...)
		}, []int{0, 1, 2}, false, nil},
		{"frames swapped", "0", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(f[2]...)
			r.push(f[1]...)
		}, []int{0, 1, 2}, false, nil},
		{"everything twice", "0", func(r *rig, f frames) {
			for _, p := range all(f) {
				r.push(p, p)
			}
		}, []int{0, 1, 2, 3, 4, 5}, false, func(t *testing.T, s assemblerStats) {
			if s.Duplicates+s.Late == 0 {
				t.Error("no duplicate was counted")
			}
		}},
		{"repaired", "0", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(but(f[1], 1)...)
			r.push(f[2]...)
			r.pass(60 * ms)
			p := f[1][1]
			p.rtx = true
			r.push(p)
		}, []int{0, 1, 2}, false, func(t *testing.T, s assemblerStats) {
			if s.Repaired != 1 || s.Lost != 0 {
				t.Errorf("%+v", s)
			}
		}},
		{"reference lost", "0", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(but(f[1], 1)...)
			r.push(slices.Concat(f[2:]...)...)
			r.pass(200 * ms)
		}, []int{0}, true, func(t *testing.T, s assemblerStats) {
			if s.Breaks != 1 || s.Lost != 1 {
				t.Errorf("%+v", s)
			}
		}},
		{"whole reference lost", "0", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(slices.Concat(f[2:]...)...)
			r.pass(200 * ms)
		}, []int{0}, true, nil},
		{"reference lost, nothing but its rest comes", "0", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(f[1][1:]...)
			r.pass(200 * ms)
		}, []int{0}, true, nil},
		{"part of a discardable frame lost", "01", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(but(f[1], 0)...)
			r.push(f[2]...)
			r.pass(10 * ms) // only the reorder window
			r.push(slices.Concat(f[3:]...)...)
		}, []int{0, 2, 3, 4, 5}, false, func(t *testing.T, s assemblerStats) {
			if s.Skipped != 1 || s.Breaks != 0 {
				t.Errorf("%+v", s)
			}
		}},
		{"end of a discardable frame lost", "01", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(f[1][:1]...)
			r.push(f[2]...)
			r.pass(10 * ms)
		}, []int{0, 2}, false, nil},
		{"whole discardable frame lost", "01", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(f[2]...)
			r.pass(10 * ms)
		}, []int{0, 2}, false, nil},
		{"base and discardable lost", "01", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(f[3]...)
			r.push(f[4]...)
			r.pass(200 * ms)
		}, []int{0}, true, nil},
		{"base lost, discardable after it", "01", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(f[1]...)
			r.push(f[3]...)
			r.pass(200 * ms)
		}, []int{0, 1}, true, nil},
		{"two discardable frames lost", "0111", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(f[3]...)
			r.pass(10 * ms)
			r.push(f[4]...)
		}, []int{0, 3, 4}, false, nil},
		{"referenced upper layer lost", "0s0d0s", func(r *rig, f frames) {
			r.push(f[0]...)
			r.push(f[2]...)
			r.pass(10 * ms)
			r.push(f[3]...) // references what was lost
			r.push(f[4]...)
			r.push(f[5]...)
		}, []int{0, 2, 4, 5}, false, nil},
		{"padding in between", "0", func(r *rig, f frames) {
			r.push(f[0]...)
			pad := last(f[0])
			pad.payload = nil
			for i := range 3 {
				pad.header.SequenceNumber = last(f[0]).header.SequenceNumber + 1 + uint16(i)
				pad.header.Marker = false
				r.push(pad)
			}
			for _, p := range all(f[1:]) {
				p.header.SequenceNumber += 3
				r.push(p)
			}
		}, []int{0, 1, 2, 3, 4, 5}, false, nil},
		{"padding lost", "0", func(r *rig, f frames) {
			r.push(f[0]...)
			for _, p := range all(f[1:]) {
				p.header.SequenceNumber += 3
				r.push(p)
			}
			r.pass(10 * ms)
		}, []int{0, 1, 2, 3, 4, 5}, false, nil},
		{"no marker", "0", func(r *rig, f frames) {
			for _, p := range all(f) {
				p.header.Marker = false
				r.push(p)
			}
		}, []int{0, 1, 2, 3, 4}, false, nil},
		{"joined in the middle", "0", func(r *rig, f frames) {
			r.push(all(f[2:])...)
			r.pass(10 * ms)
		}, nil, true, nil},
		{"joined in the middle of a frame", "0", func(r *rig, f frames) {
			r.push(f[0][2:]...)
			r.push(all(f[1:])...)
			r.pass(10 * ms)
		}, nil, true, nil},
		{"first packet overtaken", "0", func(r *rig, f frames) {
			r.push(f[0][3], f[0][2], f[0][0], f[0][1])
			r.push(f[0][4:]...)
			r.push(f[1]...)
		}, []int{0, 1}, false, nil},
		{"garbage between", "0", func(r *rig, f frames) {
			for i, p := range all(f) {
				bad := p
				bad.payload = [][]byte{{0x80}, {0x80, 0x80}, {0x90, 0xf0, 0x80}, make([]byte, maxPayload+1)}[i%4]
				r.push(bad, p)
			}
		}, []int{0, 1, 2, 3, 4, 5}, false, func(t *testing.T, s assemblerStats) {
			if s.Malformed == 0 {
				t.Error("nothing counted as malformed")
			}
		}},
		{"a stray packet", "0", func(r *rig, f frames) {
			for _, p := range all(f) {
				stray := p
				stray.header.SequenceNumber += 20000
				r.push(stray, p)
			}
		}, []int{0, 1, 2, 3, 4, 5}, false, func(t *testing.T, s assemblerStats) {
			if s.Stray == 0 || s.Restarts != 0 {
				t.Errorf("%+v", s)
			}
		}},
	} {
		// All of them across the wrap of every number.
		t.Run(tc.name, func(t *testing.T) {
			enc, f := cut(t, tc.layers, 6, 65530, 1<<32-5000)
			r := newRig(t, enc, nackAndRTX)
			tc.push(r, f)
			r.want(tc.want...)
			r.wantPLI(tc.pli)
			if tc.check != nil {
				tc.check(t, r.asm.stats)
			}
		})
	}
}
