package video

import (
	"errors"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/h264/h264test"
)

// coded264 is a frame of H.264 that fake264 shows: a flat picture of that luma.
func coded264(key bool, w, h int, luma byte, arrival time.Duration) *codec.EncodedFrame {
	slice := []byte{0x41, 0x9a, luma, 0x80}
	data := h264test.Frame(slice)
	if key {
		slice[0] = 0x65
		data = h264test.Frame(h264test.SPS(w, h), []byte{0x68, 0xce, 0x3c, 0x80}, slice)
	}
	f := codec.NewEncodedFrame(len(data))
	f.Data = append(f.Data, data...)
	f.Codec, f.Stream, f.Key, f.PTS, f.Arrival = codec.H264, 264, key, arrival, arrival
	return f
}

type fake264 struct{ fakeDecoder }

func (d *fake264) Decode(data []byte) error {
	d.decodes.Add(1)
	d.w, d.h, d.luma = 320, 180, data[len(data)-2]
	return nil
}

// TestSourceChangesItsCodec: frames are decoded by what they are, and nothing is
// made before the first of another kind comes.
func TestSourceChangesItsCodec(t *testing.T) {
	var made []*fake264
	r := newRig(t, func(c *SourceConfig) {
		c.NewDecoder = func(of codec.Codec) (codec.VideoDecoder, error) {
			if of != codec.H264 {
				t.Errorf("a decoder of %v", of)
			}
			made = append(made, &fake264{})
			return made[len(made)-1], nil
		}
	})
	r.SetTarget(320, 180, false)
	send := func(f *codec.EncodedFrame) {
		r.Write(f)
		settle(r.pool)
	}
	r.send(true, 320, 180, 40)
	if luma, _, _, _ := r.look(); luma != 40 || len(made) != 0 {
		t.Fatalf("luma %d, %d decoders of H.264", luma, len(made))
	}
	r.now += tick
	send(coded264(true, 320, 180, 90, r.now))
	r.now += tick
	send(coded264(false, 0, 0, 91, r.now))
	if luma, w, h, _ := r.look(); luma != 91 || w != 320 || h != 180 || len(made) != 1 || !r.decoder.closed.Load() {
		t.Fatalf("luma %d of %dx%d, %d decoders, the other closed %v", luma, w, h, len(made), r.decoder.closed.Load())
	}
	if in := r.Incoming(); in.Codec != codec.H264 || !in.Common || in.Width != 320 {
		t.Errorf("incoming %+v", in)
	}
	if s := r.Stats(); s.Width != 320 || s.Height != 180 || s.Decoded != 3 || s.Corrupt != 0 {
		t.Errorf("%+v", s)
	}
	// A bomb is refused by what it would take to decode, before any decoder.
	r.now += 2 * time.Second
	send(coded264(true, 4000, 2000, 92, r.now))
	if s := r.Stats(); s.TooLarge != 1 || made[0].decodes.Load() != 2 {
		t.Errorf("%+v, decoded %d", s, made[0].decodes.Load())
	}
}

// TestSourceWithoutH264 takes VP8 only.
func TestSourceWithoutH264(t *testing.T) {
	r := newRig(t, nil)
	r.SetTarget(320, 180, false)
	r.Write(coded264(true, 320, 180, 90, tick))
	settle(r.pool)
	if s := r.Stats(); s.Corrupt != 1 || s.Decoded != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := parseHeader(&codec.EncodedFrame{Codec: codec.Opus}); !errors.Is(err, codec.ErrCorrupt) {
		t.Errorf("sound: %v", err)
	}
}
