package main

import (
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// structured are the keys whose values in a file may be mappings, or lists of
// them: kong hands them to the flag's type as JSON.
var structured = map[string]bool{"preset": true, "webhook": true}

// valueOf is configValue of a key.
func valueOf(key string, n ast.Node) (any, error) {
	if !structured[key] {
		return configValue(n)
	}
	var value any
	err := yaml.NodeToValue(n, &value)
	return value, err
}
