package libvirt

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAsleep(t *testing.T) {
	dir, err := os.MkdirTemp("", "d") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	getenv := func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": dir}[name] }
	assert.True(t, Asleep(t.Context(), "qemu:///session", getenv))
	assert.False(t, Asleep(t.Context(), "qemu:///system", getenv))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "libvirt"), 0o700))
	l, err := net.Listen("unix", filepath.Join(dir, "libvirt", "libvirt-sock"))
	require.NoError(t, err)
	assert.False(t, Asleep(t.Context(), "qemu:///session", getenv))
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	assert.True(t, Asleep(t.Context(), "qemu:///session", getenv), "what is left of one that ended")
}
