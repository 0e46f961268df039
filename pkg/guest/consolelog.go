package guest

import (
	"context"
	"strings"
)

// lookMost is how much of the console's log is read at one look: a guest that prints
// faster than that is behind, and keeps nobody from ending the wait.
const lookMost = 1 << 20

// read takes in what the console has printed since the last time.
func (w *watcher) read(ctx context.Context) (err error) {
	if w.fresh, err = w.log.Next(ctx, &w.console, lookMost); err != nil || !w.fresh {
		return err
	}
	if lines := w.console.lines(); len(lines) > 0 {
		w.event.Detail = strings.TrimSpace(lines[len(lines)-1])
		w.o.Sink.Emit(w.event)
	}
	return nil
}
