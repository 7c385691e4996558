package transporttest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// maxDatagram is the longest UDP payload.
const maxDatagram = 1 << 16

// datagram is a packet and where it comes from or goes to.
type datagram struct {
	data []byte
	addr net.Addr
}

// PacketConn is a [net.PacketConn] behind a bad network: what is written goes
// through one [Link], what is read through another, in real time. It does for
// UDP sockets of ICE, of one client or of all on the socket.
//
// It can also change its address, at once with [PacketConn.Rebind] or when
// either Spec's Rebinds say. It does as a NAT does that has forgotten: packets
// leave from a new port and are answered there, those to the old one are
// lost, and LocalAddr, which is what stands behind the NAT, stays.
//
// WriteTo never blocks and, like a network, tells nothing of losses. What is
// on its way when the connection is closed is lost. Close ends the goroutines
// and waits for them, and closes the wrapped connection; twice is fine.
type PacketConn struct {
	start time.Time
	done  chan struct{}
	local net.Addr
	wait  sync.WaitGroup

	mu struct {
		sync.Mutex
		conn    net.PacketConn   // the current one
		retired []net.PacketConn // still open, so that nobody gets their ports
		closed  bool
		err     error // of closing
		rebinds int
		stale   uint64
	}

	in, out pipe
	arrived chan datagram // due, to be read

	deadline deadline
}

// pipe is a link that is shared by its two ends.
type pipe struct {
	mu   sync.Mutex
	link *Link[datagram] // under mu
	wake chan struct{}   // the first packet changed; holds one
}

// arrivedMax packets that are due wait for their reader; those beyond are
// lost, as in a socket's buffer.
const arrivedMax = 1024

// WrapPacketConn puts conn, which it owns from here on, behind the two specs:
// in for what is read, out for what is written. Both must be valid.
func WrapPacketConn(conn net.PacketConn, in, out Spec, seed uint64) *PacketConn {
	c := &PacketConn{
		start:   time.Now(),
		local:   conn.LocalAddr(),
		done:    make(chan struct{}),
		arrived: make(chan datagram, arrivedMax),
		in:      pipe{link: NewLink[datagram](in, seed), wake: make(chan struct{}, 1)},
		out:     pipe{link: NewLink[datagram](out, seed+1), wake: make(chan struct{}, 1)},
	}
	c.deadline.changed = make(chan struct{})
	c.mu.conn = conn
	c.wait.Add(3)
	go c.receive(conn)
	go c.pump(&c.in, func(d datagram) {
		select {
		case c.arrived <- d:
		default:
		}
	})
	go c.pump(&c.out, func(d datagram) {
		// A network tells nobody.
		_, _ = c.current().WriteTo(d.data, d.addr)
	})
	rebinds := append(slices.Clone(in.Rebinds), out.Rebinds...)
	slices.Sort(rebinds)
	if rebinds = slices.Compact(rebinds); len(rebinds) > 0 {
		c.wait.Add(1)
		go c.rebind(rebinds)
	}
	return c
}

func (c *PacketConn) current() net.PacketConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.conn
}

// Rebind moves to a new port of the same address. When there is none to be
// had, it returns an error and stays where it is.
func (c *PacketConn) Rebind() error {
	host, _, err := net.SplitHostPort(c.local.String())
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket(c.local.Network(), net.JoinHostPort(host, "0"))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return errors.Join(net.ErrClosed, conn.Close())
	}
	if len(c.mu.retired) >= maxRebinds {
		return errors.Join(fmt.Errorf("rebound %d times already", maxRebinds), conn.Close())
	}
	c.mu.retired = append(c.mu.retired, c.mu.conn)
	c.mu.conn = conn
	c.mu.rebinds++
	c.wait.Add(1) // not after Close waits: closed was looked at under the same lock
	go c.receive(conn)
	return nil
}

// maxRebinds bounds the sockets that one connection holds open.
const maxRebinds = 2 * maxEvents

// rebind changes the address at each of the instants.
func (c *PacketConn) rebind(at []time.Duration) {
	defer c.wait.Done()
	for _, instant := range at {
		timer := time.NewTimer(instant - c.now())
		select {
		case <-timer.C:
			// What did not work shows in Rebinds.
			_ = c.Rebind()
		case <-c.done:
			timer.Stop()
			return
		}
	}
}

