package project_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/project"
)

func TestDirectory(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	p := project.Project{Dir: filepath.Join(top, "p")}
	require.NoError(t, os.MkdirAll(filepath.Join(p.Dir, "src"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "file"), nil, 0o644))
	require.NoError(t, os.Symlink("src", filepath.Join(p.Dir, "link")))
	for name, want := range map[string]string{
		".": p.Dir, "src": p.Dir + "/src", "link": p.Dir + "/src", "..": top, top: top,
	} {
		got, err := p.Directory(name)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
	for name, want := range map[string]string{
		"nothing": "there is no directory " + p.Dir + "/nothing", "file": p.Dir + "/file is not a directory",
	} {
		_, err := p.Directory(name)
		assert.EqualError(t, err, want)
		assert.True(t, fault.Is(err, fault.NotFound))
	}
}
