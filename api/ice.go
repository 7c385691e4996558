package api

import "context"

// ICEServers is a fragment of the W3C's RTCConfiguration.
type ICEServers struct {
	ICEServers []ICEServer `json:"iceServers" doc:"Empty: the answer's own candidates suffice"`
}

// ICEServer is a STUN or TURN server.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

type iceOutput struct {
	Tagged
	Body ICEServers
}

// iceServers answers what a client should put into its configuration before it
// makes an offer: nothing, as the server is reached directly.
func (s *Server) iceServers(_ context.Context, in *struct{ ReadIf }) (*iceOutput, error) {
	body := ICEServers{ICEServers: []ICEServer{}}
	tag := entityTag(nil, body)
	if err := in.check(tag); err != nil {
		return nil, err
	}
	return &iceOutput{tagged(tag), body}, nil
}
