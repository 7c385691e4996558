package api

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwarded returns a request as it came to the proxy before us: from the address
// that the proxy has added to X-Forwarded-For, which is the last. Those before it
// are what the client said, and not believed.
func forwarded(r *http.Request) *http.Request {
	values := r.Header.Values("X-Forwarded-For")
	if len(values) == 0 {
		return r
	}
	last := values[len(values)-1]
	last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	addr, err := netip.ParseAddr(strings.Trim(last, "[]"))
	if err != nil { // some add a port
		with, err := netip.ParseAddrPort(last)
		if err != nil {
			return r
		}
		addr = with.Addr()
	}
	of := *r
	of.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
	return &of
}
