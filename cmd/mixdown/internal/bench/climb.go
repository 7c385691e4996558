package bench

import (
	"context"
	"time"

	"mixdown/codec"
)

// TopTier is how many are sent the largest tier. Clients begin on a smaller one,
// and figures are comparable only once they have climbed.
type TopTier struct {
	Tier string `json:"tier"`
	// Clients are those who are not on poor links; AtStart and AtEnd is how many of
	// them were sent the tier when the measurement began and when it ended.
	Clients int `json:"clients"`
	AtStart int `json:"atStart"`
	AtEnd   int `json:"atEnd"`
	// Seconds is what that took from when the last had joined, or what was waited
	// in vain.
	Seconds float64 `json:"seconds"`
}

// climbLook is how often it is looked whether all have climbed.
const climbLook = 250 * time.Millisecond

// climb waits until everybody who can is sent the largest tier, for Climb at
// most.
func (m *measurement) climb(ctx context.Context) (*TopTier, error) {
	t := &TopTier{}
	var err error
	if t.Tier, err = m.room.topTier(ctx); err != nil {
		return nil, err
	}
	for _, c := range m.cast.members {
		if !c.impaired {
			t.Clients++
		}
	}
	m.logf("waiting until %d are sent %s, for %v at most", t.Clients, t.Tier, m.cfg.Climb)
	for began := codec.Now(); ; {
		there, err := t.count(ctx, m.room, m.cast.members)
		if err != nil {
			return nil, err
		}
		waited := codec.Now() - began
		t.Seconds = ms(waited) / 1000
		if there >= t.Clients || waited >= m.cfg.Climb {
			return t, nil
		}
		if err := wait(ctx, climbLook); err != nil {
			return nil, err
		}
	}
}

// count returns how many are sent the tier now; of a nil TopTier nobody.
func (t *TopTier) count(ctx context.Context, room roomURLs, members []*member) (n int, err error) {
	if t == nil {
		return 0, nil
	}
	people, err := room.people(ctx)
	if err != nil {
		return 0, err
	}
	poor := make(map[string]bool)
	for _, m := range members {
		if m.impaired {
			poor[m.name()] = true
		}
	}
	for _, p := range people {
		if p.Receive.Tier == t.Tier && !poor[p.Name] {
			n++
		}
	}
	return n, nil
}
