package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/ipv4"
)

const (
	// batchBytes is what a batch holds; a full one goes out at once. A key
	// frame for fifty clients is 2 MB in all.
	batchBytes = 256 << 10
	// batchTrains is how many trains go out in one system call.
	batchTrains = 64
	// maxTrainDatagrams and maxTrainBytes are the kernel's bounds (udp(7)).
	maxTrainDatagrams = 64
	maxTrainBytes     = 65_000
)

// A train is datagrams to one address that follow each other, all of one size
// but for the last, which may be shorter: the kernel takes it in one piece and
// cuts it where it leaves the machine (UDP_SEGMENT).
type train struct {
	to       netip.AddrPort
	off, end int // in sendBatch.buf
	size     int // of each datagram
	short    bool
}

// sendBatch gathers what is sent while somebody holds it, and gives it to the
// socket in as few system calls as can be. Per packet to one of many clients
// sendto is most of what sending costs; six packets of a picture in one piece
// cost less than half of it (measured).
//
// Queue: batchBytes; then it goes out. What a full socket does not take is
// dropped and counted, as on any network.
type sendBatch struct {
	packets *ipv4.PacketConn // of either family, in spite of its name
	unsent  *atomic.Uint64   // datagrams that the socket refused
	// joins says that trains of several datagrams can be sent here.
	joins   atomic.Bool
	holders atomic.Int32

	// sending is held while a batch goes out, so that batches stay in order.
	sending sync.Mutex
	out     batch          // under sending
	msgs    []ipv4.Message // scratch, under sending
	addrs   []net.UDPAddr  // what msgs refers to
	ips     [][16]byte
	control [][]byte

	mu struct {
		sync.Mutex
		in batch
	}
}

// batch is datagrams end to end, and the trains that they make up.
type batch struct {
	buf    []byte
	trains []train
}

// newSendBatch counts in unsent what conn refuses.
func newSendBatch(conn *net.UDPConn, unsent *atomic.Uint64) *sendBatch {
	b := &sendBatch{
		packets: ipv4.NewPacketConn(conn), unsent: unsent,
		msgs: make([]ipv4.Message, batchTrains), addrs: make([]net.UDPAddr, batchTrains),
		ips: make([][16]byte, batchTrains), control: make([][]byte, batchTrains),
	}
	b.joins.Store(canSegment(conn))
	b.out.buf = make([]byte, 0, batchBytes)
	b.mu.in.buf = make([]byte, 0, batchBytes)
	for i := range b.msgs {
		b.msgs[i].Buffers = make([][]byte, 1)
		b.msgs[i].Addr = &b.addrs[i]
		b.control[i] = newSegmentControl()
	}
	return b
}

// hold makes writes wait until release, which the caller calls soon.
func (b *sendBatch) hold() { b.holders.Add(1) }

// release sends what was written. It does not block: what a full socket does
// not take is dropped.
func (b *sendBatch) release() {
	b.holders.Add(-1)
	b.flush()
}

// write copies a datagram, to be sent at the next release at the latest. ok is
// false when nobody holds the batch: then the caller sends it himself.
func (b *sendBatch) write(p []byte, to netip.AddrPort) (ok bool) {
	b.mu.Lock()
	for len(b.mu.in.buf)+len(p) > batchBytes && len(b.mu.in.buf) > 0 {
		b.mu.Unlock()
		b.flush()
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	// Under the lock: who releases flushes after this, or was seen to be gone.
	if b.holders.Load() == 0 || len(p) > batchBytes {
		return false
	}
	b.mu.in.add(p, to, b.joins.Load())
	return true
}

// add appends a datagram, to the last train where that is allowed.
func (x *batch) add(p []byte, to netip.AddrPort, join bool) {
	off := len(x.buf)
	x.buf = append(x.buf, p...)
	if last := len(x.trains) - 1; last >= 0 && join {
		t := &x.trains[last]
		if t.to == to && !t.short && len(p) <= t.size && len(p) > 0 &&
			t.end-t.off+len(p) <= maxTrainBytes && t.end-t.off < maxTrainDatagrams*t.size {
			t.end += len(p)
			t.short = len(p) < t.size
			return
		}
	}
	x.trains = append(x.trains, train{to: to, off: off, end: off + len(p), size: len(p)})
}

// flush sends all that was written before.
func (b *sendBatch) flush() {
	b.sending.Lock()
	defer b.sending.Unlock()
	b.mu.Lock()
	b.mu.in, b.out = b.out, b.mu.in
	b.mu.Unlock()
	for trains := b.out.trains; len(trains) > 0; {
		n := min(len(trains), batchTrains)
		b.prepare(trains[:n])
		sent, err := b.packets.WriteBatch(b.msgs[:n], dontWait)
		trains = trains[max(sent, 0):]
		if err != nil && len(trains) > 0 {
			b.refused(trains[0], err)
			trains = trains[1:]
		}
	}
	b.out.trains, b.out.buf = b.out.trains[:0], b.out.buf[:0]
}

// prepare fills in the messages for some trains.
func (b *sendBatch) prepare(trains []train) {
	for i, t := range trains {
		m, to := &b.msgs[i], t.to.Addr().Unmap()
		m.Buffers[0] = b.out.buf[t.off:t.end]
		b.ips[i] = to.As16()
		b.addrs[i] = net.UDPAddr{IP: b.ips[i][:], Port: int(t.to.Port()), Zone: to.Zone()}
		m.OOB = nil
		if t.end-t.off > t.size {
			m.OOB = b.control[i]
			setSegmentSize(m.OOB, t.size)
		}
	}
}

// refused deals with a train that the socket did not take. Some devices do not
// take trains (udp(7)): then the datagrams go one by one, now and from here on.
// Nor do paths that are narrower than a packet, but those are one client's, as
// is an address that nothing can be sent to; and a full buffer is so for a
// moment.
func (b *sendBatch) refused(t train, err error) {
	switch count := max((t.end-t.off+t.size-1)/max(t.size, 1), 1); {
	case count == 1, errors.Is(err, syscall.EAGAIN):
		b.unsent.Add(uint64(count))
		return
	case errors.Is(err, syscall.EIO):
		b.joins.Store(false)
	}
	for off := t.off; off < t.end; off += t.size {
		one := train{to: t.to, off: off, end: min(off+t.size, t.end), size: t.size}
		b.prepare([]train{one})
		if _, err := b.packets.WriteBatch(b.msgs[:1], dontWait); err != nil {
			b.unsent.Add(1)
		}
	}
}
