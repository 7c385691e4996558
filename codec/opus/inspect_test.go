package opus

import (
	"slices"
	"testing"

	libopus "gopkg.in/hraban/opus.v2"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

// HasFEC is right when DecodeFEC gives something else than concealment exactly
// where it says so.
func TestHasFEC(t *testing.T) {
	for _, c := range []EncoderConfig{{}, {FEC: true, PacketLossPercent: 10}, {FEC: true, PacketLossPercent: 30, BitrateBps: 48_000}} {
		enc := must2(NewEncoder(c))(t)
		frames := make([]codec.AudioFrame, 60)
		voice := codectest.Voice{Seed: 3}
		for i := range frames[:40] {
			voice.Next(&frames[i])
		}
		packets := codectest.EncodeAudio(t, enc, frames)
		has := 0
		for i := 1; i < len(packets); i++ {
			fec, plc := must(NewDecoder())(t), must(NewDecoder())(t)
			pcm := make([]int16, codec.FrameSamples)
			for _, p := range packets[:i] {
				for _, d := range []*Decoder{fec, plc} {
					if _, err := d.Decode(p, pcm); err != nil {
						t.Fatal(err)
					}
				}
			}
			a, b := make([]int16, codec.FrameSamples), make([]int16, codec.FrameSamples)
			if err := fec.DecodeFEC(packets[i], a); err != nil {
				t.Fatal(err)
			}
			if err := plc.Conceal(b); err != nil {
				t.Fatal(err)
			}
			if got := HasFEC(packets[i]); got == slices.Equal(a, b) {
				t.Errorf("%+v, packet %d: HasFEC %v, decoding it differs from concealment: %v", c, i, got, !got)
			} else if got {
				has++
			}
		}
		if c.FEC != (has > 20) {
			t.Errorf("%+v: %d packets with FEC", c, has)
		}
	}
}

// Whatever mode, channels and duration libopus makes, speech is not taken for
// silence, nor silence for speech, and CELT tells nothing.
func TestSilent(t *testing.T) {
	for _, channels := range []int{1, 2} {
		for _, ms := range []int{10, 20, 40, 60} {
			enc, err := libopus.NewEncoder(codec.SampleRate, channels, libopus.AppVoIP)
			if err != nil {
				t.Fatal(err)
			}
			if err := enc.SetMaxBandwidth(libopus.Wideband); err != nil {
				t.Fatal(err)
			}
			if err := enc.SetBitrate(20_000); err != nil {
				t.Fatal(err)
			}
			var frames [150]codec.AudioFrame
			voice := codectest.Voice{Seed: 4}
			for i := range frames[:75] {
				voice.Next(&frames[i])
			}
			var pcm []int16
			for i := range frames {
				for _, s := range frames[i] {
					for range channels {
						pcm = append(pcm, s)
					}
				}
			}
			size := ms * codec.SampleRate / 1000 * channels
			speech, silent, n := 0, 0, len(pcm)/size
			for i := range n {
				data := make([]byte, 1275)
				got, err := enc.Encode(pcm[i*size:(i+1)*size], data)
				if err != nil {
					t.Fatal(err)
				}
				switch is := Silent(data[:got]); {
				case i < n/2 && !is:
					speech++
				case i > n*3/4 && is:
					silent++
				}
			}
			if speech < n*3/10 || silent < n/5 {
				t.Errorf("%d channels, %d ms: %d of %d packets of speech are speech, %d of %d silence", channels, ms, speech, n/2, silent, n/4)
			}
		}
	}
	for _, p := range [][]byte{nil, {0xf8, 0, 1, 2}, {0x7b, 1, 0}} {
		if Silent(p) || HasFEC(p) {
			t.Errorf("% x: silent %v, FEC %v, want neither", p, Silent(p), HasFEC(p))
		}
	}
	for _, p := range [][]byte{{0x78}, {0x78, 0x01}} {
		if !Silent(p) {
			t.Errorf("% x is DTX", p)
		}
	}
}

// must2 is must for encoders.
func must2(e *Encoder, err error) func(testing.TB) *Encoder {
	return func(t testing.TB) *Encoder {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		return e
	}
}

// What packets say of themselves is asked before they are decoded.
func FuzzInspect(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, packet []byte) {
		if HasFEC(packet) && packet[0] >= 0x80 {
			t.Errorf("% x: FEC in CELT", packet)
		}
		Silent(packet)
		if n, err := Duration(packet); Plain(packet) && (err != nil || n != codec.FrameSamples) {
			t.Errorf("% x: plain, but %d samples, %v", packet, n, err)
		}
	})
}

// Plain is what our own encoder makes, in every mode, and nothing that is longer,
// of several frames, in stereo or malformed.
func TestPlain(t *testing.T) {
	var frames [50]codec.AudioFrame
	voice := codectest.Voice{Seed: 3}
	for i := range frames[:25] {
		voice.Next(&frames[i])
	}
	for _, c := range []EncoderConfig{{}, {BitrateBps: 64_000}, {DTX: true}, {FEC: true, PacketLossPercent: 30, BitrateBps: 48_000}} {
		for i, p := range codectest.EncodeAudio(t, must2(NewEncoder(c))(t), frames[:]) {
			if !Plain(p) {
				t.Errorf("%+v: packet %d, % x, is not plain", c, i, p)
			}
		}
	}
	long := make([]byte, 1277)
	long[0] = 0x78
	for name, p := range map[string][]byte{
		"empty": nil, "stereo": {0x7c, 1, 2}, "60 ms": {0x58, 1, 2}, "10 ms": {0x70, 1, 2}, "two frames of 10 ms": {0x71, 1, 2},
		"two frames of 20 ms": {0x79, 1, 2}, "padded": {0x7b, 0x41, 1, 2, 0}, "too long a frame": long, "cut off": {0x7b},
	} {
		if Plain(p) {
			t.Errorf("%s is plain", name)
		}
	}
	for _, p := range [][]byte{{0x78}, {0x48, 1}, {0xf8, 1, 2}, {0x98, 7}} {
		if !Plain(p) {
			t.Errorf("% x is not plain", p)
		}
	}
}
