package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// This file holds what goes wrong on purpose. Every attack runs on a whole
// server beside a meeting that must not notice it; see meeting_test.go for both.

// corrupt breaks b in one to four places; the length may change.
func corrupt(r *mathrand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(4) {
		if len(b) < 2 {
			return append(b, byte(r.Uint32()))
		}
		at := r.IntN(len(b))
		to := min(len(b), at+1+r.IntN(8))
		switch r.IntN(7) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = []byte{0, 1, 0x7f, 0x80, 0xff}[r.IntN(5)]
		case 2:
			b = append(b[:at], b[to:]...)
		case 3:
			b = append(b[:to:to], b[at:]...)
		case 4:
			b = b[:at]
		case 5:
			b = append(b[:at:at], append([]byte(strconv.FormatInt(r.Int64()-r.Int64(), 10)), b[to:]...)...)
		case 6:
			for i := at; i < to; i++ {
				b[i] = byte(r.Uint32())
			}
		}
	}
	return b
}

// TestHostileInput sends 10,000 malformed offers, RTP packets, RTCP packets,
// datagrams and requests each, beside and into a meeting: nothing panics,
// nothing answers 5xx, nobody hears a gap or gets a key frame more, and memory
// stays flat.
func TestHostileInput(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	a := &attack{tg: tg, m: m, insider: joinWire(t, tg, wireConfig{name: "Insider", audio: true, video: true})}
	a.publisher(t)
	secret := filepath.Join(tg.data, "secret.txt")
	if err := os.WriteFile(secret, []byte(marker), 0o600); err != nil {
		t.Fatal(err)
	}
	// The first round warms up every pool, cache and heap; what the others add
	// to it has leaked.
	a.round(t, 1, 0.1)
	a.tidy(t)
	before := measure(t)
	a.round(t, 2, 1)
	a.tidy(t)
	flat(t, fmt.Sprintf("after %d malformed inputs", 5*pace(10_000)), before, 6<<20, 48<<20)

	// Those who were attacked are as they were.
	if code, body, _ := call(t, "GET", tg.url+"/readyz", ""); code != http.StatusOK {
		t.Errorf("readyz answers %d %s", code, body)
	}
	if n := tg.app.rooms.Stats(); n.Sources.Corrupt == 0 || n.Sound.Corrupt == 0 {
		t.Errorf("no corrupt picture (%d) or sound (%d) was counted: the attack did not get through", n.Sources.Corrupt, n.Sound.Corrupt)
	}
}

// marker is in a file beside the recordings that no answer may contain.
const marker = "top secret 8f1c"

// attack is what one run of TestHostileInput needs.
type attack struct {
	tg       *target
	m        *meeting
	insider  *wire // a participant, on streams that it declared
	outcast  *wire // a publisher that makes up streams, and is thrown out for it
	outcasts int
}

