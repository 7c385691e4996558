package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// maxFaults bounds the faults of one answer: enough to mend a request, too few
// to make a large answer of a small body.
const maxFaults = 16

// document is a JSON object as it was parsed.
type document = map[string]any

// parseDocument reads exactly one JSON object; nothing at all is an empty one.
func parseDocument(body []byte) (document, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return document{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	var doc document
	if err := dec.Decode(&doc); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, badJSON.problem(fmt.Sprintf("byte %d: %v", syntax.Offset, err))
		}
		return nil, badJSON.problem("want one JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, badJSON.problem("want one JSON object and nothing after it")
	}
	if doc == nil {
		return nil, badJSON.problem("want an object, not null")
	}
	return doc, nil
}

// documentOf returns v as it would be sent.
func documentOf(v any) (document, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var doc document
	return doc, json.Unmarshal(body, &doc)
}

// mergePatch returns what an RFC 7396 patch makes of target, which stays as it
// is. The result shares values with both.
func mergePatch(target, patch document) document {
	out := maps.Clone(target)
	if out == nil {
		out = document{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(out, name)
		case document:
			inner, _ := out[name].(document)
			out[name] = mergePatch(inner, value)
		default:
			out[name] = value
		}
	}
	return out
}

// put reads the body as a whole document of into's type. into holds the
// defaults; what the body leaves out, or sends as null, keeps them. current is
// the present document, nil if there is none; the fields named in lasting must
// not differ from it where they are sent.
func (s *Server) put(ctx context.Context, into any, current document, lasting ...string) error {
	doc, err := parseDocument(scopeOf(ctx).body)
	if err != nil {
		return err
	}
	return s.take(doc, into, current, lasting)
}

// patch reads the body as a merge patch of current and what comes out of it as
// put does.
func (s *Server) patch(ctx context.Context, into any, current document, lasting ...string) error {
	change, err := parseDocument(scopeOf(ctx).body)
	if err != nil {
		return err
	}
	// Merging would lose an unknown field that is set to null.
	if faults := s.unknown(change, s.schemaOf(reflect.ValueOf(into).Elem().Interface()), "#", nil); len(faults) > 0 {
		return invalid("", faults...)
	}
	return s.take(mergePatch(current, change), into, current, lasting)
}

func (s *Server) take(doc document, into any, current document, lasting []string) error {
	schema := s.schemaOf(reflect.ValueOf(into).Elem().Interface())
	faults := s.unknown(doc, schema, "#", nil)
	if len(faults) == 0 {
		faults = s.outOfRange(doc, schema)
	}
	for _, name := range lasting {
		if sent, ok := doc[name]; ok && sent != nil && current != nil && !unchanged(sent, current[name]) {
			faults = append(faults, Fault{Pointer: "#/" + name, Detail: "cannot be changed"})
		}
	}
	if len(faults) > 0 {
		return invalid("", faults[:min(len(faults), maxFaults)]...)
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		// The schema let something through that the type cannot hold.
		return invalid("", Fault{Pointer: "#", Detail: "some number is out of range"})
	}
	return nil
}

// unchanged reports whether what was sent says nothing new: of an object, some
// of the fields will do.
func unchanged(sent, current any) bool {
	fields, ok := sent.(document)
	if !ok {
		return reflect.DeepEqual(sent, current)
	}
	now, _ := current.(document)
	for name, value := range fields {
		if !unchanged(value, now[name]) {
			return false
		}
	}
	return true
}

// unknown lists the fields that the schema does not have. Names are compared
// exactly, unlike encoding/json does.
func (s *Server) unknown(doc document, schema *huma.Schema, at string, faults []Fault) []Fault {
	for schema.Ref != "" {
		schema = s.registry().SchemaFromRef(schema.Ref)
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		if len(faults) >= maxFaults {
			break
		}
		pointer := at + "/" + escapePointer(clip(name))
		property, ok := schema.Properties[name]
		if !ok {
			faults = append(faults, Fault{Pointer: pointer, Detail: "unknown; known are " +
				strings.Join(slices.Sorted(maps.Keys(schema.Properties)), ", ")})
			continue
		}
		if inner, ok := doc[name].(document); ok {
			faults = s.unknown(inner, property, pointer, faults)
		}
	}
	return faults
}

// outOfRange validates a document that has no unknown fields.
func (s *Server) outOfRange(doc document, schema *huma.Schema) []Fault {
	var res huma.ValidateResult
	huma.Validate(s.registry(), schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, doc, &res)
	var faults []Fault
	for _, err := range res.Errors[:min(len(res.Errors), maxFaults)] {
		f := Fault{Pointer: "#", Detail: err.Error()}
		var at huma.ErrorDetailer
		if errors.As(err, &at) {
			d := at.ErrorDetail()
			// huma writes "tiers[0].x"; no known field has a dot or a bracket in its name.
			path := strings.NewReplacer("[", ".", "]", "").Replace(d.Location)
			if path != "" {
				f.Pointer = "#/" + strings.ReplaceAll(path, ".", "/")
			}
			f.Detail = d.Message
		}
		faults = append(faults, f)
	}
	return faults
}

// escapePointer writes a name as a token of a JSON pointer (RFC 6901 section 3).
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
