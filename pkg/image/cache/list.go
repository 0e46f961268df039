package cache

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Entries are the whole and unchanged entries, by key.
func (d Dir) Entries() map[string]Entry {
	files, _ := os.ReadDir(string(d))
	entries := map[string]Entry{}
	for _, file := range files {
		key, ok := strings.CutSuffix(file.Name(), sidecar)
		if !ok || strings.HasSuffix(key, part) {
			continue
		}
		if e, ok := d.Find(key); ok {
			entries[key] = e
		}
	}
	return entries
}

// Use keeps Clear from entries while they are looked up and read. Any number may.
func (d Dir) Use() (release func(), err error) { return d.flock(unix.LOCK_SH) }

// Clear gives the cache to one who removes entries; nil when somebody uses it.
func (d Dir) Clear() (release func(), err error) {
	release, err = d.flock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return release, err
}

// flock locks the directory itself: there is no file that could be left behind.
func (d Dir) flock(how int) (release func(), err error) {
	if err := d.Make(); err != nil {
		return nil, err
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(dir.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = dir.Close()
		return nil, &os.PathError{Op: "flock", Path: string(d), Err: err}
	}
	return func() { _ = dir.Close() }, nil
}
