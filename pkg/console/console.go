package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// DefaultEscape is Ctrl-], as in virsh and telnet.
const DefaultEscape = 0x1d

// Reason says what ended a session.
type Reason uint8

// The reasons.
const (
	// Failed is a session that did not begin; the error says why.
	Failed Reason = iota
	// Left is the escape key.
	Left
	// Stopped is a machine that stopped.
	Stopped
	// InputEnded is a pipe that was sent whole, and a guest that fell silent after it.
	InputEnded
	// OutputClosed is a reader of the output that went away, such as head.
	OutputClosed
	// Interrupted is a context that ended: Ctrl-C in a pipe, SIGTERM, SIGHUP.
	Interrupted
	// Disconnected is a connection that broke; the error says how.
	Disconnected
)

// Options of Run. Only Open, In and Out are required.
type Options struct {
	// Machine is its name, for the messages.
	Machine string
	// Open attaches to the console. Closing the stream must end its Read and Write;
	// Read returns io.EOF when the machine stops.
	Open func(ctx context.Context) (io.ReadWriteCloser, error)
	// Log is what the console printed since boot; its end is shown. Nil is none.
	Log *engine.ConsoleLog
	// In is the person's terminal or a script's pipe. A reader that is no *os.File
	// cannot be interrupted: a Read that is under way when the session ends is left behind.
	In io.Reader
	// Out takes what the guest prints: filtered by ansi, strictly if it is no terminal.
	Out io.Writer
	// Notice takes the messages for the person.
	Notice io.Writer
	// Escape is the byte that leaves, when In is a terminal. In a pipe it is a byte
	// as any other.
	Escape byte
	// Quiet is how long the guest must be silent after the end of a pipe; 2 s by default.
	Quiet time.Duration
	// Rate is how many bytes per second are sent at most: by default 11520, a line
	// of 115200 baud, which every guest keeps up with.
	Rate int
}

// Run attaches and returns when the session is over, with the terminal as it was.
//
// On a terminal everything typed goes to the guest but the escape byte, which
// leaves; what was typed before it is still sent. When In is a pipe, its content is
// sent, and output is shown until the guest has been silent for Options.Quiet after
// the last byte: a script that must wait for longer keeps its pipe open. The error
// is nil unless the reason is Failed, Interrupted or Disconnected.
func Run(ctx context.Context, o Options) (reason Reason, err error) {
	o = o.withDefaults()
	// Else a write to a closed standard output kills the process with the terminal raw.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)

	before := replay(ctx, o.Log)
	stream, err := o.Open(ctx)
	if err != nil {
		return Failed, err
	}
	once := sync.OnceValue(stream.Close)
	defer func() { _ = once() }()

	t, err := enter(o.In, o.Out)
	if err != nil {
		return Failed, err
	}
	defer t.restore()
	if t.raw() {
		o.notice(t, "connected to %s; leave with %s", o.Machine, keyName(o.Escape))
	}

	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newSession(o, t, stream)
	in, err := newInput(o.In)
	if err != nil {
		return Failed, err
	}
	defer in.close()
	s.start(inner, in, before)
	reason, err = s.wait(ctx)

	cancel()
	in.wake()
	s.stop(once)
	finished := s.settle(in.interruptible())
	if finished && t.shows {
		_, _ = io.WriteString(o.Out, s.filter.Leave())
	}
	t.restore()
	if s.panicked != nil {
		panic(s.panicked)
	}
	o.farewell(t, reason)
	return reason, err
}

func (o Options) withDefaults() Options {
	if o.Escape == 0 {
		o.Escape = DefaultEscape
	}
	if o.Quiet == 0 {
		o.Quiet = 2 * time.Second
	}
	if o.Rate == 0 {
		o.Rate = 11520
	}
	if o.Notice == nil {
		o.Notice = io.Discard
	}
	return o
}

// farewell ends the guest's last line, and says what the caller could not know.
func (o Options) farewell(t *terminal, reason Reason) {
	if t.shows {
		o.notice(t, "")
	}
	switch reason {
	case Stopped:
		o.notice(t, "%s has stopped", o.Machine)
	case Left:
		o.notice(t, "left %s", o.Machine)
	}
}

// notice writes a message; a raw terminal does not return to the left by itself.
func (o Options) notice(t *terminal, format string, args ...any) {
	text := fmt.Sprintf(format+"\n", args...)
	if t.raw() {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	_, _ = io.WriteString(o.Notice, text)
}

// keyName is how a person types a control byte.
func keyName(b byte) string {
	if b < 0x20 {
		return "Ctrl-" + string(rune(b|0x40))
	}
	return fmt.Sprintf("%q", rune(b))
}

// disconnected words the end of a stream that is not the machine's.
func disconnected(machine string, err error) error {
	if fault.KindOf(err) != fault.Other {
		return err
	}
	return fault.New(fault.Unreachable, "the connection to the console of %s broke: %w", machine, err).
		WithHint("try again: vmctl console %s", machine)
}

func interrupted(ctx context.Context, machine string) error {
	return fault.New(fault.Interrupted, "the console of %s was interrupted: %w", machine, ctx.Err())
}

// isClosedPipe reports that nobody reads the output any more.
func isClosedPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) ||
		errors.Is(err, syscall.EIO) // a terminal that was hung up
}

func isTerminal(v any) (*os.File, bool) {
	f, ok := v.(*os.File)
	return f, ok && f != nil && term.IsTerminal(int(f.Fd()))
}

func newFilter(t *terminal, out io.Writer) *ansi.Filter {
	if t.shows {
		return ansi.NewReplay(out)
	}
	return ansi.NewWriter(out)
}
