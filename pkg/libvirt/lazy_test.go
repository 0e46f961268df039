//go:build libvirt_dlopen

package libvirt_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
)

// freshVar marks a process of its own: in this one other tests have opened the library.
const freshVar = "VMCTL_TEST_FRESH_PROCESS"

func fresh(t *testing.T, env ...string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), freshVar+"=1"), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
}

func TestTheLibraryIsOpenedByTheFirstConnection(t *testing.T) {
	if os.Getenv(freshVar) == "" {
		fresh(t)
		return
	}
	require.False(t, mapped(t), "a command that asks no host must not wait for libvirt's libraries")
	host, closer, err := libvirt.Open(t.Context(), "test:///default")
	require.NoError(t, err)
	assert.True(t, mapped(t))
	_, err = host.Domains.Domain(t.Context(), "nobody")
	assert.True(t, fault.Is(err, fault.NotFound), "errors come through: %v", err)
	require.NoError(t, closer.Close())
}

func TestWithoutTheLibrary(t *testing.T) {
	if os.Getenv(freshVar) == "" {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "libvirt.so.0"), []byte("no library"), 0o644))
		fresh(t, "LD_LIBRARY_PATH="+dir)
		return
	}
	for range 2 {
		_, _, err := libvirt.Open(t.Context(), "test:///default")
		require.ErrorContains(t, err, "the libvirt library is not installed on this machine")
		assert.True(t, fault.Is(err, fault.Unreachable))
	}
}

func mapped(t *testing.T) bool {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Contains(string(maps), "libvirt.so")
}
