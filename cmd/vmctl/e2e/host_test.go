//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// libvirtd is the process id of the private system daemon.
func libvirtd(t *testing.T) int {
	t.Helper()
	content, err := os.ReadFile("/run/libvirtd.pid")
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	require.NoError(t, err)
	return pid
}

// killLibvirtd ends the daemon as a crash would.
func killLibvirtd(t *testing.T) {
	t.Helper()
	pid := libvirtd(t)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, func() bool { return syscall.Kill(pid, 0) != nil })
}

// startLibvirtd starts the daemon again and waits until it answers.
func startLibvirtd(t *testing.T) {
	t.Helper()
	cmd := exec.Command("libvirtd", "-d")
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	eventually(t, func() bool {
		return exec.Command("virsh", "-c", "qemu:///system", "uri").Run() == nil
	})
}

// qemus are the process ids of all guests.
func qemus(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var pids []string
	for _, path := range paths {
		content, _ := os.ReadFile(path) // it may have ended meanwhile
		if strings.Contains(string(content), "\x00guest=") {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}
