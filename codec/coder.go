package codec

import "time"

// AudioDecoder turns Opus packets into 48 kHz mono sound. It is not safe for
// concurrent use, allocates nothing, and does not block.
type AudioDecoder interface {
	// Decode writes the packet's samples to the start of pcm and returns how
	// many there are. pcm must hold the packet's whole duration
	// (MaxPacketSamples is always enough). [ErrCorrupt] for bytes that are not
	// a packet.
	Decode(packet []byte, pcm []int16) (samples int, err error)
	// DecodeFEC writes the forward error correction that packet carries for
	// the one before it (RFC 6716 section 2.1.7); len(pcm) is the duration of
	// what was lost. Without such data it conceals.
	DecodeFEC(packet []byte, pcm []int16) error
	// Conceal fills pcm with what probably came next. len(pcm) is a multiple
	// of 2.5 ms (120 samples).
	Conceal(pcm []int16) error
	// Reset forgets all history.
	Reset() error
	// Close frees the decoder; twice is fine.
	Close() error
}

// AudioEncoder turns 20 ms of 48 kHz mono sound into one Opus packet. It is
// not safe for concurrent use, allocates nothing, and does not block.
type AudioEncoder interface {
	// Encode writes one packet to the start of dst and returns its length.
	// 1275 bytes are always enough.
	Encode(pcm *AudioFrame, dst []byte) (n int, err error)
	// CopyFrom makes this encoder's state equal to src's, bit for bit: from
	// here on both give the same packets for the same sound. src must come
	// from the same package and have the same configuration.
	CopyFrom(src AudioEncoder) error
	// SetBitrate takes effect with the next frame.
	SetBitrate(bps int) error
	// SetPacketLoss tells what to expect, in percent (steers FEC).
	SetPacketLoss(percent int) error
	// Close frees the encoder; twice is fine.
	Close() error
}

// VideoDecoder turns coded pictures into I420. Its picture stays inside until
// the caller fetches it, at the size at which it will be shown: that saves the
// copy at full size. It is not safe for concurrent use and does not block.
type VideoDecoder interface {
	// Decode takes one coded frame. [ErrNeedKey] before the first key frame
	// and after an error, [ErrTooLarge], [ErrCorrupt].
	Decode(data []byte) error
	// Size is the latest picture's size; 0, 0 before the first.
	Size() (width, height int)
	// Picture writes the latest picture, scaled to all of dst, whose size the
	// caller chose. It may be called any number of times. [ErrNoPicture].
	Picture(dst *VideoFrame) error
	// View is like Picture with a part of the picture, scaled as v says.
	// [ErrBadConfig] for what is no part of it.
	View(dst *VideoFrame, v View) error
	// Close frees the decoder; twice is fine.
	Close() error
}

// View says what of a picture is wanted, and how.
type View struct {
	// X, Y, Width and Height are the part, in luma samples of the coded
	// picture, X and Y even. Width or Height 0 is all of it.
	X, Y, Width, Height int
	// Sharp scales so that text stays readable, at several times the work.
	Sharp bool
}

// VideoEncoderConfig says what a real-time encoder makes.
type VideoEncoderConfig struct {
	// Width and Height of the pictures, 16..16383, even.
	Width, Height int
	// FPS is the nominal rate, for rate control.
	FPS int
	// BitrateBps is the target.
	BitrateBps int
	// TemporalLayers is 1 or 2. With 2, every other frame is layer 1, which
	// references layer 0 only and is referenced by nothing; codecs whose streams
	// do not number layers make one all the same. Defaults to 1.
	TemporalLayers int
	// Speed is libvpx's cpu-used as a positive number, 0..16; 0 means the
	// codec's own real-time default.
	Speed int
	// Screen tunes for shared screens instead of cameras.
	Screen bool
	// StaticThreshold is the difference below which a block counts as
	// unchanged, in libvpx's units; 0 means the codec's default.
	StaticThreshold int
}

// VideoEncoder turns I420 pictures into coded frames. It is not safe for
// concurrent use and does not block.
type VideoEncoder interface {
	// Encode codes src, whose size must be the configured one, and returns a
	// frame with one reference, owned by the caller, with Codec, Stream, PTS,
	// Data, Key, Discardable, Temporal, LayerSync, Width and Height set.
	// forceKey asks for a key frame. [ErrDropped] when rate control skipped it.
	Encode(src *VideoFrame, pts time.Duration, forceKey bool) (*EncodedFrame, error)
	// SetBitrate takes effect with the next frame and forces no key frame.
	SetBitrate(bps int) error
	// SetSpeed takes effect with the next frame.
	SetSpeed(speed int) error
	// SetBaseLayerOnly makes every frame from the next on one of layer 0, which
	// then has all of the bitrate, or ends that; neither forces a key frame. The
	// caller gives half the pictures.
	SetBaseLayerOnly(on bool) error
	// StartPattern makes the next frame one of layer 0, whatever came before:
	// for a picture that will stay on show, or follows one that did.
	StartPattern()
	// Close frees the encoder; twice is fine.
	Close() error
}
