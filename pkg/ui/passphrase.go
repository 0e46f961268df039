package ui

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
)

// Passphrase asks for a passphrase on standard error and reads it from the terminal that
// standard input is, without showing it. Where nobody can be asked it gives a refusal,
// to which the caller adds what to do. The caller wipes what it gets.
func Passphrase(ctx context.Context, s *Streams, question string) ([]byte, error) {
	file, ok := s.In.(*os.File)
	if !ok || !s.InTTY || !s.ErrTTY {
		return nil, fault.New(fault.Refused, "nobody can be asked for the %s: standard input and error are no terminal", question)
	}
	// Before the question: who answers quickly is not to see it either.
	show, err := hideTyping(int(file.Fd()))
	if err != nil {
		return nil, fault.New(fault.Other, "the terminal cannot hide what is typed: %w", err)
	}
	if _, err := io.WriteString(s.Err, s.errStyle().paint(bold, oneLine(question))+": "); err != nil {
		show()
		return nil, err
	}
	line, err := readLine(ctx, s.In)
	show()
	_, _ = io.WriteString(s.Err, "\n") // the Enter key was not shown
	switch {
	case errors.Is(err, io.EOF):
		return nil, fault.New(fault.Refused, "no %s was given", question)
	case err != nil:
		return nil, err
	}
	return []byte(line), nil
}

// hideTyping stops the echo until the function it gives is called. Ctrl-C goes on to
// interrupt.
func hideTyping(fd int) (show func(), err error) {
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF, &hidden); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
}
