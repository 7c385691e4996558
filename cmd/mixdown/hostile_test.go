package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v4/packetio"

	"mixdown/mixer"
	"mixdown/mixer/video"
)

// This file holds what goes wrong on purpose. Every attack runs on a whole
// server beside a meeting that must not notice it; see fault_test.go for both.

// The numbers that a wire declares in its offer.
const (
	wireAudioSSRC = 0xa0d10
	wireVideoSSRC = 0x71de0
	wireRTXSSRC   = 0x71de1
	wireAudioPT   = 111
	wireVideoPT   = 96
	wireRTXPT     = 97
)

type wireConfig struct {
	room string // the meeting's by default
	name string
	// as is participants (default), whip or whep.
	as           string
	audio, video bool // m-lines to offer
	noVideo      bool // ask for no picture
	deaf         bool // does not read what comes
	// onRTP gets every packet that could be decrypted, on the reader's goroutine.
	onRTP func(*rtp.Header, []byte)
}

// wire is a client that consists of one UDP socket, SRTP keys, and no manners:
// it sends whatever it is told to, encrypted as it must be.
type wire struct {
	session string
	id      mixer.ParticipantID
	ufrag   string // the server's
	pwd     string
	// theirAudio, theirVideo and theirRTX are the server's SSRCs, 0 for none.
	theirAudio, theirVideo, theirRTX uint32

	conn    *net.UDPConn
	cfg     wireConfig
	dtls    *dtls.Conn
	records *packetio.Buffer // DTLS records that came
	ready   chan struct{}    // closed when in is set
	in      *srtp.Context    // the reader's
	keys    srtp.SessionKeys
	silent  atomic.Bool // does not even keep the connection up

	closing chan struct{}
	once    sync.Once
	gone    chan struct{} // closed when the DTLS connection has ended
	wg      sync.WaitGroup

	plis atomic.Int64 // that came

	mu struct {
		sync.Mutex
		out                  *srtp.Context
		audioSeq, videoSeq   uint16
		audioTime, videoTime uint32
		pictureID            uint16
		buf                  []byte
	}
}

// wireOffer is what a wire posts, and what posts itself without one behind it.
func wireOffer(ufrag, fingerprint string, cfg wireConfig) string {
	var b strings.Builder
	direction := map[string]string{"whip": "sendonly", "whep": "recvonly"}[cfg.as]
	if direction == "" {
		direction = "sendrecv"
	}
	bundle, mid := "", 0
	line := func(kind, formats, ssrcs string, attributes ...string) {
		fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0\r\na=mid:%d\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\n"+
			"a=fingerprint:sha-256 %s\r\na=setup:active\r\na=rtcp-mux\r\na=%s\r\n", kind, formats, mid, ufrag, strings.Repeat("p", 24), fingerprint, direction)
		fmt.Fprint(&b, "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n")
		for _, a := range attributes {
			fmt.Fprintf(&b, "a=%s\r\n", a)
		}
		b.WriteString(ssrcs)
		bundle += " " + strconv.Itoa(mid)
		mid++
	}
	if cfg.audio {
		line("audio", "111", fmt.Sprintf("a=ssrc:%d cname:w\r\n", wireAudioSSRC), "rtpmap:111 opus/48000/2", "rtcp-fb:111 transport-cc",
			"extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level")
	}
	if cfg.video {
		line("video", "96 97", fmt.Sprintf("a=ssrc-group:FID %d %d\r\na=ssrc:%d cname:w\r\na=ssrc:%d cname:w\r\n", wireVideoSSRC, wireRTXSSRC, wireVideoSSRC, wireRTXSSRC),
			"rtpmap:96 VP8/90000", "rtcp-fb:96 nack", "rtcp-fb:96 nack pli", "rtcp-fb:96 ccm fir", "rtcp-fb:96 transport-cc",
			"rtpmap:97 rtx/90000", "fmtp:97 apt=96")
	}
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE" + bundle + "\r\n" + b.String()
}

var (
	ufragLine = regexp.MustCompile(`a=ice-ufrag:(\S+)`)
	pwdLine   = regexp.MustCompile(`a=ice-pwd:(\S+)`)
	groupLine = regexp.MustCompile(`a=ssrc-group:FID (\d+) (\d+)`)
	ssrcLine  = regexp.MustCompile(`a=ssrc:(\d+) `)
	described = regexp.MustCompile(`/participants/(p_\w+)>`)
)

// joinWire joins and connects. The wire is closed at the end of the test.
func joinWire(t *testing.T, tg *target, cfg wireConfig) *wire {
	t.Helper()
	w, err := dialWire(tg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.die)
	return w
}

