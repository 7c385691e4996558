package transport

import (
	"net"
	"testing"
)

func TestSocketDroppedCountsWhatDidNotFit(t *testing.T) {
	full, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := full.SetReadBuffer(8 << 10); err != nil {
		t.Fatal(err)
	}
	if n := socketDropped(full); n != 0 {
		t.Errorf("%d dropped before anything came", n)
	}
	from, err := net.DialUDP("udp4", nil, full.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	// Loopback delivers within the call, so the count is there afterwards.
	for range 500 {
		if _, err := from.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if n := socketDropped(full); n < 400 || n > 500 {
		t.Errorf("%d of 500 dropped by a buffer of 16 at most", n)
	}
	full.Close()
	if n := socketDropped(full); n != 0 {
		t.Errorf("%d dropped by a closed socket: want 0, unknown", n)
	}
}