func (a *attack) publisher(t *testing.T) {
	t.Helper()
	if a.outcast != nil {
		a.outcast.die()
		a.outcasts++
	}
	w, err := dialWire(a.tg, wireConfig{name: "Outcast", as: "whip", audio: true, video: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.die)
	a.outcast = w
}

// tidy lets the attackers start from the same state before each measurement.
func (a *attack) tidy(t *testing.T) {
	t.Helper()
	a.publisher(t)
	room := a.tg.room(t, meetingRoom)
	eventually(t, 15*time.Second, "only the meeting and its attackers are left", func() bool {
		return len(room.Participants()) == bystanders+2 && a.tg.app.engine.Peers() == bystanders+2
	})
	http.DefaultClient.CloseIdleConnections()
}

// round sends share of everything, each kind in a window of its own.
func (a *attack) round(t *testing.T, seed uint64, share float64) {
	t.Helper()
	const total = 10_000
	n := pace(int(total * share))
	for _, kind := range []struct {
		name string
		send func(t *testing.T, r *mathrand.Rand, n int) string
	}{
		{"RTP and RTCP inside", a.inside},
		{"datagrams outside", a.outside},
		{"offers", a.offers},
		{"requests", a.requests},
	} {
		a.m.settle(t)
		w := a.m.watch()
		outcome := kind.send(t, mathrand.New(mathrand.NewPCG(seed, 7)), n)
		w.end(t, fmt.Sprintf("%d %s (%s)", n, kind.name, outcome), false)
	}
}

// lasting is how long n take at that rate.
func lasting(n, perSecond int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(pace(perSecond))
}

// inside sends n broken RTP and n broken RTCP packets, encrypted as they must be.
func (a *attack) inside(t *testing.T, r *mathrand.Rand, n int) string {
	video, audio := clips(t)["video-01.ivf"], clips(t)["speech-01.ogg"]
	known := map[uint32]bool{0: true, wireAudioSSRC: true, wireVideoSSRC: true, wireRTXSSRC: true,
		a.insider.theirAudio: true, a.insider.theirVideo: true, a.insider.theirRTX: true}
	control := controlPackets(t, a.insider)
	refused, foreign, thrownOut := 0, 0, a.outcasts
	// Some 1600 packets a second: below what one client may send.
	during(lasting(n, 800), pace(800), func(i int) {
		// Sound and pictures that are good now and then, so that there is always
		// something to break.
		var packets [][]byte
		if i%2 == 0 {
			packets = [][]byte{a.insider.audioPacket(audio.Units[i%len(audio.Units)].Data)}
		} else {
			packets = a.insider.videoPackets(video.Units[i/2%len(video.Units)].Data)
		}
		broken := r.IntN(len(packets))
		for j, p := range packets {
			if j != broken {
				a.insider.sendRTP(p)
			}
		}
		p := packets[broken]
		good := p
		for p = corruptRTP(r, good); !a.insider.sendRTP(p); p = corruptRTP(r, good) {
			refused++ // no RTP header to encrypt by: goes out as it is
			_, _ = a.insider.conn.Write(p)
		}
		if i%16 == 0 && len(p) >= 12 { // streams that nobody has heard of
			binary.BigEndian.PutUint32(p[8:], r.Uint32())
			a.outcast.sendRTP(p)
		}

		c := corrupt(r, control[r.IntN(len(control))])
		for wantsKeyframe(c, a.insider.theirVideo) { // well-formed, and answered rightly
			c = corrupt(r, c)
		}
		sender := a.insider
		if !onlyAbout(c, known) {
			foreign++
			if foreign%16 == 0 {
				sender = a.outcast
			} else if len(c) >= 12 {
				binary.BigEndian.PutUint32(c[8:], a.insider.theirVideo)
				if !onlyAbout(c, known) || wantsKeyframe(c, a.insider.theirVideo) {
					c = c[:4]
				}
			}
		}
		select {
		case <-a.outcast.gone:
			a.publisher(t)
		default:
		}
		if !sender.sendRTCP(c) {
			refused++
			_, _ = sender.conn.Write(c)
		}
	})
	select {
	case <-a.insider.gone:
		t.Error("the insider was thrown out: the attack did not get through")
	default:
	}
	return fmt.Sprintf("%d more could not be encrypted, %d about foreign streams, %d times thrown out", refused, foreign, a.outcasts-thrownOut)
}

// corruptRTP leaves the stream's number alone: else nothing would be read.
func corruptRTP(r *mathrand.Rand, p []byte) []byte {
	b := corrupt(r, p)
	if len(b) >= 12 {
		b[0] = b[0]&0x3f | 0x80
		if r.IntN(4) > 0 {
			b[1] = b[1]&0x80 | p[1]&0x7f
		}
		copy(b[8:12], p[8:12])
	}
	return b
}

// controlPackets are well-formed RTCP of every kind, about the wire's streams.
func controlPackets(t *testing.T, w *wire) (list [][]byte) {
	t.Helper()
	block := rtcp.ReceptionReport{SSRC: w.theirVideo, FractionLost: 255, TotalLost: 1<<24 - 1, LastSenderReport: 1, Delay: math.MaxUint32}
	for _, packets := range [][]rtcp.Packet{
		{&rtcp.SenderReport{SSRC: wireVideoSSRC, NTPTime: 1 << 63, RTPTime: 5, Reports: []rtcp.ReceptionReport{block}}},
		{&rtcp.ReceiverReport{SSRC: wireAudioSSRC, Reports: []rtcp.ReceptionReport{block, {SSRC: w.theirAudio}}}},
		{&rtcp.PictureLossIndication{SenderSSRC: wireAudioSSRC, MediaSSRC: wireVideoSSRC}},
		{&rtcp.FullIntraRequest{SenderSSRC: wireAudioSSRC, MediaSSRC: 0, FIR: []rtcp.FIREntry{{SSRC: wireVideoSSRC, SequenceNumber: 1}}}},
		{&rtcp.TransportLayerNack{SenderSSRC: wireAudioSSRC, MediaSSRC: w.theirVideo, Nacks: []rtcp.NackPair{{PacketID: 1, LostPackets: 0xffff}}}},
		{&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: wireAudioSSRC, Bitrate: 1e6, SSRCs: []uint32{w.theirVideo}}},
		{&rtcp.TransportLayerCC{Header: rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: 5}, SenderSSRC: wireAudioSSRC,
			MediaSSRC: w.theirVideo, PacketStatusCount: 1, PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: 0, RunLength: 1}}}},
		{&rtcp.Goodbye{Sources: []uint32{wireAudioSSRC}, Reason: "x"}},
		{&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: wireAudioSSRC, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "x"}}}}}},
		{&rtcp.ReceiverReport{SSRC: wireAudioSSRC}, rtcp.NewCNAMESourceDescription(wireAudioSSRC, "w"), &rtcp.TransportLayerNack{MediaSSRC: w.theirVideo, Nacks: []rtcp.NackPair{{PacketID: 9}}}},
	} {
		b, err := rtcp.Marshal(packets)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return append(list, []byte{0x80, 204, 0, 2, 0, 0, 0, 1, 'n', 'a', 'm', 'e'}) // APP
}