// Rebinds returns how often the address has changed, and how many packets
// have come to old ones since.
func (c *PacketConn) Rebinds() (n int, stale uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.rebinds, c.mu.stale
}

func (c *PacketConn) now() time.Duration { return time.Since(c.start) }

// Stats returns the counters of both directions.
func (c *PacketConn) Stats() (in, out Stats) {
	c.in.mu.Lock()
	in = c.in.link.Stats()
	c.in.mu.Unlock()
	c.out.mu.Lock()
	out = c.out.link.Stats()
	c.out.mu.Unlock()
	return in, out
}

// receive moves packets from a socket into the link until it is closed.
func (c *PacketConn) receive(conn net.PacketConn) {
	defer c.wait.Done()
	buf := make([]byte, maxDatagram)
	for {
		n, addr, err := conn.ReadFrom(buf)
		if err != nil {
			// Closed, by us or underneath us. An unconnected UDP socket has no
			// other errors.
			c.shut()
			return
		}
		c.mu.Lock()
		old := conn != c.mu.conn
		if old {
			c.mu.stale++
		}
		c.mu.Unlock()
		if !old {
			c.push(&c.in, datagram{append([]byte(nil), buf[:n]...), addr})
		}
	}
}

func (c *PacketConn) push(p *pipe, d datagram) {
	p.mu.Lock()
	p.link.Push(d, len(d.data), c.now())
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// pump hands on what is due until the connection is closed.
func (c *PacketConn) pump(p *pipe, hand func(datagram)) {
	defer c.wait.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		p.mu.Lock()
		d, ok := p.link.Pop(c.now())
		next, more := p.link.Next()
		p.mu.Unlock()
		if ok {
			hand(d)
			continue
		}
		wait := time.Hour
		if more {
			wait = next - c.now()
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-c.done:
			return
		}
	}
}

// ReadFrom waits for a packet that has come through.
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		expired, changed, timer := c.deadline.wait()
		if expired {
			return 0, nil, os.ErrDeadlineExceeded
		}
		var fire <-chan time.Time
		if timer != nil {
			fire = timer.C
		}
		select {
		case d := <-c.arrived:
			stop(timer)
			return copy(b, d.data), d.addr, nil
		case <-c.done:
			stop(timer)
			return 0, nil, net.ErrClosed
		case <-fire:
			return 0, nil, os.ErrDeadlineExceeded
		case <-changed:
			stop(timer)
		}
	}
}

func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

// WriteTo sends a copy of b on its way.
func (c *PacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, net.ErrClosed
	default:
	}
	c.push(&c.out, datagram{append([]byte(nil), b...), addr})
	return len(b), nil
}

// shut tells everybody to end.
func (c *PacketConn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return
	}
	c.mu.closed = true
	for _, conn := range append(c.mu.retired, c.mu.conn) {
		c.mu.err = errors.Join(c.mu.err, conn.Close())
	}
	close(c.done)
}

// Close ends the goroutines, waits for them, and closes the wrapped connection.
func (c *PacketConn) Close() error {
	c.shut()
	c.wait.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.err
}

// LocalAddr is the wrapped connection's.
func (c *PacketConn) LocalAddr() net.Addr { return c.local }

// SetDeadline sets the deadline of reads; writes do not block.
func (c *PacketConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline sets the deadline of reads, those that wait included.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	c.deadline.set(t)
	return nil
}

// SetWriteDeadline does nothing: writes do not block.
func (c *PacketConn) SetWriteDeadline(time.Time) error { return nil }

// deadline is an instant that waiting readers learn of when it changes.
type deadline struct {
	mu      sync.Mutex
	at      time.Time     // under mu; zero is none
	changed chan struct{} // under mu; closed and replaced by set
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	close(d.changed)
	d.changed = make(chan struct{})
}

// wait returns a timer when there is a deadline ahead.
func (d *deadline) wait() (expired bool, changed <-chan struct{}, timer *time.Timer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() {
		return false, d.changed, nil
	}
	left := time.Until(d.at)
	if left <= 0 {
		return true, d.changed, nil
	}
	return false, d.changed, time.NewTimer(left)
}
