package transport

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// turnQuota counts what is open, in all, by address and by name.
type turnQuota struct {
	total, perAddress, perName int

	mu struct {
		sync.Mutex
		n         int
		byAddress map[netip.Prefix]int
		byName    map[string]int
	}
}

func newTURNQuota(total, perAddress, perName int) *turnQuota {
	q := &turnQuota{total: total, perAddress: perAddress, perName: perName}
	q.mu.byAddress = make(map[netip.Prefix]int)
	q.mu.byName = make(map[string]int)
	return q
}

// household is what quotas take for one client's network: an IPv4 address, or
// the part of an IPv6 one that a customer is given.
func household(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for no address at all, which is one household too
	return p
}

// full says why one more is too much, if it is. name may be "".
func (q *turnQuota) full(from netip.Addr, name string) (turnRefusal, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.fullLocked(from, name)
}

func (q *turnQuota) fullLocked(from netip.Addr, name string) (turnRefusal, bool) {
	switch {
	case q.mu.n >= q.total:
		return refusedFull, true
	case q.mu.byAddress[household(from)] >= q.perAddress:
		return refusedAddress, true
	case name != "" && q.mu.byName[name] >= q.perName:
		return refusedUser, true
	}
	return 0, false
}

// take counts one more, or says why it does not. After ok the caller calls give.
func (q *turnQuota) take(from netip.Addr, name string) (why turnRefusal, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if why, full := q.fullLocked(from, name); full {
		return why, false
	}
	q.mu.n++
	q.mu.byAddress[household(from)]++
	if name != "" {
		q.mu.byName[name]++
	}
	return 0, true
}

func (q *turnQuota) give(from netip.Addr, name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.n--
	h := household(from)
	if q.mu.byAddress[h]--; q.mu.byAddress[h] == 0 {
		delete(q.mu.byAddress, h)
	}
	if name == "" {
		return
	}
	if q.mu.byName[name]--; q.mu.byName[name] == 0 {
		delete(q.mu.byName, name)
	}
}

// count returns how many are open.
func (q *turnQuota) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.n
}

// turnBucket lets so much through per second, and a quarter of a second's worth
// at once. It is not safe for concurrent use. The zero value is full.
type turnBucket struct {
	spent float64 // of the burst
	last  time.Duration
}

// take spends n if there is that much. rate is per second.
func (b *turnBucket) take(n, rate, burst float64, now time.Duration) bool {
	b.spent = max(0, b.spent-rate*(now-b.last).Seconds())
	b.last = now
	if b.spent+n > burst {
		return false
	}
	b.spent += n
	return true
}

// greetings bounds how often those are answered over UDP who have no allocation.
// Their addresses may be forged, and our answers, which are longer than the
// questions, then go to somebody who has not asked.
//
// Bound: greetingRate per address; addresses share greetingSlots counters.
type greetings struct {
	seed  maphash.Seed
	slots [greetingSlots]turnBucket
}

const (
	greetingSlots = 1024
	greetingRate  = 50
	greetingBurst = 200 // an office that joins at one time
)

// admit is called by one goroutine.
func (g *greetings) admit(from netip.Addr, now time.Duration) bool {
	slot := maphash.Comparable(g.seed, household(from)) % greetingSlots
	return g.slots[slot].take(1, greetingRate, greetingBurst, now)
}