// wantsKeyframe reports whether b asks for a key frame of the stream.
func wantsKeyframe(b []byte, ssrc uint32) bool {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return false
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.PictureLossIndication:
			if p.MediaSSRC == ssrc {
				return true
			}
		case *rtcp.FullIntraRequest:
			for _, e := range p.FIR {
				if e.SSRC == ssrc {
					return true
				}
			}
		}
	}
	return false
}

func onlyAbout(b []byte, known map[uint32]bool) bool {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return true // about nothing
	}
	for _, p := range packets {
		for _, ssrc := range p.DestinationSSRC() {
			if !known[ssrc] {
				return false
			}
		}
	}
	return true
}

// outside sends n datagrams that belong to no session, or to one but are not
// authentic: noise, STUN, DTLS, RTP, from strangers and from the outcast's own
// address.
func (a *attack) outside(t *testing.T, r *mathrand.Rand, n int) string {
	media := net.UDPAddrFromAddrPort(a.tg.app.engine.Addrs()[0])
	strangers := make([]*net.UDPConn, 8)
	for i := range strangers {
		c, err := net.DialUDP("udp", nil, media)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		strangers[i] = c
	}
	bad := &wire{} // makes checks with the right name and the wrong password
	hello := []byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 28, 254, 253}
	hello = append(hello, make([]byte, 26)...)
	during(lasting(n, 2000), pace(2000), func(i int) {
		var b []byte
		switch i % 5 {
		case 0:
			b = make([]byte, r.IntN(1400))
			for j := range b {
				b[j] = byte(r.Uint32())
			}
		case 1:
			bad.pwd, bad.ufrag = "not the password of anything", a.outcast.ufrag
			if r.IntN(2) == 0 {
				bad.ufrag = "unknown" + strconv.Itoa(r.IntN(1000))
			}
			if b = bad.check("stranger"); r.IntN(2) == 0 {
				b = corrupt(r, b)
			}
		case 2:
			b = append([]byte{20 + byte(r.IntN(44))}, corrupt(r, hello[1:])...)
		case 3:
			b = corrupt(r, a.outcast.audioPacket(hello))
		case 4:
			b = corrupt(r, controlPackets(t, a.outcast)[r.IntN(5)])
		}
		to := strangers[r.IntN(len(strangers))]
		// Noise and DTLS on its own address could end the outcast, whose right that is.
		if r.IntN(4) == 0 {
			to = a.outcast.conn
		}
		_, _ = to.Write(b) // too large, refused: all the same
	})
	return "from 9 addresses"
}

