package transport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// receiver is a socket that is sent to.
func receiver(t testing.TB) (conn *net.UDPConn, at netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	return conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// expect reads one datagram.
func expect(t *testing.T, conn *net.UDPConn, want []byte) {
	t.Helper()
	buf := make([]byte, 2000)
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil || !bytes.Equal(buf[:n], want) {
		t.Fatalf("read %d bytes, %v: want %d", n, err, len(want))
	}
}

// datagrams makes some of the given sizes, all different.
func datagrams(sizes ...int) (d [][]byte) {
	for i, n := range sizes {
		b := make([]byte, n)
		for k := range b {
			b[k] = byte(i + k)
		}
		d = append(d, b)
	}
	return d
}

func TestBatchKeepsDatagramsAndOrder(t *testing.T) {
	sizes := map[string][]int{
		"one":               {100},
		"a picture":         {1200, 1200, 1200, 1200, 1200, 700},
		"growing":           {100, 200, 300},
		"falling":           {300, 200, 100},
		"sound, picture":    {90, 1100, 1100, 1099, 90},
		"more than a train": make([]int, 3*maxTrainDatagrams+1),
	}
	for i := range sizes["more than a train"] {
		sizes["more than a train"][i] = 40
	}
	for _, joins := range []bool{true, false} {
		for name, sizes := range sizes {
			t.Run(fmt.Sprint(name, joins), func(t *testing.T) {
				from, _ := receiver(t)
				to, at := receiver(t)
				var unsent atomic.Uint64
				b := newSendBatch(from, &unsent)
				b.joins.Store(joins && b.joins.Load())
				sent := datagrams(sizes...)
				if b.write(sent[0], at) {
					t.Fatal("a batch that nobody holds takes datagrams")
				}
				b.hold()
				for _, d := range sent {
					if !b.write(d, at) {
						t.Fatal("a batch that is held takes nothing")
					}
				}
				b.release()
				for _, d := range sent {
					expect(t, to, d)
				}
				if n := unsent.Load(); n != 0 {
					t.Errorf("%d unsent", n)
				}
			})
		}
	}
}

// TestBatchOfManyClients overflows the batch, from several goroutines: each
// client gets its own, in order.
func TestBatchOfManyClients(t *testing.T) {
	from, _ := receiver(t)
	var unsent atomic.Uint64
	b := newSendBatch(from, &unsent)
	const clients, rounds = 8, 40
	var all sync.WaitGroup
	for c := range clients {
		to, at := receiver(t)
		r := rand.New(rand.NewPCG(uint64(c), 1))
		sent := make([][]byte, rounds)
		for i := range sent {
			sent[i] = bytes.Repeat([]byte{byte(i)}, 1000+r.IntN(3)*100)
		}
		all.Go(func() {
			for _, d := range sent {
				b.hold()
				for range 4 {
					if !b.write(d, at) {
						t.Error("a batch that is held takes nothing")
					}
				}
				b.release()
			}
			for _, d := range sent {
				for range 4 {
					expect(t, to, d)
				}
			}
		})
	}
	all.Wait()
	if n := unsent.Load(); n != 0 {
		t.Errorf("%d unsent", n)
	}
}

func TestBatchGoesOnAfterWhatCannotBeSent(t *testing.T) {
	from, _ := receiver(t)
	to, at := receiver(t)
	var unsent atomic.Uint64
	b := newSendBatch(from, &unsent)
	nowhere := netip.AddrPortFrom(at.Addr(), 0) // port 0 is nobody's
	b.hold()
	d := datagrams(200, 200, 200, 150, 400)
	for _, x := range d[:4] { // a train, which is tried whole and then one by one
		b.write(x, nowhere)
	}
	b.write(d[4], at)
	b.write(d[0], at)
	b.write(d[1], at)
	b.release()
	for _, x := range [][]byte{d[4], d[0], d[1]} {
		expect(t, to, x)
	}
	if n := unsent.Load(); n != 4 {
		t.Errorf("%d unsent, want the 4 to nowhere", n)
	}
	if canSegment(from) != b.joins.Load() {
		t.Error("one address that cannot be sent to has ended trains for all")
	}
}

// TestBatchSendsIPv6 sends trains and single datagrams over the other family.
func TestBatchSendsIPv6(t *testing.T) {
	listen := func() *net.UDPConn {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	from, to := listen(), listen()
	var unsent atomic.Uint64
	b := newSendBatch(from, &unsent)
	b.hold()
	sent := datagrams(1200, 1200, 700, 90)
	for _, d := range sent {
		b.write(d, to.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	b.release()
	for _, d := range sent {
		expect(t, to, d)
	}
	if n := unsent.Load(); n != 0 {
		t.Errorf("%d unsent", n)
	}
}

// TestBatchRefusals: only a device that takes no trains ends them for all.
func TestBatchRefusals(t *testing.T) {
	from, _ := receiver(t)
	_, at := receiver(t)
	for _, tc := range []struct {
		err    error
		joins  bool
		unsent uint64
	}{
		{syscall.EAGAIN, true, 3}, // full: the rest of the train will not fit either
		{syscall.EINVAL, true, 0}, // a narrow path: they fit one by one
		{syscall.EMSGSIZE, true, 0},
		{syscall.EIO, false, 0}, // a device without checksums
	} {
		var unsent atomic.Uint64
		b := newSendBatch(from, &unsent)
		b.joins.Store(true)
		for _, d := range datagrams(100, 100, 50) {
			b.out.add(d, at, true)
		}
		b.refused(b.out.trains[0], os.NewSyscallError("sendmmsg", tc.err))
		if b.joins.Load() != tc.joins || unsent.Load() != tc.unsent {
			t.Errorf("%v: joins %v, %d unsent; want %v, %d", tc.err, b.joins.Load(), unsent.Load(), tc.joins, tc.unsent)
		}
	}
}

func TestBatchAllocatesNothing(t *testing.T) {
	from, _ := receiver(t)
	_, at := receiver(t)
	var unsent atomic.Uint64
	b := newSendBatch(from, &unsent)
	d := datagrams(1200, 1200, 600)
	turn := func() {
		b.hold()
		for _, x := range d {
			b.write(x, at)
		}
		b.release()
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n > 0 && !raceDetector {
		t.Errorf("%v allocations a turn", n)
	}
}

// BenchmarkSend is what six packets of a picture to one client cost, and one
// packet of sound to each of 50.
func BenchmarkSend(b *testing.B) {
	from, _ := receiver(b)
	_, at := receiver(b)
	var unsent atomic.Uint64
	batch := newSendBatch(from, &unsent)
	whole := batch.joins.Load()
	run := func(name string, count, size int, join bool, single bool) {
		d := make([]byte, size)
		b.Run(name, func(b *testing.B) {
			batch.joins.Store(join && whole)
			b.ReportAllocs()
			for b.Loop() {
				if single {
					for range count {
						if _, err := from.WriteToUDPAddrPort(d, at); err != nil {
							b.Fatal(err)
						}
					}
					continue
				}
				batch.hold()
				for range count {
					batch.write(d, at)
				}
				batch.release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/packet")
		})
	}
	run("picture/sendto", 6, 1200, false, true)
	run("picture/sendmmsg", 6, 1200, false, false)
	run("picture/segments", 6, 1200, true, false)
	run("sound/sendto", 50, 90, false, true)
	run("sound/sendmmsg", 50, 90, false, false)
}
