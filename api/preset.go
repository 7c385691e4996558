package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"mixdown/mixer"
)

// defaultPreset is what rooms are made of where no preset is named: by a first
// join as well.
const defaultPreset = "default"

// maxPresets bounds them.
const maxPresets = 100

var presetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// presets are rooms that others are made after: documents as they are sent to
// make a room, by name.
type presets map[string]document

// CheckPresets reports every fault of what would be Config.Presets.
func CheckPresets(texts map[string]json.RawMessage) error {
	s := &Server{} // documents are judged by schemas, which belong to one
	s.huma = huma.NewAPI(humaConfig(""), adapter{s})
	return s.SetPresets(texts)
}

// SetPresets replaces Config.Presets. It reports every fault, and changes nothing
// when there is one. Rooms that there are stay as they are.
func (s *Server) SetPresets(texts map[string]json.RawMessage) error {
	if len(texts) > maxPresets {
		return fmt.Errorf("%d presets: want at most %d", len(texts), maxPresets)
	}
	all := presets{}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		doc, err := s.readPreset(name, texts[name])
		if err != nil {
			faults = append(faults, fmt.Errorf("preset %q: %w", name, err))
			continue
		}
		all[name] = doc
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	s.presets.Store(&all)
	return nil
}

func (s *Server) readPreset(name string, text []byte) (document, error) {
	if !presetName.MatchString(name) {
		return nil, errors.New("a name has 1 to 64 letters, digits, '-', '_' or '.', and starts with a letter or digit")
	}
	doc, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	for _, field := range []string{"id", "roomId", "createdAt", "status", "preset"} {
		if _, is := doc[field]; is {
			return nil, fmt.Errorf("#/%s: has no place in a preset", field)
		}
	}
	config, err := s.presetConfig("a", doc)
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		return nil, presetFault(err)
	}
	return doc, nil
}

// presetFault says where a preset's faults are.
func presetFault(err error) error {
	p := problemOf(err)
	var faults []error
	for _, f := range p.Errors {
		faults = append(faults, fmt.Errorf("%s: %s", f.Pointer, f.Detail))
	}
	if len(faults) == 0 {
		return err
	}
	return errors.Join(faults...)
}

// presetConfig is what a room of a document is made from.
func (s *Server) presetConfig(id string, doc document) (mixer.RoomConfig, error) {
	want := defaultRoom()
	if err := s.take(doc, &want, nil, nil); err != nil {
		return mixer.RoomConfig{}, err
	}
	return want.config(id)
}

// firstConfig is for a room that a join makes.
func (s *Server) firstConfig(id mixer.RoomID) (mixer.RoomConfig, error) {
	doc, is := (*s.presets.Load())[defaultPreset]
	if !is {
		return mixer.RoomConfig{ID: id}, nil
	}
	return s.presetConfig(string(id), doc)
}

// usePreset puts what the body names as its preset, or the default one, below what
// else the body says. Of a room that exists, a preset does not touch what is fixed.
func (s *Server) usePreset(ctx context.Context, exists bool) error {
	body, err := parseDocument(scopeOf(ctx).body)
	if err != nil {
		return err
	}
	name, named := body["preset"].(string)
	if sent := body["preset"]; sent != nil && !named {
		return invalid("", Fault{Pointer: "#/preset", Detail: "want a name"})
	}
	if !named {
		name = defaultPreset
	}
	all := *s.presets.Load()
	base, known := all[name]
	switch {
	case named && !known:
		return invalid("", Fault{Pointer: "#/preset", Detail: fmt.Sprintf("there is no such preset; there are %v", slices.Sorted(maps.Keys(all)))})
	case !known:
		return nil
	}
	base, body = maps.Clone(base), maps.Clone(body)
	delete(body, "preset")
	if exists {
		for _, field := range lastingRoom {
			delete(base, field)
		}
	}
	// Not merged before its faults are known: merging loses unknown fields that
	// are null.
	if faults := s.unknown(body, s.schemaOf(Room{}), "#", nil); len(faults) > 0 {
		return invalid("", faults...)
	}
	merged, err := json.Marshal(mergePatch(base, body))
	if err != nil {
		return err
	}
	scopeOf(ctx).body = merged
	return nil
}
