//go:build race

package transport

// raceDetector says that sync.Pool forgets at random.
const raceDetector = true
