package guest

import (
	"context"
	"io"
)

// Command is a program to run inside a guest.
type Command struct {
	// Argv is the program and its arguments; no shell looks at them.
	Argv []string
	// Stdin is what it reads; nil is nothing.
	Stdin io.Reader
	// Stdout and Stderr take what it writes; nil throws it away.
	Stdout, Stderr io.Writer
	// Bulk says that the output is large and that nobody waits for its first line: no more
	// than a few MiB of it then lie in the guest at a time.
	Bulk bool
}

// Runner runs programs inside a guest: an Agent, or SSH.
type Runner interface {
	// Run waits until the program has ended and gives its exit status, 128 + the signal's
	// number for one that a signal ended. When ctx ends, the program is stopped.
	Run(ctx context.Context, c Command) (status int, err error)
}

// script is a shell script with arguments, which it finds in $1 and on.
func script(text string, arguments ...string) []string {
	return append([]string{"/bin/sh", "-c", text, "vmctl"}, arguments...)
}