func dialWire(tg *target, cfg wireConfig) (*wire, error) {
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(cert.Certificate[0])
	fingerprint := strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
	ours := "w" + rand.Text()[:8]
	if cfg.room == "" {
		cfg.room = meetingRoom
	}
	path := "/v1/rooms/" + cfg.room + "/participants"
	if cfg.as != "" {
		path = "/" + cfg.as + "/" + cfg.room
	}
	url := tg.url + path + "?name=" + urlEscape(cfg.name)
	if cfg.noVideo {
		url += "&video=false"
	}
	res, err := http.Post(url, "application/sdp", strings.NewReader(wireOffer(ours, fingerprint, cfg)))
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("join: %s %s %w", res.Status, answer, err)
	}
	w := &wire{
		session: tg.url + res.Header.Get("Location"), cfg: cfg,
		records: packetio.NewBuffer(), ready: make(chan struct{}), closing: make(chan struct{}), gone: make(chan struct{}),
	}
	if m := described.FindStringSubmatch(res.Header.Get("Link")); m != nil {
		w.id = mixer.ParticipantID(m[1])
	}
	w.readAnswer(string(answer))
	media := tg.app.engine.Addrs()[0]
	if w.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(media)); err != nil {
		return nil, err
	}
	w.wg.Go(w.read)
	w.wg.Go(func() { w.keepUp(ours) })
	if err := w.shake(cert); err != nil {
		w.die()
		return nil, err
	}
	return w, nil
}

func urlEscape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func (w *wire) readAnswer(sdp string) {
	w.ufrag, w.pwd = ufragLine.FindStringSubmatch(sdp)[1], pwdLine.FindStringSubmatch(sdp)[1]
	number := func(s string) uint32 {
		n, _ := strconv.ParseUint(s, 10, 32) // the pattern is of digits
		return uint32(n)
	}
	for _, section := range strings.Split(sdp, "\nm=")[1:] {
		ssrc := ssrcLine.FindStringSubmatch(section)
		switch {
		case ssrc == nil:
		case strings.HasPrefix(section, "audio"):
			w.theirAudio = number(ssrc[1])
		default:
			w.theirVideo = number(ssrc[1])
			if g := groupLine.FindStringSubmatch(section); g != nil {
				w.theirVideo, w.theirRTX = number(g[1]), number(g[2])
			}
		}
	}
}

// keepUp sends connectivity checks (RFC 8445 section 7.2.2), which are also
// the consent to go on.
func (w *wire) keepUp(ours string) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if !w.silent.Load() && (i < 10 || i%5 == 0) {
			_, _ = w.conn.Write(w.check(ours)) // the socket may have been closed
		}
		select {
		case <-w.closing:
			return
		case <-tick.C:
		}
	}
}

func (w *wire) check(ours string) []byte {
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(w.ufrag+":"+ours), ice.UseCandidate(),
		ice.AttrControlling(1), ice.PriorityAttr(1<<30), stun.NewShortTermIntegrity(w.pwd), stun.Fingerprint)
	if err != nil {
		panic(err) // nothing in it can fail
	}
	return m.Raw
}

// shake does the DTLS handshake as the client and derives the SRTP keys (RFC 5764).
func (w *wire) shake(cert tls.Certificate) error {
	conn, err := dtls.ClientWithOptions(recordConn{w}, w.conn.RemoteAddr(), dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80), dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithFlightInterval(100*time.Millisecond))
	if err != nil {
		return err
	}
	w.dtls = conn
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return errors.New("DTLS has no state")
	}
	keys := srtp.Config{Profile: srtp.ProtectionProfileAes128CmHmacSha1_80}
	if err := keys.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		return err
	}
	k := keys.Keys
	w.keys = k
	if w.mu.out, err = srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, keys.Profile); err != nil {
		return err
	}
	if w.in, err = srtp.CreateContext(k.RemoteMasterKey, k.RemoteMasterSalt, keys.Profile); err != nil {
		return err
	}
	close(w.ready)
	w.wg.Go(func() {
		defer close(w.gone)
		_, _ = io.Copy(io.Discard, conn) // until the server closes it, or we do
	})
	return nil
}

// recordConn gives DTLS its share of the socket.
type recordConn struct{ *wire }

func (r recordConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := r.records.Read(b)
	return n, r.conn.RemoteAddr(), err
}
func (r recordConn) WriteTo(b []byte, _ net.Addr) (int, error) { return r.conn.Write(b) }
func (r recordConn) Close() error                              { return r.records.Close() }
func (r recordConn) LocalAddr() net.Addr                       { return r.conn.LocalAddr() }
func (r recordConn) SetDeadline(t time.Time) error             { return r.records.SetReadDeadline(t) }
func (r recordConn) SetReadDeadline(t time.Time) error         { return r.records.SetReadDeadline(t) }
func (r recordConn) SetWriteDeadline(time.Time) error          { return nil }

// read takes the socket's datagrams apart (RFC 7983) until it is closed. The
// deaf one stops once it is connected.
func (w *wire) read() {
	buf := make([]byte, 2048)
	for {
		if w.cfg.deaf {
			select {
			case <-w.ready:
				return
			default:
			}
		}
		n, err := w.conn.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil || n < 2: // the server's port may be closed by now
		case buf[0] >= 20 && buf[0] < 64:
			_, _ = w.records.Write(buf[:n]) // full: DTLS repeats it
		case buf[0] >= 128 && buf[0] < 192:
			select {
			case <-w.ready:
				w.receive(buf[:n])
			default: // no keys yet
			}
		}
	}
}

