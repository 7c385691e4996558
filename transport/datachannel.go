package transport

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// The one data channel that is spoken on is opened by the client, with this
// label and this protocol (RFC 8832 section 5.1).
const (
	MessagesLabel    = "mixdown"
	MessagesProtocol = "mixdown.v1"
	// MaxMessage is how many bytes a message has at most, either way.
	MaxMessage = 16 << 10
)

// Bounds on what a client can make us keep and do.
const (
	// maxDataChannels is how many a client may open in its life: one is meant to
	// be, and one that was closed may be opened anew.
	maxDataChannels = 8
	// maxMessagesIn may wait for whoever serves them. Then no more are read,
	// SCTP's window closes, and the client waits.
	maxMessagesIn = 4
	// A client may send messagesBurst messages at once, and one more each
	// messageGap. Who sends faster is read more slowly, by the same window.
	messageGap    = 100 * time.Millisecond
	messagesBurst = 20
	// channelHigh is how many bytes may wait for the client, and channelLow how
	// few must be left of them before it is offered more.
	channelHigh = 128 << 10
	channelLow  = 32 << 10
)

// Messages is what a [Handler] is besides when it speaks with its client on the
// data channel. Of one that is not, every channel is closed at once.
type Messages interface {
	// ServeMessages speaks with the client. It is called when the client has
	// opened the channel, on a goroutine of its own: it may block, and returns
	// soon after [DataChannel.Done] is closed. PeerClosed comes after that. It
	// is never called twice at one time.
	ServeMessages(*DataChannel)
}

// Errors of [DataChannel.Send].
var (
	// ErrChannelFull says that the client has not taken what it was sent.
	ErrChannelFull = errors.New("too much waits for the client")
	// ErrMessageSize says that a message has more than MaxMessage bytes.
	ErrMessageSize = fmt.Errorf("message has more than %d bytes", MaxMessage)
)

// DataChannel carries messages to and from one client, reliably and in order
// unless the client has opened it otherwise. Safe for concurrent use.
type DataChannel struct {
	counts   *peerCounters
	rtc      *webrtc.DataChannel
	received chan []byte
	writable chan struct{}
	done     chan struct{}
	endOnce  sync.Once
}

func newDataChannel(rtc *webrtc.DataChannel, counts *peerCounters) *DataChannel {
	return &DataChannel{
		counts: counts, rtc: rtc,
		received: make(chan []byte, maxMessagesIn), writable: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// Send queues a message, which it copies. It does not block: with ErrChannelFull
// nothing was queued, and Writable tells when to try again. Any other error is
// final for the message, or for the channel.
func (c *DataChannel) Send(message []byte) error {
	if len(message) > MaxMessage {
		return ErrMessageSize
	}
	if c.rtc.BufferedAmount()+uint64(len(message)) > channelHigh {
		c.counts.channelFull.Add(1)
		return ErrChannelFull
	}
	return c.rtc.SendText(string(message))
}

// Writable gets a value some time after Send has said ErrChannelFull, when little
// of what waited is left; now and then one too many.
func (c *DataChannel) Writable() <-chan struct{} { return c.writable }

// Received gives the client's messages, in order, whatever they hold: text or
// not, none is longer than MaxMessage. They belong to whoever takes them. It is
// never closed; see Done.
func (c *DataChannel) Received() <-chan []byte { return c.received }

// Done is closed when the channel has ended.
func (c *DataChannel) Done() <-chan struct{} { return c.done }

func (c *DataChannel) end() { c.endOnce.Do(func() { close(c.done) }) }

// drained tells that little is left.
func (c *DataChannel) drained() {
	select {
	case c.writable <- struct{}{}:
	default:
	}
}

// messageReader is an open channel of pion's.
type messageReader interface {
	ReadDataChannel([]byte) (n int, text bool, err error)
}

// read hands on what the client says, no faster than it may, until the channel
// ends or the client sends a message that is too long.
func (c *DataChannel) read(from messageReader) {
	defer c.end()
	// One byte more than fits tells a message that is too long from one that
	// is not, whatever the reader makes of it.
	buf := make([]byte, MaxMessage+1)
	pace := newMessagePace(codec.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		n, _, err := from.ReadDataChannel(buf)
		switch {
		case errors.Is(err, io.ErrShortBuffer), err == nil && n > MaxMessage:
			c.counts.messagesRefused.Add(1)
			return
		case err != nil:
			return
		}
		c.counts.messages.Add(1)
		if wait := pace.next(codec.Now()); wait > 0 {
			c.counts.messagesDeferred.Add(1)
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-c.done:
				return
			}
		}
		select {
		case c.received <- append([]byte(nil), buf[:n]...):
		case <-c.done:
			return
		}
	}
}

// messagePace spaces messages: a few at once, then one each messageGap.
type messagePace struct{ due time.Duration }

func newMessagePace(now time.Duration) messagePace {
	return messagePace{now - messagesBurst*messageGap}
}

// next returns how long the message that came now has to wait.
func (p *messagePace) next(now time.Duration) time.Duration {
	p.due = max(p.due+messageGap, now-(messagesBurst-1)*messageGap)
	return max(0, p.due-now)
}

// dataChannels are those of one peer: one at a time is served.
type dataChannels struct {
	mu struct {
		sync.Mutex
		current *DataChannel
		over    bool
	}
	// serving counts the goroutines; Add only under mu while not over.
	serving sync.WaitGroup
}

// acceptChannel takes a channel that the client is opening, or closes it. pion calls it
// on a goroutine of its own, before the channel is open.
func (p *Peer) acceptChannel(rtc *webrtc.DataChannel) {
	if p.counts.channels.Add(1) > maxDataChannels {
		p.end(fmt.Errorf("%w: more than %d data channels", ErrMisbehaved, maxDataChannels))
	}
	messages, ok := p.handler.(Messages)
	if !ok || rtc.Label() != MessagesLabel || rtc.Protocol() != MessagesProtocol {
		p.refuseChannel(rtc)
		return
	}
	c := newDataChannel(rtc, &p.counts)
	rtc.SetBufferedAmountLowThreshold(channelLow)
	rtc.OnBufferedAmountLow(c.drained)
	rtc.OnOpen(func() {
		from, err := rtc.Detach()
		reader, ok := from.(messageReader)
		if err != nil || !ok || !p.data.serve(c, reader, messages) {
			p.refuseChannel(rtc)
		}
	})
}

func (p *Peer) refuseChannel(rtc *webrtc.DataChannel) {
	if err := rtc.Close(); err != nil {
		p.log.Debug("closing a data channel", "err", err)
	}
}

// serve starts what a channel needs; false when there is one already, or the
// peer is ending.
func (d *dataChannels) serve(c *DataChannel, from messageReader, to Messages) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.over || d.mu.current != nil {
		return false
	}
	d.mu.current = c
	read := make(chan struct{})
	d.serving.Go(func() {
		c.read(from)
		close(read)
	})
	d.serving.Go(func() {
		to.ServeMessages(c)
		c.end()
		_ = c.rtc.Close() // it may be closed already
		<-read
		d.mu.Lock()
		d.mu.current = nil
		d.mu.Unlock()
	})
	return true
}

// end tells whoever speaks that it is over. It does not wait.
func (d *dataChannels) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.over = true
	if d.mu.current != nil {
		d.mu.current.end()
	}
}

// wait returns when nobody speaks any more: after end, and once the connection,
// from which a channel reads, is closed.
func (d *dataChannels) wait() { d.serving.Wait() }
