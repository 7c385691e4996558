package ogg

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
)

func newWriter(t testing.TB, cfg WriterConfig) *Writer {
	t.Helper()
	w, err := NewWriter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWriterIsRead: what is written is read, packet by packet, with the time
// that it takes.
func TestWriterIsRead(t *testing.T) {
	w := newWriter(t, WriterConfig{Serial: 7})
	want := [][]byte{sound(1), sound(254), sound(255), sound(256), sound(700), sound(1275), sound(3)}
	var file []byte
	for i, p := range want {
		before := len(file)
		var err error
		if file, err = w.Append(file, p, time.Minute+time.Duration(i)*codec.FrameDuration); err != nil {
			t.Fatal(err)
		}
		switch grown := len(file) > before; {
		case i == 0 && bytes.Count(file, []byte("OggS")) != 2:
			t.Error("the first packet brings not just the headers")
		case i != 0 && grown != (i == 4):
			t.Errorf("packet %d: written: %v; a page has five", i, grown)
		}
	}
	file = w.Close(file)
	if again := w.Close(nil); len(again) != 0 {
		t.Errorf("a second Close gave %d bytes", len(again))
	}
	head, got, err := all(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Head{Channels: 1, PreSkip: 312, InputRate: 48000}); head != want {
		t.Errorf("head %+v, want %+v", head, want)
	}
	heard := 0
	for i, p := range got {
		if i < len(want) && !bytes.Equal(p.Data, want[i]) {
			t.Errorf("packet %d differs", i)
		}
		heard += p.To - p.From
	}
	if len(got) != len(want) || heard != len(want)*codec.FrameSamples-312 {
		t.Errorf("%d packets, %d samples", len(got), heard)
	}
}

// TestWriterFillsGaps: where packets are missing the stream goes on as long as
// time does.
func TestWriterFillsGaps(t *testing.T) {
	for _, c := range []struct {
		gap  time.Duration
		want int // packets between
	}{
		{0, 0}, {4 * time.Millisecond, 0}, {-4 * time.Millisecond, 0}, {20 * time.Millisecond, 1}, {2 * time.Second, 100},
		{time.Minute, maxFill}, {time.Hour, maxFill},
	} {
		w := newWriter(t, WriterConfig{})
		file, err := w.Append(nil, sound(9), 0)
		if err == nil {
			file, err = w.Append(file, sound(9), codec.FrameDuration+c.gap)
		}
		if err == nil { // goes on from there
			file, err = w.Append(file, sound(9), 2*codec.FrameDuration+c.gap)
		}
		if err != nil {
			t.Fatalf("%v: %v", c.gap, err)
		}
		_, got, err := all(bytes.NewReader(w.Close(file)))
		if err != nil || len(got) != 3+c.want {
			t.Errorf("%v: %d packets, want %d: %v", c.gap, len(got), 3+c.want, err)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	w := newWriter(t, WriterConfig{})
	if out := w.Close(nil); len(out) != 0 {
		t.Errorf("a stream of nothing has %d bytes", len(out))
	}
	w = newWriter(t, WriterConfig{})
	if out, err := w.Append(nil, nil, 0); err == nil || len(out) != 0 {
		t.Errorf("no packet: %d bytes, %v", len(out), err)
	}
	if _, err := w.Append(nil, sound(5), time.Second); err != nil {
		t.Fatal(err)
	}
	if out, err := w.Append(nil, sound(5), time.Second); !errors.Is(err, ErrOrder) || len(out) != 0 {
		t.Errorf("the same time twice: %d bytes, %v", len(out), err)
	}
	for _, c := range []struct {
		cfg  WriterConfig
		says string
	}{
		{WriterConfig{Channels: 3}, "Channels"}, {WriterConfig{PreSkip: 1 << 16}, "PreSkip"},
		{WriterConfig{Vendor: strings.Repeat("x", 65)}, "Vendor"},
	} {
		if _, err := NewWriter(c.cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
}

// TestWriterAsFFmpegReadsIt decodes two seconds of speech-like packets, with
// silence by DTX and a gap, and counts the samples.
func TestWriterAsFFmpegReadsIt(t *testing.T) {
	enc, err := opus.NewEncoder(opus.EncoderConfig{BitrateBps: 32000})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	w := newWriter(t, WriterConfig{Serial: 1})
	var pcm codec.AudioFrame
	var file []byte
	buf := make([]byte, 1275)
	for n := range 100 {
		for i := range pcm {
			pcm[i] = int16(2000 * (1 - 2*((n*codec.FrameSamples+i)/60%2)))
		}
		size, err := enc.Encode(&pcm, buf)
		if err != nil {
			t.Fatal(err)
		}
		packet := buf[:size]
		switch {
		case n >= 30 && n < 40:
			packet = []byte{packet[0] &^ 3} // DTX
		case n >= 60 && n < 75:
			continue // lost
		}
		if file, err = w.Append(file, packet, time.Duration(n)*codec.FrameDuration); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "x.ogg")
	if err := os.WriteFile(path, w.Close(file), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command("ffmpeg", "-v", "warning", "-xerror", "-i", path, "-f", "s16le", "-ac", "1", "-ar", "48000", "-")
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Errorf("ffmpeg: %v\n%s", err, said.Bytes())
	}
	if got, want := len(out)/2, 100*codec.FrameSamples-312; got != want {
		t.Errorf("%d samples, want %d", got, want)
	}
	probe, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	if d, err := strconv.ParseFloat(strings.TrimSpace(string(probe)), 64); err != nil || d < 1.99 || d > 2.001 {
		t.Errorf("ffprobe: %s s, want 2 s", probe)
	}
}

func TestWriterAllocatesNothing(t *testing.T) {
	w := newWriter(t, WriterConfig{})
	packet, at := sound(100), time.Duration(0)
	out := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(1000, func() {
		out, _ = w.Append(out[:0], packet, at)
		at += codec.FrameDuration
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
