package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"

	"vmctl/pkg/fault"
)

// ErrNotFound is matched by the error of a program that is not installed.
var ErrNotFound = errors.New("not installed, or not in PATH")

// ErrTooMuchOutput is matched by the error of a program that printed more than
// Cmd.MaxStdout; the output is thrown away.
var ErrTooMuchOutput = errors.New("it printed more than expected")

// Error is a program that did not succeed.
type Error struct {
	// Argv is the whole command line.
	Argv []string
	// ExitCode is the exit code, or -1 when there was none.
	ExitCode int
	// Signal ended the program, or 0.
	Signal syscall.Signal
	// Stderr is the last 64 KiB of what it said.
	Stderr string
	// Err is why it could not be started, or why we stopped it (it then matches
	// context.Canceled or context.DeadlineExceeded); nil when it failed by itself.
	Err error
}

var (
	_ error          = (*Error)(nil)
	_ slog.LogValuer = (*Error)(nil)
)

// Error says in one sentence what happened, with the last line the program said.
func (e *Error) Error() string {
	name := e.Program()
	switch {
	case errors.Is(e.Err, ErrNotFound):
		return fmt.Sprintf("%s is %v", name, ErrNotFound)
	case errors.Is(e.Err, context.DeadlineExceeded):
		return name + " took too long and was stopped"
	case errors.Is(e.Err, context.Canceled):
		return name + " was interrupted"
	case errors.Is(e.Err, ErrTooMuchOutput):
		return fmt.Sprintf("%s: %v", name, e.Err)
	case e.Err != nil:
		return fmt.Sprintf("%s could not be run: %v", name, e.Err)
	}
	how := fmt.Sprintf("ended with exit code %d", e.ExitCode)
	if e.Signal != 0 {
		how = fmt.Sprintf("was killed (%v)", e.Signal)
	}
	if last := e.LastLine(); last != "" {
		return fmt.Sprintf("%s %s: %s", name, how, last)
	}
	return fmt.Sprintf("%s %s", name, how)
}

// Unwrap gives the reason we know, so that errors.Is(err, context.Canceled) holds
// for an interrupted program.
func (e *Error) Unwrap() error { return e.Err }

// FaultKind is Interrupted or Timeout for a program that we stopped.
func (e *Error) FaultKind() fault.Kind {
	switch {
	case errors.Is(e.Err, context.DeadlineExceeded):
		return fault.Timeout
	case errors.Is(e.Err, context.Canceled):
		return fault.Interrupted
	default:
		return fault.Other
	}
}

// Program is the program's name without its directory.
func (e *Error) Program() string {
	if len(e.Argv) == 0 {
		return "program"
	}
	return filepath.Base(e.Argv[0])
}

// LastLine is the last line of stderr that is not empty, control characters
// replaced and at most 500 bytes of it.
func (e *Error) LastLine() string {
	text := strings.TrimRight(e.Stderr, " \t\r\n")
	if i := strings.LastIndexAny(text, "\r\n"); i >= 0 {
		text = text[i+1:]
	}
	if len(text) > 500 {
		text = text[:500] + "…"
	}
	text = strings.ToValidUTF8(text, "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// LogValue is for the debug log: the command line, its end and what it said.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Any("argv", e.Argv), slog.Int("exit", e.ExitCode), slog.String("stderr", e.Stderr)}
	if e.Signal != 0 {
		attrs = append(attrs, slog.String("signal", e.Signal.String()))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}
