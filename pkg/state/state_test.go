package state_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/state"
)

func env(pairs map[string]string) func(string) string {
	return func(key string) string { return pairs[key] }
}

func TestFind(t *testing.T) {
	runtime := t.TempDir()
	for name, tc := range map[string]struct {
		env  map[string]string
		want state.Dirs
	}{
		"home alone": {
			map[string]string{"HOME": "/home/me"},
			state.Dirs{Config: "/home/me/.config/vmctl", Cache: "/home/me/.cache/vmctl", State: "/home/me/.local/state/vmctl", Runtime: "/home/me/.local/state/vmctl/locks"},
		},
		"all variables": {
			map[string]string{"HOME": "/home/me", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/f", "XDG_RUNTIME_DIR": runtime},
			state.Dirs{Config: "/f/vmctl", Cache: "/c/vmctl", State: "/s/vmctl", Runtime: filepath.Join(runtime, "vmctl")},
		},
		"relative variables do not count": {
			map[string]string{"HOME": "/home/me", "XDG_CACHE_HOME": "c", "XDG_RUNTIME_DIR": "r"},
			state.Dirs{Config: "/home/me/.config/vmctl", Cache: "/home/me/.cache/vmctl", State: "/home/me/.local/state/vmctl", Runtime: "/home/me/.local/state/vmctl/locks"},
		},
		"a runtime directory that is gone": {
			map[string]string{"HOME": "/home/me", "XDG_RUNTIME_DIR": "/nonexistent"},
			state.Dirs{Config: "/home/me/.config/vmctl", Cache: "/home/me/.cache/vmctl", State: "/home/me/.local/state/vmctl", Runtime: "/home/me/.local/state/vmctl/locks"},
		},
		"no home but the variables": {
			map[string]string{"XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"},
			state.Dirs{Cache: "/c/vmctl", State: "/s/vmctl", Runtime: "/s/vmctl/locks"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := state.Find(env(tc.env))
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestFindWithoutHome(t *testing.T) {
	_, err := state.Find(env(nil))
	require.ErrorContains(t, err, "HOME is not set")
	assert.Contains(t, fault.HintOf(err), "XDG_STATE_HOME")
}

func TestLocksExclude(t *testing.T) {
	dirs := state.Dirs{Runtime: t.TempDir()}
	var inside, entered atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			// Each its own, as in processes of their own.
			unlock, err := dirs.Locks("qemu:///system", progress.Discard).Lock(t.Context(), "example")
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
	left, err := os.ReadDir(dirs.Runtime)
	require.NoError(t, err)
	assert.Empty(t, left, "no lock file outlives its holder")
}

func TestLockOfADeadProcessIsTaken(t *testing.T) {
	dirs := state.Dirs{Runtime: t.TempDir()}
	left := filepath.Join(dirs.Runtime, "qemu____system")
	require.NoError(t, os.MkdirAll(left, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(left, "example.lock"), nil, 0o600))
	unlock, err := dirs.Locks("qemu:///system", progress.Discard).Lock(t.Context(), "example")
	require.NoError(t, err)
	unlock()
	assert.NoDirExists(t, left)
}

func TestLocksOfDeadProcessesAreSwept(t *testing.T) {
	dirs := state.Dirs{Runtime: t.TempDir()}
	dir := filepath.Join(dirs.Runtime, "qemu____system")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "killed.lock"), nil, 0o600))
	held, err := dirs.Locks("qemu:///system", progress.Discard).Lock(t.Context(), "held")
	require.NoError(t, err)
	unlock, err := dirs.Locks("qemu:///system", progress.Discard).Lock(t.Context(), "example")
	require.NoError(t, err)
	unlock()
	assert.NoFileExists(t, filepath.Join(dir, "killed.lock"))
	assert.FileExists(t, filepath.Join(dir, "held.lock"), "one that is held stays")
	held()
	assert.NoDirExists(t, dir)
}

func TestWaitingSaysSoAndCanBeInterrupted(t *testing.T) {
	dirs := state.Dirs{Runtime: t.TempDir()}
	unlock, err := dirs.Locks("qemu:///system", progress.Discard).Lock(t.Context(), "example")
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var said []string
	sink := progress.Func(func(e progress.Event) {
		said = append(said, e.Text)
		cancel()
	})
	_, err = dirs.Locks("qemu:///system", sink).Lock(ctx, "example")
	require.Error(t, err)
	assert.Equal(t, fault.Interrupted, fault.KindOf(err))
	assert.Equal(t, []string{"another vmctl is working on example: waiting for it"}, said)
}

func TestALockDirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := state.Dirs{Runtime: file}.Locks("qemu:///system", progress.Discard).Lock(t.Context(), "example")
	require.Error(t, err)
	assert.Contains(t, fault.HintOf(err), "XDG_RUNTIME_DIR")
}

// What a kill leaves beside a note is no note, and goes with the next one.
func TestNotesLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	notes := state.Dirs{State: dir}.Images()
	left := filepath.Join(dir, "images", ".nix-1.json.new")
	require.NoError(t, notes.Write("nix-1", []byte("one")))
	require.NoError(t, os.WriteFile(left, []byte("half of a lo"), 0o600))
	assert.Equal(t, []string{"nix-1"}, notes.Names())
	require.NoError(t, notes.Write("nix-1", []byte("two")))
	assert.Equal(t, "two", string(notes.Read("nix-1")))
	assert.NoFileExists(t, left)
	require.NoError(t, os.WriteFile(left, nil, 0o600))
	notes.Remove("nix-1")
	assert.NoFileExists(t, left)
}
