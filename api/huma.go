package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
)

// maxJSON bounds a JSON body, in bytes.
const maxJSON = 64 << 10

const (
	jsonType  = "application/json"
	patchType = "application/merge-patch+json"
)

// adapter lets huma register its operations by Server.handle, so that each of
// them passes the authorisation step.
type adapter struct{ s *Server }

// Handle implements huma.Adapter. It panics when an operation was registered
// without saying what it needs: that is a bug that must not pass unseen.
func (a adapter) Handle(op *huma.Operation, h func(huma.Context)) {
	need := op.Metadata[grantKey].(grantOf)
	serve := func(w http.ResponseWriter, r *http.Request) { h(humachi.NewContext(op, r, w)) }
	if types, ok := op.Metadata[bodyKey].([]string); ok {
		serve = a.s.withBody(types, serve)
	}
	between, _ := op.Metadata[betweenKey].([]func(http.Handler) http.Handler)
	a.s.handle(op.Method, op.Path, need, serve, between...)
}

// ServeHTTP implements huma.Adapter.
func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.s.ServeHTTP(w, r) }

// Keys of huma.Operation.Metadata.
const (
	grantKey   = "grant"
	bodyKey    = "body"
	betweenKey = "between"
)

// withBody reads the body into the request's scope before serve. huma does not
// see it: which fields were sent matters here (merge patches), and its faults
// want pointers. An empty body is an empty object.
func (s *Server) withBody(types []string, serve http.HandlerFunc) http.HandlerFunc {
	accept := "Accept-Post"
	if slices.Contains(types, patchType) {
		accept = "Accept-Patch"
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r, maxJSON)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if len(bytes.TrimSpace(body)) > 0 {
			mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
			if !slices.Contains(types, mediaType) {
				s.fail(w, r, wrongType.problem("send "+types[0]).with(accept, types[0]))
				return
			}
		}
		scopeOf(r.Context()).body = body
		r.Body = http.NoBody
		serve(w, r)
	}
}

func humaConfig(version string) huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "mixdown", Version: version,
				Description: "A conference server that sends everybody one mixed audio and video stream. " +
					"Operations marked x-stability: experimental may still change.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {
					Type: "http", Scheme: "bearer", BearerFormat: "JWT",
					Description: "Where the server has keys. Sessions need none: their secret is in the path",
				}},
			},
			Security: []map[string][]string{{}, {"token": {}}},
		},
		// huma looks "json" up for whatever ends in "+json".
		Formats: map[string]huma.Format{
			jsonType: {Marshal: writeJSON, Unmarshal: json.Unmarshal},
			"json":   {Marshal: writeJSON, Unmarshal: json.Unmarshal},
		},
		DefaultFormat: jsonType,
		Transformers:  []huma.Transformer{fromHuma},
	}
}

// writeJSON encodes v, and only then writes. That the client has gone is no error.
func writeJSON(w io.Writer, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, _ = w.Write(buf.Bytes())
	return nil
}

// operation is what differs between the JSON operations.
type operation struct {
	id, method, path, summary string
	need                      grantOf
	// status of success; 0 is huma's own choice: 200 with a body, else 204.
	status int
	// body is a value of the document's type that is taken, or nil.
	body any
	// between comes after the authorisation step; it may be nil.
	between func(http.Handler) http.Handler
	// headers of success that are not in the output type.
	experimental bool
}

// register makes a JSON operation of handler.
func register[I, O any](s *Server, o operation, handler func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, DefaultStatus: o.status,
		Metadata: map[string]any{grantKey: o.need},
	}
	if o.experimental {
		op.Extensions = map[string]any{"x-stability": "experimental"}
	}
	if o.between != nil {
		op.Metadata[betweenKey] = []func(http.Handler) http.Handler{o.between}
	}
	types := []string{jsonType}
	if o.method == http.MethodPatch {
		types = []string{patchType, jsonType}
	}
	if o.body != nil {
		op.Metadata[bodyKey] = types
	}
	s.described(&op)
	// huma stores the operation that it documents before it hands it to the
	// adapter; the body is documented afterwards, lest huma read it.
	huma.Register(s.huma, op, handler)
	if o.body == nil {
		return
	}
	schema := s.schemaOf(o.body)
	content := map[string]*huma.MediaType{}
	for _, t := range types {
		content[t] = &huma.MediaType{Schema: schema}
	}
	methodOf(s.huma.OpenAPI().Paths[o.path], o.method).RequestBody = &huma.RequestBody{Content: content}
}

// methodOf returns the operation of one method, or nil.
func methodOf(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodHead:
		return item.Head
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	case http.MethodDelete:
		return item.Delete
	case http.MethodOptions:
		return item.Options
	}
	return nil
}

func (s *Server) registry() huma.Registry { return s.huma.OpenAPI().Components.Schemas }

// schemaOf returns a reference to the schema of v's type.
func (s *Server) schemaOf(v any) *huma.Schema {
	t := reflect.TypeOf(v)
	return s.registry().Schema(t, true, t.Name())
}

// described adds to an operation what all have: the answer for errors.
func (s *Server) described(op *huma.Operation) *huma.Operation {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "A problem; its code says which",
		Content:     map[string]*huma.MediaType{problemType: {Schema: s.schemaOf(Problem{})}},
	}
	return op
}
