package proc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vmctl/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sh(script string, args ...string) Cmd {
	return Cmd{Path: "sh", Args: append([]string{"-c", script, "sh"}, args...)}
}

func TestRunGivesOutput(t *testing.T) {
	res, err := Run(t.Context(), sh(`printf 'out %s' "$1"; echo said >&2`, "a b"))
	require.NoError(t, err)
	assert.Equal(t, "out a b", string(res.Stdout))
	assert.Equal(t, "said\n", res.Stderr)
}

func TestRunEnvironment(t *testing.T) {
	t.Setenv("VMCTL_TEST_KEPT", "kept")
	t.Setenv("VMCTL_TEST_GONE", "gone")
	c := sh(`echo "$VMCTL_TEST_KEPT ${VMCTL_TEST_GONE-unset} $VMCTL_TEST_NEW $(pwd)"`)
	c.Env = []string{"VMCTL_TEST_GONE=", "VMCTL_TEST_NEW=old", "VMCTL_TEST_NEW=new=1"}
	c.Dir = "/"
	res, err := Run(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, "kept unset new=1 /\n", string(res.Stdout))
}

func TestRunStdin(t *testing.T) {
	res, err := Run(t.Context(), Cmd{Path: "cat"})
	require.NoError(t, err)
	assert.Empty(t, res.Stdout, "without Stdin the child reads /dev/null")

	big := []byte(strings.Repeat("0123456789abcdef", 1<<14))
	res, err = Run(t.Context(), Cmd{Path: "cat", Stdin: big})
	require.NoError(t, err)
	assert.Equal(t, big, res.Stdout)

	_, err = Run(t.Context(), Cmd{Path: "true", Stdin: big})
	require.NoError(t, err, "a child need not read what it is offered")
}

func TestRunCallbacks(t *testing.T) {
	var out, errs []string
	c := sh(`printf 'one\r\ntwo\n\nlast'; printf '  (1%%)\r  (2%%)\r\nend\n' >&2`)
	c.OnStdout = func(line string) { out = append(out, line) }
	c.OnStderr = func(line string) { errs = append(errs, line) }
	c.SplitCR = true
	res, err := Run(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two", "", "last"}, out)
	assert.Equal(t, []string{"  (1%)", "  (2%)", "end"}, errs)
	assert.Empty(t, res.Stdout)
	assert.Contains(t, res.Stderr, "end")
}

func TestRunBoundsLines(t *testing.T) {
	var lines []string
	c := sh(`head -c 100000 /dev/zero | tr '\0' x; echo; echo after`)
	c.MaxLine = 10
	c.OnStdout = func(line string) { lines = append(lines, line) }
	_, err := Run(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, []string{"xxxxxxxxxx", "after"}, lines)
}

func TestRunBoundsOutput(t *testing.T) {
	c := sh(`head -c 5000000 /dev/zero; head -c 300000 /dev/zero >&2; echo end >&2`)
	c.MaxStdout = 1000
	_, err := Run(t.Context(), c)
	require.ErrorIs(t, err, ErrTooMuchOutput)
	assert.EqualError(t, err, "sh: it printed more than expected: over 1000 bytes")
	var failure *Error
	require.ErrorAs(t, err, &failure)
	assert.Len(t, failure.Stderr, stderrTail)
	assert.True(t, strings.HasSuffix(failure.Stderr, "end\n"))
}

func TestRunFailures(t *testing.T) {
	for name, test := range map[string]struct {
		cmd    Cmd
		text   string
		exit   int
		signal syscall.Signal
	}{
		"exit":       {sh(`exit 3`), "sh ended with exit code 3", 3, 0},
		"with words": {sh("echo first >&2; printf 'why\\033[1m\\n\\n' >&2; exit 1"), "sh ended with exit code 1: why [1m", 1, 0},
		"signal":     {sh(`kill -9 $$`), "sh was killed (killed)", -1, syscall.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Run(t.Context(), test.cmd)
			var failure *Error
			require.ErrorAs(t, err, &failure)
			assert.EqualError(t, err, test.text)
			assert.Equal(t, test.exit, failure.ExitCode)
			assert.Equal(t, test.signal, failure.Signal)
			assert.Equal(t, fault.Other, fault.KindOf(err))
			assert.Equal(t, test.cmd.Argv(), failure.Argv)
		})
	}
}

