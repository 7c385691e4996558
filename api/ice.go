package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// ICEServers is a fragment of the W3C's RTCConfiguration.
type ICEServers struct {
	ICEServers []ICEServer `json:"iceServers" doc:"Empty: the answer's own candidates suffice"`
}

// ICEServer is a STUN or TURN server.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty" doc:"Good for ten minutes, and then for as long as what was begun with it lasts"`
}

type iceInput struct {
	ReadIf
	host string
}

// Resolve implements huma.Resolver: huma does not bind Host.
func (i *iceInput) Resolve(ctx huma.Context) []error {
	i.host = ctx.Host()
	return nil
}

type iceOutput struct {
	Tagged
	Body ICEServers
}

// iceServers answers what a client should put into its configuration before it
// makes an offer.
func (s *Server) iceServers(_ context.Context, in *iceInput) (*iceOutput, error) {
	body := ICEServers{ICEServers: s.serversFor(in.host, newSecret())}
	tag := entityTag(nil, body)
	if err := in.check(tag); err != nil {
		return nil, err
	}
	out := &iceOutput{tagged(tag), body}
	if len(body.ICEServers) > 0 {
		out.CacheControl = "no-store" // there are credentials in it
	}
	return out, nil
}

// serversFor never returns nil, which would be null in JSON.
func (s *Server) serversFor(hostport, name string) []ICEServer {
	if s.ice == nil {
		return []ICEServer{}
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]") // without a port
	}
	if strings.ContainsFunc(host, notOfHosts) {
		host = ""
	}
	return append([]ICEServer{}, s.ice(host, name)...)
}

// notOfHosts says that a name or an address does not hold c: the client has
// said where it thinks that it is, and gets it back in a URL.
func notOfHosts(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._:", c))
}

// linkICEServers tells the same to who has joined, a Link for each URL (RFC 9725
// section 4.6). The credentials are made for the participant.
func (s *Server) linkICEServers(h http.Header, r *http.Request, name string) {
	for _, server := range s.serversFor(r.Host, name) {
		for _, url := range server.URLs {
			link := fmt.Sprintf(`<%s>; rel="ice-server"`, url)
			if server.Credential != "" { // neither has a quote or a backslash in it
				link += fmt.Sprintf(`; username="%s"; credential="%s"; credential-type="password"`, server.Username, server.Credential)
			}
			h.Add("Link", link)
		}
	}
}
