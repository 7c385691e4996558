package client

import (
	"fmt"
	"net"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// settings returns the network side of a PeerConnection and what closes it.
func (c *Client) settings() (webrtc.SettingEngine, func() error, error) {
	s := webrtc.SettingEngine{}
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	// A server on this machine may have no other address in common with us.
	s.SetIncludeLoopbackCandidate(true)
	logs := logging.NewDefaultLoggerFactory()
	logs.DefaultLogLevel = logging.LogLevelDisabled
	s.LoggerFactory = logs
	if c.cfg.Conn == nil {
		return s, func() error { return nil }, nil
	}
	local, ok := c.cfg.Conn.LocalAddr().(*net.UDPAddr)
	if !ok || local.IP.IsUnspecified() {
		return s, nil, fmt.Errorf("Conn is bound to %v: want a UDP socket on one address", c.cfg.Conn.LocalAddr())
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: c.cfg.Conn, Logger: logs.NewLogger("ice")})
	s.SetICEUDPMux(mux)
	return s, mux.Close, nil
}
