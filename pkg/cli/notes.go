package cli

import (
	"sync"

	"vmctl/pkg/progress"
	"vmctl/pkg/ui"
)

// notedOnce shows a note once, however many machines it is true of.
type notedOnce struct {
	ui.Progress
	mu   sync.Mutex
	said map[string]bool
}

func (n *notedOnce) Emit(e progress.Event) {
	if e.Status == progress.Note {
		n.mu.Lock()
		again := n.said[e.Text]
		n.said[e.Text] = true
		n.mu.Unlock()
		if again {
			return
		}
	}
	n.Progress.Emit(e)
}
