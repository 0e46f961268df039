package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// Locks gives locks between the vmctl processes of one user, by name, for one host, and
// between those who share it in one process. The kernel lets go of a lock when its
// process ends, however it ends.
type Locks struct {
	dir  string
	sink progress.Sink
	own  ownLocks
}

// Locks makes the lock space of a host.
func (d Dirs) Locks(hostURI string, sink progress.Sink) *Locks {
	return &Locks{dir: filepath.Join(d.Runtime, fileName(hostURI)), sink: sink}
}

// retry is how often a lock that another process holds is asked for again.
const retry = 100 * time.Millisecond

// Lock waits for the lock until ctx ends, and says so when it has to wait. The
// function it returns releases the lock and removes its file.
func (l *Locks) Lock(ctx context.Context, name string) (func(), error) {
	interrupted := fault.New(fault.Interrupted, "interrupted while waiting for another vmctl to finish with %s", name)
	unlockOwn, ok := l.own.lock(ctx, name)
	if !ok {
		return nil, interrupted
	}
	said := false
	for {
		unlock, err := l.try(name)
		if err != nil {
			unlockOwn()
			return nil, err
		}
		if unlock != nil {
			return func() { unlock(); unlockOwn() }, nil
		}
		if !said {
			said = true
			l.sink.Emit(progress.Event{
				ID: name + "/lock", Status: progress.Note,
				Text: fmt.Sprintf("another vmctl is working on %s: waiting for it", name),
			})
		}
		select {
		case <-ctx.Done():
			unlockOwn()
			return nil, interrupted
		case <-time.After(retry):
		}
	}
}

// Try takes the lock unless somebody has it.
func (l *Locks) Try(name string) (func(), bool) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	unlockOwn, ok := l.own.lock(now, name)
	if !ok {
		return nil, false
	}
	unlock, err := l.try(name)
	if err != nil || unlock == nil {
		unlockOwn()
		return nil, false
	}
	return func() { unlock(); unlockOwn() }, true
}

// try takes the lock between processes; nil when another one has it.
func (l *Locks) try(name string) (unlock func(), err error) {
	path := filepath.Join(l.dir, fileName(name)+".lock")
	for {
		err := os.MkdirAll(l.dir, 0o700)
		if errors.Is(err, fs.ErrExist) && !isFile(l.dir) {
			continue // another process removed the directory while it was being made
		}
		if err != nil {
			return nil, fault.New(fault.Other, "cannot make the directory for locks: %w", err).
				WithHint("make %s writable, or set XDG_RUNTIME_DIR or XDG_STATE_HOME to a directory that is", filepath.Dir(l.dir))
		}
		lock := flock.New(path, flock.SetPermissions(0o600))
		ok, err := lock.TryLock()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process let go and removed the directory
		}
		if err != nil {
			return nil, fault.New(fault.Other, "cannot lock %s: %w", name, err)
		}
		if !ok {
			_ = lock.Unlock()
			return nil, nil
		}
		if same(lock, path) {
			return func() {
				// Removed while it is held: nobody can have the new file and the old lock.
				_ = os.Remove(path)
				_ = lock.Unlock()
				if l.own.last() {
					l.sweep()
					_ = os.Remove(l.dir)
				}
			}, nil
		}
		_ = lock.Unlock()
	}
}

// isFile says that something else than a directory is in the way.
func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && !info.IsDir()
}

// sweep removes the files of locks whose holders were killed.
func (l *Locks) sweep() {
	left, err := filepath.Glob(filepath.Join(l.dir, "*.lock"))
	if err != nil {
		return
	}
	for _, path := range left {
		lock := flock.New(path, flock.SetPermissions(0o600))
		if ok, err := lock.TryLock(); err == nil && ok && same(lock, path) {
			_ = os.Remove(path)
		}
		_ = lock.Unlock()
	}
}

// same says that the locked file is still the one at the path: the holder before us
// may have removed it.
func same(lock *flock.Flock, path string) bool {
	held, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return err == nil && os.SameFile(held, there)
}
