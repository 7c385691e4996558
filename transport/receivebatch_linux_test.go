package transport

import (
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSocketAddr(t *testing.T) {
	port := func(p *uint16) { *(*[2]byte)(unsafe.Pointer(p)) = [2]byte{0x1f, 0xfd} }
	six := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: [16]byte{0x20, 1, 0xd, 0xb8, 15: 7}}
	port(&six.Port)
	linkLocal := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: [16]byte{0xfe, 0x80, 15: 1}, Scope_id: 3}
	port(&linkLocal.Port)
	var four unix.RawSockaddrInet6
	*(*unix.RawSockaddrInet4)(unsafe.Pointer(&four)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{192, 0, 2, 1}}
	port(&four.Port)
	for want, name := range map[string]*unix.RawSockaddrInet6{
		"[2001:db8::7]:8189": &six, "[fe80::1%3]:8189": &linkLocal, "192.0.2.1:8189": &four,
	} {
		if got := socketAddr(name); got != netip.MustParseAddrPort(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
