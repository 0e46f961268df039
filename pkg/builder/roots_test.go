package builder

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRootsKeepAndLetGo(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	roots := filepath.Join(t.TempDir(), "state", "roots")
	first, err := l.Build(t.Context(), l.ref(), roots, false)
	require.NoError(t, err)
	l.nix("nix-store", "--gc")
	assert.FileExists(t, first.Path, "a root keeps the image")

	again, err := l.Build(t.Context(), l.ref(), roots, true)
	require.NoError(t, err)
	assert.Equal(t, first.OutPath, again.OutPath)
	assert.Len(t, rootsOf(roots, first.OutPath), 1, "one root for each path")
	entries, err := os.ReadDir(roots)
	require.NoError(t, err)
	assert.Len(t, entries, 2)

	// A new image leaves the old one's root alone: a machine may run on it.
	l.write(flakeDir+"/flake.nix", flakeOf(map[string]string{"test": drv("image", goodScript+"; echo 2 >> $out/nixos.qcow2")}))
	second, err := l.Build(t.Context(), l.ref(), roots, false)
	require.NoError(t, err)
	require.NotEqual(t, first.OutPath, second.OutPath)
	l.nix("nix-store", "--gc")
	assert.FileExists(t, first.Path)
	assert.FileExists(t, second.Path)

	require.NoError(t, KeepRoots(roots, second.OutPath))
	l.nix("nix-store", "--gc")
	assert.NoFileExists(t, first.Path)
	assert.FileExists(t, second.Path)

	require.NoError(t, KeepRoots(roots))
	assert.NoDirExists(t, roots)
	l.nix("nix-store", "--gc")
	assert.NoFileExists(t, second.Path)

	// What was collected is built again, whatever the cache remembers.
	third, err := l.Build(t.Context(), l.ref(), roots, false)
	require.NoError(t, err)
	assert.FileExists(t, third.Path)
}

func TestRootIsMadeForACachedImage(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	roots := filepath.Join(t.TempDir(), "roots")
	first, err := l.build(l.ref())
	require.NoError(t, err)
	before := l.runs()
	second, err := l.Build(t.Context(), l.ref(), roots, false)
	require.NoError(t, err)
	assert.True(t, second.Cached)
	assert.Equal(t, first.Path, second.Path)
	require.NoError(t, second.Kept())
	assert.Equal(t, before+1, l.runs(), "one nix for the root")
	l.nix("nix-store", "--gc")
	assert.FileExists(t, second.Path)
	third, err := l.Build(t.Context(), l.ref(), roots, false)
	require.NoError(t, err)
	require.NoError(t, third.Kept())
	assert.Equal(t, before+1, l.runs())
}

func TestWhatNixDoesNotKeepIsBuiltAnew(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	first, err := l.build(l.ref())
	require.NoError(t, err)
	image, err := os.Stat(first.Path)
	require.NoError(t, err)
	size := image.Size()
	// Something else is there now in its place, which nix does not know of.
	l.nix("nix-store", "--gc")
	require.NoError(t, os.MkdirAll(filepath.Dir(first.Path), 0o755))
	file, err := os.Create(first.Path)
	require.NoError(t, err)
	require.NoError(t, file.Truncate(size))
	require.NoError(t, file.Close())

	roots := filepath.Join(t.TempDir(), "roots")
	second, err := l.Build(t.Context(), l.ref(), roots, false)
	require.NoError(t, err)
	require.True(t, second.Cached)
	require.ErrorContains(t, second.Kept(), "any more")
	require.NoError(t, os.RemoveAll(first.OutPath))
	third, err := l.Build(t.Context(), l.ref(), roots, false)
	require.NoError(t, err)
	require.NoError(t, third.Kept())
	assert.False(t, third.Cached)
}

func TestUnfinishedRootIsNotTrusted(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	res, err := l.build(l.ref())
	require.NoError(t, err)
	roots := t.TempDir()
	require.NoError(t, os.Symlink(res.OutPath, filepath.Join(roots, "image-1-1")))
	again, err := l.Build(t.Context(), l.ref(), roots, false)
	require.NoError(t, err)
	require.NoError(t, again.Kept())
	l.nix("nix-store", "--gc")
	assert.FileExists(t, res.Path)
}

func TestKeepRoots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "roots")
	require.NoError(t, KeepRoots(dir), "a directory that is not there is fine")
	require.NoError(t, KeepRoots(""))
	require.NoError(t, os.Mkdir(dir, 0o700))
	link := func(name, target string, done bool) {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
		if done {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+rootOK), nil, 0o600))
		}
	}
	link("image-1", "/store/a", false)
	link("image-2", "/store/a", true)
	link("image-3", "/store/a", true)
	link("image-4", "/store/b", false)
	link("image-5", "/store/c", true)
	link("image-6.tmp-12-34", "/store/d", false)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "image-7.ok"), nil, 0o600))
	names := func() (names []string) {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	require.NoError(t, KeepRoots(dir, "/store/a", "/store/b"))
	assert.Equal(t, []string{"image-2", "image-2.ok", "image-4"}, names())
	require.NoError(t, KeepRoots(dir, "/store/b", "/store/nowhere"))
	assert.Equal(t, []string{"image-4"}, names())
	require.NoError(t, KeepRoots(dir, "/store/nowhere"))
	assert.NoDirExists(t, dir)
}