func (w *wire) receive(b []byte) {
	if b[1] >= 192 && b[1] < 224 {
		plain, err := w.in.DecryptRTCP(nil, b, nil)
		if err != nil {
			return
		}
		packets, _ := rtcp.Unmarshal(plain)
		for _, p := range packets {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				w.plis.Add(1)
			}
		}
		return
	}
	var h rtp.Header
	plain, err := w.in.DecryptRTP(nil, b, &h)
	if err == nil && w.cfg.onRTP != nil {
		n, _ := h.Unmarshal(plain)
		w.cfg.onRTP(&h, plain[n:])
	}
}

// sendRTP encrypts and sends one packet; false if it cannot be encrypted.
func (w *wire) sendRTP(packet []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.mu.out.EncryptRTP(w.mu.buf[:0], packet, nil)
	if err != nil {
		return false
	}
	w.mu.buf = b
	_, _ = w.conn.Write(b) // the other end is free to be gone
	return true
}

// sendRTCP does so with one RTCP packet.
func (w *wire) sendRTCP(packet []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := w.mu.out.EncryptRTCP(nil, packet, nil)
	if err != nil {
		return false
	}
	_, _ = w.conn.Write(b)
	return true
}

// sendRTCPOnce is sendRTCP for a sender that is never used again.
func (w *wire) sendRTCPOnce(packet []byte) {
	once, err := srtp.CreateContext(w.keys.LocalMasterKey, w.keys.LocalMasterSalt, srtp.ProtectionProfileAes128CmHmacSha1_80)
	if err != nil {
		return
	}
	if b, err := once.EncryptRTCP(nil, packet, nil); err == nil {
		_, _ = w.conn.Write(b)
	}
}

// audioPacket and videoPackets cut a unit into packets with the next numbers.
func (w *wire) audioPacket(data []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.audioSeq++
	w.mu.audioTime += 960
	h := rtp.Header{Version: 2, PayloadType: wireAudioPT, SSRC: wireAudioSSRC, SequenceNumber: w.mu.audioSeq, Timestamp: w.mu.audioTime}
	_ = h.SetExtension(1, []byte{0x80 | 30}) // these cannot fail
	_ = h.SetExtension(3, []byte{0, 9})
	b, _ := (&rtp.Packet{Header: h, Payload: data}).Marshal()
	return b
}

