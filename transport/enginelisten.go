package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// socketBytes is asked for in both directions. A key frame for fifty clients
// is 2 MB in a burst; the kernel grants what net.core.rmem_max allows.
const socketBytes = 4 << 20

// listen opens the sockets of one "host:port". An empty or unspecified host
// makes one for each address of the machine, since an answer from a socket
// bound to all of them may leave with the wrong source address, which ICE
// takes for another path. The port is the same for all.
func listen(hostport string) ([]*net.UDPConn, error) {
	addr, err := net.ResolveUDPAddr("udp", hostport)
	if err != nil {
		return nil, fmt.Errorf(`%w: UDP address %q: want "host:port": %w`, ErrBadConfig, hostport, err)
	}
	if addr.IP != nil && !addr.IP.IsUnspecified() {
		conn, err := listenOne(*addr)
		if err != nil {
			return nil, fmt.Errorf("media socket %s: %w", hostport, err)
		}
		return []*net.UDPConn{conn}, nil
	}
	only4 := addr.IP != nil && addr.IP.To4() != nil
	hosts, err := machineAddrs(only4)
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("media socket %s: the machine has no address", hostport)
	}
	// Port 0: whatever the first socket gets may be taken on another address.
	for attempt := 1; ; attempt++ {
		conns, err := listenAll(hosts, addr.Port)
		if err == nil {
			return conns, nil
		}
		if addr.Port != 0 || attempt == 16 {
			return nil, fmt.Errorf("media socket %s: %w", hostport, err)
		}
	}
}

func listenAll(hosts []netip.Addr, port int) ([]*net.UDPConn, error) {
	var conns []*net.UDPConn
	var failed error
	for _, h := range hosts {
		conn, err := listenOne(net.UDPAddr{IP: h.AsSlice(), Zone: h.Zone(), Port: port})
		if err != nil && h.Is6() && len(conns) > 0 && !isAddrInUse(err) {
			continue // IPv6 that is listed but does not work is common in containers
		}
		if err != nil {
			failed = err
			break
		}
		conns = append(conns, conn)
		port = conn.LocalAddr().(*net.UDPAddr).Port
	}
	if failed != nil {
		for _, c := range conns {
			_ = c.Close() // unused
		}
		return nil, failed
	}
	return conns, nil
}

func listenOne(addr net.UDPAddr) (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp", &addr)
	if err != nil {
		return nil, err
	}
	return setBuffers(conn), nil
}

func setBuffers(conn *net.UDPConn) *net.UDPConn {
	// Smaller buffers only lose more in bursts.
	_ = conn.SetReadBuffer(socketBytes)
	_ = conn.SetWriteBuffer(socketBytes)
	return conn
}

func isAddrInUse(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && errors.Is(op.Err, syscall.EADDRINUSE)
}

// listen opens all sockets. When it fails, some are open.
func (e *Engine) listen() error {
	var likewise []string // for TCP, where nothing else is said
	for _, hostport := range e.cfg.UDP {
		conns, err := listen(hostport)
		if err != nil {
			return err
		}
		e.conns = append(e.conns, conns...)
		host, _, _ := net.SplitHostPort(hostport) // listen has
		port := conns[0].LocalAddr().(*net.UDPAddr).Port
		likewise = append(likewise, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	if e.cfg.NoTCP {
		return nil
	}
	e.tcp = newTCPMux(&e.forged)
	addresses := e.cfg.TCP
	if len(addresses) == 0 {
		addresses = likewise
	}
	for i, hostport := range addresses {
		l, err := listenStream(hostport)
		if len(e.cfg.TCP) == 0 && isAddrInUse(err) && strings.HasSuffix(e.cfg.UDP[i], ":0") {
			// The port was any for UDP; another is any for TCP.
			host, _, _ := net.SplitHostPort(hostport)
			l, err = listenStream(net.JoinHostPort(host, "0"))
		}
		if err != nil {
			return err
		}
		e.tcp.listeners = append(e.tcp.listeners, l)
	}
	return nil
}

// listenStream opens one TCP socket.
func listenStream(hostport string) (*tcpListener, error) {
	addr, err := net.ResolveTCPAddr("tcp", hostport)
	if err != nil {
		return nil, fmt.Errorf(`%w: TCP address %q: want "host:port": %w`, ErrBadConfig, hostport, err)
	}
	network, only4 := "tcp", addr.IP != nil && addr.IP.To4() != nil
	if only4 {
		network = "tcp4"
	}
	socket, err := net.ListenTCP(network, addr)
	if err != nil {
		return nil, fmt.Errorf("media socket (TCP) %s: %w", hostport, err)
	}
	bound := plainAddr(socket.Addr())
	l := &tcpListener{TCPListener: socket, port: bound.Port(), hosts: []netip.Addr{bound.Addr()}}
	if bound.Addr().IsUnspecified() {
		if l.hosts, err = machineAddrs(only4); err != nil {
			return nil, errors.Join(fmt.Errorf("addresses of this machine: %w", err), socket.Close())
		}
		// What is on this machine has UDP: offered only where there is nothing else,
		// since each address costs each client a goroutine.
		if far := slices.DeleteFunc(slices.Clone(l.hosts), netip.Addr.IsLoopback); len(far) > 0 {
			l.hosts = far
		}
	}
	return l, nil
}

// machineAddrs lists the machine's addresses, most reachable first. Link-local
// ones are left out: browsers do not offer them.
func machineAddrs(only4 bool) ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var hosts []netip.Addr
	for _, a := range list {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		h := prefix.Addr().Unmap()
		if h.IsLinkLocalUnicast() || h.IsMulticast() || h.IsUnspecified() || only4 && !h.Is4() || slices.Contains(hosts, h) {
			continue
		}
		hosts = append(hosts, h)
	}
	slices.SortStableFunc(hosts, func(a, b netip.Addr) int { return addressRank(a) - addressRank(b) })
	return hosts, nil
}
