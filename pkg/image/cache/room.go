package cache

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// spare is what is left free of a file system at least, or a part of it if it is small.
	spare     = 256 << 20
	sparePart = 20
)

// NoRoomError says that what is to be kept does not fit.
type NoRoomError struct {
	// Dir is where; Need and Free are in bytes. Need is 0 when nobody knows.
	Dir        string
	Need, Free int64
}

func (e *NoRoomError) Error() string { return fmt.Sprintf("there is no room in %s", e.Dir) }

// Unwrap makes it match unix.ENOSPC.
func (e *NoRoomError) Unwrap() error { return unix.ENOSPC }

// Room is how many bytes may be written into the directory, which exists: what is free,
// but for a rest that other programs need.
func (d Dir) Room() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(string(d), &st); err != nil {
		return 0, err
	}
	block := st.Bsize
	free, total := int64(st.Bavail)*block, int64(st.Blocks)*block
	return max(free-min(spare, total/sparePart), 0), nil
}

// Need fails with a *NoRoomError when so many bytes more do not fit.
func (d Dir) Need(bytes int64) error {
	room, err := d.Room()
	if err != nil {
		return err
	}
	if bytes > room {
		return &NoRoomError{Dir: string(d), Need: bytes, Free: room}
	}
	return nil
}

// Full makes any error that says that a disk is full a *NoRoomError.
func (d Dir) Full(err error) error {
	var known *NoRoomError
	if errors.As(err, &known) || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.EFBIG) {
		return err
	}
	room, _ := d.Room() // it is for people only
	return &NoRoomError{Dir: string(d), Free: room}
}