func (w *wire) videoPackets(data []byte) (packets [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.videoTime += 3000
	w.mu.pictureID = (w.mu.pictureID + 1) & 0x7fff
	for first := true; len(data) > 0; first = false {
		n := min(len(data), 1100)
		payload := []byte{0x80, 0x80, 0x80 | byte(w.mu.pictureID>>8), byte(w.mu.pictureID)}
		if first {
			payload[0] |= 0x10
		}
		payload = append(payload, data[:n]...)
		data = data[n:]
		w.mu.videoSeq++
		h := rtp.Header{Version: 2, PayloadType: wireVideoPT, SSRC: wireVideoSSRC, SequenceNumber: w.mu.videoSeq, Timestamp: w.mu.videoTime, Marker: len(data) == 0}
		_ = h.SetExtension(3, []byte{0, 9})
		b, _ := (&rtp.Packet{Header: h, Payload: payload}).Marshal()
		packets = append(packets, b)
	}
	return packets
}

func (w *wire) sendAudio(data []byte) { w.sendRTP(w.audioPacket(data)) }

func (w *wire) sendVideo(data []byte) {
	for _, p := range w.videoPackets(data) {
		w.sendRTP(p)
	}
}

// die closes the socket and leaves the server to find out.
func (w *wire) die() {
	w.once.Do(func() {
		close(w.closing)
		_ = w.conn.Close()
		if w.dtls != nil {
			_ = w.dtls.Close() // cannot say goodbye any more
		}
		_ = w.records.Close()
		w.wg.Wait()
	})
}

// leave ends the session properly.
func (w *wire) leave(t *testing.T) {
	t.Helper()
	if code, body, _ := call(t, "DELETE", w.session, ""); code != http.StatusOK {
		t.Errorf("leaving answers %d %s", code, body)
	}
	w.die()
}

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

// TestForgedGoodbyes: records in plain text, which anybody can send who forges
// a client's address, end nobody's connection.
func TestForgedGoodbyes(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	w := joinWire(t, tg, wireConfig{name: "Victim", audio: true})
	m.settle(t)
	watch := m.watch()
	record := func(kind byte, content ...byte) []byte {
		return append([]byte{kind, 254, 253, 0, 0, 0, 0, 0, 0, 9, 9, 0, byte(len(content))}, content...)
	}
	for _, forged := range [][]byte{
		record(21, 1, 0),  // close_notify
		record(21, 2, 40), // handshake_failure
		record(23, 'x'),   // data
		record(20, 1),     // change of the cipher
		record(22, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), // ClientHello
		append(record(22, 0), record(21, 1, 0)...),
	} {
		for range 20 {
			if _, err := w.conn.Write(forged); err != nil {
				t.Fatal(err)
			}
		}
		// What follows it in the socket has been read: so has it.
		before := tg.app.rooms.Stats().Sound.Packets
		sound := clips(t)["speech-01.ogg"]
		n := 0
		eventually(t, 5*time.Second, "its sound is still heard", func() bool {
			w.sendAudio(sound.Units[n%len(sound.Units)].Data)
			n++
			return tg.app.rooms.Stats().Sound.Packets > before && n > 25
		})
		select {
		case <-w.gone:
			t.Fatalf("%v in plain text ended the connection", forged)
		default:
		}
	}
	if n := tg.app.engine.Forged(); n != 80 {
		t.Errorf("%d forged datagrams were counted: want 80", n)
	}
	watch.end(t, "while somebody's goodbyes are forged", false)
}

// TestMadeUpSenders: a client that sends each report under another number, of
// which the SRTP session would remember every one, does not grow the server.
func TestMadeUpSenders(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	w := joinWire(t, tg, wireConfig{name: "Multitude", audio: true, video: true})
	m.settle(t)
	about := func(i int) []byte {
		return binary.BigEndian.AppendUint32([]byte{0x80, 201, 0, 1}, uint32(i+1)*2654435761)
	}
	before := measure(t)
	watch := m.watch()
	sent := 0
	during(4*time.Second, pace(10_000), func(i int) {
		// A context for each: ours would remember them, too.
		w.sendRTCPOnce(about(i))
		sent++
	})
	watch.end(t, "RTCP from 40,000 senders", false)
	flat(t, fmt.Sprintf("after %d senders", sent), before, 2<<20, 32<<20)
	w.sendAudio(clips(t)["speech-01.ogg"].Units[0].Data)
	select {
	case <-w.gone:
		t.Error("the client was thrown out: want its reports dropped")
	default:
	}
}

// forgedKey is a VP8 key frame (RFC 6386 section 9.1) whose header claims a
// size; what follows is taken from a real one, so that a decoder has
// something to chew on.
func forgedKey(real []byte, width, height int) []byte {
	b := bytes.Clone(real)
	tag := uint32(b[0]&0x1f) | uint32(len(b)-20)<<5 // all but some bytes is the first partition
	b[0], b[1], b[2] = byte(tag), byte(tag>>8), byte(tag>>16)
	binary.LittleEndian.PutUint16(b[6:], uint16(width))
	binary.LittleEndian.PutUint16(b[8:], uint16(height))
	return b
}

// TestFrameBombs: key frames that claim to be enormous, tiny, or of another
// size each time, and more of them than anybody can decode. They are refused
// before the decoder sees them, counted and answered by requests for better
// ones; the others notice nothing.
func TestFrameBombs(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	w := joinWire(t, tg, wireConfig{name: "Bomber", audio: true, video: true})
	room := tg.room(t, meetingRoom)
	eventually(t, 5*time.Second, "the bomber is active", func() bool {
		info, err := room.Participant(w.id)
		return err == nil && info.State == mixer.StateActive
	})
	real := clips(t)["video-01.ivf"].Units[0].Data
	small := real[:min(len(real), 1000)] // one packet
	before := measure(t)
	for _, bomb := range []struct {
		name      string
		perSecond int
		frame     func(i int) []byte
		// counted is the counter that must have moved, and by how much of what was sent.
		counted func(video.SourceStats) uint64
		least   float64
	}{
		{"16383x16383", 100, func(int) []byte { return forgedKey(small, 16383, 16383) },
			func(s video.SourceStats) uint64 { return s.TooLarge }, 0.9},
		{"1920x1090", 100, func(int) []byte { return forgedKey(small, 1920, 1090) },
			func(s video.SourceStats) uint64 { return s.TooLarge }, 0.9},
		{"0x0", 100, func(int) []byte { return forgedKey(small, 0, 0) },
			// No picture at all: the source never hears of it.
			func(video.SourceStats) uint64 { return uint64(w.plis.Load()) }, 0.01},
		{"another size each frame", 100, func(i int) []byte { return forgedKey(small, 16+2*(i%900), 16+2*(i%500)) },
			func(s video.SourceStats) uint64 { return s.SizeChanges }, 0.9},
		{"1x1", 100, func(int) []byte { return forgedKey(small, 1, 1) },
			func(s video.SourceStats) uint64 { return s.Decoded + s.Corrupt }, 0.3},
		{"1920x1088, 500 a second", 500, func(int) []byte { return forgedKey(small, 1920, 1088) },
			func(s video.SourceStats) uint64 { return s.TooManyPixels + s.Overflow }, 0.5},
		{"real key frames, 100 a second", 100, func(int) []byte { return real },
			func(s video.SourceStats) uint64 { return s.Received }, 0.2},
	} {
		m.settle(t)
		start := tg.app.rooms.Stats().Sources
		counted, plis := bomb.counted(start), w.plis.Load()
		watch := m.watch()
		sent := 0
		during(2*time.Second, bomb.perSecond, func(i int) {
			w.sendVideo(bomb.frame(i))
			sent++
		})
		// The bystanders' own pictures are refused by no police.
		eventually(t, 5*time.Second, bomb.name+" is counted", func() bool {
			s := tg.app.rooms.Stats().Sources
			return float64(bomb.counted(s)-counted) >= bomb.least*float64(sent)
		})
		watch.end(t, bomb.name, false)
		s := tg.app.rooms.Stats().Sources
		t.Logf("%s: of %d frames %d too large, %d too many sizes, %d too many pixels, %d corrupt, %d overflowed; %d requests for key frames came back", bomb.name, sent,
			s.TooLarge-start.TooLarge, s.SizeChanges-start.SizeChanges, s.TooManyPixels-start.TooManyPixels, s.Corrupt-start.Corrupt, s.Overflow-start.Overflow, w.plis.Load()-plis)
	}
	if n := w.plis.Load(); n == 0 || n > 40 {
		t.Errorf("the bomber was asked for %d key frames in 14 s: want some, at most two a second", n)
	}
	flat(t, "after the bombs", before, 6<<20, 64<<20)
	// It is forgiven: good pictures are shown again.
	start := tg.app.rooms.Stats().Sources.Pictures
	good := clips(t)["video-02.ivf"]
	during(3*time.Second, 30, func(i int) { w.sendVideo(good.Units[i%len(good.Units)].Data) })
	all := tg.app.rooms.Stats().Sources.Pictures - start
	if all < 3*30*(bystanders+1)*3/4 {
		t.Errorf("%d pictures in 3 s after the bombs: want those of all four, about %d", all, 3*30*(bystanders+1))
	}
}

// TestHostileNames: whatever somebody calls himself, the join works or is
// refused by name, the label is drawn, and the API's answers stay JSON.
func TestHostileNames(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	for _, tc := range []struct {
		what, name string
		refused    bool
		tile       string // what the tile says; "" is not looked at
	}{
		{"bidi override", "abc\u202egnp.exe\u202c", false, "abcgnp.exe"},
		{"bidi isolates", "\u2066x\u2069\u200fy\u061c", false, "xy"},
		{"newlines", "two\r\nlines\u2028three\u2029", false, ""},
		{"NUL and controls", "a\x00b\x1b[31mc\x7f\u0085d", false, "ab[31mcd"},
		{"invalid UTF-8", "a\xff\xfeb", true, ""},
		{"surrogate", "a\xed\xa0\x80b", true, ""},
		{"a thousand combining marks", "z" + strings.Repeat("\u0301", 1000), true, ""},
		{"a hundred combining marks", "z" + strings.Repeat("\u0335", 100), false, "z" + strings.Repeat("\u0335", 4)},
		{"two hundred graphemes", strings.Repeat("w", 200), false, strings.Repeat("w", 64)},
		{"a thousand graphemes", strings.Repeat("w", 1000), true, ""},
		{"only what cannot be seen", "\u200b\u2060\ufeff\u00ad", false, ""},
		{"tags and private use", "a\U000e0041\U000e007f\ue000\U0010fffdb", false, ""},
		{"markup", `<img src=x onerror="alert(1)">&amp;'\"`, false, `<img src=x onerror="alert(1)">&amp;'\"`},
		{"header injection", "a\r\nX-Evil: 1", false, ""},
		{"emoji family", strings.Repeat("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 5), false, ""},
		{"Korean", "김철수", false, "김철수"},
		{"Korean in pieces", "\u1100\u1161\u11a8", false, "각"},
		{"scripts in a row", "ﷺ ꙮ ᬅ 𒐫 ⸻ ‱", false, ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			labels := tg.app.labels.Stats()
			w, err := dialWire(tg, wireConfig{name: tc.name, audio: true, video: true})
			if tc.refused {
				if err == nil {
					w.die()
					t.Fatal("the join works: want it refused")
				}
				if !strings.Contains(err.Error(), `"parameter":"name"`) || !utf8.ValidString(err.Error()) {
					t.Errorf("refused by %v: want the parameter's name in it", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer w.leave(t)
			path := fmt.Sprintf("%s/v1/rooms/%s/participants", tg.url, meetingRoom)
			var list struct {
				Items []struct{ ID, Name string }
			}
			code, body, _ := call(t, "GET", path, "")
			if err := json.Unmarshal([]byte(body), &list); err != nil || code != http.StatusOK {
				t.Fatalf("the list of participants: %d, %v", code, err)
			}
			for _, p := range list.Items {
				if p.ID != string(w.id) {
					continue
				}
				for _, c := range p.Name {
					if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == '\u2028' || c == '\u2029' || c == utf8.RuneError {
						t.Errorf("the API says %+q, with %U in it", p.Name, c)
					}
				}
				if p.Name != video.CleanName(p.Name) {
					t.Errorf("the API says %+q, a label would say %+q", p.Name, video.CleanName(p.Name))
				}
			}
			room := tg.room(t, meetingRoom)
			tile := ""
			eventually(t, 5*time.Second, "there is a tile", func() bool {
				for _, l := range room.Layout().Tiles {
					if l.Participant == w.id {
						tile = l.Name
						return true
					}
				}
				return false
			})
			if tc.tile != "" && video.CleanName(tile) != tc.tile {
				t.Errorf("the tile shows %+q: want %+q", video.CleanName(tile), tc.tile)
			}
			// Two texts at most: name and initials. Neither needs to be new, but
			// none may fail, and pictures go on.
			drawn := tg.app.rooms.Stats().Canvas.Drawn
			eventually(t, 5*time.Second, "the canvas is drawn with the label", func() bool {
				now := tg.app.labels.Stats()
				return tg.app.rooms.Stats().Canvas.Drawn > drawn+10 && (video.CleanName(tile) == "" || now.Rendered > labels.Rendered)
			})
			if now := tg.app.labels.Stats(); now.Failed > labels.Failed {
				t.Errorf("%d labels could not be drawn", now.Failed-labels.Failed)
			}
		})
	}
	// Renaming has room for more than a query.
	w := joinWire(t, tg, wireConfig{name: "Renamed", audio: true})
	m.settle(t)
	watch := m.watch()
	path := fmt.Sprintf("%s/v1/rooms/%s/participants/%s", tg.url, meetingRoom, w.id)
	names := []string{"z" + strings.Repeat("\u0301", 10_000), strings.Repeat("\u202e", 10_000), strings.Repeat("👨\u200d👩\u200d👧\u200d👦", 1000), strings.Repeat("\x00\n", 1000)}
	during(2*time.Second, 50, func(i int) {
		name := names[i%len(names)]
		body, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			t.Fatal(err)
		}
		code, answer, _ := call(t, "PATCH", path, string(body), "Content-Type", "application/json")
		if code != http.StatusOK && (code != http.StatusUnprocessableEntity || !strings.Contains(answer, `"#/name"`)) {
			t.Errorf("renaming to %.40q answers %d %.300s", name, code, answer)
		}
	})
	watch.end(t, "names of 10,000 runes", false)
}

// TestForeignPages: what a web page from elsewhere can make a browser send to
// a server on this machine is refused, on every route, and told to no
// stranger.
func TestForeignPages(t *testing.T) {
	data := t.TempDir()
	recording := plantRecording(t, data, 4096)
	tg := newTarget(t, data)
	if code, body, _ := call(t, "PUT", tg.url+"/v1/rooms/home", "{}", "Content-Type", "application/json"); code != http.StatusCreated {
		t.Fatalf("%d %s", code, body)
	}
	own := "http://" + tg.app.Addr().String()
	port := strings.TrimPrefix(own, "http://127.0.0.1")
	offer := wireOffer("page", strings.TrimSuffix(strings.Repeat("A1:", 32), ":"), wireConfig{audio: true})
	routes := []struct{ method, path, body, contentType string }{
		{"GET", "/v1/rooms", "", ""},
		{"GET", "/v1/rooms/home", "", ""},
		{"PUT", "/v1/rooms/new", "{}", "application/json"},
		{"PATCH", "/v1/rooms/home", `{"locked":true}`, "application/json"},
		{"DELETE", "/v1/rooms/home", "", ""},
		{"POST", "/v1/rooms/home/participants", offer, "application/sdp"},
		{"GET", "/v1/rooms/home/participants", "", ""},
		{"POST", "/whip/home", offer, "application/sdp"},
		{"POST", "/whep/home", offer, "application/sdp"},
		{"POST", "/v1/rooms/home/recordings", "{}", "text/plain"},
		{"GET", "/v1/recordings", "", ""},
		{"GET", "/v1/recordings/" + recording + "/media", "", ""},
		{"DELETE", "/v1/recordings/" + recording, "", ""},
		{"DELETE", "/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA", "", ""},
	}
	attacks := []struct {
		name    string
		headers []string
	}{
		{"rebound name", []string{"Host", "evil.example" + port}},
		{"rebound name with its own origin", []string{"Host", "evil.example" + port, "Origin", "http://evil.example" + port}},
		{"name that begins like ours", []string{"Host", "localhost.evil.example" + port}},
		{"name that begins like our address", []string{"Host", "127.0.0.1.evil.example" + port}},
		{"all addresses", []string{"Host", "0.0.0.0" + port}},
		{"address of another machine", []string{"Host", "192.0.2.1" + port}},
		{"decimal address", []string{"Host", "2130706433" + port}},
		{"foreign origin", []string{"Origin", "https://evil.example"}},
		{"null origin", []string{"Origin", "null"}},
		{"other port", []string{"Origin", "http://127.0.0.1:1"}},
		{"other name of this machine", []string{"Origin", "http://localhost" + port + ".evil.example"}},
		{"our address as user", []string{"Origin", "http://127.0.0.1" + port + "@evil.example"}},
		{"file", []string{"Origin", "file://"}},
		{"extension", []string{"Origin", "chrome-extension://abcdefgh"}},
		{"cross-site without origin", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}},
		{"same-site without origin", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors"}},
	}
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			for _, route := range routes {
				headers := at.headers
				if route.contentType != "" {
					headers = append([]string{"Content-Type", route.contentType}, headers...)
				}
				code, body, h := call(t, route.method, own+route.path, route.body, headers...)
				if code != http.StatusForbidden {
					t.Errorf("%s %s answers %d %.200s: want 403", route.method, route.path, code, body)
				}
				for name := range h {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("%s %s tells a stranger %s: %s", route.method, route.path, name, h.Get(name))
					}
				}
				// The question that a browser asks beforehand.
				code, _, h = call(t, "OPTIONS", own+route.path, "", append([]string{"Access-Control-Request-Method", route.method,
					"Access-Control-Request-Headers", "content-type"}, at.headers...)...)
				if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Methods") != "" {
					t.Errorf("preflight for %s %s answers %d, %v", route.method, route.path, code, h)
				}
			}
		})
	}
	if rooms := tg.app.rooms.Rooms(); len(rooms) != 1 || rooms[0].Locked || rooms[0].Participants != 0 || rooms[0].Recording != "" {
		t.Errorf("the attacks had an effect: %+v", rooms)
	}
	if code, _, _ := call(t, "GET", own+"/v1/recordings/"+recording, ""); code != http.StatusOK {
		t.Errorf("the recording answers %d", code)
	}
	// Our own page, and programs, which have no origin.
	for _, headers := range [][]string{nil, {"Origin", own}, {"Host", "localhost" + port, "Origin", "http://localhost" + port, "Sec-Fetch-Site", "same-origin"}, {"Host", "[::1]" + port}} {
		if code, body, _ := call(t, "GET", own+"/v1/rooms", "", headers...); code != http.StatusOK {
			t.Errorf("with %v it answers %d %s", headers, code, body)
		}
	}
}

