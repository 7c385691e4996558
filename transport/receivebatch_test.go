package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixdown/codec"
)

// sockets makes a media socket of n that share an address, with its readers.
func sockets(t testing.TB, n int, host string) (s *mediaSocket, forged *atomic.Uint64) {
	t.Helper()
	first, err := listenOne(net.UDPAddr{IP: net.ParseIP(host)})
	if err != nil {
		t.Fatal(err)
	}
	conns, err := shareAddress(first, n)
	if err != nil {
		t.Fatal(err)
	}
	var unsent atomic.Uint64
	forged = new(atomic.Uint64)
	s = newMediaSocket(conns, forged, &unsent)
	s.run()
	t.Cleanup(func() { s.Close() })
	return s, forged
}

// localAddr is what a socket is bound to.
func localAddr(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// What was sent as it may be, in pieces or one by one, is read as it was sent.
func TestWhatIsReadTogetherIsTakenApart(t *testing.T) {
	s, forged := sockets(t, 1, "127.0.0.1")
	at := localAddr(s.UDPConn)
	from, source := receiver(t)
	var unsent atomic.Uint64
	batch := newSendBatch(from, &unsent)
	sizes := []int{1200, 1200, 1200, 700, 90, 0, 90, 91, 1400, 1400, 3}
	for range 3 * receiveMessagesAtLeast {
		sizes = append(sizes, 40)
	}
	want := datagrams(sizes...)
	for i := range want {
		if len(want[i]) > 0 {
			want[i][0] = 0x80 // media, never taken for a DTLS record
		}
	}
	sent := append([][]byte{record(recordAlert, 0, 1, 0)}, want...)
	batch.hold()
	for _, d := range sent {
		batch.write(d, at)
	}
	batch.release()
	buf := make([]byte, 2000)
	for i, w := range want {
		n, addr, err := s.ReadFromAddrPort(buf)
		if err != nil || !bytes.Equal(buf[:n], w) || addr != source {
			t.Fatalf("datagram %d: %d bytes from %v, %v: want %d", i, n, addr, err, len(w))
		}
	}
	if forged.Load() != 1 || unsent.Load() != 0 {
		t.Errorf("%d forged, %d unsent", forged.Load(), unsent.Load())
	}
}

// receiveMessagesAtLeast is enough for several system calls.
const receiveMessagesAtLeast = 32

// However many sockets there are at an address, all that comes is read, and what
// comes from one client in its order.
func TestReadersShareAnAddress(t *testing.T) {
	const clients, each = 24, 200
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s, _ := sockets(t, n, "127.0.0.1")
			at := localAddr(s.UDPConn)
			for _, c := range s.conns() {
				if localAddr(c) != at {
					t.Fatalf("a socket is at %v, want %v", localAddr(c), at)
				}
			}
			if other, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at)); err == nil {
				other.Close()
				t.Error("another server could take the address too")
			}
			// One window for all, so that no socket's buffer overflows.
			window := make(chan struct{}, 100)
			var senders sync.WaitGroup
			for range clients {
				c, _ := receiver(t)
				senders.Go(func() {
					for i := range each {
						window <- struct{}{}
						if _, err := c.WriteToUDPAddrPort(binary.BigEndian.AppendUint32([]byte{0x80}, uint32(i)), at); err != nil {
							t.Error(err)
						}
					}
				})
			}
			next := make(map[netip.AddrPort]uint32)
			buf := make([]byte, 100)
			for range clients * each {
				n, from, err := s.ReadFromAddrPort(buf)
				if err != nil || n != 5 {
					t.Fatal(n, err)
				}
				if got := binary.BigEndian.Uint32(buf[1:n]); got != next[from] {
					t.Fatalf("%v: number %d, want %d", from, got, next[from])
				}
				next[from]++
				<-window
			}
			senders.Wait()
		})
	}
}

// Close ends who reads, whatever the readers are at.
func TestCloseEndsReaders(t *testing.T) {
	for _, n := range []int{1, 3} {
		s, _ := sockets(t, n, "127.0.0.1")
		from, _ := receiver(t)
		ended := make(chan error)
		go func() {
			buf := make([]byte, 100)
			for {
				if _, _, err := s.ReadFromAddrPort(buf); err != nil {
					ended <- err
					return
				}
			}
		}()
		for range 10 {
			if _, err := from.WriteToUDPAddrPort([]byte{0x80}, localAddr(s.UDPConn)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error("the second time:", err)
		}
		if err := await(t, "the reader's end", ended); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%d sockets: %v", n, err)
		}
	}
}

// Clients do not notice how many sockets there are.
func TestEngineWithSeveralReaders(t *testing.T) {
	e := startEngine(t, Config{Readers: 3})
	for range 4 {
		h := newRecorder(t)
		c, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
		c.awaitUp(t)
		h.wait(t, "link up", h.linkIs(codec.LinkUp))
		p.WriteAudio(audioFrame(time.Second))
		c.wait(t, "sound", func() bool { return len(c.packets["audio"]) > 0 })
	}
}

// Reading allocates nothing for a datagram.
func TestReadDoesNotAllocate(t *testing.T) {
	s, _ := sockets(t, 1, "127.0.0.1")
	from, _ := receiver(t)
	at, buf := localAddr(s.UDPConn), make([]byte, 2000)
	turn := func() {
		for range 4 {
			if _, err := from.WriteToUDPAddrPort(buf[:1200], at); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			if _, _, err := s.ReadFromAddrPort(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n > 0 && !raceDetector {
		t.Errorf("%v allocations a turn", n)
	}
}

// BenchmarkReceive is what reading costs when six packets of a picture have come
// from each of some clients, in pieces or one by one, and when one packet of sound
// has: by recvfrom and as media sockets read. Sending is not in it.
func BenchmarkReceive(b *testing.B) {
	const senders = 16
	run := func(name string, count, size int, join, plain bool) {
		b.Run(name, func(b *testing.B) {
			s, _ := sockets(b, 1, "127.0.0.1")
			at := localAddr(s.UDPConn)
			var unsent atomic.Uint64
			var batches []*sendBatch
			for range senders {
				from, _ := receiver(b)
				batch := newSendBatch(from, &unsent)
				batch.joins.Store(join && batch.joins.Load())
				batches = append(batches, batch)
			}
			d, buf := make([]byte, size), make([]byte, 2000)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				for _, batch := range batches {
					batch.hold()
					for range count {
						batch.write(d, at)
					}
					batch.release()
				}
				b.StartTimer()
				for range count * senders {
					var err error
					if plain {
						_, _, err = s.ReadFromUDPAddrPort(buf)
					} else {
						_, _, err = s.ReadFromAddrPort(buf)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count*senders), "ns/packet")
		})
	}
	run("picture/recvfrom", 6, 1200, false, true)
	run("picture/recvmmsg", 6, 1200, false, false)
	run("picture/joined", 6, 1200, true, false)
	run("sound/recvfrom", 1, 90, false, true)
	run("sound/recvmmsg", 1, 90, false, false)
}
