package audio

import (
	"math"
	"math/rand/v2"
	"testing"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

// cough is what a cough is to a detector: a burst of noise that dies away
// within 350 ms, louder than speech, and often a second one after it.
func cough(seed uint64) []int16 {
	x := make([]int16, 0, second)
	r := rand.New(rand.NewPCG(seed, 8))
	for n := range 1 + r.IntN(2) {
		length := second * (200 + r.IntN(150)) / 1000
		burst := audiotest.Noise(seed+uint64(n), 9000, length)
		for i := range burst {
			t := float64(i) / float64(length)
			burst[i] = int16(float64(burst[i]) * math.Sin(math.Pi*math.Pow(t, 0.4)))
		}
		x = append(append(x, burst...), make([]int16, second/5)...)
	}
	return x
}

// lay lays y over x from a time on.
func lay(x []int16, seconds float64, y []int16) {
	for i, s := range y {
		if at := int(seconds*second) + i; at < len(x) {
			x[at] = int16(min(max(int(x[at])+int(s), -32768), 32767))
		}
	}
}

// floorOf runs a meeting and returns who has the floor in each tick, by place;
// -1 is nobody.
func floorOf(t *testing.T, sounds ...[]int16) (floor []int) {
	t.Helper()
	tb := newTable(t, 0)
	places := map[*Member]int{nil: -1}
	for i, x := range sounds {
		places[tb.join(uint32(i+1), x)] = i
	}
	for range len(sounds[0]) / codec.FrameSamples {
		tb.ticks(1)
		floor = append(floor, places[tb.Dominant()])
	}
	return floor
}

// meeting is people in rooms that are not quite silent.
func meeting(people, seconds int) (sounds [][]int16) {
	for i := range people {
		sounds = append(sounds, audiotest.Noise(uint64(i), 6, seconds*second))
	}
	return sounds
}

// Whoever speaks has the floor within a second, and has it until another does.
func TestFloorFollowsSpeech(t *testing.T) {
	// Who speaks from when to when.
	turns := []struct {
		who, voice int
		from, to   float64
	}{
		{0, 1, 1, 6}, {1, 2, 6.2, 12}, {2, 3, 12, 16}, {0, 1, 20, 25}, {3, 10, 25.1, 28}, {1, 2, 28.3, 34},
		{2, 3, 33.5, 40}, // interrupts, and goes on
	}
	sounds := meeting(4, 42)
	late := make([]float64, len(turns))
	for _, turn := range turns {
		clip := speechClip(t, turn.voice, 30*second)
		lay(sounds[turn.who], turn.from, clip[2*second:][:int((turn.to-turn.from)*second)])
	}
	floor := floorOf(t, sounds...)
	at := func(s float64) int { return floor[int(s*50)] }
	if at(0.9) != -1 {
		t.Errorf("nobody has spoken, and %d has the floor", at(0.9))
	}
	for i, turn := range turns {
		begin := turn.from
		if i > 0 {
			begin = max(begin, turns[i-1].to)
		}
		when := begin
		for ; when < turn.to && at(when) != turn.who; when += 0.02 {
		}
		late[i] = when - begin
		if late[i] > 1 {
			t.Errorf("turn %d: %d has the floor %.2f s after he could", i, turn.who, late[i])
		}
		if when-turn.from < 0.3 {
			t.Errorf("turn %d: %d takes the floor %.2f s after he began", i, turn.who, when-turn.from)
		}
		end := turn.to
		if i+1 < len(turns) {
			end = min(end, turns[i+1].from)
		}
		for ; when < end; when += 0.02 {
			if at(when) != turn.who {
				t.Errorf("turn %d: %d loses the floor at %.2f s to %d", i, turn.who, when, at(when))
				break
			}
		}
	}
	t.Logf("the floor is taken after %.2f s", late)
	if at(18) != 2 || at(41.9) != 2 {
		t.Errorf("in silence %d and %d have the floor, want who spoke last", at(18), at(41.9))
	}
}

// Coughs, keys, bangs and short words of others take nothing.
func TestNoiseDoesNotTakeTheFloor(t *testing.T) {
	click := func(seed uint64) []int16 {
		x := make([]int16, 0, 3*second)
		r := rand.New(rand.NewPCG(seed, 9))
		for len(x) < 5*second/2 {
			x = append(x, audiotest.Noise(seed+uint64(len(x)), 3000, second/60)...)
			x = append(x, make([]int16, second*(60+r.IntN(120))/1000)...)
		}
		return x
	}
	word := func(seed uint64) []int16 {
		at := int(seed%6+1) * 3 * second
		return speechClip(t, int(seed%5)+4, 30*second)[at : at+second*2/5]
	}
	for name, noise := range map[string]func(uint64) []int16{
		"cough": cough, "keys": click, "word": word,
		"bang": func(seed uint64) []int16 { return audiotest.Noise(seed, 15000, second/10) },
	} {
		// While another speaks, in his pauses, and long after.
		sounds := meeting(3, 50)
		lay(sounds[0], 1, speechClip(t, 1, 25*second))
		for i := range uint64(14) {
			lay(sounds[1+i%2], 3+3.3*float64(i), noise(i))
		}
		for n, who := range floorOf(t, sounds...) {
			if n > 2*50 && who != 0 || who > 0 {
				t.Errorf("%s: %d has the floor at %.2f s", name, who, float64(n)/50)
				break
			}
		}
	}
}

// Two who talk at once do not throw the floor to and fro; something faint that
// never ends does not keep it.
func TestFloorInOverlaps(t *testing.T) {
	sounds := meeting(2, 30)
	lay(sounds[0], 1, speechClip(t, 1, 28*second))
	lay(sounds[1], 5, speechClip(t, 2, 24*second))
	changes := 0
	floor := floorOf(t, sounds...)
	for n := 100; n < len(floor); n++ {
		if floor[n] != floor[n-1] {
			changes++
		}
	}
	if changes > 2 {
		t.Errorf("%d changes in 24 s of overlap", changes)
	}
	sounds = meeting(2, 30)
	lay(sounds[0], 1, louder(speechClip(t, 1, 28*second), -22))
	lay(sounds[1], 10, speechClip(t, 2, 10*second))
	floor = floorOf(t, sounds...)
	if floor[9*50] != 0 || floor[13*50] != 1 {
		t.Errorf("floor: %d, then %d, want the louder", floor[9*50], floor[13*50])
	}
}

// Who is muted, not heard or gone has no floor.
func TestFloorIsOfThoseHeard(t *testing.T) {
	tb := newTable(t, 0)
	a := tb.join(1, speechClip(t, 1, 20*second))
	b := tb.join(2, speechClip(t, 2, 20*second))
	a.SetMuted(true)
	tb.ticks(150)
	if tb.Dominant() != b {
		t.Error("the one who is heard has not the floor")
	}
	a.SetMuted(false)
	b.SetMuted(true)
	tb.ticks(150)
	if tb.Dominant() != a {
		t.Error("the muted keeps the floor from another")
	}
	tb.Leave(a)
	if tb.Dominant() != nil {
		t.Error("who is gone has the floor")
	}
	if tb.ticks(10); tb.Dominant() != nil {
		t.Error("the muted has the floor")
	}
}
