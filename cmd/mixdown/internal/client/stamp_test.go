package client

import (
	"net"
	"runtime"
	"testing"
	"time"

	"mixdown/codec"
)

// TestArrivalIsTheKernels reads a datagram long after it came.
func TestArrivalIsTheKernels(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("the time of reading is all that there is here")
		return
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sock, err := socketOf(conn)
	if err != nil {
		t.Fatal(err)
	}
	// arrival sends a datagram, reads it 20 ms later, and tells when it came,
	// counted from before it was sent, and how long sending took.
	arrival := func() (at, took time.Duration) {
		before := codec.Now()
		if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		after := codec.Now() // it has arrived: this is the loopback
		for codec.Now() < after+20*time.Millisecond {
		}
		_, _, at, err := sock.read(make([]byte, 10))
		if err != nil {
			t.Fatal(err)
		}
		return at - before, after - before
	}
	// The two clocks may drift apart a little.
	const slack = time.Millisecond
	// The kernel turns its stamps on a moment after the first socket on the
	// machine asked; until then a datagram is stamped when it is read.
	for deadline := codec.Now() + 10*time.Second; ; {
		if at, took := arrival(); at <= took+slack {
			break
		} else if codec.Now() > deadline {
			t.Fatalf("10 s after stamps were asked for, datagrams still come when they are read: %v after they were sent", at)
		}
	}
	for range 3 {
		if at, took := arrival(); at < -slack || at > took+slack {
			t.Errorf("it came %v after it was sent, and sending took %v", at, took)
		}
	}
}
