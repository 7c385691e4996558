package audio

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"mixdown/codec"
	"mixdown/codec/ogg"
	"mixdown/codec/ogg/oggtest"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// oggSpeech is an Ogg file of n ticks of speech.
func oggSpeech(t testing.TB, n int, preSkip uint16, gainQ8 int16, trim int64) []byte {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	x := audiotest.Speech(7, n*codec.FrameSamples)
	var packets [][]byte
	var buf [maxPacketBytes]byte
	for i := range n {
		k, err := enc.Encode((*codec.AudioFrame)(x[i*codec.FrameSamples:]), buf[:])
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, bytes.Clone(buf[:k]))
	}
	return oggtest.File(oggtest.Head(1, preSkip, gainQ8), trim, packets...)
}

// decodeOgg decodes a file the plain way.
func decodeOgg(t testing.TB, file []byte) []int16 {
	t.Helper()
	r, err := ogg.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	dec := newDecoder(t)
	defer dec.Close()
	var out []int16
	var pcm [codec.MaxPacketSamples]int16
	for {
		p, err := r.Next()
		if err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := dec.Decode(p.Data, pcm[:]); err != nil {
			t.Fatal(err)
		}
		out = append(out, pcm[p.From:p.To]...)
	}
}

func newDecoder(t testing.TB) *opus.Decoder {
	t.Helper()
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return dec
}

// playFile pulls until the file has ended.
func playFile(t testing.TB, f *File) []int16 {
	t.Helper()
	var out []int16
	var frame codec.AudioFrame
	for !f.Ended() {
		at := f.Position()
		info := f.Pull(&frame, 0, DecodeAlways)
		if info.PTS != at || info.Level != Level(frame[:]) || info.Silent != (frame == codec.AudioFrame{}) || info.Concealed {
			t.Fatalf("at %v: %+v", at, info)
		}
		out = append(out, frame[:]...)
	}
	return out
}

