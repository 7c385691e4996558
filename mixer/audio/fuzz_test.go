package audio

import (
	"encoding/binary"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
)

// script is fuzz input read as steps.
type script []byte

func (s *script) byte() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *script) int16() int64 {
	return int64(int16(binary.BigEndian.Uint16([]byte{s.byte(), s.byte()})))
}

func (s *script) take(n int) []byte {
	n = min(n, len(*s))
	b := (*s)[:n]
	*s = (*s)[n:]
	return b
}

// play runs a script against a playout: packets with any number, time, stream
// and content, in any order, between pulls at any pace.
func play(t *testing.T, dec codec.AudioDecoder, packets [][]byte, in []byte) {
	p, err := NewPlayout(PlayoutConfig{Decoder: dec})
	if err != nil {
		t.Fatal(err)
	}
	var (
		s                    = script(in)
		now, pts             time.Duration
		seq                  int64
		stream               codec.StreamID
		pushed               uint64
		dst                  codec.AudioFrame
		next                 int
		quiet                = DecodeAlways
		copies               bool
		level                codec.AudioLevel
		scale, step, pulling = time.Microsecond, codec.FrameDuration, 0
	)
	for len(s) > 0 && pulling < 2000 {
		op := s.byte()
		data := packets[next%len(packets)]
		switch op >> 5 {
		case 0: // some in order
			next++
			seq, pts = seq+1, pts+step
		case 1: // loss or reordering
			seq += int64(op&31) - 16
			pts += time.Duration(int64(op&31)-16) * step
		case 2: // anything
			seq += s.int16()
			pts += time.Duration(s.int16()) * scale
		case 3: // what no decoder likes
			data = s.take(int(op & 31))
		case 4: // the clock goes on, without a pull; what is wanted changes
			now += time.Duration(op&15) * 10 * ms
			if op&16 != 0 {
				quiet = op << 4
			} else {
				p.SetRelay(RelayMode(op & 3 % 3))
			}
			continue
		case 5: // extremes
			switch op & 7 {
			case 0:
				seq, pts = 1<<62, 1<<62
			case 1:
				seq, pts = -1<<63, -1<<63
			case 2:
				seq, pts = 1<<63-1, 1<<63-1
			case 3:
				stream++
			case 4:
				scale = time.Duration(op&24+1) * time.Second
			case 5:
				step = time.Duration(op&31) * 2500 * time.Microsecond
			case 6:
				data = nil
			case 7:
				copies = op&8 != 0
				level.Valid = op&16 != 0
			}
		default:
			for range op & 15 {
				now += time.Duration(op&48) * ms
				dst[0] = 1
				info := p.Pull(&dst, now, quiet)
				if info.Level > codec.Silence || info.Decoded < 0 || info.Silent && dst != (codec.AudioFrame{}) ||
					info.Skipped && (!info.Silent || info.Level < quiet) {
					t.Fatalf("pull gave %+v", info)
				}
				if f, state := p.Packet(); state == PacketFit && (!opus.Plain(f.Data) || len(f.Data) > maxRelayBytes) {
					t.Fatalf("handed out as fit: % x", f.Data)
				}
				if n := p.fifo.len(); n > fifoSamples {
					t.Fatalf("%d samples wait", n)
				}
				now += codec.FrameDuration
				pulling++
			}
			continue
		}
		f := codec.NewEncodedFrame(len(data))
		f.Data = append(f.Data, data...)
		f.Seq, f.PTS, f.Stream = seq, pts, stream
		level.DBov += 37
		f.Redundant, f.Level = copies && next%3 != 0, level
		f.Level.DBov &= 127
		pushed++
		p.Push(f, now)
	}
	p.Pull(&dst, now, DecodeAlways)
	if n := p.skipped.n; n > keptPackets {
		t.Fatalf("%d packets kept", n)
	}
	if got := p.Stats().Packets; got != pushed {
		t.Fatalf("%d packets counted, %d pushed", got, pushed)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzPlayout needs nothing but arithmetic, so it runs through many scripts.
func FuzzPlayout(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var packets [][]byte
		for _, n := range []int{960, 120, 5760, 480, 2880} {
			e := fakePacket(1, 12345, n)
			packets = append(packets, append([]byte(nil), e.Data...))
			e.Release()
		}
		packets = append(packets, []byte{8})
		play(t, &fakeDecoder{signal: wave}, packets, in)
	})
}

// FuzzPlayoutOpus is the same with the real decoder and real packets.
func FuzzPlayoutOpus(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	enc, err := opus.NewEncoder(opus.EncoderConfig{FEC: true, PacketLossPercent: 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { enc.Close() })
	var packets [][]byte
	for i := range 20 {
		var pcm codec.AudioFrame
		for k := range pcm {
			pcm[k] = wave(int64(i*960 + k))
		}
		buf := make([]byte, maxPacketBytes)
		n, err := enc.Encode(&pcm, buf)
		if err != nil {
			f.Fatal(err)
		}
		packets = append(packets, buf[:n])
	}
	packets = append(packets, packets[0][:1])
	f.Fuzz(func(t *testing.T, in []byte) {
		dec, err := opus.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		play(t, dec, packets, in)
	})
}

// seeds are short scripts of the things that happen: a steady flow, loss,
// reordering, stalls and bursts, jumps, rubbish.
var seeds = []string{
	"\x00\xc1\x00\xc1\x00\xc1\x00\xc1\x00\xc1",
	"\x00\x00\x32\xc3\x2f\xc1\x00\x31\xc5",
	"\x00\xc2\x9f\x9f\x00\x00\x00\x00\x00\x00\x00\x00\xd4\x00\xcf",
	"\x00\xc1\xa0\xc1\xa1\xc1\xa2\xc1\xa3\xc1\xa4\x40\x7f\xff\x80\x00\xcf",
	"\x00\xc1\x63abc\x7f\xc1\xa6\x00\xc1\xad\x00\x00\x00\xcf",
	"\x00\xc2\xaf\x00\xb7\x00\x97\x00\xc1\x00\xc1\x32\xc1\x00\xc2\x90\x00\xc1\x00\xc1\x98\x00\xc1\x00\x00\xc1\x00\xc3",
	"\x00\xbf\x94\x00\x00\x00\xc1\xae\xc2\x00\xc1\xb5\x00\x00\xc1\x90\xc1\x00\xcf\x9f\x9f\x00\x00\x00\x00\x00\x00\x00\x00\x00\xd4\xcf",
	"\xa5\x00\xc1\x00\x00\x00\x00\x00\x00\x00\x00\xc1\x00\x00\xff",
}
