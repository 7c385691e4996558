package audio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/ogg"
)

// What a [File] takes at most. It is held in memory, coded, so that the audio
// clock never waits for a disk.
const (
	MaxFileBytes    = 5 << 20
	MaxFileDuration = 10 * time.Minute
)

// FileConfig says how a file is played.
type FileConfig struct {
	// Decoder is used by the file alone, and closed by it. Required.
	Decoder codec.AudioDecoder
	// GainDB is how much louder than it was recorded, -60..20. Sound that
	// leaves the range is clipped.
	GainDB float64
}

// File plays an Ogg/Opus file once: an announcement, or music for those who
// wait. It is a [Puller] like a [Playout], so it joins a [Mix] as a member that
// does not listen.
//
// Ended, Position and Duration may be called by any goroutine, everything else
// by one at a time. Pull does not block or allocate.
type File struct {
	dec      codec.AudioDecoder
	data     []byte // all packets, one after the other
	packets  []filePacket
	gain     float64
	duration int64 // in samples, like all below

	next   int // of packets
	pcm    [codec.MaxPacketSamples]int16
	left   []int16 // of pcm, not played yet
	played atomic.Int64
	closed bool
}

// filePacket is ogg.Packet, with data up to end.
type filePacket struct {
	end               int32
	samples, from, to uint16
}

// NewFile reads all of r, checks it, and gets ready to play it. It blocks as r
// does; r is not needed afterwards. Errors name the fault and, where there is
// one, the way to mend it; the decoder is then still the caller's.
func NewFile(r io.Reader, config FileConfig) (*File, error) {
	if config.Decoder == nil {
		return nil, errors.New("audio: FileConfig.Decoder is nil: hand in a decoder")
	}
	if g := config.GainDB; !(g >= -60 && g <= 20) {
		return nil, fmt.Errorf("audio: FileConfig.GainDB is %v: want -60..20", g)
	}
	f := &File{dec: config.Decoder}
	limited := &io.LimitedReader{R: r, N: MaxFileBytes + 1}
	head, err := f.load(bufio.NewReader(limited))
	switch {
	case limited.N == 0:
		return nil, fmt.Errorf("audio: the file is larger than %d MiB: take a shorter one, or code it with: ffmpeg -i FILE -vn -ac 1 -c:a libopus -b:a 32k FILE.ogg",
			MaxFileBytes>>20)
	case err != nil:
		return nil, fmt.Errorf("audio: %w", err)
	case f.duration == 0:
		return nil, errors.New("audio: the file has no sound that is to be heard: its pre-skip or its end trims all of it")
	}
	f.gain = math.Pow(10, (config.GainDB+head.GainDB)/20)
	// The decoder settles here, not in the first tick.
	for f.packets[f.next].from == f.packets[f.next].to {
		f.decode()
	}
	return f, nil
}

// load reads the packets.
func (f *File) load(r io.Reader) (ogg.Head, error) {
	in, err := ogg.NewReader(r)
	if err != nil {
		return ogg.Head{}, err
	}
	for {
		p, err := in.Next()
		if err == io.EOF {
			return in.Head(), nil
		} else if err != nil {
			return ogg.Head{}, err
		}
		f.data = append(f.data, p.Data...)
		f.packets = append(f.packets, filePacket{int32(len(f.data)), uint16(p.Samples), uint16(p.From), uint16(p.To)})
		if f.duration += int64(p.To - p.From); f.Duration() > MaxFileDuration {
			return ogg.Head{}, fmt.Errorf("the file plays longer than %v: take a shorter one", MaxFileDuration)
		}
	}
}

// Pull fills dst with the next 20 ms, with silence when the file has ended. It
// has no use for now and quiet: a file is not late, and does not say how loud
// it will be.
func (f *File) Pull(dst *codec.AudioFrame, _ time.Duration, _ uint8) Info {
	played := f.played.Load()
	info := Info{PTS: durationOf(played)}
	n := 0
	for n < len(dst) && !f.closed && played+int64(n) < f.duration {
		if len(f.left) == 0 {
			info.Decoded++
			if !f.decode() {
				info.Concealed = true
			}
		}
		k := copy(dst[n:], f.left)
		f.left = f.left[k:]
		n += k
	}
	clear(dst[n:])
	f.played.Store(played + int64(n))
	info.Level = Level(dst[:])
	info.Silent = info.Level == codec.Silence && *dst == codec.AudioFrame{}
	return info
}

// decode makes f.left what is to be heard of the next packet, and reports
// whether it could be decoded.
func (f *File) decode() bool {
	p, begin := f.packets[f.next], int32(0)
	if f.next > 0 {
		begin = f.packets[f.next-1].end
	}
	f.next++
	pcm := f.pcm[:p.samples]
	n, err := f.dec.Decode(f.data[begin:p.end:p.end], pcm)
	if err != nil || n != len(pcm) {
		n = 0
		if f.dec.Conceal(pcm) == nil {
			n = len(pcm)
		}
	}
	clear(pcm[n:])
	f.left = pcm[p.from:p.to]
	if f.gain != 1 {
		for i, s := range f.left {
			f.left[i] = int16(math.Round(min(max(float64(s)*f.gain, -32768), 32767)))
		}
	}
	return err == nil
}

// Ended reports whether all of it has been pulled, or the file was closed.
func (f *File) Ended() bool { return f.played.Load() >= f.duration }

// Position is how much of it has been pulled.
func (f *File) Position() time.Duration { return durationOf(f.played.Load()) }

// Duration is how long it plays.
func (f *File) Duration() time.Duration { return durationOf(f.duration) }

// Close frees the decoder. Pull gives silence afterwards. Twice is fine.
func (f *File) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	f.played.Store(f.duration)
	return f.dec.Close()
}
