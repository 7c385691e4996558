package transport

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestVP8DescriptorParse(t *testing.T) {
	for _, tc := range []struct {
		name    string
		payload []byte
		n       int
		want    vp8Descriptor
	}{
		{"shortest", []byte{0x10, 1}, 1, vp8Descriptor{Start: true}},
		{"partition, not a start", []byte{0x07, 1}, 1, vp8Descriptor{Partition: 7}},
		{"non-reference", []byte{0x30, 1}, 1, vp8Descriptor{Start: true, NonReference: true}},
		{"reserved bits are ignored", []byte{0x58, 1}, 1, vp8Descriptor{Start: true}},
		{"empty extension", []byte{0x90, 0x0f, 1}, 2, vp8Descriptor{Start: true}},
		{"short PictureID", []byte{0x90, 0x80, 0x11, 1}, 3, vp8Descriptor{Start: true, HasPictureID: true, PictureID: 0x11}},
		{"long PictureID", []byte{0x90, 0x80, 0x92, 0x34, 1}, 4, vp8Descriptor{Start: true, HasPictureID: true, LongPicture: true, PictureID: 0x1234}},
		{"long PictureID of 0", []byte{0x90, 0x80, 0x80, 0x00, 1}, 4, vp8Descriptor{Start: true, HasPictureID: true, LongPicture: true}},
		{"TL0PICIDX", []byte{0x90, 0x40, 0xfe, 1}, 3, vp8Descriptor{Start: true, HasTL0: true, TL0: 0xfe}},
		{"TID and Y", []byte{0x90, 0x20, 0x60, 1}, 3, vp8Descriptor{Start: true, HasTID: true, TID: 1, LayerSync: true}},
		{"KEYIDX alone", []byte{0x90, 0x10, 0xff, 1}, 3, vp8Descriptor{Start: true, HasKeyIdx: true, KeyIdx: 31}},
		{"everything", []byte{0xb1, 0xf0, 0xff, 0xff, 0x07, 0xe5, 1}, 6, vp8Descriptor{
			Start: true, NonReference: true, Partition: 1, HasPictureID: true, LongPicture: true, PictureID: 0x7fff,
			HasTL0: true, TL0: 7, HasTID: true, TID: 3, LayerSync: true, HasKeyIdx: true, KeyIdx: 5,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d vp8Descriptor
			n, err := d.parse(tc.payload)
			if err != nil || n != tc.n || d != tc.want {
				t.Errorf("parse = %d, %v, %+v; want %d, %+v", n, err, d, tc.n, tc.want)
			}
		})
	}
}

func TestVP8DescriptorErrorsNameTheField(t *testing.T) {
	for _, tc := range []struct {
		payload []byte
		field   string
	}{
		{nil, "empty"},
		{[]byte{0x10}, "no VP8 data"},
		{[]byte{0x90}, "extension"},
		{[]byte{0x90, 0x80}, "PictureID"},
		{[]byte{0x90, 0x80, 0x80}, "second byte of PictureID"},
		{[]byte{0x90, 0x40}, "TL0PICIDX"},
		{[]byte{0x90, 0x20}, "TID"},
		{[]byte{0x90, 0x10}, "KEYIDX"},
		{[]byte{0x90, 0xf0, 0x80, 0, 0, 0}, "no VP8 data"},
	} {
		var d vp8Descriptor
		_, err := d.parse(tc.payload)
		if !errors.Is(err, errDescriptor) || !strings.Contains(err.Error(), tc.field) {
			t.Errorf("parse(%x) = %v, want an error that names %q", tc.payload, err, tc.field)
		}
	}
}

// TestVP8DescriptorOutbound: the form that is sent always has all of
// PictureID, TL0PICIDX and TID, whatever their values.
func TestVP8DescriptorOutbound(t *testing.T) {
	for id := range uint16(1 << 15) {
		d := vp8Descriptor{Start: id%2 == 0, HasPictureID: true, LongPicture: true, PictureID: id,
			HasTL0: true, TL0: uint8(id), HasTID: true, TID: uint8(id % 4), LayerSync: id%3 == 0}
		var buf [vp8DescriptorSize + 1]byte
		n := d.marshal(buf[:])
		if n != vp8DescriptorSize {
			t.Fatalf("PictureID %d: %d bytes, want %d", id, n, vp8DescriptorSize)
		}
		var back vp8Descriptor
		if m, err := back.parse(buf[:]); err != nil || m != n || back != d {
			t.Fatalf("PictureID %d: came back as %+v, %v", id, back, err)
		}
	}
}

func FuzzVP8Descriptor(f *testing.F) {
	f.Add([]byte{0xb1, 0xf0, 0xff, 0xff, 0x07, 0xe5, 1})
	f.Add([]byte{0x90, 0x80, 0x80})
	f.Add([]byte{0x10, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var d vp8Descriptor
		n, err := d.parse(payload)
		if err != nil {
			if !errors.Is(err, errDescriptor) {
				t.Fatalf("strange error %v", err)
			}
			return
		}
		if n < 1 || n > vp8DescriptorSize || n >= len(payload) {
			t.Fatalf("descriptor of %d bytes in %d", n, len(payload))
		}
		var buf [vp8DescriptorSize]byte
		m := d.marshal(buf[:])
		var back vp8Descriptor
		if _, err := back.parse(append(bytes.Clone(buf[:m]), 0)); err != nil || back != d {
			t.Fatalf("%x: written as %x, read as %+v, %v; was %+v", payload, buf[:m], back, err, d)
		}
		w, h, ok := vp8KeySize(payload[n:])
		if ok && (!vp8IsKey(payload[n:]) || w < 1 || w > 16383 || h < 1 || h > 16383) {
			t.Fatalf("key frame of %dx%d", w, h)
		}
	})
}

func TestVP8KeySize(t *testing.T) {
	good := []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0xd0, 0x82} // with scaling bits
	if w, h, ok := vp8KeySize(good); w != 640 || h != 720 || !ok {
		t.Errorf("%dx%d, %v", w, h, ok)
	}
	for i, bad := range [][]byte{
		nil, good[:9], {0x11, 0, 0, 0x9d, 1, 0x2a, 1, 0, 1, 0}, {0x10, 0, 0, 0x9c, 1, 0x2a, 1, 0, 1, 0},
		{0x10, 0, 0, 0x9d, 1, 0x2a, 0, 0, 1, 0}, {0x10, 0, 0, 0x9d, 1, 0x2a, 1, 0, 0, 0xc0},
	} {
		if _, _, ok := vp8KeySize(bad); ok {
			t.Errorf("case %d is taken for a key frame", i)
		}
	}
}
