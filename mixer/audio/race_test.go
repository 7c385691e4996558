//go:build race

package audio

// Under the race detector sync.Pool forgets on purpose, so that pooled frames
// are made anew.
const raceEnabled = true
