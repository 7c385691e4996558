package transport

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// maxPublicAddresses is more than machines have.
const maxPublicAddresses = 8

// checkPublic returns what is wrong with Config.PublicAddresses.
func checkPublic(addrs []netip.Addr) (errs []error) {
	if len(addrs) > maxPublicAddresses {
		errs = append(errs, fmt.Errorf("PublicAddresses has %d: want at most %d", len(addrs), maxPublicAddresses))
	}
	for _, a := range addrs {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.Zone() != "" {
			errs = append(errs, fmt.Errorf("PublicAddresses has %q: want an address that clients reach, as 203.0.113.7", a))
		}
	}
	return errs
}

// candidate is one line of an answer (RFC 8839 section 5.1).
type candidate struct {
	attr   sdp.Attribute
	fields []string
	addr   netip.Addr
	// public says that a translation stands between clients and us.
	public bool
}

func readCandidate(a sdp.Attribute) (c candidate, ok bool) {
	c = candidate{attr: a, fields: strings.Fields(a.Value)}
	if a.Key != "candidate" || len(c.fields) < 8 || c.fields[1] != "1" {
		return c, false // pion lists each for RTCP too, which has no port of its own
	}
	c.addr, _ = netip.ParseAddr(c.fields[4])
	return c, true
}

func (c *candidate) overTCP() bool { return strings.EqualFold(c.fields[2], "tcp") }

// rank orders candidates by how many clients can reach them; some look at no
// other than the first. All of UDP come first.
func (c *candidate) rank() int {
	rank := addressRank(c.addr)
	if !c.public {
		rank += 4
	}
	if c.overTCP() {
		rank += 8
	}
	return rank
}

// arrangeCandidates adds candidates with the public addresses, one for each
// socket's port, and puts those first that most clients can reach.
func arrangeCandidates(m *sdp.MediaDescription, public []netip.Addr) {
	var candidates []candidate
	var rest []sdp.Attribute
	for _, a := range m.Attributes {
		if a.Key != "candidate" {
			rest = append(rest, a)
		} else if c, ok := readCandidate(a); ok {
			candidates = append(candidates, c)
		}
	}
	for i, addr := range public {
		candidates = append(candidates, mapped(candidates, addr.Unmap(), i)...)
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return a.rank() - b.rank() })
	lines := make([]sdp.Attribute, 0, len(candidates))
	for _, c := range candidates {
		lines = append(lines, c.attr)
	}
	for i, a := range rest {
		if a.Key == "end-of-candidates" {
			rest = slices.Insert(rest, i, lines...)
			lines = nil
			break
		}
	}
	m.Attributes = append(rest, lines...)
}

// mapped returns the candidates by which clients reach the machine at a public
// address: as the candidates of its family, each port once. The agent does not
// know of them: it sees what comes to the sockets, and that is all it needs. Of
// pion's own rules for addresses those that append make two agents' readers of
// one socket, and those that replace take the local address away.
func mapped(own []candidate, addr netip.Addr, number int) (list []candidate) {
	if slices.ContainsFunc(own, func(c candidate) bool { return c.addr == addr }) {
		return nil // the machine has it
	}
	seen := make(map[string]bool) // of protocol and port
	for _, c := range own {
		socket := c.fields[2] + c.fields[5]
		if c.public || c.addr.Is4() != addr.Is4() || seen[socket] {
			continue
		}
		seen[socket] = true
		f := slices.Clone(c.fields)
		// Other foundations than the own ones, and a lower priority, each its own: who
		// reaches both had better take the shorter way.
		f[0] = strconv.Itoa(90 + number)
		if c.overTCP() {
			f[0] += "1"
		}
		if priority, err := strconv.ParseUint(f[3], 10, 32); err == nil {
			f[3] = strconv.FormatUint(max(priority, 1<<20)-uint64(number+1)<<16, 10)
		}
		f[4] = addr.String()
		list = append(list, candidate{sdp.NewAttribute("candidate", strings.Join(f, " ")), f, addr, true})
	}
	return list
}

// addressRank orders addresses by how many clients can reach them: IPv4 before
// IPv6, loopback last.
func addressRank(a netip.Addr) int {
	rank := 0
	if a.IsLoopback() {
		rank += 2
	}
	if !a.Is4() {
		rank++
	}
	return rank
}
