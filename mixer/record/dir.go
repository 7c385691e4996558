package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxSidecarBytes bounds a description: a thousand parts take about 60 kB.
const maxSidecarBytes = 256 << 10

// openDir opens the directory and locks it against other processes. The lock
// is on the directory itself, so no file is left behind, and ends with the
// returned file.
func openDir(dir string) (*os.Root, *os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("record: %w", err)
	}
	lock, err := root.Open(".")
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("record: %w", err), root.Close())
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, nil, errors.Join(fmt.Errorf("record: %s: %w", dir, err), lock.Close(), root.Close())
	}
	return root, lock, nil
}

// scanDir returns the recordings that have a file here, and how many parts
// follow each other from the first on.
func scanDir(root *os.Root) (map[string]int, error) {
	names, err := regularNames(root)
	if err != nil {
		return nil, err
	}
	have := make(map[string]bool, len(names))
	found := make(map[string]int)
	for _, name := range names {
		have[name] = true
		if id, _, ok := parseName(name); ok {
			found[id] = 0
		}
	}
	for id := range found {
		for n := 1; n <= maxParts && have[mediaName(id, n)]; n++ {
			found[id] = n
		}
	}
	return found, nil
}

// regularNames lists the plain files: no links, no directories.
func regularNames(root *os.Root) ([]string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	defer dir.Close()
	var names []string
	for {
		entries, err := dir.ReadDir(256)
		for _, e := range entries {
			if e.Type().IsRegular() {
				names = append(names, e.Name())
			}
		}
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
	}
}

// removeFiles removes a recording's parts and then its description. Parts go
// by number and not by what the description says, as a failed recording may
// have more; the last goes first, so that what an error leaves has no gap.
func removeFiles(root *os.Root, id string) error {
	last := 1
	for last < maxParts && exists(root, mediaName(id, last+1)) {
		last++
	}
	for part := last; part >= 1; part-- {
		if err := root.Remove(mediaName(id, part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := root.Remove(id + sidecarSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func exists(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return err == nil
}

// openRegular opens a plain file. A link is as good as nothing, even one that
// stays inside: whoever put it there was not us.
func openRegular(root *os.Root, name string, flag int) (*os.File, fs.FileInfo, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: not a regular file: %w", name, fs.ErrNotExist)
	}
	f, err := root.OpenFile(name, flag, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !os.SameFile(before, st) {
		err = fmt.Errorf("%s: changed while it was opened: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, st, nil
}

// readSidecar reads a description and checks that it is usable.
func readSidecar(root *os.Root, id string) (Recording, error) {
	var rec Recording
	f, _, err := openRegular(root, id+sidecarSuffix, os.O_RDONLY)
	if err != nil {
		return rec, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSidecarBytes))
	if err != nil {
		return rec, err
	}
	return parseSidecar(id, data)
}

func parseSidecar(id string, data []byte) (Recording, error) {
	var rec Recording
	if err := json.Unmarshal(data, &rec); err != nil {
		return Recording{}, err
	}
	switch rec.State {
	case Starting, Active, Paused, Complete, Failed:
	default:
		return Recording{}, fmt.Errorf("state: %q is none", rec.State)
	}
	switch {
	case rec.ID != id:
		return Recording{}, fmt.Errorf("id: %q: want the file's, %q", rec.ID, id)
	case rec.Bytes < 0 || rec.Duration < 0 || len(rec.Parts) > maxParts:
		return Recording{}, errors.New("bytes, durationNs, parts: out of range")
	}
	return rec, nil
}

// writeSidecar replaces a description: whoever reads it sees the old one or
// the new one, whole.
func writeSidecar(root *os.Root, rec *Recording) error {
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	tmp := "." + rec.ID + ".tmp" // one that a crash leaves is used again by the recovery
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(tmp, rec.ID+sidecarSuffix)
	}
	if err != nil {
		return errors.Join(err, root.Remove(tmp))
	}
	return nil
}