// offers posts n broken offers, made of real ones.
func (a *attack) offers(t *testing.T, r *mathrand.Rand, n int) string {
	files, err := filepath.Glob(filepath.Join("..", "..", "transport", "testdata", "offers", "*.sdp"))
	if err != nil || len(files) < 5 {
		t.Fatalf("recorded offers: %v, %v", files, err)
	}
	var real [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		real = append(real, b)
	}
	real = append(real, []byte(wireOffer("wire", strings.TrimSuffix(strings.Repeat("A1:", 32), ":"), wireConfig{audio: true, video: true})))
	collected := corpus(t, "api", "FuzzJoinSDP")
	var answers sync.Map
	work := make(chan []byte)
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			i := 0
			for offer := range work {
				i++ // each address may join 100 times a second
				path := []string{"/v1/rooms/" + meetingRoom + "/participants", "/whip/" + meetingRoom, "/whep/" + meetingRoom}[i%3]
				from := byte(2 + 16*worker + i%16)
				code, body, header := callFrom(t, from, "POST", a.tg.url+path, string(offer), "Content-Type", "application/sdp")
				count, _ := answers.LoadOrStore(code, new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
				switch {
				case code == http.StatusCreated:
					if code, _, _ := callFrom(t, from, "DELETE", a.tg.url+header.Get("Location"), ""); code != http.StatusOK {
						t.Errorf("leaving after a broken offer answers %d", code)
					}
				case code >= 500 || code < 400:
					t.Errorf("%d %s for the offer %q", code, body, offer)
				}
			}
		})
	}
	// From 32 addresses, of which each may join 100 times a second.
	during(lasting(n, 1000), pace(1000), func(int) {
		offer := real[r.IntN(len(real))]
		if r.IntN(8) == 0 {
			offer = []byte(collected[r.IntN(len(collected))])
		}
		work <- corruptOffer(r, offer)
	})
	close(work)
	wg.Wait()
	var sum []string
	answers.Range(func(code, count any) bool {
		sum = append(sum, fmt.Sprintf("%d: %d", code, count.(*atomic.Int64).Load()))
		return true
	})
	return strings.Join(sum, ", ")
}

// corruptOffer breaks an offer mostly where it hurts: in the lines that are read.
func corruptOffer(r *mathrand.Rand, offer []byte) []byte {
	lines := bytes.SplitAfter(offer, []byte("\n"))
	for range 1 + r.IntN(2) {
		i := r.IntN(len(lines))
		for range 2 { // prefer a line that matters
			if bytes.HasPrefix(lines[i], []byte("a=rtpmap")) || !bytes.HasPrefix(lines[i], []byte("a=")) || bytes.Contains(lines[i], []byte("ice-")) {
				break
			}
			i = r.IntN(len(lines))
		}
		switch r.IntN(5) {
		case 0:
			lines = append(lines[:i:i], lines[i+1:]...)
		case 1:
			lines = append(lines[:i+1:i+1], lines[i:]...)
		case 2:
			j := r.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
		default:
			lines = append(append(lines[:i:i], corrupt(r, lines[i])), lines[i+1:]...)
		}
		if len(lines) < 2 {
			break
		}
	}
	b := bytes.Join(lines, nil)
	if r.IntN(8) == 0 {
		b = corrupt(r, b)
	}
	return b
}

// corpus reads the inputs that a package's fuzz target has collected.
func corpus(t *testing.T, pkg, target string) (entries []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "testdata", "fuzz", target, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("corpus of %s: %v, %v", target, files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(line, "[]byte("), "string("), ")")
			if s, err := strconv.Unquote(line); err == nil {
				entries = append(entries, s)
			}
		}
	}
	return entries
}

// callers are HTTP clients by the last byte of their loopback address: limits
// on joins count by address.
var callers sync.Map

func callFrom(t *testing.T, last byte, method, url, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	c, ok := callers.Load(last)
	if !ok {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}}
		c, _ = callers.LoadOrStore(last, &http.Client{Transport: &http.Transport{DialContext: d.DialContext, IdleConnTimeout: 2 * time.Second}})
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, "", nil
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.(*http.Client).Do(req)
	if err != nil {
		t.Error(err)
		return 0, "", nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, string(text), res.Header
}

