package video

import (
	"bytes"
	"encoding/binary"

	"mixdown/codec"
)

// jpegOrientation returns how a JPEG file's picture is to be turned, 1..8 as in
// Exif 2.3 section 4.6.4 (tag 0x0112): phones leave their pictures lying on their
// side and say so there. 1, not at all, for whatever cannot be understood.
func jpegOrientation(data []byte) int {
	// Segments: 0xff, marker, length of two bytes that counts itself.
	for at := 2; at+4 <= len(data) && data[at] == 0xff; {
		marker, size := data[at+1], int(binary.BigEndian.Uint16(data[at+2:]))
		if marker == 0xda || size < 2 || at+2+size > len(data) { // the picture begins
			return 1
		}
		if tiff, ok := bytes.CutPrefix(data[at+4:at+2+size], []byte("Exif\x00\x00")); marker == 0xe1 && ok {
			return tiffOrientation(tiff)
		}
		at += 2 + size
	}
	return 1
}

// tiffOrientation looks through the first directory of a TIFF structure.
func tiffOrientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.BigEndian
	if tiff[0] == 'I' {
		order = binary.LittleEndian
	}
	const entry = 12
	directory := int64(order.Uint32(tiff[4:]))
	if directory+2 > int64(len(tiff)) {
		return 1
	}
	entries := tiff[directory+2:]
	for range order.Uint16(tiff[directory:]) {
		if len(entries) < entry {
			return 1
		}
		if order.Uint16(entries) == 0x0112 {
			if v := order.Uint16(entries[8:]); v >= 1 && v <= 8 {
				return int(v)
			}
			return 1
		}
		entries = entries[entry:]
	}
	return 1
}

// turned returns the size of a picture of w x h once it stands upright.
func turned(orientation, w, h int) (int, int) {
	if orientation >= 5 {
		return h, w
	}
	return w, h
}

// turn writes src, upright, to dst, which is as large as turned says.
func turn(dst, src *codec.VideoFrame, orientation int) {
	w, h := src.Width, src.Height
	turnPlane(dst.Y, dst.StrideY, src.Y, src.StrideY, w, h, orientation)
	w, h = (w+1)/2, (h+1)/2
	turnPlane(dst.U, dst.StrideUV, src.U, src.StrideUV, w, h, orientation)
	turnPlane(dst.V, dst.StrideUV, src.V, src.StrideUV, w, h, orientation)
}

func turnPlane(dst []byte, dstStride int, src []byte, srcStride, w, h, orientation int) {
	for y := range h {
		for x, v := range src[y*srcStride:][:w] {
			dx, dy := x, y
			switch orientation {
			case 2:
				dx = w - 1 - x
			case 3:
				dx, dy = w-1-x, h-1-y
			case 4:
				dy = h - 1 - y
			case 5:
				dx, dy = y, x
			case 6:
				dx, dy = h-1-y, x
			case 7:
				dx, dy = h-1-y, w-1-x
			case 8:
				dx, dy = y, w-1-x
			}
			dst[dy*dstStride+dx] = v
		}
	}
}
