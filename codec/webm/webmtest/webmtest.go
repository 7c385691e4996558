// Package webmtest makes real VP8 and Opus for tests of what writes or reads
// WebM, and looks at the results through ffmpeg's eyes.
package webmtest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mixdown/codec"
)

// Tool returns the path of a program, and fails the test when it is missing.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not on the PATH: `make deps` installs what the tests need", name)
	}
	return path
}

// Run runs a program and returns what it printed; a failure fails the test.
func Run(t testing.TB, name string, args ...string) (stdout, stderr []byte) {
	t.Helper()
	cmd := exec.Command(Tool(t, name), args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errOut.Bytes())
	}
	return out.Bytes(), errOut.Bytes()
}

// Spec says what a clip shows and sounds like.
type Spec struct {
	Width, Height, FPS, Seconds int
	// KeyEvery is the frames from one key frame to the next.
	KeyEvery int
	// Video and Audio are lavfi graphs without size, rate and length; they
	// default to test bars and a 440 Hz tone.
	Video, Audio string
}

// Clip encodes a clip by ffmpeg. Sound and picture start at PTS 0.
func Clip(t testing.TB, s Spec) (video, audio []*codec.EncodedFrame) {
	t.Helper()
	if s.Video == "" {
		s.Video = fmt.Sprintf("testsrc2=s=%dx%d:r=%d", s.Width, s.Height, s.FPS)
	}
	if s.Audio == "" {
		s.Audio = "sine=f=440:r=48000"
	}
	length := strconv.Itoa(s.Seconds)
	ivf, _ := Run(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", s.Video, "-t", length,
		"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0",
		"-b:v", "500k", "-g", strconv.Itoa(s.KeyEvery), "-keyint_min", strconv.Itoa(s.KeyEvery), "-f", "ivf", "-")
	ogg, _ := Run(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", s.Audio, "-t", length,
		"-ac", "1", "-ar", "48000", "-c:a", "libopus", "-application", "voip", "-b:a", "32k", "-frame_duration", "20", "-f", "ogg", "-")
	return parseIVF(t, ivf, s), parseOgg(t, ogg)
}

