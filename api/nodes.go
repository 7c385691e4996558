package api

import (
	"context"
	"math"
	"net/http"
	"time"
)

// Node is one server: its load, and what of it is left.
type Node struct {
	ID           string          `json:"id" doc:"Of this run of the server: another one after a restart"`
	Version      string          `json:"version"`
	StartedAt    time.Time       `json:"startedAt"`
	State        string          `json:"state" enum:"ready,draining" doc:"draining: it takes nobody any more, and ends"`
	Rooms        int             `json:"rooms"`
	Participants int             `json:"participants"`
	Load         NodeLoad        `json:"load"`
	Admitted     NodeCounts      `json:"admitted"`
	Storage      *StorageChanged `json:"storage,omitempty" doc:"Room for recordings; missing where none are kept"`
}

// NodeLoad is what a server uses of what it may, in cores: seconds of
// processor time a second.
type NodeLoad struct {
	OverloadChanged
	Limited bool    `json:"limited" doc:"False: the server refuses nobody and lowers nothing, and cores, budget and left are 0"`
	Cores   float64 `json:"cores" doc:"What it may use at most"`
	Budget  float64 `json:"budget" doc:"What it is believed to get of that: other programs use the machine as well. 80% of it are given out"`
	Used    float64 `json:"used"`
	Claimed float64 `json:"claimed" doc:"What was given out a moment ago, and is not seen in used yet"`
	Left    float64 `json:"left" doc:"What may still be given out"`
}

// NodeCounts says how often somebody was let in, and how often not, since the
// server began.
type NodeCounts struct {
	Total        uint64 `json:"total"`
	RefusedPrice uint64 `json:"refusedPrice" doc:"There was not enough left"`
	RefusedLevel uint64 `json:"refusedLevel" doc:"Quality was lowered for those who are there already"`
}

func (s *Server) nodeRoutes() {
	// Who may see which rooms there are may see what they cost together.
	register(s, operation{id: "list-nodes", method: http.MethodGet, path: "/v1/nodes", summary: "The servers, their load and their capacity; there is one", need: static(ListRooms), experimental: true}, s.listNodes)
}

func (s *Server) node() Node {
	load := s.rooms.Governor().Stats()
	cores := func(c float64) float64 { return math.Round(c*1e4) / 1e4 }
	n := Node{
		ID: s.streams.process, Version: s.version, StartedAt: s.started, State: "ready",
		Load: NodeLoad{
			OverloadChanged: OverloadChanged{int(load.Level), load.Level.String(), load.Reason.String()},
			Limited:         load.Cores > 0, Cores: cores(load.Cores), Budget: cores(load.Budget),
			Used: cores(load.Used), Claimed: cores(load.Claimed), Left: cores(load.Left),
		},
		Admitted: NodeCounts{load.Admitted, load.RefusedPrice, load.RefusedLevel},
	}
	if s.draining.Load() {
		n.State = "draining"
	}
	if s.recordings != nil {
		storage := storageOf(s.recordings.Storage())
		n.Storage = &storage
	}
	for _, r := range s.rooms.Rooms() {
		n.Rooms++
		n.Participants += r.Participants
	}
	return n
}

func (s *Server) listNodes(_ context.Context, in *struct {
	ListQuery
	ReadIf
}) (*listOutput[Node], error) {
	list, err := page([]Node{s.node()}, in.ListQuery, func(n Node) string { return n.ID }, func(n Node) Node { return n })
	return answer(list, err, in.ReadIf)
}
