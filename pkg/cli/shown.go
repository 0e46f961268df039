package cli

import (
	"bytes"
	"io"

	"vmctl/pkg/ansi"
)

// shown takes what a program in a guest prints. A file or a pipe gets every byte; a
// terminal gets text and colours, and nothing that it would answer, or that sets its
// title or the clipboard.
type shown struct {
	out io.Writer
	// filter is nil where every byte passes.
	filter *ansi.Filter
	// colored says that something passed which has to be taken back.
	colored bool
}

func newShown(out io.Writer, terminal, dumb bool) *shown {
	s := &shown{out: out}
	switch {
	case terminal && dumb:
		s.filter = ansi.NewWriter(passed{s})
	case terminal:
		s.filter = ansi.NewReplay(passed{s})
	}
	return s
}

func (s *shown) Write(p []byte) (int, error) {
	if s.filter != nil {
		return s.filter.Write(p)
	}
	return s.out.Write(p)
}

// end passes on what waits for more, and leaves the terminal without colours.
func (s *shown) end() error {
	if s.filter == nil {
		return nil
	}
	err := s.filter.Flush()
	if err == nil && s.colored {
		_, err = io.WriteString(s.out, "\x1b[0m")
	}
	return err
}

// passed is what the filter let through.
type passed struct{ *shown }

func (p passed) Write(b []byte) (int, error) {
	p.colored = p.colored || bytes.IndexByte(b, 0x1b) >= 0
	return p.out.Write(b)
}
