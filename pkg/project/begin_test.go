package project_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/project"
)

// tree is what lies below a directory.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	paths := []string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			rel, _ := filepath.Rel(dir, path)
			paths = append(paths, rel)
		}
		return err
	}))
	return paths
}

func TestBegin(t *testing.T) {
	dir := t.TempDir()
	files, err := project.Flake("web", "x86_64-linux")
	require.NoError(t, err)
	files = append(files, project.DefinitionFile("web", "memory: 1GiB\n"))
	require.NoError(t, project.Begin(dir, files))
	assert.Equal(t, []string{
		"domain", "domain/web.yaml", "images", "images/web", "images/web/configuration.nix", "images/web/flake.lock", "images/web/flake.nix",
	}, tree(t, dir))
	p, err := project.Find(dir)
	require.NoError(t, err)
	_, err = p.Load("web")
	require.NoError(t, err)
	for _, f := range files {
		assert.NotRegexp(t, "@[A-Z]+@", f.Text)
	}
}

func TestBeginWritesAllOrNothing(t *testing.T) {
	for name, hinder := range map[string]func(t *testing.T, dir string){
		"the last file is there": func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "b"), []byte("mine"), 0o600))
		},
		"a link that leads nowhere": func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "b")))
		},
		"a file where a directory should be": func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "b"), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			hinder(t, dir)
			last := "b"
			if name == "a file where a directory should be" {
				last = "b/c"
			}
			before := tree(t, dir)
			err := project.Begin(dir, []project.File{{Path: "images/x/a", Text: "text"}, {Path: last, Text: "text"}})
			require.Error(t, err)
			assert.Contains(t, []fault.Kind{fault.Refused, fault.Other}, fault.KindOf(err))
			assert.Equal(t, before, tree(t, dir))
		})
	}
}
