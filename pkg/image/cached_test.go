package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCachedFiles(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	assert.Empty(t, CachedFiles(base))
	dir := images(base)
	require.NoError(t, dir.Make())
	sums := map[string]string{}
	add := func(key, letter string) {
		sums[key] = strings.Repeat(letter, 64)
		require.NoError(t, os.WriteFile(dir.Part(key), []byte(key), 0o600))
		_, err := dir.Commit(key, sums[key], "https://example.org/"+key)
		require.NoError(t, err)
	}
	add("sha256-packed", "a")
	add(unpackVersion+sums["sha256-packed"], "b")
	add(convertVersion+"vmdk-"+strings.Repeat("b", 64), "c")
	add("sha256-other", "d")
	require.NoError(t, os.WriteFile(dir.Part("sha256-begun"), []byte("x"), 0o600))
	all := CachedFiles(base)
	require.Len(t, all, 4)
	needed := Needed(all, []string{filepath.Join(base, "images", convertVersion+"vmdk-"+strings.Repeat("b", 64))})
	assert.Len(t, needed, 3, "what it was made from, too")
	assert.False(t, needed["sha256-other"])

	release, err := UseCache(base)
	require.NoError(t, err)
	another, err := UseCache(base)
	require.NoError(t, err)
	dropped, err := DropCached(base, []string{"sha256-other"})
	require.NoError(t, err)
	assert.False(t, dropped, "somebody may be reading it")
	release()
	another()
	dropped, err = DropCached(base, []string{"sha256-other"})
	require.NoError(t, err)
	assert.True(t, dropped)
	assert.Len(t, CachedFiles(base), 3)
	assert.FileExists(t, dir.Part("sha256-begun"), "it can be resumed")
}
