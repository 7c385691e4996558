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
	for range 3 {
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
		// The two clocks may drift apart a little.
		const slack = time.Millisecond
		if at < before-slack || at > after+slack {
			t.Errorf("it came %v after it was sent, and %v after that was done", at-before, at-after)
		}
	}
}
