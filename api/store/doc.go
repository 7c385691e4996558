// Package store keeps what must outlive the process: one file of named buckets,
// each a sorted map from keys to values that only their users understand.
//
//	s, err := store.Open(filepath.Join(data, "state.db"))
//	...
//	defer s.Close()
//	rooms := s.Bucket("rooms")
//	err = rooms.Put("standup", document)
//	err = rooms.Each("", func(key string, value []byte) error { ... })
//
// What a write has returned for is on the disk, and a crash at any instant
// leaves each write, and each [Bucket.Update], done or not done but nothing
// between. Every write waits for the disk, which may take milliseconds or, of a
// disk in trouble, seconds: it is never called from a tick or a room's control
// loop. Whoever works there puts what is to be kept into a queue of his own.
//
// The file belongs to one process at a time. It is bbolt's; `bbolt check` and
// its kin read it.
package store
