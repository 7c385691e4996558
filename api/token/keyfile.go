package token

import (
	"errors"
	"fmt"
	"os"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile is far more than all keys need, in bytes.
const maxFile = 1 << 20

// ReadKeys reads a file of keys: YAML with a line "ID: SECRET" for each.
func ReadKeys(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d bytes: want at most %d", path, info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(data)
	if err == nil {
		err = CheckKeys(keys)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// ParseKeys reads what a file of keys holds. Errors give lines, and nothing of
// what stands there.
func ParseKeys(data []byte) (map[string]string, error) {
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		// The parser's own words show the lines around the fault.
		return nil, errors.New(`not YAML: want lines "ID: SECRET"`)
	}
	keys := make(map[string]string)
	var faults []error
	for _, doc := range file.Docs {
		var pairs []*ast.MappingValueNode
		switch body := doc.Body.(type) {
		case nil, *ast.CommentGroupNode:
		case *ast.MappingNode:
			pairs = body.Values
		case *ast.MappingValueNode:
			pairs = []*ast.MappingValueNode{body}
		default:
			faults = append(faults, fmt.Errorf(`line %d: want "ID: SECRET"`, doc.Body.GetToken().Position.Line))
		}
		for _, pair := range pairs {
			id, line := pair.Key.GetToken().Value, pair.Key.GetToken().Position.Line
			if _, twice := keys[id]; twice {
				faults = append(faults, fmt.Errorf("line %d: this id stands there twice", line))
			}
			// A secret of digits alone is a number to YAML.
			switch value := pair.Value.(type) {
			case *ast.StringNode:
				keys[id] = value.Value
			case *ast.IntegerNode:
				keys[id] = value.GetToken().Value
			default:
				faults = append(faults, fmt.Errorf(`line %d: want "ID: SECRET"`, line))
			}
		}
	}
	return keys, errors.Join(faults...)
}
