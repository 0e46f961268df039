package state

import (
	"context"
	"sync"
)

// ownLocks are the locks that one command holds, by name. The kernel's are between
// processes: who waits for one is told of another vmctl.
type ownLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits until nobody here holds the name.
func (o *ownLocks) lock(ctx context.Context, name string) (unlock func(), ok bool) {
	for {
		o.mu.Lock()
		freed, held := o.held[name]
		if !held {
			freed = make(chan struct{})
			if o.held == nil {
				o.held = map[string]chan struct{}{}
			}
			o.held[name] = freed
			o.mu.Unlock()
			return func() {
				o.mu.Lock()
				defer o.mu.Unlock()
				delete(o.held, name)
				close(freed)
			}, true
		}
		o.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// last says that a single lock is held.
func (o *ownLocks) last() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.held) == 1
}
