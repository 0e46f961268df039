package console

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
)

// errWoken ends a Read when the session is over.
var errWoken = errors.New("woken") //nolint:gochecknoglobals // a sentinel

// input reads from In so that the reading can be ended: else a read of the
// terminal would stay behind and swallow the next key the person types.
type input struct {
	reader     io.Reader
	fd         int
	waker, end *os.File
}

func newInput(r io.Reader) (*input, error) {
	f, ok := r.(*os.File)
	if !ok {
		return &input{reader: r, fd: -1}, nil
	}
	if f == nil {
		return nil, fault.New(fault.Other, "there is no standard input")
	}
	end, waker, err := os.Pipe()
	if err != nil {
		return nil, fault.New(fault.Other, "no pipe could be made: %w", err)
	}
	return &input{fd: int(f.Fd()), waker: waker, end: end}, nil
}

func (in *input) interruptible() bool { return in.fd >= 0 }

func (in *input) wake() {
	if in.waker != nil {
		_ = in.waker.Close() // the other end becomes readable
		in.waker = nil
	}
}

func (in *input) close() {
	in.wake()
	if in.end != nil {
		_ = in.end.Close()
	}
}

// Read waits for input or for wake.
func (in *input) Read(p []byte) (int, error) {
	if in.fd < 0 {
		return in.reader.Read(p)
	}
	for {
		fds := []unix.PollFd{{Fd: int32(in.fd), Events: unix.POLLIN}, {Fd: int32(in.end.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return 0, err
		}
		switch {
		case fds[1].Revents != 0:
			return 0, errWoken
		case fds[0].Revents&unix.POLLNVAL != 0:
			return 0, io.EOF
		case fds[0].Revents == 0:
			continue
		}
		n, err := unix.Read(in.fd, p)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil, n == 0:
			// A terminal that was hung up says EIO: that is an end as any other.
			return 0, io.EOF
		}
		return n, nil
	}
}
