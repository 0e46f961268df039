package proc

import (
	"io"
	"log/slog"
	"os"
	"time"
)

// The bounds of what a program can make us keep in memory.
const (
	defaultMaxStdout = 64 << 20
	defaultMaxLine   = 1 << 20
	stderrTail       = 64 << 10
	defaultGrace     = 10 * time.Second
)

// Cmd is one program to run. Only Path is required.
type Cmd struct {
	// Path is a program's name, looked up in PATH, or its path.
	Path string
	// Args are the arguments without the program's own name.
	Args []string
	// Env changes our own environment for the child: "KEY=value" sets, "KEY="
	// removes. The last entry of a key counts.
	Env []string
	// Dir is the working directory; empty is our own.
	Dir string
	// Stdin is all the child can read; nil is /dev/null.
	Stdin []byte
	// StdinFile is what the child reads instead of Stdin; it stays the caller's to close.
	StdinFile *os.File
	// StdoutTo takes stdout as it is, and all of it, instead of Result.Stdout. When it
	// fails, the program is stopped by a broken pipe, and its error is what Run gives.
	StdoutTo io.Writer
	// Limits bound what the program may use.
	Limits Limits
	// OnStdout takes stdout line by line instead of Result.Stdout. Callbacks of one
	// run are never called at the same time.
	OnStdout func(line string)
	// OnStderr takes stderr line by line, besides the end of it in Result.Stderr.
	OnStderr func(line string)
	// SplitCR makes a carriage return end a line too, as progress meters use it.
	SplitCR bool
	// MaxLine is the most bytes of a line that a callback gets, the rest of the line
	// is dropped; 0 is 1 MiB.
	MaxLine int
	// MaxStdout is the most bytes of Result.Stdout, more is an error (ErrTooMuchOutput);
	// 0 is 64 MiB.
	MaxStdout int
	// Grace is how long an interrupted program may take to clean up before it is
	// killed; 0 is ten seconds.
	Grace time.Duration
}

// Limits are for programs that read what strangers made; 0 is no limit. The kernel
// enforces them (setrlimit(2)) from right after the start on.
type Limits struct {
	// Memory is the size of the address space in bytes.
	Memory uint64
	// CPU is how long the program may compute, in whole seconds.
	CPU time.Duration
	// File is the largest file it may write, in bytes.
	File uint64
}

var _ slog.LogValuer = Cmd{}

// Argv is the whole command line.
func (c Cmd) Argv() []string { return append([]string{c.Path}, c.Args...) }

// LogValue shows the command line and the directory. The environment stays out:
// it may hold secrets.
func (c Cmd) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Any("argv", c.Argv())}
	if c.Dir != "" {
		attrs = append(attrs, slog.String("dir", c.Dir))
	}
	return slog.GroupValue(attrs...)
}

// Result is what a program that succeeded left behind.
type Result struct {
	// Stdout is everything it printed, when Cmd.OnStdout is nil.
	Stdout []byte
	// Stderr is the last 64 KiB of what it said.
	Stderr string
}
