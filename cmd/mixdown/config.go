package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
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
	path := ""
	for _, flag := range ctx.Flags() {
		if flag.Name == configFlag {
			path, _ = ctx.FlagValue(flag).(string)
			if path == "" && len(flag.Envs) > 0 {
				path = os.Getenv(flag.Envs[0])
			}
		}
	}
	if path == "" {
		return nil
	}
	data, err := readConfig(path)
	if err != nil {
		return err
	}
	parsed, err := parseConfig(data, configKeys(ctx.Flags()))
	if err = inOrder(faultsIn(errors.Join(err, parsed.convert(ctx.Flags())))); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f.values = parsed.values
	return nil
}

// configKeys are the keys that a file may have.
func configKeys(flags []*kong.Flag) map[string]bool {
	known := make(map[string]bool)
	for _, flag := range flags {
		known[flag.Name] = flag.Name != "help" && flag.Name != configFlag
	}
	return known
}

// parsedConfig is what a file says.
type parsedConfig struct {
	// values are a string or a []any of strings each, for kong to convert as it
	// converts flags, so that both take the same spellings.
	values map[string]any
	lines  map[string]int // where each is
}

// convert tries what kong will do with each value, so that all that cannot be read
// are told of at once; those are taken out.
func (c *parsedConfig) convert(flags []*kong.Flag) error {
	var faults []lineFault
	for _, flag := range flags {
		value, given := c.values[flag.Name]
		if !given {
			continue
		}
		into := reflect.New(flag.Target.Type()).Elem()
		if into.Kind() == reflect.Map { // which kong does too
			into.Set(reflect.MakeMap(into.Type()))
		}
		err := flag.Parse(kong.Scan().PushTyped(value, kong.FlagValueToken), into)
		if enum := flag.EnumSlice(); err == nil && flag.Enum != "" && !slices.Contains(enum, fmt.Sprint(into)) {
			err = fmt.Errorf("%q: want one of %s", fmt.Sprint(into), strings.Join(enum, ", "))
		}
		if err != nil {
			delete(c.values, flag.Name)
			faults = append(faults, lineFault{c.lines[flag.Name], fmt.Errorf("key %q: %w", flag.Name, err)})
		}
	}
	return inOrder(faults)
}

// lineFault is what is wrong with a line; 0 is none.
type lineFault struct {
	line int
	error
}

// Error puts the line first.
func (f lineFault) Error() string {
	if f.line == 0 {
		return f.error.Error()
	}
	return fmt.Sprintf("line %d: %v", f.line, f.error)
}

// Unwrap returns the fault.
func (f lineFault) Unwrap() error { return f.error }

// inOrder joins faults in the order of lines.
func inOrder(faults []lineFault) error {
	slices.SortStableFunc(faults, func(a, b lineFault) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, f := range faults {
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

// parseConfig returns what a file says, as far as it is of use, and every fault.
func parseConfig(data []byte, known map[string]bool) (parsedConfig, error) {
	parsed := parsedConfig{values: make(map[string]any), lines: make(map[string]int)}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // which are told of below, with all else
	if err != nil {
		return parsed, yamlFault(err)
	}
	var faults []lineFault
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
			return parsed, lineFault{body.GetToken().Position.Line, errors.New("want \"flag: value\" lines")}
		}
		for _, pair := range pairs {
			if err := parsed.add(pair, known); err != nil {
				faults = append(faults, lineFault{pair.Key.GetToken().Position.Line, err})
			}
		}
	}
	return parsed, inOrder(faults)
}

// yamlFault shortens what the parser says, which quotes the file.
func yamlFault(err error) error {
	var at yaml.Error
	if !errors.As(err, &at) {
		return err
	}
	return lineFault{at.GetToken().Position.Line, errors.New(at.GetMessage())}
}

func (c *parsedConfig) add(pair *ast.MappingValueNode, known map[string]bool) error {
	key := pair.Key.GetToken().Value
	if !known[key] {
		return fmt.Errorf("unknown key %q: want one of the flags of --help, without the dashes", key)
	}
	if line, twice := c.lines[key]; twice {
		return fmt.Errorf("key %q is given twice, first on line %d", key, line)
	}
	c.lines[key] = pair.Key.GetToken().Position.Line
	value, err := valueOf(key, pair.Value)
	if err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	c.values[key] = value
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
