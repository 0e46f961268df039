package guest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/guest"
)

// local runs programs on this machine, as ssh does in a guest.
type local struct{ home string }

func (h local) Run(ctx context.Context, c guest.Command) (int, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = h.home, c.Stdin, c.Stdout, c.Stderr
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode(), nil
	}
	return 0, err
}

// A copy takes memory for a piece, however large the file is. (A GiB goes the same way;
// here it is a quarter of that.)
func TestALargeCopyTakesLittleMemory(t *testing.T) {
	const size, most = 256 << 20, 16 << 20
	dir, home := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(file, []byte("begins"), 0o600))
	require.NoError(t, os.Truncate(file, size))
	job := &guest.Copy{Runner: local{home}, Machine: "example"}
	for name, do := range map[string]func() error{
		"up":   func() error { return job.Upload(t.Context(), file, filepath.Join(home, "large")) },
		"down": func() error { return job.Download(t.Context(), file, filepath.Join(home, "back")) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.NoError(t, do(), name)
		runtime.ReadMemStats(&after)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(most), name)
	}
	for _, name := range []string{"large", "back"} {
		info, err := os.Stat(filepath.Join(home, name))
		require.NoError(t, err)
		assert.EqualValues(t, size, info.Size())
	}
}
