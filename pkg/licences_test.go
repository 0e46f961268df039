package pkg_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every module in the program stands in the list, with a licence that goes with MIT.
func TestLicencesAreKnown(t *testing.T) {
	text, err := os.ReadFile("../cmd/vmctl/DEPENDENCIES.md")
	require.NoError(t, err)
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\S+) \| (\S+) \| (.+) \|$`).FindAllStringSubmatch(string(text), -1) {
		if row[1] == "module" {
			continue
		}
		listed[row[1]+" "+row[2]] = true
		for licence := range strings.SplitSeq(row[3], ", ") {
			assert.True(t, slices.Contains([]string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC"}, licence), "%s: %s", row[1], licence)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "libvirt_dlopen,urfave_cli_no_docs",
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", module+"cmd/vmctl")
	out, err := cmd.Output()
	require.NoError(t, err)
	built := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			built[line] = true
		}
	}
	require.NotEmpty(t, built)
	assert.Equal(t, built, listed, "run: go tool task licences")
}
