package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// retry is how often a lock that another process holds is asked for again.
const retry = 100 * time.Millisecond

// Lock keeps other processes from making the same entry. While one does, waiting is
// called once and Lock waits until ctx ends. The kernel lets go when the process ends.
func (d Dir) Lock(ctx context.Context, key string, waiting func()) (unlock func(), err error) {
	path := d.Path(key) + lock
	for said := false; ; {
		if err := d.Make(); err != nil {
			return nil, err
		}
		l := flock.New(path, flock.SetPermissions(0o600))
		held, err := l.TryLock()
		if errors.Is(err, fs.ErrNotExist) {
			continue // the directory was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if held && same(l, path) {
			return func() {
				// Removed while it is held: nobody can have the new file and the old lock.
				_ = os.Remove(path)
				_ = l.Unlock()
			}, nil
		}
		_ = l.Unlock()
		if held {
			continue
		}
		if !said {
			said = true
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retry):
		}
	}
}

// same says that the locked file is still the one at the path.
func same(l *flock.Flock, path string) bool {
	held, err := l.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}
