package webm

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// Element IDs (RFC 9559 section 5.1), with their length marker.
const (
	idEBML          = 0x1A45DFA3
	idDocType       = 0x4282
	idVoid          = 0xEC
	idSegment       = 0x18538067
	idSeekHead      = 0x114D9B74
	idInfo          = 0x1549A966
	idTimecodeScale = 0x2AD7B1
	idDuration      = 0x4489
	idTracks        = 0x1654AE6B
	idTrackEntry    = 0xAE
	idTrackNumber   = 0xD7
	idCodecID       = 0x86
	idVideo         = 0xE0
	idPixelWidth    = 0xB0
	idPixelHeight   = 0xBA
	idCluster       = 0x1F43B675
	idTimecode      = 0xE7
	idSimpleBlock   = 0xA3
	idCues          = 0x1C53BB6B
	idTags          = 0x1254C367
	idAttachments   = 0x1941A469
	idChapters      = 0x1043A770
)

// unknownSize as a value is a size of all ones (RFC 8794 section 6.2).
const unknownSize = -1

const (
	// clusterHead is the bytes of a Cluster's ID and its 8 byte size.
	clusterHead = 4 + 8
	// durationBytes is the Duration element: ID, size, 8 byte float. The Void
	// that keeps its place is as long.
	durationBytes = 2 + 1 + 8
	// maxBlockBytes bounds one coded frame. It keeps a block's size within the
	// 4 byte form and its copy in the scratch buffer small.
	maxBlockBytes = 16 << 20
)

// putSize writes size in exactly len(b) bytes (1..8); unknownSize writes all
// ones. The size must fit.
func putSize(b []byte, size int64) {
	n := len(b)
	v := uint64(size)
	if size == unknownSize {
		v = 1<<(7*n) - 1
	}
	for i := n - 1; i >= 0; i-- {
		b[i] = byte(v)
		v >>= 8
	}
	b[0] = b[0]&(1<<(8-n)-1) | 1<<(8-n)
}

// appendSize appends size in n bytes.
func appendSize(b []byte, size int64, n int) []byte {
	b = append(b, make([]byte, n)...)
	putSize(b[len(b)-n:], size)
	return b
}

// appendVoid appends a Void element of n bytes in all, n >= 2.
func appendVoid(b []byte, n int) []byte {
	b = append(b, idVoid)
	if n < 9 {
		b = appendSize(b, int64(n-2), 1)
		return append(b, make([]byte, n-2)...)
	}
	b = appendSize(b, int64(n-9), 8)
	return append(b, make([]byte, n-9)...)
}

// appendCluster appends a Cluster's start, its size unknown.
func appendCluster(b []byte, ms int64) []byte {
	b = binary.BigEndian.AppendUint32(b, idCluster)
	b = appendSize(b, unknownSize, 8)
	b = append(b, idTimecode, 0x88)
	return binary.BigEndian.AppendUint64(b, uint64(ms))
}

// Flags of a SimpleBlock (RFC 9559 section 10.2).
const (
	flagKey         = 0x80
	flagDiscardable = 0x01
)

// appendBlock appends a SimpleBlock. rel is its time within the Cluster, in ms.
func appendBlock(b []byte, track byte, rel int16, flags byte, data []byte) []byte {
	b = append(b, idSimpleBlock)
	b = appendSize(b, int64(len(data)+4), 4)
	b = append(b, 0x80|track, byte(uint16(rel)>>8), byte(rel), flags)
	return append(b, data...)
}

// sizeLen returns how many bytes a size has, by its first; 0 for none.
func sizeLen(first byte) int {
	if first == 0 {
		return 0
	}
	return bits.LeadingZeros8(first) + 1
}

// millis rounds to the file's scale.
func millis(d time.Duration) int64 {
	if d < 0 {
		return -int64((-d + time.Millisecond/2) / time.Millisecond)
	}
	return int64((d + time.Millisecond/2) / time.Millisecond)
}

// opusDuration returns how much sound a packet holds by its first two bytes
// (RFC 6716 section 3.1); 20 ms when they make no sense. It repeats a dozen
// lines of codec/opus so that this package needs no C library.
func opusDuration(packet []byte) time.Duration {
	const unknown = 20 * time.Millisecond
	if len(packet) == 0 {
		return unknown
	}
	var frame time.Duration
	switch config := packet[0] >> 3; {
	case config < 12:
		frame = [...]time.Duration{10, 20, 40, 60}[config&3] * time.Millisecond
	case config < 16:
		frame = [...]time.Duration{10, 20}[config&1] * time.Millisecond
	default:
		frame = 2500 * time.Microsecond << (config & 3)
	}
	frames := 1
	switch packet[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return unknown
		}
		frames = int(packet[1] & 0x3f)
	}
	d := frame * time.Duration(frames)
	if d <= 0 || d > 120*time.Millisecond {
		return unknown
	}
	return d
}
