package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// configFile resolves flags from the YAML file that --config (or
// MIXDOWN_CONFIG) names. A file holds flags by their names:
//
//	http: 127.0.0.1:8080
//	media: [":8189", ":8190"]
//	drain: 10s
//
// A flag on the command line wins over the environment, which wins over the
// file. The file is strict: an unknown key, a key given twice or a value that
// is a mapping is an error that says where.
type configFile struct {
	values map[string]any
}

// configFlag is the name of the flag that names the file; only commands that
// have it read one.
const configFlag = "config"

// maxConfigBytes is far more than all flags need.
const maxConfigBytes = 1 << 20

// Validate implements kong.Resolver. The file is not known yet at this point.
func (f *configFile) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver: nil leaves the flag as it is.
func (f *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	return f.values[flag.Name], nil
}

// load reads the file that the command line or the environment names.
func (f *configFile) load(ctx *kong.Context) error {
	known := make(map[string]bool)
	path := ""
	for _, flag := range ctx.Flags() {
		if flag.Name == configFlag {
			path, _ = ctx.FlagValue(flag).(string)
			if path == "" && len(flag.Envs) > 0 {
				path = os.Getenv(flag.Envs[0])
			}
			continue
		}
		known[flag.Name] = flag.Name != "help"
	}
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxConfigBytes {
		return fmt.Errorf("%s: %d bytes: want at most %d", path, info.Size(), maxConfigBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if f.values, err = parseConfig(data, known); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// parseConfig returns a file's values, each a string or a []any of strings for
// kong to convert as it converts flags, so that both take the same spellings.
func parseConfig(data []byte, known map[string]bool) (map[string]any, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, err
	}
	values := make(map[string]any)
	var faults []error
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue // nothing but comments
		}
		var pairs []*ast.MappingValueNode
		switch body := doc.Body.(type) {
		case *ast.MappingNode:
			pairs = body.Values
		case *ast.MappingValueNode:
			pairs = []*ast.MappingValueNode{body}
		case *ast.CommentGroupNode:
			continue
		default:
			return nil, fmt.Errorf("line %d: want \"flag: value\" lines", body.GetToken().Position.Line)
		}
		for _, pair := range pairs {
			faults = append(faults, addPair(values, pair, known))
		}
	}
	return values, errors.Join(faults...)
}

func addPair(values map[string]any, pair *ast.MappingValueNode, known map[string]bool) error {
	key := pair.Key.GetToken().Value
	line := pair.Key.GetToken().Position.Line
	if !known[key] {
		return fmt.Errorf("line %d: unknown key %q: want one of the flags of --help, without the dashes", line, key)
	}
	if _, twice := values[key]; twice {
		return fmt.Errorf("line %d: key %q is given twice", line, key)
	}
	value, err := configValue(pair.Value)
	if err != nil {
		return fmt.Errorf("line %d: key %q: %w", line, key, err)
	}
	values[key] = value
	return nil
}

func configValue(n ast.Node) (any, error) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, v := range n.Values {
			item, err := configValue(v)
			if err != nil {
				return nil, err
			}
			if _, nested := item.([]any); nested {
				return nil, errors.New("a list within a list: want a list of plain values")
			}
			list = append(list, item)
		}
		return list, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return strings.TrimSpace(n.GetToken().Value), nil
	case *ast.NullNode:
		return nil, errors.New("has no value")
	}
	return nil, fmt.Errorf("want a plain value or a list of them, not %s", strings.ToLower(n.Type().String()))
}
