package proc_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/proc"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	var failed *proc.Error
	_, err := proc.Run(t.Context(), proc.Cmd{Path: "sh", Args: []string{"-c", "while :; do :; done"}, Limits: proc.Limits{CPU: time.Second}})
	require.ErrorAs(t, err, &failed)
	assert.Contains(t, []syscall.Signal{syscall.SIGXCPU, syscall.SIGKILL}, failed.Signal)

	// The limits hold from right after the start, so the program waits for its first byte.
	file := filepath.Join(t.TempDir(), "big")
	_, err = proc.Run(t.Context(), proc.Cmd{
		Path: "sh", Args: []string{"-c", `while ! grep -q "Max file size *1048576 " /proc/self/limits; do :; done; head -c 2000000 /dev/zero >"$0"`, file},
		Limits: proc.Limits{File: 1 << 20},
	})
	require.Error(t, err)
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.LessOrEqual(t, info.Size(), int64(1<<20))
}

func TestStreams(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "in")
	text := strings.Repeat("x\x00\r\n", 1<<20)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var out bytes.Buffer
	res, err := proc.Run(t.Context(), proc.Cmd{Path: "cat", StdinFile: f, StdoutTo: &out})
	require.NoError(t, err)
	assert.Empty(t, res.Stdout)
	assert.Equal(t, len(text), out.Len(), "as it is, and all of it")
	assert.Equal(t, sha256.Sum256([]byte(text)), sha256.Sum256(out.Bytes()))
}

type full struct{ left int }

var errFull = errors.New("no room")

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestAReaderThatFailsStopsTheProgram(t *testing.T) {
	t.Parallel()
	_, err := proc.Run(t.Context(), proc.Cmd{Path: "cat", Args: []string{"/dev/zero"}, StdoutTo: &full{1 << 20}})
	require.ErrorIs(t, err, errFull)
}
