package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v4/packetio"

	"mixdown/mixer"
)

// This file holds a client that is made by hand, from ICE to SRTP, and so can
// send what no library lets through.

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