// TestTraversal: no id in the API's paths leads out of the directory of
// recordings, or to another file in it.
func TestTraversal(t *testing.T) {
	data := t.TempDir()
	recording := plantRecording(t, data, 4096)
	for _, f := range []string{"secret.webm", "secret.json", "secret", "recordings/secret.webm", "recordings/rec_0123456789abcdefghijklmnoq.webm.bak", "recordings/.hidden"} {
		if err := os.WriteFile(filepath.Join(data, f), []byte(marker), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A link that somebody put there is not followed, by its id neither.
	linked := "rec_0123456789abcdefghijklmnov"
	if err := os.Symlink(filepath.Join(data, "secret.webm"), filepath.Join(data, "recordings", linked+".webm")); err != nil {
		t.Fatal(err)
	}
	description, err := os.ReadFile(filepath.Join(data, "recordings", recording+".json"))
	if err != nil {
		t.Fatal(err)
	}
	description = bytes.ReplaceAll(description, []byte(recording), []byte(linked))
	if err := os.WriteFile(filepath.Join(data, "recordings", linked+".json"), description, 0o600); err != nil {
		t.Fatal(err)
	}
	tg := newTarget(t, data)
	ids := []string{"..", "../secret", "../../secret", "..%2fsecret", "..%2Fsecret.webm", "%2e%2e%2fsecret", "..%5csecret", "..%252fsecret", "%2fetc%2fpasswd", "/etc/passwd",
		"secret", "secret.webm", "secret%00", "secret%00.webm", recording + "/../secret", recording + "%2f..%2fsecret", recording + ".webm", recording + ".json", recording + ".2",
		recording + "%00", "rec_0123456789abcdefghijklmnoq.webm.bak", ".hidden", ".", "%2e", "rec_", strings.Repeat("a", 5000), "rec_" + strings.Repeat("../", 8) + "aa",
		"REC_0123456789ABCDEFGHIJKLMNOP", linked, "file:%2f%2f%2fetc%2fpasswd", "%c0%ae%c0%ae%2fsecret"}
	patterns := []string{"/v1/recordings/%s", "/v1/recordings/%s/media", "/v1/recordings/%s/media?part=2", "/v1/rooms/%s", "/v1/rooms/%s/recordings", "/v1/rooms/%s/layout",
		"/v1/rooms/%s/participants", "/v1/rooms/r/participants/%s", "/v1/sessions/%s", "/whip/%s", "/whep/%s", "/r/%s", "/%s", "/v1/recordings?pageToken=%s",
		"/v1/recordings/" + recording + "/media?part=%s"}
	for _, id := range ids {
		for _, pattern := range patterns {
			for _, method := range []string{"GET", "DELETE", "PATCH"} {
				request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", method, fmt.Sprintf(pattern, id))
				code, answer := rawRequest(t, tg, request)
				if code >= 500 || strings.Contains(answer, marker) || strings.Contains(answer, "root:") {
					t.Errorf("%d for %.300q: %.300q", code, request, answer)
				}
			}
		}
	}
	for _, f := range []string{"secret.webm", "secret.json", "secret", "recordings/secret.webm", "recordings/.hidden"} {
		if b, err := os.ReadFile(filepath.Join(data, f)); err != nil || string(b) != marker {
			t.Errorf("%s: %q, %v", f, b, err)
		}
	}
}

// TestFeedbackFlood: a client that asks for a key frame a thousand times a
// second gets one per 300 ms, and one that reports everything as lost, over
// and over, gets no more repeated than its share.
func TestFeedbackFlood(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	var keys keyLog
	w := joinWire(t, tg, wireConfig{name: "Nagger", audio: true, video: true, onRTP: keys.take})
	eventually(t, 5*time.Second, "pictures come", func() bool { return keys.pictures.Load() > 30 })
	m.settle(t)

	const long = 4 * time.Second
	start, requests := keys.count(), keyframesMade(tg)
	watch := m.watch()
	pli, err := rtcp.Marshal([]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: wireAudioSSRC, MediaSSRC: w.theirVideo}})
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	during(long, 1000, func(int) {
		w.sendRTCP(pli)
		sent++
	})
	watch.end(t, "1000 requests for key frames a second", true)
	m.settle(t)
	got, made := keys.count()-start, keyframesMade(tg)-requests
	closest := keys.closest()
	t.Logf("%d requests in %v: %d key frames made, %d came, the closest two %v apart", sent, long, made, got, closest)
	if most := uint64(long/(300*time.Millisecond)) + 2; made > most || made < 3 {
		t.Errorf("%d key frames were made: want some, at most %d", made, most)
	}
	if closest < 290*time.Millisecond { // a tick of rounding
		t.Errorf("two key frames are %v apart: want 300ms", closest)
	}

	// Everything that was sent lately is asked for again, 250 times a second.
	repeated, bytes := keys.repairs.Load(), keys.repairBytes.Load()
	watch = m.watch()
	asked := 0
	during(long, 250, func(int) {
		newest := uint16(keys.newest.Load())
		var pairs []rtcp.NackPair
		for i := range uint16(16) { // 272 packets, back from the newest
			pairs = append(pairs, rtcp.NackPair{PacketID: newest - 17*i - 16, LostPackets: 0xffff})
		}
		b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.TransportLayerNack{SenderSSRC: wireAudioSSRC, MediaSSRC: w.theirVideo, Nacks: pairs}})
		if err != nil {
			t.Error(err)
		}
		w.sendRTCP(b)
		asked += 17 * len(pairs)
	})
	watch.end(t, "68,000 packets reported as lost each second", false)
	repeated, bytes = keys.repairs.Load()-repeated, keys.repairBytes.Load()-bytes
	// 30% of the 4 Mb/s that a path is taken for, and a second of it saved up.
	budget := 0.3 * 4e6 / 8 * (long.Seconds() + 1)
	t.Logf("%d packets asked for: %d came again, %.1f kB; the budget is %.1f kB", asked, repeated, float64(bytes)/1e3, budget/1e3)
	if repeated == 0 || float64(bytes) > 1.1*budget {
		t.Errorf("%d bytes were sent again: want some, at most %.0f", bytes, budget)
	}
}

