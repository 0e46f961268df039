package pkg_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReliabilityNamesItsTests holds the table in RELIABILITY.md to naming tests that there are.
func TestReliabilityNamesItsTests(t *testing.T) {
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range declared.FindAllSubmatch(source, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	require.NoError(t, err)
	doc, err := os.ReadFile("RELIABILITY.md")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(doc)) {
		named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(line, -1)
		for _, name := range named {
			assert.True(t, there[name[1]], "%s is not a test", name[1])
		}
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| what happens") {
			rows++
			assert.NotEmpty(t, named, "a row without a test: %s", line)
		}
	}
	assert.GreaterOrEqual(t, rows, 24)
}
