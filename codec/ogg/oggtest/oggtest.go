// Package oggtest makes small Ogg files (RFC 3533), right and wrong ones, for
// tests of what reads them.
package oggtest

import (
	"encoding/binary"

	"mixdown/codec/opus"
)

// Flags of a page.
const (
	Continued = 1 << iota
	First
	Last
)

// Head returns an OpusHead packet.
func Head(channels byte, preSkip uint16, gainQ8 int16) []byte {
	b := append([]byte("OpusHead"), 1, channels)
	b = binary.LittleEndian.AppendUint16(b, preSkip)
	b = binary.LittleEndian.AppendUint32(b, 48000)
	b = binary.LittleEndian.AppendUint16(b, uint16(gainQ8))
	return append(b, 0)
}

// Tags returns an OpusTags packet without any tags.
func Tags() []byte { return append([]byte("OpusTags"), make([]byte, 8)...) }

// Page returns one page. Of each packet but the last one the end is in it; of
// the last one too, unless open is true.
func Page(flags byte, granule int64, serial, number uint32, open bool, packets ...[]byte) []byte {
	var lacing, body []byte
	for i, p := range packets {
		for range len(p) / 255 {
			lacing = append(lacing, 255)
		}
		if i < len(packets)-1 || !open {
			lacing = append(lacing, byte(len(p)%255))
		}
		body = append(body, p...)
	}
	page := append([]byte("OggS\x00"), flags)
	page = binary.LittleEndian.AppendUint64(page, uint64(granule))
	page = binary.LittleEndian.AppendUint32(page, serial)
	page = binary.LittleEndian.AppendUint32(page, number)
	page = append(page, 0, 0, 0, 0, byte(len(lacing)))
	page = append(append(page, lacing...), body...)
	Checksums(page)
	return page
}

// File returns a whole file with these packets, each in a page of its own, the
// last trim samples of which are not to be heard.
func File(head []byte, trim int64, packets ...[]byte) []byte {
	file := Page(First, 0, 1, 0, false, head)
	file = append(file, Page(0, 0, 1, 1, false, Tags())...)
	granule := int64(0)
	for i, p := range packets {
		n, _ := opus.Duration(p)
		granule += int64(n)
		flags := byte(0)
		if i == len(packets)-1 {
			flags, granule = Last, granule-trim
		}
		file = append(file, Page(flags, granule, 1, uint32(i+2), false, p)...)
	}
	return file
}

// Checksums makes the checksums of all pages right that it finds.
func Checksums(file []byte) {
	for len(file) >= 27 && string(file[:4]) == "OggS" {
		size := 27 + int(file[26])
		if size > len(file) {
			return
		}
		for _, l := range file[27:size] {
			size += int(l)
		}
		if size > len(file) {
			return
		}
		clear(file[22:26])
		var crc uint32
		for _, x := range file[:size] {
			crc ^= uint32(x) << 24
			for range 8 {
				crc = crc<<1 ^ crc>>31*0x04c11db7
			}
		}
		binary.LittleEndian.PutUint32(file[22:], crc)
		file = file[size:]
	}
}
