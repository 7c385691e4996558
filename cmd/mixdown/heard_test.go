package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/tone"
)

// TestPacketsSayWhoIsHeard joins two who talk, with redundancy, and one who
// does not: every packet to each names those that he hears, how loud they are,
// and never himself.
func TestPacketsSayWhoIsHeard(t *testing.T) {
	_, url := startApp(t)
	var mu sync.Mutex
	var got [3][]map[uint32]uint8 // of each client, the levels in each packet
	clients := make([]*client.Client, 3)
	for i := range clients {
		cfg := client.Config{URL: url + "/r/heard", Name: fmt.Sprint("c", i), NoVideo: true, RED: 1, OnAudio: func(p client.Packet) {
			levels := make(map[uint32]uint8)
			for _, h := range p.Heard {
				levels[h.CSRC] = h.LevelDBov
			}
			mu.Lock()
			defer mu.Unlock()
			got[i] = append(got[i], levels)
		}}
		if i < 2 {
			sound, err := tone.Make(tone.Spec{Hz: 400 + 600*float64(i), Level: 0.1, Duration: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			cfg.Audio = client.Loop(sound)
		}
		clients[i] = play(t, cfg)
	}
	for _, c := range clients {
		<-c.Connected()
	}
	var list struct {
		Items []struct {
			Name string
			CSRC uint32 `json:"csrc"`
		}
	}
	if err := json.Unmarshal([]byte(ask(t, http.StatusOK, http.MethodGet, url+"/v1/rooms/heard/participants", "")), &list); err != nil {
		t.Fatal(err)
	}
	csrc := make(map[string]uint32)
	for _, p := range list.Items {
		csrc[p.Name] = p.CSRC
	}
	for i := range clients {
		others := make([]uint32, 0, 2)
		for j := range 2 {
			if j != i {
				others = append(others, csrc[fmt.Sprint("c", j)])
			}
		}
		// A second in which everybody who talks is named in each packet.
		soon(t, fmt.Sprintf("client %d is told whom he hears", i), func() bool {
			mu.Lock()
			defer mu.Unlock()
			whole := 0
			for _, levels := range got[i] {
				whole++
				for _, c := range others {
					if level, ok := levels[c]; !ok || level > 40 {
						whole = 0
					}
				}
			}
			return whole >= 50
		})
		mu.Lock()
		for n, levels := range got[i] {
			if _, ok := levels[csrc[fmt.Sprint("c", i)]]; ok {
				t.Errorf("client %d: packet %d says that he hears himself", i, n)
				break
			}
		}
		mu.Unlock()
	}
}
