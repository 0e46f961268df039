package safefile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/safefile"
)

func entries(t *testing.T, dir string) []string {
	t.Helper()
	found, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range found {
		names = append(names, entry.Name())
	}
	return names
}

func TestWhatAKillLeftIsGone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "note")
	require.NoError(t, os.WriteFile(file, []byte("before"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".note.new"), []byte("half of what was much longer than that"), 0o600))
	require.NoError(t, safefile.Write(file, []byte("after")))
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "after", string(content))
	assert.Equal(t, []string{"note"}, entries(t, dir))
}

func TestTidy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "note")
	require.NoError(t, safefile.Write(file, []byte("whole")))
	safefile.Tidy(file)
	for _, half := range []string{"", "half"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".note.new"), []byte(half), 0o600))
		safefile.Tidy(file)
		assert.Equal(t, []string{"note"}, entries(t, dir))
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	require.NoError(t, safefile.Create(file, []byte("first")))
	// Killed when the file had its name, and the other one still, too.
	require.NoError(t, os.Link(file, filepath.Join(dir, ".key.new")))
	require.ErrorIs(t, safefile.Create(file, []byte("second")), os.ErrExist)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "first", string(content))
	assert.Equal(t, []string{"key"}, entries(t, dir))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestManyWriteOne(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "note")
	whole := func(n byte) []byte { return bytes.Repeat([]byte{n}, 1<<16+int(n)) }
	require.NoError(t, safefile.Write(file, whole(0)))
	var all sync.WaitGroup
	for n := range byte(8) {
		all.Go(func() {
			for range 20 {
				assert.NoError(t, safefile.Write(file, whole(n)))
				content, err := os.ReadFile(file)
				if assert.NoError(t, err) && assert.NotEmpty(t, content) {
					assert.True(t, bytes.Equal(whole(content[0]), content), "it is always one of them, and whole")
				}
			}
		})
	}
	all.Wait()
	assert.Equal(t, []string{"note"}, entries(t, dir))
}

func TestNothingIsLeftWhereItCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "note")
	require.NoError(t, os.MkdirAll(filepath.Join(taken, "inside"), 0o700))
	require.Error(t, safefile.Write(taken, []byte("x")))
	assert.Equal(t, []string{"note"}, entries(t, dir))
	require.ErrorIs(t, safefile.Write(filepath.Join(dir, "none", "note"), nil), os.ErrNotExist)

	target := filepath.Join(dir, "theirs")
	require.NoError(t, os.WriteFile(target, []byte("theirs"), 0o600))
	require.NoError(t, os.Symlink(target, filepath.Join(dir, ".linked.new")))
	require.Error(t, safefile.Write(filepath.Join(dir, "linked"), []byte("x")), "a link is not followed")
	content, err := os.ReadFile(target)
	require.NoError(t, err)
	assert.Equal(t, "theirs", string(content))
}
