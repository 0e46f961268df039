// Package safefile replaces files in directories that are vmctl's own: whoever reads sees what was there before, or
// all of what is there now, and a vmctl that is killed leaves nothing for good.
package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Write replaces a file, or makes it, for its owner alone to read. What is not finished has one name
// beside the file, and is locked: what a killed vmctl left there goes with the next Write. The directory must
// exist, and nobody else may be able to write there.
func Write(path string, data []byte) error {
	return write(path, data, os.Rename)
}

// Create is Write of a file that is not there yet; else it matches fs.ErrExist.
func Create(path string, data []byte) error {
	return write(path, data, func(unfinished, path string) error {
		if err := os.Link(unfinished, path); err != nil { // never replaces what is there
			return err
		}
		return os.Remove(unfinished)
	})
}

func write(path string, data []byte, name func(unfinished, path string) error) error {
	f, err := begin(unfinished(path))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // lets go of the lock
	err = fill(f, data)
	if err == nil {
		err = name(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Remove removes a file, if it is there, and what is unfinished of it.
func Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if left := os.Remove(unfinished(path)); !errors.Is(left, fs.ErrNotExist) {
		err = errors.Join(err, left)
	}
	return err
}

// Tidy removes what a killed Write of a file has left, for who has nothing to write.
func Tidy(path string) {
	f, err := os.OpenFile(unfinished(path), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && isNew(f) {
		_ = os.Remove(f.Name())
	}
}

func unfinished(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
}

func begin(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := lock(f); err != nil {
			_ = f.Close()
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
		if isNew(f) {
			return f, nil
		}
		_ = f.Close()
	}
}

// isNew says that a locked file has nothing in it and no other name. Else who had the lock before has meanwhile given it
// its name, or was killed: that one's goes, unwritten, for it may have its name already.
func isNew(f *os.File) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Name())
	if err != nil || !os.SameFile(held, there) {
		return false
	}
	if st, ok := held.Sys().(*syscall.Stat_t); ok && st.Nlink == 1 && held.Size() == 0 {
		return true
	}
	_ = os.Remove(f.Name())
	return false
}

func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func fill(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}
