package cache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vmctl/pkg/image/cache"
)

const key = "sha256-0123"

var sum = strings.Repeat("ab", 32)

// made is a cache with one entry.
func made(t *testing.T) (cache.Dir, cache.Entry) {
	t.Helper()
	dir := cache.Dir(filepath.Join(t.TempDir(), "images"))
	require.NoError(t, dir.Make())
	require.NoError(t, dir.Note(key, "something"))
	require.NoError(t, os.WriteFile(dir.Part(key), []byte("content"), 0o600))
	e, err := dir.Commit(key, sum, "https://example.org/x")
	require.NoError(t, err)
	return dir, e
}

func TestCommit(t *testing.T) {
	t.Parallel()
	dir, e := made(t)
	assert.Equal(t, cache.Entry{Path: filepath.Join(string(dir), key), Size: 7, SHA256: sum, From: "https://example.org/x"}, e)
	found, ok := dir.Find(key)
	assert.True(t, ok)
	assert.Equal(t, e, found)
	info, err := os.Stat(e.Path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o400), info.Mode().Perm())
	info, err = os.Stat(string(dir))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	assert.NoFileExists(t, dir.Part(key)+".json")
	require.NoError(t, dir.Drop(key))
	require.NoError(t, dir.Drop(key))
	left, err := os.ReadDir(string(dir))
	require.NoError(t, err)
	assert.Empty(t, left)
	_, err = dir.Commit(key, sum, "")
	require.Error(t, err, "there is no part")
}

func TestChangedEntriesAreNotFound(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(dir cache.Dir, path string) error{
		"other content": func(_ cache.Dir, path string) error {
			return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("CONTENT"), 0o600))
		},
		"open to others": func(_ cache.Dir, path string) error { return os.Chmod(path, 0o666) },
		"gone":           func(_ cache.Dir, path string) error { return os.Remove(path) },
		"a link": func(dir cache.Dir, path string) error {
			return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path))
		},
		"another file": func(_ cache.Dir, path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte("content"), 0o400))
		},
		"no sidecar":      func(_ cache.Dir, path string) error { return os.Remove(path + ".json") },
		"a torn sidecar":  func(_ cache.Dir, path string) error { return os.Truncate(path+".json", 9) },
		"an open sidecar": func(_ cache.Dir, path string) error { return os.Chmod(path+".json", 0o666) },
		"a sidecar by link": func(_ cache.Dir, path string) error {
			return errors.Join(os.Rename(path+".json", path+".j"), os.Symlink(path+".j", path+".json"))
		},
		"a pipe for one": func(_ cache.Dir, path string) error {
			return errors.Join(os.Remove(path+".json"), unix.Mkfifo(path+".json", 0o600))
		},
	} {
		dir, e := made(t)
		require.NoError(t, change(dir, e.Path), name)
		_, ok := dir.Find(key)
		assert.False(t, ok, name)
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	dir, e := made(t)
	require.NoError(t, os.Remove(e.Path+".json"))
	assert.True(t, dir.Holds(key))
	_, err := dir.Confirm(key, sum, "")
	require.NoError(t, err)
	_, ok := dir.Find(key)
	assert.True(t, ok)
	_, err = dir.Confirm("nothing", sum, "")
	require.Error(t, err)
	assert.False(t, dir.Holds("nothing"))
}

func TestLock(t *testing.T) {
	t.Parallel()
	dir := cache.Dir(filepath.Join(t.TempDir(), "images"))
	var inside, entered atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			unlock, err := dir.Lock(t.Context(), key, func() {})
			if !assert.NoError(t, err) {
				return
			}
			assert.Equal(t, int32(1), inside.Add(1))
			entered.Add(1)
			inside.Add(-1)
			unlock()
		})
	}
	all.Wait()
	assert.Equal(t, int32(8), entered.Load())

	unlock, err := dir.Lock(t.Context(), key, func() {})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = dir.Lock(ctx, key, cancel)
	require.ErrorIs(t, err, context.Canceled)
	unlock()
	left, err := os.ReadDir(string(dir))
	require.NoError(t, err)
	assert.Empty(t, left, "no lock file outlives its holder")
}

func TestRoom(t *testing.T) {
	t.Parallel()
	dir := cache.Dir(t.TempDir())
	room, err := dir.Room()
	require.NoError(t, err)
	require.NoError(t, dir.Need(0))
	err = dir.Need(room + 1<<50)
	var full *cache.NoRoomError
	require.ErrorAs(t, err, &full)
	require.ErrorIs(t, err, unix.ENOSPC)
	assert.Equal(t, room+1<<50, full.Need)
	require.ErrorAs(t, dir.Full(&os.PathError{Err: unix.EDQUOT}), &full)
	other := errors.New("other")
	assert.Equal(t, other, dir.Full(other))
	_, err = cache.Dir("/nonexistent").Room()
	require.Error(t, err)
}
