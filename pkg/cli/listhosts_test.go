package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

// Of several hosts, one that is dead, slow or silent keeps no other from being shown; one
// that has answered at all is waited for.
func TestHostsOfAllKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var connected sync.Map
		connect := func(ctx context.Context, uri string) error {
			takes := map[string]time.Duration{"busy": time.Second, "dead": 0, "fast": time.Millisecond, "silent": time.Hour, "slow": hostPatience - time.Second}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(takes[uri]):
			}
			if uri == "dead" {
				return fault.New(fault.Unreachable, "dead: nobody there")
			}
			return nil
		}
		var seen []string
		began := time.Now()
		see := func(what string, args ...any) {
			seen = append(seen, time.Since(began).String()+" "+fmt.Sprintf(what, args...))
		}
		a := asking{
			patient: true,
			connect: func(ctx context.Context, uri string) error {
				err := connect(ctx, uri)
				connected.Store(uri, err)
				return err
			},
			late:    func(uri string) error { return fault.New(fault.Timeout, "%s: not in time", uri) },
			waiting: func(left []string, all int) { see("%d of %d left: %s", len(left), all, strings.Join(left, " ")) },
		}
		answers := askHosts(t.Context(), a, []string{"busy", "dead", "fast", "silent", "slow"}, func(_ context.Context, uri string) (string, error) {
			if uri == "busy" {
				time.Sleep(2 * hostPatience)
			}
			err, _ := connected.Load(uri)
			failed, _ := err.(error)
			return "rows of " + uri, failed
		}, func(came answer[string]) { see("%s", came.uri) })
		assert.Equal(t, []string{
			"0s dead", "1ms fast",
			"2s 3 of 5 left: busy silent slow",
			"29s slow", "29s 2 of 5 left: busy silent",
			"30s silent", "30s 1 of 5 left: busy",
			"1m1s busy", "1m1s 0 of 5 left: ",
		}, seen)
		all, err := allOf(answers)
		require.Equal(t, []string{"rows of busy", "rows of dead", "rows of fast", "rows of silent", "rows of slow"}, all)
		require.EqualError(t, err, "dead: nobody there\nsilent: not in time")
		assert.Equal(t, fault.Unreachable, fault.KindOf(err))
	})
}
