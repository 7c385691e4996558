package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// goPackage is what the test needs of `go list -json`.
type goPackage struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
}

// TestImportDirection holds the architecture to its drawing:
//
//	codec <- mixer ; codec <- transport ; {mixer, transport} <- api <- cmd ; web <- cmd
//
// with cgo only below codec, and pion's WebRTC only in transport and in the
// clients below cmd.
func TestImportDirection(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags=dynamic,nolibopusfile", "-json=ImportPath,Imports,CgoFiles", "mixdown/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	// What each layer may import of the project, itself apart.
	allowed := map[string][]string{
		"codec":     {},
		"mixer":     {"codec"},
		"transport": {"codec"},
		"api":       {"codec", "mixer", "transport"},
		"web":       {},
		"cmd":       {"api", "codec", "mixer", "transport", "web"},
	}
	seen := make(map[string]bool)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		layer := layerOf(p.ImportPath)
		may, known := allowed[layer]
		if !known {
			t.Errorf("%s is in no known layer", p.ImportPath)
			continue
		}
		seen[layer] = true
		if len(p.CgoFiles) > 0 && layer != "codec" {
			t.Errorf("%s uses cgo (%v): only packages below codec may", p.ImportPath, p.CgoFiles)
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "github.com/pion/webrtc/") && layer != "transport" && layer != "cmd" {
				t.Errorf("%s imports %s: only transport and clients may", p.ImportPath, i)
			}
			if to := layerOf(i); to != "" && to != layer && !slices.Contains(may, to) {
				t.Errorf("%s imports %s: %s may import %v only", p.ImportPath, i, layer, may)
			}
		}
	}
	for layer := range allowed {
		if !seen[layer] {
			t.Errorf("no package of layer %s was looked at", layer)
		}
	}
}

// layerOf is the first path element below the module, "" outside of it.
func layerOf(path string) string {
	rest, ok := strings.CutPrefix(path, "mixdown/")
	if !ok {
		return ""
	}
	layer, _, _ := strings.Cut(rest, "/")
	return layer
}
