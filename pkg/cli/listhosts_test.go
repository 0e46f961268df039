package cli

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

// Of several hosts, one that is dead, slow or silent keeps no other from being listed, and
// the whole takes no longer than the patience with one.
func TestListOfHostsOfAllKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := func(ctx context.Context, uri string) ([]listed, error) {
			answer := map[string]time.Duration{"fast": time.Millisecond, "slow": hostPatience - time.Second, "late": 2 * hostPatience}[uri]
			switch uri {
			case "dead":
				return nil, fault.New(fault.Unreachable, "dead: nobody there")
			case "silent":
				<-ctx.Done()
				return nil, fault.New(fault.Timeout, "silent: not in time")
			}
			select {
			case <-ctx.Done():
				return []listed{{Name: uri, State: "unknown"}}, fault.New(fault.Timeout, "%s: not in time", uri)
			case <-time.After(answer):
				return []listed{{Name: uri, State: "running"}}, nil
			}
		}
		began := time.Now()
		found, err := askHosts(t.Context(), []string{"dead", "fast", "late", "silent", "slow"}, list)
		assert.Equal(t, hostPatience, time.Since(began))
		require.Equal(t, []listed{
			{Name: "fast", State: "running"}, {Name: "late", State: "unknown"}, {Name: "slow", State: "running"},
		}, slices.Concat(found...))
		require.ErrorContains(t, err, "dead: nobody there\nlate: not in time\nsilent: not in time")
		assert.Equal(t, fault.Unreachable, fault.KindOf(err))
	})
}
