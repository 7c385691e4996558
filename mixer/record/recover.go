package record

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"mixdown/codec/webm"
)

// Report tells what [Recover] found of one file.
type Report struct {
	// Name is the file's name in the directory.
	Name string
	// Info is what the file holds, and whether it had to be finished.
	Info webm.Info
	// Err is why it could not be read or finished; it was left as it is.
	Err error
}

// Recover finishes every WebM file in a directory that a killed process left,
// recordings of a Store and others, and brings the descriptions of recordings
// up to date. report is called for each file, in order of names; nil is fine.
// Files that cannot be read are reported, never deleted. It must not run
// beside the server: [ErrInUse]. Twice is fine.
func Recover(dir string, report func(Report)) error {
	root, lock, err := openDir(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	defer lock.Close()
	if report == nil {
		report = func(Report) {}
	}
	names, err := regularNames(root)
	if err != nil {
		return err
	}
	found, err := scanDir(root)
	if err != nil {
		return err
	}
	slices.Sort(names)
	var errs []error
	for _, name := range names {
		id, part, ours := parseName(name)
		if ours && found[id] >= part {
			continue // below, with its recording
		}
		if strings.HasSuffix(name, mediaSuffix) {
			info, _, err := recoverPart(root, name)
			report(Report{Name: name, Info: info, Err: err})
		}
	}
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		rec, err := readSidecar(root, id)
		if err == nil && rec.State.Final() {
			for part := 1; part <= found[id]; part++ {
				info, _, err := recoverPart(root, mediaName(id, part))
				report(Report{Name: mediaName(id, part), Info: info, Err: err})
			}
			continue
		}
		rec = recoverRecording(root, id, rec, err, found[id], report)
		if err := writeSidecar(root, &rec); err != nil {
			errs = append(errs, fmt.Errorf("record: %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// recoverPart finishes one file and tells when it was last written before.
func recoverPart(root *os.Root, name string) (webm.Info, time.Time, error) {
	f, st, err := openRegular(root, name, os.O_RDWR)
	if err != nil {
		return webm.Info{}, time.Time{}, err
	}
	info, err := webm.Recover(f)
	return info, st.ModTime(), errors.Join(err, f.Close())
}

// recoverRecording finishes the parts of a recording without an end and
// returns its description with the end that it had. When there is no usable
// description (sidecarErr) it makes one from the files. A file that cannot be
// read makes the recording failed.
func recoverRecording(root *os.Root, id string, rec Recording, sidecarErr error, parts int, report func(Report)) Recording {
	var errs []error
	if sidecarErr != nil {
		rec = Recording{ID: id, Format: "webm"}
	}
	rec.Parts, rec.Bytes, rec.Duration = nil, 0, 0
	var last time.Time
	video := false
	for part := 1; part <= parts; part++ {
		name := mediaName(id, part)
		info, mod, err := recoverPart(root, name)
		if report != nil {
			report(Report{Name: name, Info: info, Err: err})
		}
		if mod.After(last) {
			last = mod
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("part %d: %w", part, err))
		}
		rec.Parts = append(rec.Parts, Part{
			Bytes: info.Bytes, Duration: info.Duration, Width: info.Width, Height: info.Height,
		})
		rec.Bytes += info.Bytes
		rec.Duration += info.Duration
		video = video || info.Video
	}
	if sidecarErr != nil {
		rec.MediaType = mediaType(video)
	}
	if rec.Duration == 0 && len(errs) == 0 {
		errs = append(errs, ErrEmpty)
	}
	rec.State, rec.Error = Complete, ""
	if err := errors.Join(errs...); err != nil {
		rec.State, rec.Error = Failed, reason(err)
	}
	if rec.Stopped = last.UTC(); last.IsZero() {
		rec.Stopped = rec.Started
	}
	if rec.Started.IsZero() {
		rec.Started = rec.Stopped.Add(-rec.Duration)
	}
	return rec
}
