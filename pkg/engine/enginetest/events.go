package enginetest

import (
	"context"
	"sync"

	"vmctl/pkg/engine"
)

// watcher is a queue to a consumer that may be slow.
type watcher struct {
	domain string
	some   chan struct{}

	mu    sync.Mutex
	queue []engine.Event
	ended bool
}

func (w *watcher) push(e engine.Event) {
	w.mu.Lock()
	if !w.ended {
		w.queue = append(w.queue, e)
	}
	w.mu.Unlock()
	w.wake()
}

// end closes the channel behind what is queued.
func (w *watcher) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.some <- struct{}{}:
	default:
	}
}

func (w *watcher) take() ([]engine.Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := w.queue
	w.queue = nil
	return batch, w.ended
}

// tell sends an event to all who watch.
func (h *Host) tell(name string, kind engine.EventKind) {
	for w := range h.watchers {
		if w.domain == "" || w.domain == name {
			w.push(engine.Event{Kind: kind, Domain: name})
		}
	}
}

// Watch implements engine.Events.
func (h *Host) Watch(ctx context.Context, name string) (<-chan engine.Event, error) {
	w := &watcher{domain: name, some: make(chan struct{}, 1)}
	_, err := read(ctx, h, "Watch", on(name), func() (struct{}, error) {
		h.watchers[w] = true
		return struct{}{}, nil
	})
	if err != nil {
		return nil, err
	}
	out := make(chan engine.Event)
	go func() {
		defer close(out)
		defer func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			delete(h.watchers, w)
		}()
		for {
			batch, ended := w.take()
			for _, e := range batch {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
			if ended {
				return
			}
			select {
			case <-w.some:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// AgentConnected implements engine.Events.
func (h *Host) AgentConnected(ctx context.Context, name string) (bool, error) {
	return read(ctx, h, "AgentConnected", on(name), func() (bool, error) {
		d, err := h.find(name)
		return err == nil && d.state == engine.StateRunning && d.guest.Agent, err
	})
}
