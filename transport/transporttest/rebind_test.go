package transporttest

import (
	"errors"
	"net"
	"testing"
	"time"
)

// exchange sends text from near to far and returns where it came from.
func exchange(t *testing.T, near, far net.PacketConn, text string) net.Addr {
	t.Helper()
	if _, err := near.WriteTo([]byte(text), far.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_ = far.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, addr, err := far.ReadFrom(buf)
	if err != nil || string(buf[:n]) != text {
		t.Fatalf("read %q, %v; want %q", buf[:n], err, text)
	}
	return addr
}

// TestRebind: packets come from another port, are answered there, and those to
// the old port are lost and counted.
func TestRebind(t *testing.T) {
	far := listen(t)
	near := WrapPacketConn(listen(t), Spec{}, Spec{}, 1)
	defer near.Close()
	local := near.LocalAddr().String()
	before := exchange(t, near, far, "before")
	if before.String() != local {
		t.Fatalf("before, packets come from %v, want %v", before, local)
	}
	if err := near.Rebind(); err != nil {
		t.Fatal(err)
	}
	after := exchange(t, near, far, "after")
	if after.String() == before.String() || after.(*net.UDPAddr).IP.String() != before.(*net.UDPAddr).IP.String() {
		t.Errorf("after, packets come from %v, want a new port of %v", after, before)
	}
	if near.LocalAddr().String() != local {
		t.Errorf("the local address became %v, want %v: a NAT tells nobody", near.LocalAddr(), local)
	}
	for i, to := range []net.Addr{before, after} {
		if _, err := far.WriteTo([]byte{byte(i)}, to); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 10)
	_ = near.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, _, err := near.ReadFrom(buf); err != nil || n != 1 || buf[0] != 1 {
		t.Errorf("read %v, %v: want what was sent to the new port", buf[:n], err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		n, stale := near.Rebinds()
		if n == 1 && stale == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d rebinds, %d stale packets: want 1 and 1", n, stale)
		}
	}
}

// TestRebindAtItsInstant that the spec names, and not before.
func TestRebindAtItsInstant(t *testing.T) {
	const at = 50 * time.Millisecond
	far := listen(t)
	start := time.Now()
	near := WrapPacketConn(listen(t), Spec{}, Spec{Rebinds: []time.Duration{at, 2 * at}}, 1)
	defer near.Close()
	seen := map[string]time.Duration{}
	for len(seen) < 3 {
		addr := exchange(t, near, far, "where from").String()
		if _, known := seen[addr]; !known {
			seen[addr] = time.Since(start)
			if since, n := time.Since(start), len(seen); n > 1 && since < time.Duration(n-1)*at {
				t.Errorf("address %d was used at %v", n, since)
			}
		}
		if time.Since(start) > 20*time.Second {
			t.Fatalf("only %d addresses were used", len(seen))
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRebindIsBounded(t *testing.T) {
	near := WrapPacketConn(listen(t), Spec{}, Spec{}, 1)
	for i := range maxRebinds {
		if err := near.Rebind(); err != nil {
			t.Fatalf("rebind %d: %v", i, err)
		}
	}
	if err := near.Rebind(); err == nil {
		t.Error("sockets without end")
	}
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	if err := near.Rebind(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
