package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// speaker is a Handler that speaks by messages: serve does.
type speaker struct {
	*recorder
	serve func(*DataChannel)
}

func (s *speaker) ServeMessages(c *DataChannel) { s.serve(c) }

// remote is the client's end of a data channel.
type remote struct {
	rtc      *webrtc.DataChannel
	open     chan struct{}
	closed   chan struct{}
	received chan string
}

func openChannel(t *testing.T, c *client, label, protocol string) *remote {
	t.Helper()
	rtc, err := c.pc.CreateDataChannel(label, &webrtc.DataChannelInit{Protocol: &protocol})
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{rtc, make(chan struct{}), make(chan struct{}), make(chan string, 4096)}
	rtc.OnOpen(func() { close(r.open) })
	var once sync.Once
	end := func() { once.Do(func() { close(r.closed) }) }
	rtc.OnClose(end)
	if rtc.ReadyState() == webrtc.DataChannelStateClosed { // before anybody was told of it
		end()
	}
	rtc.OnMessage(func(m webrtc.DataChannelMessage) { r.received <- string(m.Data) })
	return r
}

// connectSpeaker joins a client that has opened the channels of prepare.
func connectSpeaker(t *testing.T, e *Engine, serve func(*DataChannel), prepare func(*client)) (*client, *Peer, *recorder) {
	t.Helper()
	h := &speaker{newRecorder(t), serve}
	c := newClient(t, clientConfig{audio: "sendrecv"})
	prepare(c)
	p, answer, err := e.Accept(context.Background(), Offer{SDP: c.offer(t), Epoch: time.Now(), CNAME: "room", Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("a=max-message-size:%d", MaxMessage); !strings.Contains(answer.SDP, want) {
		t.Errorf("the answer lacks %s", want)
	}
	// The client does not look at what the answer allows.
	c.answer(t, strings.ReplaceAll(answer.SDP, "a=max-message-size:16384", "a=max-message-size:262144"))
	c.awaitUp(t)
	h.wait(t, "link up", h.linkIs(codec.LinkUp))
	return c, p, h.recorder
}

func await[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
	return v
}

// echo answers each message with itself.
func echo(c *DataChannel) {
	for {
		select {
		case m := <-c.Received():
			if err := c.Send(m); err != nil {
				return
			}
		case <-c.Done():
			return
		}
	}
}

func TestMessagesGoBothWays(t *testing.T) {
	e := startEngine(t, Config{})
	var r *remote
	_, p, _ := connectSpeaker(t, e, echo, func(c *client) { r = openChannel(t, c, MessagesLabel, MessagesProtocol) })
	await(t, "the channel", r.open)
	for _, m := range []string{"안녕", "", strings.Repeat("x", MaxMessage)} {
		if err := r.rtc.SendText(m); err != nil {
			t.Fatal(err)
		}
		if got := await(t, "the echo", r.received); got != m {
			t.Errorf("%d bytes came back as %d", len(m), len(got))
		}
	}
	if s := p.totals(); s.Messages != 3 || s.MessagesDeferred+s.MessagesRefused+s.ChannelsFull != 0 {
		t.Errorf("%+v", s)
	}
}

// Channels of another name or protocol are closed, and so is a second one; who
// goes on opening them is cut off. A channel that was closed may be opened anew.
func TestOneChannelIsServed(t *testing.T) {
	e := startEngine(t, Config{})
	var first, label, protocol *remote
	c, _, h := connectSpeaker(t, e, echo, func(c *client) {
		first = openChannel(t, c, MessagesLabel, MessagesProtocol)
		label = openChannel(t, c, "chat", MessagesProtocol)
		protocol = openChannel(t, c, MessagesLabel, "")
	})
	await(t, "the first", first.open)
	await(t, "the end of another label", label.closed)
	await(t, "the end of another protocol", protocol.closed)
	second := openChannel(t, c, MessagesLabel, MessagesProtocol)
	await(t, "the end of the second", second.closed)
	if err := first.rtc.SendText("still"); err != nil {
		t.Fatal(err)
	}
	await(t, "the first's echo", first.received)

	if err := first.rtc.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the first's end", first.closed)
	// The server may learn of it a moment later.
	for tries := 0; ; tries++ {
		again := openChannel(t, c, MessagesLabel, MessagesProtocol)
		await(t, "the channel", again.open)
		if again.rtc.SendText("anew") == nil {
			select {
			case <-again.received:
			case <-again.closed:
				if tries < 2 {
					continue
				}
				t.Fatal("a channel that was closed cannot be opened anew")
			}
		}
		break
	}
	for range maxDataChannels {
		// The end may come before the last of them.
		_, _ = c.pc.CreateDataChannel("more", nil)
	}
	h.wait(t, "the end of who opens too many", func() bool { return h.closed > 0 })
	if !errors.Is(h.err, ErrMisbehaved) {
		t.Error(h.err)
	}
}

// A Handler that does not speak closes what is opened.
func TestNobodySpeaks(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c := newClient(t, clientConfig{audio: "sendrecv"})
	r := openChannel(t, c, MessagesLabel, MessagesProtocol)
	_, answer, err := e.Accept(context.Background(), Offer{SDP: c.offer(t), Epoch: time.Now(), CNAME: "room", Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	c.answer(t, answer.SDP)
	await(t, "the channel's end", r.closed)
}

// A message beyond the bound ends its channel, and nothing else.
func TestTooLongMessageEndsItsChannel(t *testing.T) {
	e := startEngine(t, Config{})
	var r *remote
	_, p, h := connectSpeaker(t, e, echo, func(c *client) { r = openChannel(t, c, MessagesLabel, MessagesProtocol) })
	await(t, "the channel", r.open)
	if err := r.rtc.Send(bytes.Repeat([]byte{'x'}, MaxMessage+1)); err != nil {
		t.Fatal(err)
	}
	await(t, "the channel's end", r.closed)
	if p.totals().MessagesRefused != 1 {
		t.Error("the message was not counted")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed > 0 {
		t.Errorf("the client was cut off: %v", h.err)
	}
}

// Who is not served ends with the peer; ServeMessages has returned by then.
func TestMessagesEndBeforeThePeer(t *testing.T) {
	e := startEngine(t, Config{})
	var r *remote
	var mu sync.Mutex
	serving := 0
	_, p, h := connectSpeaker(t, e, func(c *DataChannel) {
		mu.Lock()
		serving++
		mu.Unlock()
		<-c.Done()
		mu.Lock()
		serving--
		mu.Unlock()
	}, func(c *client) { r = openChannel(t, c, MessagesLabel, MessagesProtocol) })
	await(t, "the channel", r.open)
	h.wait(t, "the server's end of it", func() bool { mu.Lock(); defer mu.Unlock(); return serving == 1 })
	p.Close()
	mu.Lock()
	defer mu.Unlock()
	if serving != 0 {
		t.Error("it is served still")
	}
}

// Send refuses when the client takes nothing, and says when it does again.
func TestSendIsBounded(t *testing.T) {
	e := startEngine(t, Config{})
	var r *remote
	sent := make(chan error, 1)
	connectSpeaker(t, e, func(c *DataChannel) {
		sent <- func() error {
			if err := c.Send(make([]byte, MaxMessage+1)); !errors.Is(err, ErrMessageSize) {
				return fmt.Errorf("too long: %v", err)
			}
			message := bytes.Repeat([]byte{'x'}, MaxMessage)
			full := 0
			for n := 0; n < 200; { // some 3 MB, faster than any path takes them
				switch err := c.Send(message); {
				case err == nil:
					n++
				case errors.Is(err, ErrChannelFull):
					full++
					select {
					case <-c.Writable():
					case <-time.After(patience):
						return errors.New("never writable again")
					}
				default:
					return err
				}
			}
			if full == 0 {
				return errors.New("3 MB were queued")
			}
			return nil
		}()
		<-c.Done()
	}, func(c *client) { r = openChannel(t, c, MessagesLabel, MessagesProtocol) })
	if err := await(t, "all messages", sent); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		await(t, "a message", r.received)
	}
}

// script is a channel that says a few things.
type script struct{ messages [][]byte }

func (s *script) ReadDataChannel(buf []byte) (int, bool, error) {
	if len(s.messages) == 0 {
		return 0, false, io.EOF
	}
	m := s.messages[0]
	s.messages = s.messages[1:]
	if len(m) > len(buf) {
		return len(m), false, io.ErrShortBuffer
	}
	return copy(buf, m), true, nil
}

// Messages that come faster than they may are read later, not dropped: the
// sender waits.
func TestReadingIsPaced(t *testing.T) {
	now := time.Millisecond
	pace := newMessagePace(now)
	for i := range messagesBurst {
		if wait := pace.next(now); wait > 0 {
			t.Fatalf("message %d of a burst waits %v", i, wait)
		}
	}
	for i := 1; i < 5; i++ {
		if wait := pace.next(now); wait != time.Duration(i)*messageGap {
			t.Fatalf("message %d after the burst waits %v", i, wait)
		}
	}
	now += time.Hour
	for i := range messagesBurst {
		if wait := pace.next(now); wait > 0 {
			t.Fatalf("message %d an hour later waits %v", i, wait)
		}
	}

	counts := &peerCounters{}
	c := newDataChannel(nil, counts)
	said := &script{}
	const all = 10 * messagesBurst
	for range all {
		said.messages = append(said.messages, []byte("a"))
	}
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		for counts.messagesDeferred.Load() == 0 {
			select {
			case <-c.Received():
			case <-c.Done():
				return
			default:
				runtime.Gosched()
			}
		}
		c.end()
	}()
	c.read(said) // ends while it waits
	<-taken
	if n, deferred := counts.messages.Load(), counts.messagesDeferred.Load(); n <= messagesBurst || n >= all || deferred == 0 {
		t.Errorf("%d messages were read, %d deferred", n, deferred)
	}
}

func TestReadingEndsAtALongMessage(t *testing.T) {
	for _, n := range []int{MaxMessage + 1, MaxMessage + 2, 1 << 20} {
		counts := &peerCounters{}
		c := newDataChannel(nil, counts)
		c.read(&script{[][]byte{make([]byte, n)}})
		<-c.Done()
		if counts.messagesRefused.Load() != 1 || len(c.Received()) != 0 {
			t.Errorf("%d bytes: %d refused, %d received", n, counts.messagesRefused.Load(), len(c.Received()))
		}
	}
}
