package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/device"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio"
)

// hearSpeaker is the value of --hear that is no file.
const hearSpeaker = "speaker"

// hearing plays what a client hears, by the playout that the mixer has for
// those who talk. A nil hearing does nothing.
type hearing struct {
	playout *audio.Playout
	stream  codec.StreamID // of the client's present connection
	out     io.Closer      // pulls until it is closed
}

// newHearing opens the loudspeaker, or a WAV file.
func newHearing(to string) (_ *hearing, err error) {
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	h := &hearing{stream: codec.NewStreamID()}
	if h.playout, err = audio.NewPlayout(audio.PlayoutConfig{Decoder: dec}); err != nil {
		return nil, errors.Join(err, dec.Close())
	}
	if to == hearSpeaker {
		h.out, err = device.OpenSpeaker(h.pull)
	} else {
		h.out, err = newWAV(to, h.pull)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--hear: %w", err), h.playout.Close())
	}
	return h, nil
}

// pull runs where sound is played.
func (h *hearing) pull(dst *codec.AudioFrame) {
	h.playout.Pull(dst, codec.Now(), audio.DecodeAlways)
}

// audio is a client's OnAudio.
func (h *hearing) audio(p client.Packet) {
	f := codec.NewEncodedFrame(len(p.Data))
	f.Codec, f.Stream, f.PTS, f.Seq, f.Arrival = codec.Opus, h.stream, p.PTS, p.Seq, p.Arrival
	f.Data = append(f.Data, p.Data...)
	h.playout.Push(f, p.Arrival)
}

// rejoined says that what comes from now on is of another connection.
func (h *hearing) rejoined() {
	if h != nil {
		h.stream = codec.NewStreamID()
	}
}

// Close ends the playing, then the playout.
func (h *hearing) Close() error {
	if h == nil {
		return nil
	}
	return errors.Join(h.out.Close(), h.playout.Close())
}

// wavHeader is that of 16-bit mono sound.
const wavHeader = 44

// wav writes what it pulls into a file, at the pace of the clock.
type wav struct {
	file    *os.File
	ending  chan struct{}
	ended   chan struct{}
	samples int
	err     error // why writing ended; read after ended
	once    sync.Once
}

func newWAV(path string, pull func(*codec.AudioFrame)) (*wav, error) {
	file, err := create(path)
	if err != nil {
		return nil, err
	}
	w := &wav{file: file, ending: make(chan struct{}), ended: make(chan struct{})}
	go w.run(pull) // until Close
	return w, nil
}

func (w *wav) run(pull func(*codec.AudioFrame)) {
	defer close(w.ended)
	tick := time.NewTicker(codec.FrameDuration)
	defer tick.Stop()
	var frame codec.AudioFrame
	var b [2 * len(frame)]byte
	w.write(w.header())
	for start := codec.Now(); w.err == nil; {
		select {
		case <-w.ending:
			return
		case <-tick.C:
		}
		// Ticks that were late or left out are made up for.
		for due := int((codec.Now() - start) * codec.SampleRate / time.Second); w.samples+len(frame) <= due; w.samples += len(frame) {
			pull(&frame)
			for i, v := range frame {
				binary.LittleEndian.PutUint16(b[2*i:], uint16(v))
			}
			w.write(b[:])
		}
	}
}

func (w *wav) write(b []byte) {
	if w.err == nil {
		_, w.err = w.file.Write(b)
	}
}

// header is right for what has been written so far.
func (w *wav) header() []byte {
	size := uint32(min(2*w.samples, 1<<32-1-wavHeader))
	b := make([]byte, 0, wavHeader)
	b = binary.LittleEndian.AppendUint32(append(b, "RIFF"...), size+wavHeader-8)
	b = binary.LittleEndian.AppendUint32(append(b, "WAVEfmt "...), 16)
	b = binary.LittleEndian.AppendUint16(b, 1) // PCM
	b = binary.LittleEndian.AppendUint16(b, 1) // channel
	b = binary.LittleEndian.AppendUint32(b, codec.SampleRate)
	b = binary.LittleEndian.AppendUint32(b, 2*codec.SampleRate)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	return binary.LittleEndian.AppendUint32(append(b, "data"...), size)
}

// Close ends the file: its header gets its length. Twice is
// fine.
func (w *wav) Close() error {
	w.once.Do(func() {
		close(w.ending)
		<-w.ended
		_, err := w.file.WriteAt(w.header(), 0)
		w.err = errors.Join(w.err, err, w.file.Close())
	})
	return w.err
}
