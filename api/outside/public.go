package outside

import "net/netip"

// special4 are the parts of IPv4 that are not public internet (IANA's registry
// of special-purpose addresses, RFC 6890), and addresses on it that clouds
// answer themselves.
var special4 = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carrier-grade NAT (RFC 6598)
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // Azure's own service
	"169.254.0.0/16",   // link-local, metadata of most clouds
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/3",      // multicast, reserved, broadcast
)

// special6 are those within 2000::/3, outside of which there is no public
// internet.
var special6 = prefixes(
	"2001::/23",     // protocol assignments, Teredo: that leads to any IPv4 address
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4: likewise
	"3fff::/20",     // documentation
)

var (
	global6 = netip.MustParsePrefix("2000::/3")
	// nat64 holds an IPv4 address in its last four bytes (RFC 6052 section 2.1).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

// Public reports whether an address belongs to the public internet. IPv4
// addresses within IPv6 ones, mapped or of NAT64's well-known prefix, are what
// counts, since that is where packets go. The zero Addr is not public.
func Public(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	special := special4
	switch {
	case !addr.IsValid():
		return false
	case addr.Is6():
		if !global6.Contains(addr) {
			return false
		}
		special = special6
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
