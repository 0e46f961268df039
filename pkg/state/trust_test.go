package state_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/state"
)

func TestDirectoriesOfOthersAreRefused(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	for _, dir := range []string{"mine/state/vmctl", "shared/state/vmctl", "sticky/state"} {
		require.NoError(t, os.MkdirAll(filepath.Join(home, dir), 0o755))
	}
	require.NoError(t, os.Chmod(filepath.Join(home, "shared"), 0o777))
	require.NoError(t, os.Chmod(filepath.Join(home, "sticky"), 0o777|os.ModeSticky))
	require.NoError(t, os.Symlink("../shared/state/vmctl", filepath.Join(home, "mine", "link")))
	require.NoError(t, os.Symlink("loop", filepath.Join(home, "mine", "loop")))
	for dir, why := range map[string]string{
		"mine/state/vmctl":     "",
		"mine/not/there/yet":   "",
		"sticky/state/vmctl":   "",
		"mine/../mine/state":   "",
		"shared/state/vmctl":   "shared can be written to by everybody",
		"shared/not/there/yet": "shared can be written to by everybody",
		"mine/link":            "shared can be written to by everybody",
		"mine/link/../x":       "",
		"mine/loop/x":          "leads nowhere",
	} {
		err := state.Dirs{State: filepath.Join(home, dir), Cache: home}.Check()
		if why == "" {
			assert.NoError(t, err, dir)
			continue
		}
		require.ErrorContains(t, err, why, dir)
		assert.Equal(t, fault.Refused, fault.KindOf(err))
		assert.NotEmpty(t, fault.HintOf(err))
	}
}

// Where everybody can make things, ours is made before somebody else makes it.
func TestDirectoriesAreMadeWhereEverybodyCan(t *testing.T) {
	shared := t.TempDir()
	require.NoError(t, os.Chmod(shared, 0o777|os.ModeSticky))
	require.NoError(t, state.Dirs{State: filepath.Join(shared, "a/b")}.Check())
	info, err := os.Lstat(filepath.Join(shared, "a"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	assert.NoDirExists(t, filepath.Join(shared, "a/b"))
}

// A directory of another user's is no place for root, who could be led astray there.
func TestRootKeepsOutOfOtherHomes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a directory another user's; the end-to-end tests do it for both")
	}
	const other = 12345
	home := t.TempDir()
	require.NoError(t, os.Chown(home, other, other))
	err := state.Dirs{State: filepath.Join(home, ".local/state/vmctl")}.Check()
	require.ErrorContains(t, err, home+" belongs to user 12345")
	assert.Contains(t, fault.HintOf(err), "sudo -H")

	runtime := t.TempDir()
	dirs, err := state.Find(env(map[string]string{"HOME": "/root", "XDG_RUNTIME_DIR": runtime}))
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(runtime, "vmctl"), dirs.Runtime)
	require.NoError(t, os.Chown(runtime, other, other))
	dirs, err = state.Find(env(map[string]string{"HOME": "/root", "XDG_RUNTIME_DIR": runtime}))
	require.NoError(t, err)
	assert.Equal(t, "/root/.local/state/vmctl/locks", dirs.Runtime, "one that su left behind is not used")
}
