package push

import (
	"cmp"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// widen gives a pipe more room than it has at first, 64 KiB: as much as anybody may
// (pipe(7), /proc/sys/fs/pipe-max-size). What is no pipe stays as it is.
func widen(pipe any) {
	if f, ok := pipe.(*os.File); ok {
		if raw, err := f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) })
		}
	}
}

// moveOut writes a part of a file, whose pages a pipe takes as they are (sendfile(2)).
func moveOut(to io.Writer, from *os.File, at, length int64) error {
	if pipe, ok := to.(*os.File); ok {
		raw, err := pipe.SyscallConn()
		if err != nil {
			return err
		}
		length, err = moved(raw.Write, length, func(pipe int, length int64) (int64, error) {
			n, err := unix.Sendfile(pipe, int(from.Fd()), &at, int(length))
			return int64(n), err
		})
		if errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	buffer := make([]byte, min(length, readAtOnce))
	for length > 0 {
		part := buffer[:min(length, readAtOnce)]
		if n, err := from.ReadAt(part, at); n < len(part) {
			return unreadable(shortened(err))
		}
		if _, err := to.Write(part); err != nil {
			return err
		}
		at, length = at+int64(len(part)), length-int64(len(part))
	}
	return nil
}

// moveIn writes a part of a file from what is read; from a pipe it goes there without a
// copy in this program (splice(2)).
func moveIn(to *os.File, at int64, from io.Reader, length int64) error {
	if pipe, ok := from.(*os.File); ok {
		raw, err := pipe.SyscallConn()
		if err != nil {
			return err
		}
		length, err = moved(raw.Read, length, func(pipe int, length int64) (int64, error) {
			return unix.Splice(pipe, nil, int(to.Fd()), &at, int(length), 0)
		})
		if err != nil && !cannot(err) {
			return err
		}
	}
	if _, err := io.CopyN(io.NewOffsetWriter(to, at), from, length); err != nil {
		return shortened(err)
	}
	return nil
}

// moved calls move with a pipe, whenever that is ready, until so much has been moved or
// nothing more is; it says what is left.
func moved(when func(func(fd uintptr) (done bool)) error, length int64, move func(pipe int, length int64) (int64, error)) (left int64, err error) {
	for length > 0 {
		var n int64
		var failed error
		err := when(func(fd uintptr) bool {
			n, failed = move(int(fd), length)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err = cmp.Or(err, failed); errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return length, err
		}
		length -= n
	}
	return 0, nil
}

// cannot says that a system call does not do that with these files.
func cannot(err error) bool {
	for _, is := range []error{unix.EXDEV, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
