package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/ogg/oggtest"
)

// ivf builds an IVF file of the given frames at 30 fps.
func ivf(frames ...[]byte) []byte {
	b := append([]byte("DKIF\x00\x00\x20\x00VP80"), 0x80, 0x02, 0x68, 0x01) // 640x360
	b = binary.LittleEndian.AppendUint32(b, 30)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(frames)))
	for i, f := range frames {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = binary.LittleEndian.AppendUint64(b, uint64(i))
		b = append(b, f...)
	}
	return b
}

// oggFile builds an Ogg file of these packets.
func oggFile(packets ...[]byte) []byte {
	return oggtest.File(oggtest.Head(1, 0, 0), 0, packets...)
}

// Smallest frames whose headers are right: a key frame of 640x360, an inter frame.
var (
	keyFrame   = []byte{0x50, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0, 0}
	interFrame = []byte{0x71, 0, 0, 0, 0, 0}
)

func TestReadIVF(t *testing.T) {
	c, err := Read(bytes.NewReader(ivf(keyFrame, interFrame, nil, interFrame)))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Units) != 3 || c.Width != 640 || c.Height != 360 {
		t.Fatalf("%d units of %dx%d: want 3 of 640x360 (the empty frame is none)", len(c.Units), c.Width, c.Height)
	}
	if !c.Units[0].Key || c.Units[1].Key {
		t.Errorf("key flags %v, %v: want true, false", c.Units[0].Key, c.Units[1].Key)
	}
	if d := c.Duration().Round(time.Millisecond); d != 100*time.Millisecond {
		t.Errorf("duration %v: want 100ms", d)
	}
	p := c.Play()
	for range 3 {
		p.Next()
	}
	if u := p.Next(); !u.Key {
		t.Error("after the last frame the player did not go on with the first")
	}
	p.Next()
	p.Restart()
	if u := p.Next(); !u.Key {
		t.Error("Restart did not go to the key frame")
	}
}

func TestReadOgg(t *testing.T) {
	long := append([]byte{0x08}, make([]byte, 600)...) // SILK, 20 ms, across lacing values
	c, err := Read(bytes.NewReader(oggFile([]byte{0x08, 1}, long)))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Units) != 2 || len(c.Units[1].Data) != 601 {
		t.Fatalf("%d units: want 2, the second of 601 bytes", len(c.Units))
	}
	if c.Duration() != 40*time.Millisecond {
		t.Errorf("duration %v: want 40ms", c.Duration())
	}
}

func TestBadFilesNameTheFault(t *testing.T) {
	wrongFourCC := ivf(keyFrame)
	copy(wrongFourCC[8:], "H264")
	backwards := ivf(keyFrame, interFrame)
	binary.LittleEndian.PutUint64(backwards[len(backwards)-len(interFrame)-8:], 0)
	huge := ivf(keyFrame)
	binary.LittleEndian.PutUint32(huge[32:], 1<<31)
	surround := oggtest.File(oggtest.Head(6, 0, 0), 0, []byte{0x08})
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"empty":           {nil, "want an IVF file"},
		"other format":    {[]byte("RIFFxxxx"), "want an IVF file"},
		"header cut off":  {ivf()[:20], "IVF header is cut off"},
		"four cc":         {wrongFourCC, "FourCC"},
		"no frames":       {ivf(), "no frames"},
		"no key frame":    {ivf(interFrame), "key frame"},
		"time goes back":  {backwards, "timestamp 0 after 0"},
		"huge frame":      {huge, "frame 0"},
		"no opus":         {oggtest.Page(oggtest.First, 0, 1, 0, false, []byte("\x01vorbis")), "want Opus"},
		"no packets":      {oggFile(), "no packets"},
		"surround":        {surround, "channels 6"},
		"broken sequence": {append(oggFile([]byte{0x08}), make([]byte, 30)...), "page 3 starts with"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(tc.file))
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v: want ErrFormat that says %q", err, tc.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(ivf(keyFrame, interFrame, interFrame))
	f.Add(oggFile([]byte{0x08, 1, 2}, []byte{0x0b, 3}))
	f.Fuzz(func(t *testing.T, file []byte) {
		oggtest.Checksums(file)
		c, err := Read(bytes.NewReader(file))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error %v is not ErrFormat", err)
			}
			return
		}
		if len(c.Units) == 0 || !c.Units[0].Key {
			t.Fatal("a clip without a key frame at its start was accepted")
		}
		for i, u := range c.Units {
			if u.Duration <= 0 || len(u.Data) == 0 {
				t.Fatalf("unit %d: duration %v, %d bytes", i, u.Duration, len(u.Data))
			}
		}
	})
}

// What is written is read back as it was.
func TestWriteIVF(t *testing.T) {
	c := &Clip{Codec: codec.VP8, Width: 16, Height: 16}
	step := time.Second / 30
	for i, n := range []int{1, 2, 1, 5, 1} {
		data := []byte{0x51, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0, 0, byte(i)} // the first partition has 2 bytes
		if i == 0 {
			data[0] = 0x50
		}
		c.Units = append(c.Units, Unit{Data: data, Duration: time.Duration(n) * step, Key: i == 0})
	}
	var file bytes.Buffer
	if err := WriteIVF(&file, c, 30); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Width != 16 || got.Height != 16 || len(got.Units) != len(c.Units) {
		t.Fatalf("%dx%d, %d units", got.Width, got.Height, len(got.Units))
	}
	for i, u := range got.Units {
		want := c.Units[i]
		if !bytes.Equal(u.Data, want.Data) || u.Key != want.Key || (u.Duration-want.Duration).Abs() > time.Microsecond {
			t.Errorf("unit %d is %+v, want %+v", i, u, want)
		}
	}
	if err := WriteIVF(&file, &Clip{Codec: codec.Opus}, 30); err == nil {
		t.Error("sound is written as pictures")
	}
}
