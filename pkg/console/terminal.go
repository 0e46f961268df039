package console

import (
	"io"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"vmctl/pkg/fault"
)

// terminal is the person's end: what is to be put back, and whether there is one.
type terminal struct {
	fd    int
	saved *term.State
	// shows says that the output is a terminal.
	shows bool
}

// enter makes the input raw when it is a terminal. When the output goes elsewhere
// (a pipe to tee, say), the terminal keeps turning line feeds into new lines.
func enter(in io.Reader, out io.Writer) (*terminal, error) {
	t := &terminal{fd: -1}
	_, t.shows = isTerminal(out)
	f, ok := isTerminal(in)
	if !ok {
		return t, nil
	}
	t.fd = int(f.Fd())
	saved, err := term.MakeRaw(t.fd)
	if err != nil {
		return nil, fault.New(fault.Other, "the terminal could not be made raw: %w", err)
	}
	t.saved = saved
	if !t.shows {
		if mode, err := unix.IoctlGetTermios(t.fd, unix.TCGETS); err == nil {
			mode.Oflag |= unix.OPOST
			_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, mode)
		}
	}
	return t, nil
}

// raw says that the terminal is in raw mode now.
func (t *terminal) raw() bool { return t.saved != nil }

// restore puts the terminal back; more than once does no harm.
func (t *terminal) restore() {
	if t.saved != nil {
		// A terminal that went away needs no restoring.
		_ = term.Restore(t.fd, t.saved)
		t.saved = nil
	}
}