// requests sends n broken requests, as bytes: what no HTTP library would let out.
func (a *attack) requests(t *testing.T, r *mathrand.Rand, n int) string {
	scratch := "http://" + a.tg.app.Addr().String() + "/v1/rooms/scratch"
	if code, body, _ := call(t, "PUT", scratch, "{}", "Content-Type", "application/json"); code >= 300 {
		t.Fatalf("%d %s", code, body)
	}
	defer call(t, "DELETE", scratch, "")
	bodies := corpus(t, "api", "FuzzRoomJSON")
	bodies = append(bodies, `{"name":"a","canvas":{"width":640,"height":360,"fps":30},"tiers":["640x360@30"],"locked":true,"emptyTimeout":90.5,"metadata":"\u0000"}`,
		strings.Repeat("[", 5000), `{"name":"`+strings.Repeat("x", 40000)+`"}`, `{"a":`+strings.Repeat(`{"a":`, 5000))
	paths := []string{
		"/v1/rooms", "/v1/rooms/scratch", "/v1/rooms/scratch/layout", "/v1/rooms/scratch/participants", "/v1/rooms/scratch/participants/p_ABCDEFGHIJKLM",
		"/v1/rooms/scratch/recordings", "/v1/recordings", "/v1/recordings/rec_0123456789abcdefghijklmnop", "/v1/recordings/rec_0123456789abcdefghijklmnop/media?part=1",
		"/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA", "/v1/ice-servers", "/openapi.json", "/docs", "/", "/r/scratch", "/livez", "/readyz", "/whip/scratch", "/whep/scratch",
		"/v1/rooms?limit=5&pageToken=x",
	}
	values := []string{"application/json", "application/sdp", "application/merge-patch+json", "*", `"x"`, `W/"x"`, "bytes=0-1,5-", "bytes=-9999999999999999999999",
		"chunked", "100-continue", "gzip", "0", "-1", "99999999999999999999", "http://localhost", "null", "Bearer x", "\x00", "a\r b", strings.Repeat("v", 9000)}
	headers := []string{"Content-Type", "If-Match", "If-None-Match", "Range", "Accept", "Transfer-Encoding", "Expect", "Content-Encoding", "Content-Length",
		"Origin", "Authorization", "X-Forwarded-For", "Last-Event-ID", "Access-Control-Request-Method", "If-Range", "Upgrade"}
	methods := []string{"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW"}
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	var counts [6]int
	during(lasting(n, 2500), pace(2500), func(int) {
		path, body, method := pick(paths), pick(bodies), pick(methods)
		if r.IntN(2) == 0 {
			path = string(corrupt(r, []byte(path)))
		}
		if r.IntN(2) == 0 {
			body = string(corrupt(r, []byte(body)))
		}
		if method == "DELETE" && path == "/v1/rooms/scratch" {
			method = "GET"
		}
		// The meeting's own room is left alone: what is well-formed would be obeyed.
		path = strings.ReplaceAll(path, meetingRoom, "scratch")
		request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path)
		if r.IntN(4) > 0 {
			request += "Content-Type: application/json\r\n"
		}
		if r.IntN(4) > 0 {
			request += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
		}
		for range r.IntN(4) {
			request += pick(headers) + ": " + pick(values) + "\r\n"
		}
		if request += "\r\n" + body; r.IntN(10) == 0 {
			request = string(corrupt(r, []byte(request)))
		}
		code, answer := rawRequest(t, a.tg, request)
		counts[code/100]++
		// 501 is net/http's own word for transfer encodings (RFC 9112 section 6.1).
		documented := code == http.StatusServiceUnavailable && strings.Contains(answer, `"code":"`) ||
			code == http.StatusNotImplemented && strings.Contains(answer, "transfer encoding")
		if code >= 500 && !documented {
			t.Errorf("%d for %.300q: %.300s", code, request, answer)
		}
		if strings.Contains(answer, marker) {
			t.Errorf("the secret comes out by %.300q", request)
		}
		// Rooms that came of it are taken away: they stay for minutes, and
		// that is no leak.
		if code == http.StatusCreated {
			for _, room := range a.tg.app.rooms.Rooms() {
				if room.ID != meetingRoom && room.ID != "scratch" {
					call(t, "DELETE", a.tg.url+"/v1/rooms/"+string(room.ID), "")
				}
			}
		}
	})
	return fmt.Sprintf("2xx: %d, 3xx: %d, 4xx: %d, 5xx: %d, no answer: %d", counts[2], counts[3], counts[4], counts[5], counts[0])
}

// rawRequest sends bytes and returns the status, 0 when there was no answer,
// and all that came.
func rawRequest(t *testing.T, tg *target, request string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", tg.app.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, request) // the server may have hung up in the middle, rightly
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Errorf("no answer for %.300q", request)
	}
	var code int
	if _, err := fmt.Sscanf(string(answer), "HTTP/1.1 %d", &code); err != nil {
		return 0, string(answer)
	}
	return code, string(answer)
}
