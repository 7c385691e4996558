//go:build race

package mixer

// raceEnabled says that everything takes fifty times as long.
const raceEnabled = true
