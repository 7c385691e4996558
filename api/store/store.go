package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	boltErrors "go.etcd.io/bbolt/errors"
)

// Errors, to be tested with errors.Is.
var (
	// ErrInUse says that another process has the file.
	ErrInUse = errors.New("in use by another process")
	// ErrDamaged says that the file is not what a Store wrote.
	ErrDamaged = errors.New("damaged, or no state file at all")
	// ErrClosed says that the Store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrBadKey says that a key is empty or longer than [MaxKeyBytes].
	ErrBadKey = errors.New("a key has 1 to 1024 bytes")
	// ErrTooLarge says that a value is longer than [MaxValueBytes].
	ErrTooLarge = errors.New("a value has at most 1 MiB")
)

// Bounds of what is kept.
const (
	MaxKeyBytes   = 1024
	MaxValueBytes = 1 << 20
)

const (
	// lockWait is how long a file in use is waited for. 0 would be for ever.
	lockWait = 200 * time.Millisecond
	// eachBatch is how many entries Each holds at a time.
	eachBatch = 128
)

// Store is the file. Create it with [Open]. Safe for concurrent use: readers
// disturb nobody, writers take turns.
type Store struct {
	db   *bbolt.DB
	once sync.Once
	err  error // of closing
}

// Open opens the file, making it (for its owner's eyes only) when it is
// missing, and reads all of it once, so that damage is known now and not in the
// middle of a conference. [ErrInUse], [ErrDamaged], and those of the file
// system. It may block for as long as the disk takes.
func Open(path string) (*Store, error) {
	db, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Store{db: db}, nil
}

// openFile opens the file and reads everything. The library panics at pages that
// make no sense, and reads where a file that was cut has nothing any more: both are
// errors here.
func openFile(path string) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var file *os.File
	defer func() {
		if p := recover(); p != nil {
			// What it has mapped of the file stays: who opened it gives up.
			db, err = nil, errors.Join(openError(fmt.Errorf("%v", p)), file.Close())
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode) //nolint:gosec // its name is the server's own
			file = f
			return f, err
		},
	})
	if err != nil {
		return nil, openError(err)
	}
	if err := readAll(db); err != nil {
		return nil, errors.Join(openError(err), db.Close())
	}
	return db, nil
}

func readAll(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(db.Path())
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("%d of %d bytes are there", info.Size(), tx.Size())
		}
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
}

func openError(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	if errors.Is(err, boltErrors.ErrTimeout) {
		return ErrInUse
	}
	return fmt.Errorf("%w (%w): put a backup in its place, or move it away to begin without", ErrDamaged, err)
}

// Close waits for what is under way and closes the file. Twice is fine.
func (s *Store) Close() error {
	s.once.Do(func() { s.err = s.db.Close() })
	return s.err
}

// Bucket returns a bucket by its name, which must not be empty. There need not
// be anything in it.
func (s *Store) Bucket(name string) *Bucket { return &Bucket{db: s.db, name: []byte(name)} }

// Bucket is a sorted map in a [Store]. Safe for concurrent use.
type Bucket struct {
	db   *bbolt.DB
	name []byte
}

// Get returns a value, which is the caller's, and whether there is one.
func (b *Bucket) Get(key string) (value []byte, found bool, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		value, found = (&Tx{tx.Bucket(b.name)}).Get(key)
		return nil
	})
	return value, found, named(err)
}

// Put sets a value, which it does not keep. It returns when that is on the disk.
// [ErrBadKey], [ErrTooLarge].
func (b *Bucket) Put(key string, value []byte) error {
	return b.Update(func(tx *Tx) error { return tx.Put(key, value) })
}

// Delete forgets a key; one that is not there is fine.
func (b *Bucket) Delete(key string) error {
	return b.Update(func(tx *Tx) error { return tx.Delete(key) })
}

// Each calls f with every key that begins with prefix, in the order of their
// bytes, until f fails, and returns that error. The value is f's. f may call
// everything there is, this bucket's writes too: an entry that is written or
// deleted meanwhile may or may not be seen as it was.
func (b *Bucket) Each(prefix string, f func(key string, value []byte) error) error {
	type entry struct {
		key   string
		value []byte
	}
	var batch []entry
	at := []byte(prefix)
	for {
		batch = batch[:0]
		// f runs outside of the transaction: a write in it would wait for its
		// end if the file had to grow.
		err := b.db.View(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(b.name)
			if bucket == nil {
				return nil
			}
			c := bucket.Cursor()
			for k, v := c.Seek(at); k != nil && bytes.HasPrefix(k, []byte(prefix)) && len(batch) < eachBatch; k, v = c.Next() {
				batch = append(batch, entry{string(k), bytes.Clone(v)})
			}
			return nil
		})
		if err != nil {
			return named(err)
		}
		for _, e := range batch {
			if err := f(e.key, e.value); err != nil {
				return err
			}
		}
		if len(batch) < eachBatch {
			return nil
		}
		at = append([]byte(batch[len(batch)-1].key), 0) // the least key after it
	}
}

// Update does several things at once: all of them are on the disk when it
// returns nil, and none when f fails, which is then returned. f sees its own
// writes, uses tx only, is brief, and does not keep tx.
func (b *Bucket) Update(f func(tx *Tx) error) error {
	return named(b.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(b.name)
		if err != nil {
			return err
		}
		return f(&Tx{bucket})
	}))
}

// Tx is a bucket within an [Bucket.Update].
type Tx struct{ bucket *bbolt.Bucket }

// Get returns a value, which is the caller's, and whether there is one.
func (tx *Tx) Get(key string) (value []byte, found bool) {
	if tx.bucket == nil {
		return nil, false
	}
	v := tx.bucket.Get([]byte(key))
	if v == nil {
		return nil, false
	}
	return append([]byte{}, v...), true
}

// Put sets a value; the caller must not change it before Update has returned.
// [ErrBadKey], [ErrTooLarge].
func (tx *Tx) Put(key string, value []byte) error {
	switch {
	case key == "" || len(key) > MaxKeyBytes:
		return ErrBadKey
	case len(value) > MaxValueBytes:
		return ErrTooLarge
	}
	return tx.bucket.Put([]byte(key), value)
}

// Delete forgets a key; one that is not there is fine.
func (tx *Tx) Delete(key string) error { return tx.bucket.Delete([]byte(key)) }

// Each calls f with every key that begins with prefix, in the order of their
// bytes, until f fails, and returns that error. f may keep neither value nor
// tx, and must not write.
func (tx *Tx) Each(prefix string, f func(key string, value []byte) error) error {
	c := tx.bucket.Cursor()
	for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
		if err := f(string(k), v); err != nil {
			return err
		}
	}
	return nil
}

// named gives the library's errors our names.
func named(err error) error {
	if errors.Is(err, boltErrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
