package guest

import (
	"context"
	"io"
	"strings"
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

// quoted is a word that a POSIX shell reads back as it is.
func quoted(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// quotedAll joins words for a POSIX shell.
func quotedAll(words []string) string {
	out := make([]string, len(words))
	for i, word := range words {
		out[i] = quoted(word)
	}
	return strings.Join(out, " ")
}
