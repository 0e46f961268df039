//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// event is what vmctl says of its progress.
type event struct {
	ID, Status string
	Current    int64
}

// watched runs vmctl and calls back at each of its events, before it goes much further.
func (pr *project) watched(t *testing.T, args []string, at func(e event, vmctl *os.Process)) result {
	t.Helper()
	cmd := pr.p.command(t, pr.dir, "vmctl", append([]string{"--progress", "json"}, args...)...)
	var out, diag bytes.Buffer
	cmd.Stdout = &out
	pipe, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		diag.Write(append(lines.Bytes(), '\n'))
		var line struct{ Progress *event }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Progress != nil {
			at(*line.Progress, cmd.Process)
		}
	}
	_ = cmd.Wait() // the exit code says it
	return result{out.String(), diag.String(), cmd.ProcessState.ExitCode()}
}
