package libvirt

import "sync"

// shared carries out an action for all who want it at about the same time: looking at a
// pool's directory takes a while, and where several machines are worked on each one asks.
type shared struct {
	mu sync.Mutex
	// next has not begun yet, last may still run.
	next, last *round
}

type round struct {
	done chan struct{}
	err  error
}

// soon returns after an action that began later than the call of soon.
func (s *shared) soon(action func() error) error {
	s.mu.Lock()
	r, before := s.next, s.last
	first := r == nil
	if first {
		r = &round{done: make(chan struct{})}
		s.next, s.last = r, r
	}
	s.mu.Unlock()
	if !first {
		<-r.done
		return r.err
	}
	defer close(r.done)
	if before != nil {
		<-before.done
	}
	s.mu.Lock()
	s.next = nil // whoever comes now may be too late for this one
	s.mu.Unlock()
	r.err = action()
	return r.err
}
