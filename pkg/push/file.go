package push

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyRange copies within the host: file systems that can share blocks do
// (copy_file_range(2)).
func copyRange(to *os.File, at int64, from *os.File, offset, length int64) error {
	for length > 0 {
		n, err := unix.CopyFileRange(int(from.Fd()), &offset, int(to.Fd()), &at, int(min(length, 1<<30)), 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case cannot(err), err == nil && n == 0:
			// Also where the source has become shorter: that is an error then.
			_, err := io.CopyN(io.NewOffsetWriter(to, at), io.NewSectionReader(from, offset, length), length)
			return err
		case err != nil:
			return os.NewSyscallError("copy_file_range", err)
		default:
			length -= int64(n)
		}
	}
	return nil
}

// punch makes zeros that take no room, where the file system can.
func punch(f *os.File, at, length int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, length)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	zeros := make([]byte, min(length, 1<<20))
	for length > 0 {
		n, err := f.WriteAt(zeros[:min(length, int64(len(zeros)))], at)
		if err != nil {
			return err
		}
		at, length = at+int64(n), length-int64(n)
	}
	return nil
}
