package cli

import (
	"context"
	"sync"
)

const (
	// atOnce is how many machines are worked on together: as many as their connections are served at once.
	atOnce = 5 * connections
	// connections is over how many connections they are spread. libvirtd serves five calls
	// of one client at once (max_client_requests in libvirtd.conf).
	connections = 4
)

// several does something for several machines at once, and gives the results in the order
// of the names; nil is none. One that fails does not keep the others from their turn; an
// interruption does. do gets the call as that one machine's.
func several[T any](ctx context.Context, c *call, names []string, do func(c *call, name string) (*T, error)) ([]T, error) {
	results, errs := make([]*T, len(names)), make([]error, len(names))
	turns := make(chan int, atOnce)
	for i := range atOnce {
		turns <- i
	}
	var all sync.WaitGroup
	for i, name := range names {
		turn := <-turns
		if i > 0 && ctx.Err() != nil {
			break // the first one says why
		}
		end := sync.OnceFunc(func() { turns <- turn })
		all.Go(func() {
			defer end()
			results[i], errs[i] = do(c.of(turn, end), name)
		})
	}
	all.Wait()
	done := make([]T, 0, len(names))
	for _, r := range results {
		if r != nil {
			done = append(done, *r)
		}
	}
	return done, failures(errs)
}

// of is the call as one of several machines': with the connections of its turn, which
// end gives back.
func (c *call) of(turn int, end func()) *call {
	mine := *c
	mine.hosts.lane = turn % connections
	mine.endTurn = end
	return &mine
}

// waits says that from here on the machine is only waited for: another one may have its turn.
func (c *call) waits() {
	if c.endTurn != nil {
		c.endTurn()
	}
}
