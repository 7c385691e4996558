package transport

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"mixdown/codec"
)

// Benchmarks called Stage are the steps of a tick, each alone:
//
//	go test -run '^$' -bench Stage ./...
//
// is the table of all of them. BenchmarkOutbound is the whole way of a packet to a
// client, the kernel included.

// BenchmarkStagePacketise cuts a picture of five packets, as viewers get 30 a
// second of.
func BenchmarkStagePacketise(b *testing.B) {
	v := videoPacketiser{max: defaultMaxPayload}
	f := paceVideo(1, 0, 5500, "key")
	defer f.Release()
	var pkt outPacket
	b.ReportAllocs()
	packets := 0
	for b.Loop() {
		f.PTS += 33 * ms
		v.start(f.Retain(), f.PTS)
		for p, ok := v.next(time.Second); ok; p, ok = v.next(time.Second) {
			p.write(&pkt, 1, 96)
			p.frame.Release()
			packets++
		}
	}
	b.ReportMetric(float64(packets)/float64(b.N), "packets/op")
}

// BenchmarkStageSend is a packet of sound and a picture of five on their way to one
// client, up to SRTP.
func BenchmarkStageSend(b *testing.B) {
	p := offlinePeer(b, dropAll{})
	defer p.in.close()
	defer p.out.close()
	p.out.audio, p.out.video = &outTrack{writer: nowhere{}}, &outTrack{writer: nowhere{}}
	p.out.pacer.setTarget(1_000_000_000, 0)
	p.connected.Store(true)
	a, v := audioFrame(0), videoFrame(0, true, 5500)
	defer a.Release()
	defer v.Release()
	b.ReportAllocs()
	for b.Loop() {
		a.PTS += codec.FrameDuration
		v.PTS += codec.FrameDuration
		p.WriteAudio(a)
		if verdict := p.WriteVideo(v); verdict != codec.Sent {
			b.Fatal(verdict)
		}
		for p.send() < time.Second {
		}
	}
}

// BenchmarkStageSRTP encrypts one packet of a picture, and of sound, with the two
// profiles that browsers negotiate (RFC 3711, RFC 7714).
func BenchmarkStageSRTP(b *testing.B) {
	for _, c := range []struct {
		name    string
		profile srtp.ProtectionProfile
		bytes   int
	}{
		{"gcm/1100", srtp.ProtectionProfileAeadAes128Gcm, 1100},
		{"gcm/80", srtp.ProtectionProfileAeadAes128Gcm, 80},
		{"sha1/1100", srtp.ProtectionProfileAes128CmHmacSha1_80, 1100},
		{"sha1/80", srtp.ProtectionProfileAes128CmHmacSha1_80, 80},
	} {
		b.Run(c.name, func(b *testing.B) {
			key, err := c.profile.KeyLen()
			if err != nil {
				b.Fatal(err)
			}
			salt, err := c.profile.SaltLen()
			if err != nil {
				b.Fatal(err)
			}
			ctx, err := srtp.CreateContext(make([]byte, key), make([]byte, salt), c.profile)
			if err != nil {
				b.Fatal(err)
			}
			pkt := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SSRC: 1}, Payload: make([]byte, c.bytes)}
			plain, err := pkt.Marshal()
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, 1500)
			b.ReportAllocs()
			for b.Loop() {
				pkt.SequenceNumber++
				plain[2], plain[3] = byte(pkt.SequenceNumber>>8), byte(pkt.SequenceNumber)
				if dst, err = ctx.EncryptRTP(dst[:0], plain, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStageStats is a scrape of an engine with one client.
func BenchmarkStageStats(b *testing.B) {
	e := startEngine(b, Config{})
	join(b, e, newRecorder(b), RoleViewer, clientConfig{audio: "recvonly", video: []string{"recvonly"}})
	b.ReportAllocs()
	for b.Loop() {
		if e.Stats().Peers != 1 {
			b.Fatal("the client has gone")
		}
	}
}
