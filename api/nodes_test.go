package api

import (
	"testing"
	"time"
)

func TestNodes(t *testing.T) {
	f := newFixture(t, false)
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	f.do("PUT", "/v1/rooms/empty", "").want(t, 201)
	f.join("/v1/rooms/r/participants").want(t, 201)
	f.join("/whep/r").want(t, 201)

	node := func() Node {
		t.Helper()
		var list List[Node]
		f.do("GET", "/v1/nodes", "").want(t, 200).json(t, &list)
		if len(list.Items) != 1 || list.NextPageToken != "" {
			t.Fatalf("%+v", list)
		}
		return list.Items[0]
	}
	n := node()
	if n.ID == "" || n.Version != "dev" || n.State != "ready" || n.Rooms != 2 || n.Participants != 2 {
		t.Errorf("%+v", n)
	}
	if since := time.Since(n.StartedAt); since < -time.Second || since > time.Hour {
		t.Errorf("started %v ago", since)
	}
	// No bound was set.
	if l := n.Load; l.Limited || l.Cores != 0 || l.Left != 0 || l.Level != 0 || l.Name != "normal" || l.Reason != "none" {
		t.Errorf("%+v", l)
	}
	if n.Admitted != (NodeCounts{Total: 2}) {
		t.Errorf("%+v", n.Admitted)
	}
	if st := n.Storage; st == nil || st.Level != "ok" || st.Count != 0 {
		t.Errorf("%+v", st)
	}
	f.Drain()
	if n := node(); n.State != "draining" {
		t.Errorf("%+v", n)
	}
	f.do("GET", "/v1/nodes?limit=0", "").problem(t, 422, "invalid")
}
