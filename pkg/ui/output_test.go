package ui

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// writeUntilBroken is what the test binary does as a child: it writes to its own
// standard output until that gives an error, and tells by its status which.
func writeUntilBroken() int {
	s := System()
	for range 1 << 20 {
		if _, err := fmt.Fprintln(s.Out, "a line"); err != nil {
			Error(s, err)
			if errors.Is(s.Finish(), ErrBrokenPipe) {
				return 141
			}
			return 1
		}
	}
	return 0
}

func TestBrokenPipeIsAnErrorAndNotTheEnd(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	var stderr bytes.Buffer
	cmd.Env = append(os.Environ(), "VMCTL_UI_TEST_PIPE=1", "GOCOVERDIR="+t.TempDir())
	cmd.Stdout, cmd.Stderr = w, &stderr
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	_, err = r.Read(make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	assert.Equal(t, 141, exit.ExitCode(), "the process was not ended by the signal")
	assert.Empty(t, stderr.String(), "a broken pipe is nothing to talk about")
}

// showEverything is what the test binary does on a terminal of its own.
func showEverything() int {
	s := System()
	p := NewProgress(s, ModeAuto, false)
	p.Emit(progress.Event{ID: "a", Text: "build images/example", Detail: "evaluating"})
	p.Emit(progress.Event{ID: "a", Text: "build images/example", Status: progress.Done, Detail: strings.Repeat("x", 100)})
	p.Close()
	Error(s, fault.New(fault.Refused, "a domain named example exists on this host and is not vmctl's"))
	if machines().Write(s) != nil || s.Finish() != nil {
		return 1
	}
	return 0
}

func TestSystemOnATerminal(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = []string{"VMCTL_UI_TEST_TERMINAL=1", "TERM=xterm", "LC_ALL=C.UTF-8", "GOCOVERDIR=" + t.TempDir()}
	person, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 50, Rows: 10})
	require.NoError(t, err)
	defer func() { require.NoError(t, person.Close()) }()
	vt := newScreen(50, 10)
	_, _ = io.Copy(vt, person) // ends with EIO when the child has gone
	require.NoError(t, cmd.Wait())
	assert.Empty(t, vt.mistakes)
	golden(t, "system.txt", vt.String())
}

func TestOutputRemembersItsFirstError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, full.Close()) }()
	s := Fixed(nil, full, io.Discard, 0)
	require.NoError(t, s.Finish())
	_, err = s.Out.Write([]byte("result"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.EqualError(t, s.Finish(), "the output could not be written: no space left on device")
	_, err = s.Out.Write([]byte("more"))
	assert.Equal(t, s.Finish(), err)
}

func TestEnvironment(t *testing.T) {
	tests := []struct {
		name            string
		env             map[string]string
		color, utf8     bool
		dumb, outIsPipe bool
		outColor        bool
	}{
		{name: "terminal", env: map[string]string{"TERM": "xterm", "LANG": "en_US.UTF-8"}, color: true, outColor: true, utf8: true},
		{name: "pipe", env: map[string]string{"TERM": "xterm"}, color: true, outIsPipe: true},
		{name: "no colour", env: map[string]string{"TERM": "xterm", "NO_COLOR": "1", "CLICOLOR_FORCE": "1", "LC_CTYPE": "C.utf8"}, utf8: true},
		{name: "empty NO_COLOR says nothing", env: map[string]string{"TERM": "xterm", "NO_COLOR": ""}, color: true, outColor: true},
		{name: "dumb", env: map[string]string{"TERM": "dumb", "LC_ALL": "C", "LANG": "en_US.UTF-8"}, dumb: true},
		{name: "forced", env: map[string]string{"TERM": "dumb", "CLICOLOR_FORCE": "1"}, dumb: true, outIsPipe: true, color: true, outColor: true},
		{name: "not forced", env: map[string]string{"TERM": "xterm", "CLICOLOR_FORCE": "0", "CLICOLOR": "0"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := Fixed(nil, nil, nil, 80)
			s.OutTTY = !test.outIsPipe
			s.Getenv = func(name string) string { return test.env[name] }
			s.environ()
			assert.Equal(t, test.color, s.ErrColor, "colour on stderr")
			assert.Equal(t, test.outColor, s.OutColor, "colour on stdout")
			assert.Equal(t, test.utf8, s.UTF8, "UTF-8")
			assert.Equal(t, test.dumb, s.Dumb, "dumb")
		})
	}
}

func TestWidths(t *testing.T) {
	s := Fixed(nil, nil, nil, 40)
	assert.Equal(t, 40, s.OutWidth())
	assert.Equal(t, 40, s.ErrWidth())
	s.OutTTY = false
	assert.Zero(t, s.OutWidth())
	s.size = func(int) (int, int) { return 0, 0 }
	assert.Equal(t, 80, s.ErrWidth(), "a terminal that does not know its size")
	s.Getenv = func(name string) string { return map[string]string{"COLUMNS": "132", "LINES": "x"}[name] }
	assert.Equal(t, 132, s.ErrWidth())
}
