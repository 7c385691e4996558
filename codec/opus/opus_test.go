package opus

import (
	"bytes"
	"errors"
	"testing"

	libopus "gopkg.in/hraban/opus.v2"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

func newEncoder() (codec.AudioEncoder, error) { return NewEncoder(EncoderConfig{}) }
func newDecoder() (codec.AudioDecoder, error) { return NewDecoder() }

func TestCodec(t *testing.T) { codectest.AudioCodec(t, newEncoder, newDecoder) }

func TestEncoderRefuses(t *testing.T) {
	for _, c := range []EncoderConfig{
		{BitrateBps: 8000}, {BitrateBps: 65_000}, {Complexity: 1}, {Complexity: 11}, {PacketLossPercent: -1}, {PacketLossPercent: 101},
	} {
		if _, err := NewEncoder(c); !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%+v: %v, want ErrBadConfig", c, err)
		}
	}
}

// TestStaysHybrid tries every setting at every rate: a packet of another mode
// would click where a listener is switched between encoders.
func TestStaysHybrid(t *testing.T) {
	for _, c := range []EncoderConfig{{}, {FEC: true}, {DTX: true}, {FEC: true, DTX: true, Complexity: 9}, {FEC: true, Complexity: 2}, {Complexity: 2}, {Complexity: 10}} {
		enc, err := NewEncoder(c)
		if err != nil {
			t.Fatal(err)
		}
		voice := codectest.Voice{Seed: 6}
		music := 0.0
		for _, bps := range []int{MinBitrateBps, 20_000, 24_000, 28_000, MinFECBitrateBps - 1, MinFECBitrateBps, 36_000, 48_000, MaxBitrateBps} {
			for _, loss := range []int{0, 5, 6, 10, 25, 100} {
				if err := errors.Join(enc.SetBitrate(bps), enc.SetPacketLoss(loss)); err != nil {
					t.Fatal(err)
				}
				frames := make([]codec.AudioFrame, 12)
				for i := range frames[:8] {
					voice.Next(&frames[i]) // and then four of silence, or music:
				}
				if loss == 10 {
					for i := range frames {
						for k := range frames[i] {
							music += 0.1
							frames[i][k] += int16(int(music*3000)%9000 - 4500)
						}
					}
				}
				for i, p := range codectest.EncodeAudio(t, enc, frames) {
					if m, err := PacketMode(p); err != nil || m != Hybrid {
						t.Fatalf("%+v at %d b/s, %d%% loss, tick %d: %v, %v", c, bps, loss, i, m, err)
					}
				}
			}
		}
		if err := enc.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFEC loses packets: with FEC what comes back is close to what was lost.
func TestFEC(t *testing.T) {
	frames := codectest.Voice{Seed: 2}.Frames(200)
	enc, err := NewEncoder(EncoderConfig{FEC: true, PacketLossPercent: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	packets := codectest.EncodeAudio(t, enc, frames)
	whole, fec, plc := must(NewDecoder())(t), must(NewDecoder())(t), must(NewDecoder())(t)
	want, got, plain := make([]int16, codec.FrameSamples), make([]int16, codec.FrameSamples), make([]int16, codec.FrameSamples)
	var errFEC, errPLC float64
	for i := 0; i+1 < len(packets); i++ {
		if _, err := whole.Decode(packets[i], want); err != nil {
			t.Fatal(err)
		}
		if i%5 != 4 {
			_, err1 := fec.Decode(packets[i], got)
			_, err2 := plc.Decode(packets[i], plain)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := errors.Join(fec.DecodeFEC(packets[i+1], got), plc.Conceal(plain)); err != nil {
			t.Fatal(err)
		}
		for k := range want {
			a, b := float64(want[k])-float64(got[k]), float64(want[k])-float64(plain[k])
			errFEC, errPLC = errFEC+a*a, errPLC+b*b
		}
	}
	if errFEC > errPLC/2 {
		t.Errorf("FEC leaves %.0f%% of concealment's error, want at most 50%%", 100*errFEC/errPLC)
	}
}

func must(d *Decoder, err error) func(testing.TB) *Decoder {
	return func(t testing.TB) *Decoder {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
}

func TestDTX(t *testing.T) {
	enc, err := NewEncoder(EncoderConfig{DTX: true})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	dec, pcm := must(NewDecoder())(t), make([]int16, codec.FrameSamples)
	tiny := 0
	for _, p := range codectest.EncodeAudio(t, enc, append(codectest.Voice{}.Frames(30), make([]codec.AudioFrame, 70)...)) {
		if len(p) <= 2 {
			tiny++
		}
		if n, err := dec.Decode(p, pcm); err != nil || n != codec.FrameSamples {
			t.Fatalf("%x: %d samples, %v", p, n, err)
		}
	}
	if tiny < 30 {
		t.Errorf("%d of 70 silent ticks gave a packet of 1 or 2 bytes", tiny)
	}
}

// TestDecodesStereo checks that a stereo packet comes out as mono.
func TestDecodesStereo(t *testing.T) {
	enc, err := libopus.NewEncoder(codec.SampleRate, 2, libopus.AppVoIP)
	if err != nil {
		t.Fatal(err)
	}
	dec, buf, pcm := must(NewDecoder())(t), make([]byte, 1275), make([]int16, codec.MaxPacketSamples)
	for range 3 {
		n, err := enc.Encode(make([]int16, 2*codec.FrameSamples), buf)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := dec.Decode(buf[:n], pcm); err != nil || got != codec.FrameSamples {
			t.Errorf("%d samples, %v", got, err)
		}
	}
}

func TestDuration(t *testing.T) {
	big := func(head []byte, n int) []byte { return append(head, make([]byte, n)...) }
	for _, c := range []struct {
		name    string
		packet  []byte
		samples int // 0: refused
	}{
		{"empty", nil, 0},
		{"SILK 10 ms", []byte{0 << 3}, 480},
		{"SILK 60 ms", []byte{3 << 3, 1}, 2880},
		{"hybrid 20 ms", []byte{13 << 3, 1, 2}, 960},
		{"CELT 2.5 ms", []byte{16 << 3, 1}, 120},
		{"CELT 20 ms", []byte{31 << 3, 1}, 960},
		{"one frame, longest", big([]byte{31 << 3}, 1275), 960},
		{"one frame, too long", big([]byte{31 << 3}, 1276), 0},
		{"two equal", []byte{31<<3 | 1, 1, 2}, 1920},
		{"two equal, empty", []byte{31<<3 | 1}, 1920},
		{"two equal, odd", []byte{31<<3 | 1, 1}, 0},
		{"two equal, too long", big([]byte{31<<3 | 1}, 2552), 0},
		{"two", []byte{31<<3 | 2, 1, 9, 9}, 1920},
		{"two, long length", big([]byte{31<<3 | 2, 252, 0}, 252), 1920},
		{"two, no length", []byte{31<<3 | 2}, 0},
		{"two, half a length", []byte{31<<3 | 2, 252}, 0},
		{"two, cut off", []byte{31<<3 | 2, 5, 1}, 0},
		{"counted, no count", []byte{31<<3 | 3}, 0},
		{"counted, none", []byte{31<<3 | 3, 0}, 0},
		{"counted, six of 20 ms", []byte{31<<3 | 3, 6}, 5760},
		{"counted, seven of 20 ms", []byte{31<<3 | 3, 7}, 0},
		{"counted, 48 of 2.5 ms", []byte{16<<3 | 3, 48}, 5760},
		{"counted, uneven", []byte{31<<3 | 3, 2, 1, 2, 3}, 0},
		{"counted, too long", big([]byte{31<<3 | 3, 1}, 1276), 0},
		{"padded", []byte{31<<3 | 3, 0x41, 2, 9, 0, 0}, 960},
		{"padded by 254 and 1", big([]byte{31<<3 | 3, 0x41, 255, 1, 9}, 255), 960},
		{"padded, too much", []byte{31<<3 | 3, 0x41, 3, 0, 0}, 0},
		{"padded, no length", []byte{31<<3 | 3, 0x41}, 0},
		{"padded, length goes on", []byte{31<<3 | 3, 0x41, 255}, 0},
		{"variable", []byte{31<<3 | 3, 0x82, 1, 9, 9}, 1920},
		{"variable, cut off", []byte{31<<3 | 3, 0x82, 3, 9, 9}, 0},
		{"variable, no length", []byte{31<<3 | 3, 0x82}, 0},
		{"variable, last too long", big([]byte{31<<3 | 3, 0x82, 0}, 1276), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Duration(c.packet)
			if got != c.samples || (err != nil) != (c.samples == 0) || err != nil && !errors.Is(err, codec.ErrCorrupt) {
				t.Errorf("%d samples, %v, want %d", got, err, c.samples)
			}
			agrees(t, c.packet)
		})
	}
}

// agrees checks Duration against libopus' own reading of the packet.
func agrees(t *testing.T, packet []byte) {
	t.Helper()
	got, err := Duration(packet)
	dec, decErr := libopus.NewDecoder(codec.SampleRate, 1)
	if decErr != nil {
		t.Fatal(decErr)
	}
	want, decErr := dec.Decode(packet, make([]int16, codec.MaxPacketSamples))
	if (err == nil) != (decErr == nil) || got != want {
		t.Fatalf("%x: %d samples, %v; libopus says %d, %v", packet, got, err, want, decErr)
	}
}

func TestPacketMode(t *testing.T) {
	for config := range 32 {
		want := SILK
		if config >= 16 {
			want = CELT
		} else if config >= 12 {
			want = Hybrid
		}
		if m, err := PacketMode([]byte{byte(config << 3)}); err != nil || m != want {
			t.Errorf("configuration %d: %v, %v, want %v", config, m, err, want)
		}
	}
	if _, err := PacketMode(nil); !errors.Is(err, codec.ErrCorrupt) {
		t.Errorf("empty packet: %v, want ErrCorrupt", err)
	}
}

// seeds adds packets of every kind to a corpus.
func seeds(f *testing.F) {
	enc, err := NewEncoder(EncoderConfig{FEC: true, PacketLossPercent: 20})
	if err != nil {
		f.Fatal(err)
	}
	defer enc.Close()
	for _, p := range codectest.EncodeAudio(f, enc, codectest.Voice{}.Frames(4)) {
		f.Add(p)
		f.Add(bytes.Join([][]byte{{p[0] | 3, 0x82, 5}, p[1:]}, nil))
	}
}

func FuzzDuration(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, packet []byte) {
		agrees(t, packet)
		if m, err := PacketMode(packet); (err != nil) != (len(packet) == 0) || m > CELT {
			t.Fatalf("%v, %v", m, err)
		}
	})
}

func FuzzDecoder(f *testing.F) {
	seeds(f)
	good := [][]byte{}
	if enc, err := NewEncoder(EncoderConfig{}); err == nil {
		good = codectest.EncodeAudio(f, enc, codectest.Voice{}.Frames(2))
		_ = enc.Close()
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		dec := must(NewDecoder())(t)
		pcm := make([]int16, codec.MaxPacketSamples)
		for _, p := range [][]byte{good[0], packet, packet, good[1]} {
			n, err := dec.Decode(p, pcm)
			want, wantErr := Duration(p)
			if n != want || (err != nil) != (wantErr != nil) || err != nil && !errors.Is(err, codec.ErrCorrupt) {
				t.Fatalf("%d samples, %v, want %d, %v", n, err, want, wantErr)
			}
			if err := dec.DecodeFEC(p, pcm[:480]); (err != nil) != (wantErr != nil) {
				t.Fatalf("FEC: %v, want %v", err, wantErr)
			}
			if err := dec.Conceal(pcm[:120]); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, complexity := range []int{5, 9} {
		b.Run(map[int]string{5: "complexity5", 9: "complexity9"}[complexity], func(b *testing.B) {
			enc, err := NewEncoder(EncoderConfig{Complexity: complexity})
			if err != nil {
				b.Fatal(err)
			}
			defer enc.Close()
			frames, buf, n := codectest.Voice{}.Frames(100), make([]byte, 1275), 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := enc.Encode(&frames[n%len(frames)], buf); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	enc, err := NewEncoder(EncoderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	packets := codectest.EncodeAudio(b, enc, codectest.Voice{}.Frames(100))
	dec, pcm, n := must(NewDecoder())(b), make([]int16, codec.MaxPacketSamples), 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dec.Decode(packets[n%len(packets)], pcm); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

func BenchmarkCopyFrom(b *testing.B) {
	x, err := NewEncoder(EncoderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	y, err := NewEncoder(EncoderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer y.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := y.CopyFrom(x); err != nil {
			b.Fatal(err)
		}
	}
}