func parseIVF(t testing.TB, b []byte, s Spec) []*codec.EncodedFrame {
	t.Helper()
	if len(b) < 32 || string(b[:4]) != "DKIF" {
		t.Fatal("ffmpeg made no IVF")
	}
	stream := codec.NewStreamID()
	var frames []*codec.EncodedFrame
	for b = b[32:]; len(b) >= 12; {
		n, ts := int(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint64(b[4:])
		f := codec.NewEncodedFrame(n)
		f.Data = append(f.Data, b[12:12+n]...)
		f.Codec, f.Stream = codec.VP8, stream
		f.Key = f.Data[0]&1 == 0 // RFC 6386 section 9.1
		f.Width, f.Height = s.Width, s.Height
		f.PTS = time.Duration(ts) * time.Second / time.Duration(s.FPS)
		frames = append(frames, f)
		b = b[12+n:]
	}
	return frames
}

// parseOgg returns the packets of a stream of 20 ms each (RFC 3533).
func parseOgg(t testing.TB, b []byte) []*codec.EncodedFrame {
	t.Helper()
	var packets [][]byte
	var packet []byte
	for len(b) >= 27 && string(b[:4]) == "OggS" {
		lacing := b[27 : 27+int(b[26])]
		b = b[27+len(lacing):]
		for _, n := range lacing {
			packet = append(packet, b[:n]...)
			b = b[n:]
			if n < 255 {
				packets, packet = append(packets, packet), nil
			}
		}
	}
	if len(packets) < 3 {
		t.Fatal("ffmpeg made no Ogg")
	}
	var frames []*codec.EncodedFrame
	for i, p := range packets[2:] {
		f := codec.NewEncodedFrame(len(p))
		f.Data = append(f.Data, p...)
		f.Codec, f.PTS = codec.Opus, time.Duration(i)*codec.FrameDuration
		frames = append(frames, f)
	}
	return frames
}

// Merge returns all frames in the order in which a mixer hands them out:
// pictures come lag later than the sound of their time.
func Merge(video, audio []*codec.EncodedFrame, lag time.Duration) []*codec.EncodedFrame {
	all := slices.Concat(video, audio)
	at := func(f *codec.EncodedFrame) time.Duration {
		if f.Codec == codec.VP8 {
			return f.PTS + lag
		}
		return f.PTS + codec.FrameDuration
	}
	slices.SortStableFunc(all, func(a, b *codec.EncodedFrame) int { return int(at(a) - at(b)) })
	return all
}

// Packet is one block as ffprobe sees it.
type Packet struct {
	Video bool
	PTS   time.Duration
	Key   bool
	Pos   int64
}

// Probed is what ffprobe says of a file.
type Probed struct {
	// Duration is the container's; 0 when it has none.
	Duration      time.Duration
	Width, Height int
	Video, Audio  bool
	Packets       []Packet
}

// Last returns the newest PTS of all packets.
func (p *Probed) Last() time.Duration {
	var last time.Duration
	for _, k := range p.Packets {
		last = max(last, k.PTS)
	}
	return last
}

// Probe reads a file by ffprobe.
func Probe(t testing.TB, path string) *Probed {
	t.Helper()
	out, _ := Run(t, "ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_packets", path)
	var j struct {
		Format  struct{ Duration string }
		Streams []struct {
			Index         int
			CodecName     string `json:"codec_name"`
			Width, Height int
		}
		Packets []struct {
			CodecType string `json:"codec_type"`
			PTSTime   string `json:"pts_time"`
			Flags     string
			Pos       string
		}
	}
	if err := json.Unmarshal(out, &j); err != nil {
		t.Fatal(err)
	}
	p := &Probed{Duration: seconds(j.Format.Duration)}
	for _, s := range j.Streams {
		switch s.CodecName {
		case "vp8":
			p.Video, p.Width, p.Height = true, s.Width, s.Height
		case "opus":
			p.Audio = true
		}
	}
	for _, k := range j.Packets {
		pos, _ := strconv.ParseInt(k.Pos, 10, 64)
		p.Packets = append(p.Packets, Packet{
			Video: k.CodecType == "video", PTS: seconds(k.PTSTime), Key: strings.HasPrefix(k.Flags, "K"), Pos: pos,
		})
	}
	return p
}

func seconds(s string) time.Duration {
	f, _ := strconv.ParseFloat(s, 64)
	return time.Duration(f * float64(time.Second))
}

// Plays decodes the whole file and fails the test on any warning.
func Plays(t testing.TB, path string) {
	t.Helper()
	_, stderr := Run(t, "ffmpeg", "-v", "warning", "-xerror", "-i", path, "-f", "null", "-")
	if len(bytes.TrimSpace(stderr)) != 0 {
		t.Errorf("ffmpeg warns about %s:\n%s", path, stderr)
	}
}

// Copy copies a frame's content into a new frame at another time.
func Copy(f *codec.EncodedFrame, pts time.Duration) *codec.EncodedFrame {
	c := codec.NewEncodedFrame(len(f.Data))
	c.Data = append(c.Data, f.Data...)
	c.Codec, c.Stream, c.Key, c.Discardable = f.Codec, f.Stream, f.Key, f.Discardable
	c.Width, c.Height, c.PTS = f.Width, f.Height, pts
	return c
}

// Flashes returns when each white picture after a dark one is shown, and Beeps
// when each tone after silence is heard, on the file's clock.
func Flashes(t testing.TB, path string) (at []time.Duration) {
	t.Helper()
	_, log := Run(t, "ffmpeg", "-v", "info", "-i", path, "-an", "-copyts", "-vf", "signalstats,metadata=print:key=lavfi.signalstats.YAVG", "-f", "null", "-")
	var pts time.Duration
	bright := false
	for line := range strings.Lines(string(log)) {
		if _, s, ok := strings.Cut(line, "pts_time:"); ok {
			pts = seconds(strings.Fields(s)[0])
		}
		if _, s, ok := strings.Cut(line, "YAVG="); ok {
			y, _ := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if y > 128 && !bright {
				at = append(at, pts)
			}
			bright = y > 128
		}
	}
	return at
}

// Beeps is told of at [Flashes].
func Beeps(t testing.TB, path string) (at []time.Duration) {
	t.Helper()
	// async=1 with min_hard_comp fills gaps, so that sample n is heard at n/48000.
	pcm, _ := Run(t, "ffmpeg", "-v", "error", "-i", path, "-vn", "-copyts", "-af", "aresample=async=1:first_pts=0",
		"-ac", "1", "-ar", "48000", "-f", "s16le", "-")
	r := bytes.NewReader(pcm)
	var s int16
	quiet := 1 << 20
	for n := 0; ; n++ {
		if err := binary.Read(r, binary.LittleEndian, &s); err == io.EOF {
			return at
		} else if err != nil {
			t.Fatal(err)
		}
		if s > 4000 || s < -4000 {
			if quiet > 4800 {
				at = append(at, time.Duration(n)*time.Second/48000)
			}
			quiet = 0
		} else {
			quiet++
		}
	}
}
