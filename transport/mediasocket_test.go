package transport

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// record makes a DTLS record.
func record(kind byte, epoch uint16, content ...byte) []byte {
	b := []byte{kind, 254, 253, byte(epoch >> 8), byte(epoch), 0, 0, 0, 0, 0, 9, byte(len(content) >> 8), byte(len(content))}
	return append(b, content...)
}

func TestIsForged(t *testing.T) {
	for name, c := range map[string]struct {
		datagram []byte
		want     bool
	}{
		"empty":                        {nil, false},
		"STUN":                         {append([]byte{0, 1, 0, 0}, make([]byte, 16)...), false},
		"RTP":                          {append([]byte{0x80, 96}, make([]byte, 30)...), false},
		"ClientHello":                  {record(22, 0, 1, 0, 0), false},
		"change of the cipher":         {record(20, 0, 1), false},
		"encrypted alert":              {record(recordAlert, 1, 1, 2, 3), false},
		"encrypted data":               {record(recordData, 1, 1, 2, 3), false},
		"epoch 256":                    {record(recordData, 256, 1, 2, 3), false},
		"goodbye":                      {record(recordAlert, 0, 1, 0), true},
		"fatal alert":                  {record(recordAlert, 0, 2, 40), true},
		"data":                         {record(recordData, 0, 1), true},
		"goodbye after a handshake":    {append(record(22, 0, 1, 0, 0), record(recordAlert, 0, 1, 0)...), true},
		"goodbye after encrypted data": {append(record(recordData, 1, 1, 0, 0), record(recordAlert, 0, 1, 0)...), true},
		"cut off":                      {record(recordAlert, 0, 1, 0)[:recordHeader-1], false},
		"length beyond the end":        {[]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255, 1}, false},
	} {
		if got := isForged(c.datagram); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// FuzzIsForged: any datagram may come.
func FuzzIsForged(f *testing.F) {
	f.Add(record(recordAlert, 0, 1, 0))
	f.Add(append(record(22, 0, 1, 0, 0), record(recordData, 1, 1, 0)...))
	f.Add([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if isForged(b) && (b[0] < 20 || b[0] > 63) {
			t.Error("that is no DTLS")
		}
	})
}

func TestMediaSocketDropsForgedRecords(t *testing.T) {
	listener, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var forged, unsent atomic.Uint64
	s := newMediaSocket([]*net.UDPConn{listener}, &forged, &unsent)
	defer s.Close()
	from, err := net.DialUDP("udp4", nil, listener.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	good := record(recordData, 1, 7)
	for _, b := range [][]byte{record(recordAlert, 0, 1, 0), record(recordData, 0, 1), good} {
		if _, err := from.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, addr, err := s.ReadFromAddrPort(buf)
	if err != nil || string(buf[:n]) != string(good) || addr != from.LocalAddr().(*net.UDPAddr).AddrPort() {
		t.Errorf("read %x from %v, %v: want %x", buf[:n], addr, err, good)
	}
	if forged.Load() != 2 {
		t.Errorf("%d forged datagrams were counted: want 2", forged.Load())
	}
	if _, err := s.WriteToAddrPort(good, addr); err != nil {
		t.Error(err)
	}
	if n, err := from.Read(buf); err != nil || string(buf[:n]) != string(good) {
		t.Errorf("read %x, %v: want %x", buf[:n], err, good)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := from.Write(good); err != nil {
			t.Error(err)
		}
		if _, _, err := s.ReadFromAddrPort(buf); err != nil {
			t.Error(err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations a packet", allocs)
	}
}
