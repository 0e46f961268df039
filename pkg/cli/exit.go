package cli

import (
	"context"
	"errors"

	"vmctl/pkg/fault"
	"vmctl/pkg/ui"
)

// The exit codes. They are a promise to scripts; this file alone decides them.
const (
	exitOK          = 0
	exitOther       = 1
	exitUsage       = 2
	exitInvalid     = 3
	exitNotFound    = 4
	exitRefused     = 5
	exitUnreachable = 6
	exitBuild       = 7
	exitTimeout     = 8
	exitInterrupted = 130
	// exitPipe is what a program gets that SIGPIPE ends: 128 + 13.
	exitPipe = 141
)

// exitCode is one row of the documented table.
type exitCode struct {
	code    int
	meaning string
}

func exitCodes() []exitCode {
	return []exitCode{
		{exitOK, "done, or nothing to do"},
		{exitOther, "something else went wrong"},
		{exitUsage, "the command line was not understood; `plan` and `outdated`: there is something to do"},
		{exitInvalid, "a machine definition has errors in it"},
		{exitNotFound, "no such machine, domain, network or project"},
		{exitRefused, "refused: not vmctl's, busy, or data would be lost"},
		{exitUnreachable, "the libvirt host does not answer or does not let us in"},
		{exitBuild, "the image could not be built or used"},
		{exitTimeout, "it took longer than `--timeout` allows"},
		{exitInterrupted, "interrupted by Ctrl-C or a signal"},
		{exitPipe, "nobody read standard output to its end, as in `vmctl list | head -1`"},
	}
}

// errPending is plan's way to say that there is something to do; it is no failure and
// nothing is printed for it.
var errPending = errors.New("changes are pending")

// errChecks is doctor's way to say that a check failed, which its output has said.
var errChecks = errors.New("a check failed")

// errLeft is Ctrl-C where that is the ordinary way to end, as in logs --follow.
var errLeft = errors.New("left by Ctrl-C")

// silent says that the output has already said it.
func silent(err error) bool {
	if _, ended := errors.AsType[statusError](err); ended {
		return true
	}
	return errors.Is(err, errPending) || errors.Is(err, errChecks) || errors.Is(err, errLeft) || errors.Is(err, ui.ErrBrokenPipe)
}

// codeOf is the exit code of an error.
func codeOf(err error) int {
	var ended statusError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, ui.ErrBrokenPipe):
		return exitPipe
	case errors.As(err, &ended):
		return int(ended)
	case errors.Is(err, errPending):
		return exitUsage
	case errors.Is(err, errLeft):
		return exitInterrupted
	}
	switch fault.KindOf(err) {
	case fault.Usage:
		return exitUsage
	case fault.Invalid:
		return exitInvalid
	case fault.NotFound:
		return exitNotFound
	case fault.Refused:
		return exitRefused
	case fault.Unreachable:
		return exitUnreachable
	case fault.Build:
		return exitBuild
	case fault.Timeout:
		return exitTimeout
	case fault.Interrupted:
		return exitInterrupted
	default:
		return exitOther
	}
}

// interruption makes Ctrl-C the reason of an error that only says that a context ended.
func interruption(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || fault.Is(err, fault.Interrupted) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Interrupted, "interrupted")
	}
	return err
}
