package testenv_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

func TestTrace(t *testing.T) {
	const script = `echo one; echo two; : >made; exec 3<made; echo three`
	run := func(at func(testenv.Point) error) (string, string, syscall.WaitStatus) {
		dir := t.TempDir()
		out, err := os.Create(filepath.Join(dir, "out"))
		require.NoError(t, err)
		defer out.Close()
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Stdout, cmd.Dir = out, dir
		ws, err := testenv.Trace(cmd, at)
		require.NoError(t, err)
		said, err := os.ReadFile(out.Name())
		require.NoError(t, err)
		return string(said), dir, ws
	}
	var calls []string
	said, _, ws := run(func(p testenv.Point) error { calls = append(calls, p.Call); return nil })
	assert.Equal(t, "one\ntwo\nthree\n", said)
	assert.Equal(t, []string{"write", "write", "openat", "write"}, calls, "a file that is read does not count")
	assert.Zero(t, ws.ExitStatus())

	for n, want := range []string{"", "one\n", "one\ntwo\n", "one\ntwo\n"} {
		said, dir, ws := run(func(p testenv.Point) error {
			if p.N == n+1 {
				return testenv.ErrStopped
			}
			return nil
		})
		assert.Equal(t, want, said)
		assert.Equal(t, syscall.SIGKILL, ws.Signal())
		if n < 3 {
			assert.NoFileExists(t, filepath.Join(dir, "made"), "the call was not made")
		}
	}
}