func TestFilePlaysExactlyWhatIsThere(t *testing.T) {
	for _, tc := range []struct {
		name     string
		ticks    int
		preSkip  uint16
		gainQ8   int16
		trim     int64
		gainDB   float64
		wantGain float64 // in dB
	}{
		{"whole ticks", 50, 960, 0, 0, 0, 0},
		{"odd start and end", 50, 312, 0, 777, 0, 0},
		{"long pre-skip", 50, 4000, 0, 950, 0, 0},
		{"shorter than a tick", 2, 1500, 0, 100, 0, 0},
		{"header's gain", 50, 312, -6 * 256, 0, 0, -6},
		{"both gains", 50, 312, -6 * 256, 0, 9, 3},
	} {
		file := oggSpeech(t, tc.ticks, tc.preSkip, tc.gainQ8, tc.trim)
		want := decodeOgg(t, file)
		if n := tc.ticks*codec.FrameSamples - int(tc.preSkip) - int(tc.trim); len(want) != n {
			t.Fatalf("%s: the plain way gives %d samples: want %d", tc.name, len(want), n)
		}
		f, err := NewFile(iotest.HalfReader(bytes.NewReader(file)), FileConfig{Decoder: newDecoder(t), GainDB: tc.gainDB})
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if f.Duration() != durationOf(int64(len(want))) {
			t.Errorf("%s: duration %v: want %v", tc.name, f.Duration(), durationOf(int64(len(want))))
		}
		got := playFile(t, f)
		if n := (len(want) + codec.FrameSamples - 1) / codec.FrameSamples * codec.FrameSamples; len(got) != n {
			t.Fatalf("%s: %d samples: want %d", tc.name, len(got), n)
		}
		gain := math.Pow(10, tc.wantGain/20)
		for i, s := range got {
			w := 0.0
			if i < len(want) {
				w = math.Round(float64(want[i]) * gain)
			}
			if float64(s) != w {
				t.Fatalf("%s: sample %d is %d: want %v", tc.name, i, s, w)
			}
		}
		var frame codec.AudioFrame
		if info := f.Pull(&frame, 0, DecodeAlways); !info.Silent || info.Level != codec.Silence || info.Decoded != 0 {
			t.Errorf("%s: after the end: %+v: want silence", tc.name, info)
		}
		if err := errors.Join(f.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestFileOfLongPackets(t *testing.T) {
	// Two frames of 20 ms in each packet (code 1): every other pull decodes.
	p := append([]byte{0x09}, make([]byte, 40)...)
	f, err := NewFile(bytes.NewReader(oggtest.File(oggtest.Head(1, 0, 0), 0, p, p, p)), FileConfig{Decoder: newDecoder(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var frame codec.AudioFrame
	for i := range 6 {
		if info := f.Pull(&frame, 0, DecodeAlways); info.Decoded != 1-i%2 {
			t.Errorf("pull %d decoded %d packets", i, info.Decoded)
		}
	}
	if !f.Ended() || f.Position() != 120*time.Millisecond {
		t.Errorf("after 6 pulls: ended %v, at %v", f.Ended(), f.Position())
	}
}

func TestFileRefuses(t *testing.T) {
	good := oggSpeech(t, 3, 0, 0, 0)
	packet := append([]byte{0x0b, 0x03}, make([]byte, 3)...) // 3 frames, 60 ms
	var long [][]byte
	for range 10*60*1000/60 + 1 {
		long = append(long, packet)
	}
	fat := append([]byte{0x0b, 0x41, 255, 255, 255, 255, 255, 255, 255, 0}, make([]byte, 7*254+10)...) // padding
	var large [][]byte
	for range 3000 {
		large = append(large, fat)
	}
	head := oggtest.Head(1, 0, 0)
	for name, tc := range map[string]struct {
		file   []byte
		gainDB float64
		want   string
	}{
		"no sound":    {oggtest.File(oggtest.Head(1, 960, 0), 0, []byte{0x08, 1}), 0, "no sound that is to be heard"},
		"too long":    {oggtest.File(head, 0, long...), 0, "longer than 10m0s"},
		"too large":   {oggtest.File(head, 0, large...), 0, "larger than 5 MiB"},
		"no ogg":      {[]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"), 0, "ffmpeg -i FILE"},
		"cut off":     {good[:len(good)-1], 0, "cut off"},
		"gain":        {good, 21, "GainDB is 21"},
		"no gain":     {good, math.NaN(), "GainDB is NaN"},
		"nothing":     {nil, 0, "empty"},
		"not seconds": {oggtest.File(head, 0, long[:10000]...), 0, ""},
	} {
		dec := newDecoder(t)
		f, err := NewFile(bytes.NewReader(tc.file), FileConfig{Decoder: dec, GainDB: tc.gainDB})
		switch {
		case tc.want == "" && err == nil:
			f.Close()
		case err == nil, tc.want == "", !strings.Contains(err.Error(), tc.want):
			t.Errorf("%s: error %v: want one that says %q", name, err, tc.want)
		default:
			dec.Close()
		}
	}
	if _, err := NewFile(bytes.NewReader(good), FileConfig{}); err == nil || !strings.Contains(err.Error(), "Decoder") {
		t.Errorf("without a decoder: %v", err)
	}
}

func TestFileConcealsWhatCannotBeDecoded(t *testing.T) {
	dec := &fakeDecoder{signal: func(int64) int16 { return 100 }}
	// The fake takes packets of 10 bytes only.
	file := oggtest.File(oggtest.Head(1, 0, 0), 0, []byte{8, 1, 2, 3, 4, 5, 6, 7}, []byte{8, 1})
	f, err := NewFile(bytes.NewReader(file), FileConfig{Decoder: dec})
	if err != nil {
		t.Fatal(err)
	}
	var frame codec.AudioFrame
	if info := f.Pull(&frame, 0, DecodeAlways); !info.Concealed || frame[0] != fakeConcealed {
		t.Errorf("%+v, first sample %d: want it concealed", info, frame[0])
	}
	f.Close()
	if info := f.Pull(&frame, 0, DecodeAlways); !info.Silent || !f.Ended() || dec.closed != 1 {
		t.Errorf("after Close: %+v, ended %v", info, f.Ended())
	}
}

func TestFileAllocatesNothing(t *testing.T) {
	f, err := NewFile(bytes.NewReader(oggSpeech(t, 300, 312, 0, 0)), FileConfig{Decoder: newDecoder(t), GainDB: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var frame codec.AudioFrame
	if n := testing.AllocsPerRun(200, func() { f.Pull(&frame, 0, DecodeAlways) }); n != 0 {
		t.Errorf("%.1f allocations a pull: want none", n)
	}
}

// An announcement is a member like others, who hears nothing: what he says is
// not his echo, however long it goes on.
func TestFileInAMix(t *testing.T) {
	const ticks = 600
	f, err := NewFile(bytes.NewReader(oggSpeech(t, ticks, 312, 0, 0)), FileConfig{Decoder: newDecoder(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := NewMix(MixConfig{NewEncoder: func() (codec.AudioEncoder, error) { return opus.NewEncoder(opus.EncoderConfig{}) }})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	mem, err := m.Join(5, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := mem.SetListening(false); err != nil {
		t.Fatal(err)
	}
	m.SetOutside(1)
	heard := 0
	for i := 0; !f.Ended(); i++ {
		pts := time.Duration(i) * codec.FrameDuration
		if err := m.Tick(pts, pts); err != nil {
			t.Fatal(err)
		}
		if len(m.Shared().Heard) == 1 {
			heard++
		}
	}
	m.Leave(mem)
	if heard < ticks*8/10 {
		t.Errorf("it was heard in %d ticks of %d", heard, ticks)
	}
}
