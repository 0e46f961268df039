package cli

import (
	"context"
	"sync"
	"time"

	"vmctl/pkg/progress"
)

// quietTime is how long connecting to a host may take before a person is told what is
// waited for.
const quietTime = 3 * time.Second

// silence gives what tells a person, once, that a host keeps them waiting.
func (c *call) silence(uri string) func(silent bool) {
	return func(silent bool) {
		if silent {
			c.progress.Emit(progress.Event{ID: "host/" + uri, Status: progress.Note, Text: c.called(uri) + " does not answer yet; waiting for it"})
		}
	}
}

// hostPatience is how long one of several hosts is waited for: one that is slow or gone
// must not keep the others from being shown.
const hostPatience = 15 * time.Second

// askHosts asks all hosts at once. It gives the answers in the order of the hosts, and what
// went wrong with any of them.
func askHosts[T any](ctx context.Context, uris []string, ask func(ctx context.Context, uri string) (T, error)) ([]T, error) {
	if len(uris) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, hostPatience)
		defer cancel()
	}
	found, failed := make([]T, len(uris)), make([]error, len(uris))
	var asked sync.WaitGroup
	for i, uri := range uris {
		asked.Go(func() { found[i], failed[i] = ask(ctx, uri) })
	}
	asked.Wait()
	return found, failures(failed)
}
