package transporttest

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestPacketConnBothWays(t *testing.T) {
	const delay = 20 * time.Millisecond
	far := listen(t)
	near := WrapPacketConn(listen(t), Spec{Delay: delay}, Spec{Delay: delay}, 1)
	defer near.Close()
	start := time.Now()
	if n, err := near.WriteTo([]byte("ping"), far.LocalAddr()); n != 4 || err != nil {
		t.Fatalf("WriteTo = %d, %v", n, err)
	}
	buf := make([]byte, 100)
	_ = far.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, addr, err := far.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "ping" {
		t.Fatalf("far end read %q, %v", buf[:n], err)
	}
	if addr.String() != near.LocalAddr().String() {
		t.Errorf("came from %v, want %v", addr, near.LocalAddr())
	}
	if _, err := far.WriteTo([]byte("pong!"), addr); err != nil {
		t.Fatal(err)
	}
	_ = near.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, addr, err = near.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "pong!" || addr.String() != far.LocalAddr().String() {
		t.Fatalf("near end read %q from %v, %v", buf[:n], addr, err)
	}
	if took := time.Since(start); took < 2*delay {
		t.Errorf("the round trip took %v, want at least %v", took, 2*delay)
	}
}

// TestPacketConnLoses sends through a lossy direction and counts against the
// link's own statistics: the wrapper adds no loss and no duplicates.
func TestPacketConnLoses(t *testing.T) {
	const count = 150 // what any socket's buffer holds, so that only the link loses
	far := listen(t)
	near := WrapPacketConn(listen(t), Spec{}, Spec{Loss: 0.2}, 4)
	defer near.Close()
	for i := range count {
		if _, err := near.WriteTo(binary.BigEndian.AppendUint32(nil, uint32(i)), far.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	_, out := near.Stats()
	if out.In != count || out.Lost < 10 || out.Lost > 60 {
		t.Fatalf("%+v, want 150 in and about 30 lost", out)
	}
	buf := make([]byte, 100)
	_ = far.SetReadDeadline(time.Now().Add(10 * time.Second))
	for i := range count - out.Lost {
		if n, _, err := far.ReadFrom(buf); err != nil || n != 4 {
			t.Fatalf("packet %d of %d: %d bytes, %v", i, count-out.Lost, n, err)
		}
	}
	_ = far.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, _, err := far.ReadFrom(buf); err == nil {
		t.Error("more came out than the link let through")
	}
}

// through sends count numbered packets through a connection, out or in, and
// returns which of them came.
func through(t *testing.T, in, out Spec, seed uint64, outward bool, count int) (came []uint32) {
	t.Helper()
	far := listen(t)
	near := WrapPacketConn(listen(t), in, out, seed)
	defer near.Close()
	from, to := net.PacketConn(near), net.PacketConn(far)
	if !outward {
		from, to = to, from
	}
	for i := range count {
		if _, err := from.WriteTo(binary.BigEndian.AppendUint32(nil, uint32(i)), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 100)
	for {
		i, o := near.Stats()
		link := i
		if outward {
			link = o
		}
		if link.In == uint64(count) && uint64(len(came)) == link.In-link.Lost-link.Dropped {
			if other := i.In + o.In - link.In; other != 0 {
				t.Errorf("%d packets went the other way", other)
			}
			return came
		}
		_ = to.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // until the link has taken all
		n, _, err := to.ReadFrom(buf)
		switch {
		case err == nil && n == 4:
			came = append(came, binary.BigEndian.Uint32(buf))
		case !errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
}

// TestPacketConnFaultsEachWay: what a spec says happens in its direction and not
// in the other, the seed decides to whom, and the two directions do not lose alike.
func TestPacketConnFaultsEachWay(t *testing.T) {
	const count = 120 // what any socket's buffer holds
	loss, down := Spec{Loss: 0.3, Burst: 2}, Spec{Outages: []Outage{{For: time.Hour}}}
	var came [2][]uint32
	for i, outward := range []bool{false, true} {
		with := func(s Spec) (in, out Spec) {
			if outward {
				return Spec{}, s
			}
			return s, Spec{}
		}
		in, out := with(loss)
		came[i] = through(t, in, out, 7, outward, count)
		if n := len(came[i]); n < count/3 || n > count*9/10 {
			t.Errorf("outward %v: %d of %d came through a loss of 30%%", outward, n, count)
		}
		if again := through(t, in, out, 7, outward, count); !slices.Equal(came[i], again) {
			t.Errorf("outward %v: the same seed has others come", outward)
		}
		if others := through(t, in, out, 8, outward, count); slices.Equal(came[i], others) {
			t.Errorf("outward %v: another seed has the same come", outward)
		}
		// The same fault of the other direction hits nobody here.
		if n := len(through(t, out, in, 7, outward, count)); n != count {
			t.Errorf("outward %v: %d of %d came past a fault of the other direction", outward, n, count)
		}
		in, out = with(down)
		if n := len(through(t, in, out, 7, outward, count)); n != 0 {
			t.Errorf("outward %v: %d came through a link that is down", outward, n)
		}
		if n := len(through(t, out, in, 7, outward, count)); n != count {
			t.Errorf("outward %v: %d of %d came while the other direction was down", outward, n, count)
		}
	}
	if slices.Equal(came[0], came[1]) {
		t.Error("both directions lose the same packets")
	}
}

func TestPacketConnDeadlines(t *testing.T) {
	near := WrapPacketConn(listen(t), Spec{}, Spec{}, 1)
	defer near.Close()
	buf := make([]byte, 10)
	_ = near.SetReadDeadline(time.Now().Add(-time.Second))
	if _, _, err := near.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline in the past: %v", err)
	}
	_ = near.SetReadDeadline(time.Time{})
	result := make(chan error, 1)
	go func() {
		_, _, err := near.ReadFrom(buf)
		result <- err
	}()
	_ = near.SetDeadline(time.Now().Add(20 * time.Millisecond)) // reaches the waiting reader
	if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline set while waiting: %v", err)
	}
}

func TestPacketConnClose(t *testing.T) {
	inner := listen(t)
	near := WrapPacketConn(inner, Spec{Delay: time.Hour / 100}, Spec{Delay: time.Hour / 100}, 1)
	if _, err := near.WriteTo([]byte("never"), near.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, _, err := near.ReadFrom(make([]byte, 10))
		result <- err
	}()
	if err := near.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := near.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if err := <-result; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadFrom after Close: %v", err)
	}
	if _, err := near.WriteTo([]byte("x"), near.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteTo after Close: %v", err)
	}
	if _, err := inner.WriteTo([]byte("x"), inner.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the wrapped connection is still open: %v", err)
	}
}

// TestPacketConnNotices that the wrapped connection is closed underneath.
func TestPacketConnNotices(t *testing.T) {
	inner := listen(t)
	near := WrapPacketConn(inner, Spec{}, Spec{}, 1)
	_ = inner.Close()
	if _, _, err := near.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadFrom: %v", err)
	}
	_ = near.Close()
}