func keyframesMade(tg *target) (n uint64) {
	for _, r := range tg.app.rooms.Stats().Renditions {
		n += r.Keyframes
	}
	return n
}

// keyLog notes what a wire receives.
type keyLog struct {
	pictures, repairs, repairBytes atomic.Int64
	newest                         atomic.Uint32

	mu struct {
		sync.Mutex
		keys []uint32 // RTP timestamps
	}
}

func (k *keyLog) take(h *rtp.Header, payload []byte) {
	switch h.PayloadType {
	case wireRTXPT:
		k.repairs.Add(1)
		k.repairBytes.Add(int64(len(payload)))
	case wireVideoPT:
		k.newest.Store(uint32(h.SequenceNumber))
		// Our own long descriptor: six bytes, S in the first (RFC 7741 section
		// 4.2), then the frame's header, whose first bit is 0 in a key frame.
		if len(payload) > 6 && payload[0]&0x17 == 0x10 {
			k.pictures.Add(1)
			if payload[6]&1 == 0 {
				k.mu.Lock()
				k.mu.keys = append(k.mu.keys, h.Timestamp)
				k.mu.Unlock()
			}
		}
	}
}

func (k *keyLog) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.mu.keys)
}

// closest returns the shortest media time between two key frames.
func (k *keyLog) closest() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	least := time.Duration(math.MaxInt64)
	for i := 1; i < len(k.mu.keys); i++ {
		least = min(least, time.Duration(k.mu.keys[i]-k.mu.keys[i-1])*time.Second/90000)
	}
	return least
}
