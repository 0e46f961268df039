package ui

import (
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// Streams are the three standard streams and what is known about them.
type Streams struct {
	// In is where answers come from; the process's own is an *os.File.
	In io.Reader
	// Out carries results. Err carries progress, questions and errors.
	Out, Err io.Writer
	// InTTY, OutTTY and ErrTTY say which of them are terminals.
	InTTY, OutTTY, ErrTTY bool
	// OutColor and ErrColor say where colours are welcome.
	OutColor, ErrColor bool
	// UTF8 says that the locale can show more than ASCII.
	UTF8 bool
	// Dumb says that the terminal takes no control sequences (TERM=dumb or none).
	Dumb bool
	// Getenv reads the environment.
	Getenv func(string) string

	size func(fd int) (columns, rows int)
}

// Without a size of its own a terminal is taken for this one.
const (
	defaultColumns = 80
	defaultRows    = 24
)

// System gives the streams of the process.
//
// It also asks the runtime not to end the process when standard output or error
// is a pipe nobody reads any more: a command in the middle of its work must still
// clean up. The write gives ErrBrokenPipe instead.
func System() *Streams {
	// Notify and not Ignore: an ignored signal would stay ignored in nix and ssh.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	s := &Streams{
		In: os.Stdin, Out: NewOutput(os.Stdout), Err: NewOutput(os.Stderr),
		InTTY: isTerminal(os.Stdin), OutTTY: isTerminal(os.Stdout), ErrTTY: isTerminal(os.Stderr),
		Getenv: os.Getenv,
	}
	s.size = func(fd int) (int, int) {
		columns, rows, err := term.GetSize(fd)
		if err != nil {
			return 0, 0
		}
		return columns, rows
	}
	s.environ()
	return s
}

// Fixed gives streams for tests: all three are terminals of that many columns and
// 24 rows, without colour, in UTF-8; or pipes when columns is 0. The environment
// is empty. Fields may be changed afterwards.
func Fixed(in io.Reader, out, err io.Writer, columns int) *Streams {
	tty := columns > 0
	return &Streams{
		In: in, Out: NewOutput(out), Err: NewOutput(err),
		InTTY: tty, OutTTY: tty, ErrTTY: tty, UTF8: true,
		Getenv: func(string) string { return "" },
		size:   func(int) (int, int) { return columns, defaultRows },
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// environ reads what the environment says about colours and characters.
// https://no-color.org and https://bixense.com/clicolors say what the variables mean.
func (s *Streams) environ() {
	terminal := s.Getenv("TERM")
	s.Dumb = terminal == "" || terminal == "dumb"
	force := s.Getenv("CLICOLOR_FORCE")
	switch {
	case s.Getenv("NO_COLOR") != "":
	case force != "" && force != "0":
		s.OutColor, s.ErrColor = true, true
	case !s.Dumb && s.Getenv("CLICOLOR") != "0":
		s.OutColor, s.ErrColor = s.OutTTY, s.ErrTTY
	}
	s.UTF8 = isUTF8(s.Getenv)
}

// isUTF8 looks at the variables in the order in which setlocale(3) does.
func isUTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(getenv(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// OutWidth is the number of columns of the terminal that is standard output, asked
// anew each time because it may change; 0 when it is not a terminal.
func (s *Streams) OutWidth() int {
	if !s.OutTTY {
		return 0
	}
	columns, _ := s.measure(1)
	return columns
}

// ErrWidth is the same for standard error.
func (s *Streams) ErrWidth() int {
	if !s.ErrTTY {
		return 0
	}
	columns, _ := s.measure(2)
	return columns
}

// measure is the size of the terminal behind a file descriptor. Serial lines and
// some pseudo-terminals say 0: then COLUMNS and LINES decide, then 80×24.
func (s *Streams) measure(fd int) (columns, rows int) {
	columns, rows = s.size(fd)
	if columns <= 0 {
		columns = s.number("COLUMNS", defaultColumns)
	}
	if rows <= 0 {
		rows = s.number("LINES", defaultRows)
	}
	return columns, rows
}

func (s *Streams) number(variable string, otherwise int) int {
	if n, err := strconv.Atoi(s.Getenv(variable)); err == nil && n > 0 && n < 10000 {
		return n
	}
	return otherwise
}

// Finish is the first error of writing to standard output: ErrBrokenPipe, or a
// result that is not whole, such as on a full disk. Call it before exiting with 0.
func (s *Streams) Finish() error {
	if out, ok := s.Out.(*Output); ok {
		return out.Err()
	}
	return nil
}

func (s *Streams) outStyle() style { return style{on: s.OutColor} }
func (s *Streams) errStyle() style { return style{on: s.ErrColor} }
