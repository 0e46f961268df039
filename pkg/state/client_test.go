package state_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/state"
)

func TestClientsAreToldApart(t *testing.T) {
	dirs := state.Dirs{State: filepath.Join(t.TempDir(), "state"), Runtime: "/run/user/1000/vmctl"}
	first := dirs.Client("laptop", "qemu:///system")
	assert.Regexp(t, "^[0-9a-f]{8}$", first)
	assert.Equal(t, first, dirs.Client("laptop", "qemu:///system"), "it is remembered")
	seen := map[string]bool{first: true}
	other := state.Dirs{State: dirs.State, Runtime: "/run/user/1001/vmctl"}
	for _, another := range []string{
		dirs.Client("desktop", "qemu:///system"), dirs.Client("laptop", "qemu:///session"), other.Client("laptop", "qemu:///system"),
		state.Dirs{State: t.TempDir(), Runtime: dirs.Runtime}.Client("laptop", "qemu:///system"),
	} {
		assert.False(t, seen[another], "locks that are not shared make another client")
		seen[another] = true
	}
}

func TestAClientThatCannotBeRemembered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	dirs := state.Dirs{State: file, Runtime: "/run"}
	first := dirs.Client("laptop", "qemu:///system")
	assert.NotEqual(t, first, dirs.Client("laptop", "qemu:///system"))
}

func TestAClientThatWasKilledLeavesNothing(t *testing.T) {
	dirs := state.Dirs{State: t.TempDir(), Runtime: "/run"}
	require.NoError(t, os.WriteFile(filepath.Join(dirs.State, ".client.new"), []byte("half"), 0o600))
	dirs.Client("laptop", "qemu:///system")
	left, err := os.ReadDir(dirs.State)
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, "client", left[0].Name())
}
