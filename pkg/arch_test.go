package pkg_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "vmctl/"

// arrows are the imports that each package may have of the project's own. Every
// package stands here: a new one is thought about first. See ARCHITECTURE.md.
func arrows() map[string][]string {
	leaves := []string{"pkg/fault", "pkg/progress", "pkg/ansi", "pkg/safefile"}
	with := func(more ...string) []string { return append(slices.Clone(leaves), more...) }
	return map[string][]string{
		"cmd/vmctl": {"pkg/cli"},
		"pkg/cli": with("pkg/libvirt", "pkg/builder", "pkg/image", "pkg/console", "pkg/guest", "pkg/ui",
			"pkg/project", "pkg/screen", "pkg/ssh", "pkg/hosts", "pkg/push", "pkg/cloudinit", "pkg/secret", "pkg/state", "pkg/engine", "pkg/spec"),

		"pkg/libvirt":           with("pkg/engine", "pkg/spec", "pkg/libvirt/domainxml"),
		"pkg/libvirt/domainxml": with("pkg/spec"),
		"pkg/builder":           with("pkg/engine", "pkg/spec", "pkg/proc", "pkg/ssh", "images"),
		"pkg/image":             with("pkg/engine", "pkg/spec", "pkg/proc", "pkg/image/cache", "pkg/image/checksum", "pkg/image/fetch"),
		"pkg/image/cache":       {"pkg/safefile"},
		"pkg/image/checksum":    with(),
		"pkg/image/fetch":       with("pkg/spec", "pkg/image/cache", "pkg/image/checksum"),
		"pkg/delta":             {},
		"pkg/push":              with("pkg/engine", "pkg/proc", "pkg/delta"),
		"pkg/guest":             with("pkg/engine", "pkg/spec", "pkg/proc", "pkg/ssh", "images"),
		"pkg/secret":            with("pkg/spec", "pkg/proc"),
		"pkg/console":           with("pkg/engine"),
		"pkg/screen":            with("pkg/engine", "pkg/proc"),
		"pkg/project":           with("pkg/spec"),
		"pkg/cloudinit":         {"pkg/fault", "pkg/spec", "pkg/iso"},
		"pkg/iso":               {"pkg/fault"},
		"pkg/state":             with(),
		"pkg/ssh":               with("pkg/proc"),
		"pkg/hosts":             with("pkg/spec"),
		"pkg/ui":                with(),

		"pkg/engine":            with("pkg/spec"),
		"pkg/engine/enginetest": with("pkg/engine", "pkg/spec"),
		"pkg/spec":              {"pkg/fault"},
		"pkg/proc":              with(),

		"pkg/fault":    {"pkg/progress", "pkg/ansi"},
		"pkg/progress": {},
		"pkg/safefile": {},
		"pkg/ansi":     {},

		"images":          {},
		"pkg/testenv":     {},
		"cmd/vmctl/bench": {},
		"cmd/vmctl/e2e":   {},
	}
}

// needsCgo are the only packages that may link libvirt.
func needsCgo() []string { return []string{"pkg/libvirt", "pkg/cli", "cmd/vmctl"} }

func TestImportsFollowTheArrows(t *testing.T) {
	allowed := arrows()
	for name, imports := range packages(t) {
		may, known := allowed[name]
		if !assert.True(t, known, "%s is new: give it its place in arrows()", name) {
			continue
		}
		for _, path := range imports {
			if own, ok := strings.CutPrefix(path, module); ok {
				assert.Contains(t, may, own, "%s must not import %s", name, own)
			}
			if strings.HasPrefix(path, "github.com/urfave/cli") {
				assert.Equal(t, "pkg/cli", name, "only pkg/cli knows the command line library")
			}
			if path == "libvirt.org/go/libvirt" {
				assert.Equal(t, "pkg/libvirt", name, "only pkg/libvirt calls libvirt")
			}
		}
	}
}

func TestNamesSayWhatAPackageIsFor(t *testing.T) {
	for name := range packages(t) {
		for _, vague := range []string{"util", "utils", "common", "helpers", "types"} {
			assert.NotContains(t, strings.Split(name, "/"), vague)
		}
	}
}

func TestAllButLibvirtBuildsWithoutCgo(t *testing.T) {
	var pure []string
	for name := range packages(t) {
		if !slices.Contains(needsCgo(), name) {
			pure = append(pure, module+name)
		}
	}
	slices.Sort(pure)
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, pure...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// packages maps each package of the program, without the module's name, to what it imports.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", "libvirt_dlopen",
		"-f", `{{if .GoFiles}}{{.ImportPath}} {{join .Imports " "}}{{end}}`, module+"...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &stderr)
	found := map[string][]string{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 0 {
			found[strings.TrimPrefix(words[0], module)] = words[1:]
		}
	}
	require.NotEmpty(t, found)
	return found
}
