package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestParentKilled runs itself as the parent that dies: what it started must not stay.
func TestParentKilled(t *testing.T) {
	if file := os.Getenv("VMCTL_TEST_CHILD_PID"); file != "" {
		_, _ = Run(t.Context(), sh(`echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 1000`, file))
		return
	}
	file := filepath.Join(t.TempDir(), "pid")
	self, err := os.Executable()
	require.NoError(t, err)
	parent := exec.Command(self, "-test.run=^TestParentKilled$")
	parent.Env = append(os.Environ(), "VMCTL_TEST_CHILD_PID="+file)
	require.NoError(t, parent.Start())
	var pid int
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	}, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, parent.Process.Signal(syscall.SIGKILL))
	require.Error(t, parent.Wait())
	require.Eventually(t, func() bool { return !running(pid) }, 30*time.Second, 5*time.Millisecond)
}