func TestRunNotFound(t *testing.T) {
	here := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(here, "tool"), []byte("#!/bin/sh\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(here, "data"), nil, 0o644))
	t.Chdir(here)
	for name, c := range map[string]Cmd{
		"no such program":             {Path: "no-such-program"},
		"no such file":                {Path: "/no/such/program"},
		"not executable":              {Path: "./data"},
		"directory":                   {Path: "/"},
		"empty":                       {},
		"empty PATH":                  {Path: "sh", Env: []string{"PATH="}},
		"relative PATH is not obeyed": {Path: "tool", Env: []string{"PATH=.::"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Run(t.Context(), c)
			require.ErrorIs(t, err, ErrNotFound)
		})
	}
	_, err := Run(t.Context(), Cmd{Path: "no-such-program"})
	require.EqualError(t, err, "no-such-program is not installed, or not in PATH")
	_, err = Run(t.Context(), Cmd{Path: "./tool"})
	require.NoError(t, err)
	_, err = Run(t.Context(), Cmd{Path: "tool", Env: []string{"PATH=" + here}})
	require.NoError(t, err, "PATH is the child's")
	_, err = Run(t.Context(), Cmd{Path: "sh", Dir: filepath.Join(here, "gone")})
	require.ErrorContains(t, err, "sh could not be run")
	require.NotErrorIs(t, err, ErrNotFound)
}

// started runs a script that prints a line when it is ready, and cancels then.
func started(t *testing.T, c Cmd, cause error) error {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	c.OnStdout = func(string) { cancel(cause) }
	_, err := Run(ctx, c)
	return err
}

func TestCancelIsGentle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cleaned")
	cause := errors.New("pressed")
	err := started(t, sh(`trap 'echo > "$1"; exit 0' INT; echo ready; while :; do sleep 1; done`, file), cause)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, cause)
	assert.EqualError(t, err, "sh was interrupted")
	assert.Equal(t, fault.Interrupted, fault.KindOf(err))
	assert.FileExists(t, file)
}

func TestCancelKillsTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	c := sh(`trap '' INT; sleep 1000 & echo $! > "$1"; echo ready; while :; do sleep 1; done`, file)
	c.Grace = 50 * time.Millisecond
	err := started(t, c, nil)
	require.ErrorIs(t, err, context.Canceled)
	var failure *Error
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, syscall.SIGKILL, failure.Signal)

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !running(pid) }, 10*time.Second, 5*time.Millisecond)
}

// running is false for a zombie that nobody has reaped yet.
func running(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := Run(ctx, Cmd{Path: "sleep", Args: []string{"1000"}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.EqualError(t, err, "sleep took too long and was stopped")
	assert.Equal(t, fault.Timeout, fault.KindOf(err))
}

func TestCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, Cmd{Path: "/no/such/program"})
	require.ErrorIs(t, err, context.Canceled)
}

func TestLeftBehindProcessDoesNotHoldUs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	res, err := Run(t.Context(), sh(`sleep 1000 & echo $! > "$1"; echo out`, file))
	require.NoError(t, err)
	assert.Equal(t, "out\n", string(res.Stdout))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

func TestNoTerminal(t *testing.T) {
	_, err := Run(t.Context(), sh(`true </dev/tty`))
	require.Error(t, err, "a child must not be able to ask at the terminal")
}

func TestLogValueHidesEnvironment(t *testing.T) {
	c := Cmd{Path: "nix", Args: []string{"build"}, Env: []string{"TOKEN=secret"}, Dir: "/d"}
	assert.Equal(t, "[argv=[nix build] dir=/d]", c.LogValue().String())
	failure := &Error{Argv: c.Argv(), ExitCode: 1, Stderr: "why", Signal: syscall.SIGINT, Err: context.Canceled}
	assert.Equal(t, "[argv=[nix build] exit=1 stderr=why signal=interrupt error=context canceled]", failure.LogValue().String())
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("a\r\nb\rc\n\n"), true, uint8(3), uint8(2))
	f.Add([]byte("\r\r\n\n"), false, uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, cr bool, limit, chunk uint8) {
		split := func(size int) (lines []string) {
			s := &splitter{max: int(limit) + 1, cr: cr, emit: func(l string) { lines = append(lines, l) }}
			for rest := data; len(rest) > 0; {
				n := min(size, len(rest))
				_, _ = s.Write(rest[:n])
				rest = rest[n:]
			}
			s.flush()
			return lines
		}
		whole := split(len(data) + 1)
		assert.Equal(t, whole, split(int(chunk)+1), "the cut of the stream must not matter")
		for _, line := range whole {
			assert.LessOrEqual(t, len(line), int(limit)+1)
			assert.NotContains(t, line, "\n")
		}
	})
}
