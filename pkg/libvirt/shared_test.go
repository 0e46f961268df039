package libvirt

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

func TestSharedRunsOnceForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shared
		var runs atomic.Int32
		first, let := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			assert.NoError(t, s.soon(func() error { runs.Add(1); close(first); <-let; return nil }))
		})
		<-first
		broken := errors.New("no")
		for range 5 {
			all.Go(func() {
				// Too late for the one that runs: it may have looked already.
				assert.ErrorIs(t, s.soon(func() error { runs.Add(1); return broken }), broken)
			})
		}
		synctest.Wait()
		assert.Equal(t, int32(1), runs.Load())
		close(let)
		all.Wait()
		assert.Equal(t, int32(2), runs.Load())
		assert.NoError(t, s.soon(func() error { return nil }), "an error is not kept")
	})
}
