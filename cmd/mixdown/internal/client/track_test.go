package client

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
)

// sent keeps what a track writes.
type sent struct{ packets []*rtp.Packet }

func (s *sent) writeRTP(b []byte) (int, error) {
	p := &rtp.Packet{}
	if err := p.Unmarshal(slices.Clone(b)); err != nil {
		return 0, err
	}
	s.packets = append(s.packets, p)
	return len(b), nil
}

func soundTrack(t testing.TB, red int, out rtpWriter) *track {
	t.Helper()
	tr := newTrack(sound, nil)
	line := &answerLine{takes: true, formats: []int{ptRED, ptOpus}, extensions: []int{extLevel}}
	if err := tr.negotiated(out, line, red); err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestSoundPackets(t *testing.T) {
	var out sent
	tr := soundTrack(t, 2, &out)
	for i, tick := range []uint32{0, 1, 2, 30} { // the last after a pause of more than 14 bits
		tr.send(clip.Unit{Data: []byte{byte(i), 9}, Level: codec.AudioLevel{DBov: 40, Voice: i > 0, Valid: true}}, tick*960, time.Now())
	}
	for i, want := range []string{
		"\x6f\x00\x09",
		"\xef\x0f\x00\x02\x6f\x00\x09\x01\x09",
		"\xef\x1e\x00\x02\xef\x0f\x00\x02\x6f\x00\x09\x01\x09\x02\x09",
		"\x6f\x03\x09",
	} {
		p := out.packets[i]
		level := byte(40)
		if i > 0 {
			level |= 0x80
		}
		if string(p.Payload) != want || p.PayloadType != ptRED || p.Marker != (i == 0) || !slices.Equal(p.GetExtension(extLevel), []byte{level}) || p.SequenceNumber != out.packets[0].SequenceNumber+uint16(i) {
			t.Errorf("packet %d is %v %x, level %x", i, p.Header, p.Payload, p.GetExtension(extLevel))
		}
	}
	// Too long to be repeated, or to leave room.
	long := make([]byte, 1050)
	tr.send(clip.Unit{Data: long}, 31*960, time.Now())
	tr.send(clip.Unit{Data: []byte{1}}, 32*960, time.Now())
	if a, b := out.packets[4].Payload, out.packets[5].Payload; len(a) > payloadBytes+9 || string(b) != "\xef\x1e\x00\x02\x6f\x03\x09\x01" {
		t.Errorf("around a long packet: %d bytes, then %x", len(a), b)
	}
	if line := (&answerLine{takes: true, formats: []int{ptVP8}}); newTrack(sound, nil).negotiated(&out, line, 0) == nil {
		t.Error("a line without Opus was taken")
	}
}

// pair is a link with keys, and what encrypts for it.
func pair(t testing.TB) (l *link, peer *srtp.Context) {
	t.Helper()
	key, salt := make([]byte, 16), make([]byte, 12)
	contexts := make([]*srtp.Context, 2)
	for i := range contexts {
		var err error
		if contexts[i], err = srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm); err != nil {
			t.Fatal(err)
		}
	}
	l = &link{}
	l.init()
	l.in.Store(contexts[0])
	return l, contexts[1]
}

// datagrams are n packets of the mix, encrypted.
func datagrams(t testing.TB, peer *srtp.Context, n int) (list [][]byte) {
	t.Helper()
	for i := range n {
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: ptOpus, SequenceNumber: uint16(i), Timestamp: uint32(i) * 960, SSRC: 5, CSRC: []uint32{1, 2}},
			Payload: make([]byte, 80),
		}
		if err := p.SetExtension(extCSRCLevel, []byte{20, 30}); err != nil {
			t.Fatal(err)
		}
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b, err := peer.EncryptRTP(nil, raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// listener is a client as far as it takes packets.
func listener(t testing.TB) (*Client, *srtp.Context) {
	t.Helper()
	c, err := New(Config{URL: "http://h/r/x", OnAudio: func(Packet) {}})
	if err != nil {
		t.Fatal(err)
	}
	l, peer := pair(t)
	l.onRTP, l.onRTCP = c.takeRTP, c.takeRTCP
	c.link.init()
	c.link.in.Store(l.in.Load())
	return c, peer
}

// TestPacketsAllocateNothing: a load generator runs hundreds of clients.
func TestPacketsAllocateNothing(t *testing.T) {
	c, peer := listener(t)
	list := datagrams(t, peer, 2200)
	i := 0
	in := func() {
		c.link.take(list[i], netip.AddrPort{}, time.Duration(i)*20*time.Millisecond)
		i++
	}
	for range 100 {
		in()
	}
	// Arrivals are kept, in a slice that grows now and then.
	if n := testing.AllocsPerRun(2000, in); n > 0.1 {
		t.Errorf("%v allocations for a packet that comes", n)
	}
	if st := c.Stats().AudioReceived; st.Packets != 2101 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}

	out := &null{}
	tr := soundTrack(t, 1, out)
	u := clip.Unit{Data: make([]byte, 80), Level: codec.AudioLevel{Valid: true}}
	if n := testing.AllocsPerRun(1000, func() {
		i++
		tr.send(u, uint32(i)*960, time.Time{})
	}); n != 0 {
		t.Errorf("%v allocations for a packet that goes", n)
	}
}

// null takes everything.
type null struct{}

func (null) writeRTP(b []byte) (int, error) { return len(b), nil }

// BenchmarkReceive is what a packet costs between the socket and the callback.
func BenchmarkReceive(b *testing.B) {
	c, peer := listener(b)
	list := datagrams(b, peer, 20_000) // over and over: half of the numbers, so none seems new
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		c.link.take(list[i%len(list)], netip.AddrPort{}, time.Duration(i)*20*time.Millisecond)
	}
}

// BenchmarkSend is what one costs on its way out, encryption and socket apart.
func BenchmarkSend(b *testing.B) {
	tr := soundTrack(b, 1, &null{})
	u := clip.Unit{Data: make([]byte, 80), Level: codec.AudioLevel{Valid: true}}
	b.ReportAllocs()
	for i := range b.N {
		tr.send(u, uint32(i)*960, time.Time{})
	}
}
