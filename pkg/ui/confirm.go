package ui

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
)

// Confirm asks a question that yes or no answers, on standard error, and reads the
// answer from standard input; an empty one is otherwise. Nothing at all (Ctrl-D)
// is no. Where nobody can be asked it gives a refusal whose hint names flag, the
// flag that answers yes, such as "--yes".
func Confirm(ctx context.Context, s *Streams, question string, otherwise bool, flag string) (bool, error) {
	question = oneLine(question)
	if !s.InTTY || !s.ErrTTY {
		missing := "standard input"
		if s.InTTY {
			missing = "standard error"
		}
		return false, fault.New(fault.Refused, "%q needs an answer, and %s is not a terminal", question, missing).
			WithHint("answer yes with %s", flag)
	}
	choices := " [y/N] "
	if otherwise {
		choices = " [Y/n] "
	}
	for {
		if _, err := io.WriteString(s.Err, s.errStyle().paint(bold, question)+choices); err != nil {
			return false, err
		}
		answer, err := readLine(ctx, s.In)
		if err != nil {
			_, _ = io.WriteString(s.Err, "\n") // leave the line of the question
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "":
			return otherwise, nil
		case "y", "yes":
			return true, nil
		case "n", "no":
			return false, nil
		}
		if _, err := io.WriteString(s.Err, "please answer y or n\n"); err != nil {
			return false, err
		}
	}
}

// readLine reads one line byte by byte, so that nothing after it is lost, and
// gives up when ctx ends.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	const longest = 1024
	var line strings.Builder
	buffer := make([]byte, 1)
	for line.Len() < longest {
		if err := waitInput(ctx, in); err != nil {
			return "", err
		}
		n, err := in.Read(buffer)
		switch {
		case n > 0 && buffer[0] == '\n':
			return line.String(), nil
		case n > 0:
			line.WriteByte(buffer[0])
		case err != nil:
			return "", err
		}
	}
	return line.String(), nil
}

// waitInput waits until a file has something to read. A read of a terminal cannot
// be interrupted, and Ctrl-C must not wait for the Enter key.
func waitInput(ctx context.Context, in io.Reader) error {
	file, ok := in.(*os.File)
	if !ok {
		return interrupted(ctx)
	}
	const step = 100 // milliseconds
	for {
		if err := interrupted(ctx); err != nil {
			return err
		}
		fds := []unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, step)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fault.New(fault.Other, "the answer could not be read: %w", err)
		}
		if n > 0 {
			return nil
		}
	}
}

func interrupted(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Interrupted, "interrupted before the question was answered: %w", err)
	}
	return nil
}
