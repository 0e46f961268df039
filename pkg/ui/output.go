package ui

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"vmctl/pkg/fault"
)

// ErrBrokenPipe says that whoever read our standard output has stopped, as in
// "vmctl list | head -1". It is no failure to talk about: Error prints nothing for
// it. The command should end with status 141, as a program that SIGPIPE ends does,
// so that "set -o pipefail" sees what it is used to.
var ErrBrokenPipe = errors.New("nobody reads the output any more")

// Output is a stream that remembers the first error of writing to it and then
// writes nothing more.
type Output struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

// NewOutput wraps a stream.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// Write writes all of p. A broken pipe is ErrBrokenPipe.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	if err != nil {
		o.err = outputError(err)
	}
	return n, o.err
}

// Err is the first error of writing, or nil.
func (o *Output) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func outputError(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return ErrBrokenPipe
	}
	cause := err
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		cause = path.Err // "write /dev/stdout" says nothing more
	}
	return fault.New(fault.Other, "the output could not be written: %w", cause)
}
