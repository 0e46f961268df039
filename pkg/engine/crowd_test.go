package engine_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// TestManyAtOnce lets up to eight clients, which share no locks, bring machines up and down at
// once: on one machine, on one image. Each either does it or says why not; afterwards one up
// settles everything and downs leave nothing.
func TestManyAtOnce(t *testing.T) {
	for seed := range uint64(40) {
		h := enginetest.NewHost(enginetest.Options{})
		random := rand.New(rand.NewPCG(seed, 0))
		machines := []string{"example", "web", "db"}[:1+random.IntN(3)]
		var all sync.WaitGroup
		var mu sync.Mutex
		var errs []error
		for c := range 2 + random.IntN(7) {
			order := rand.New(rand.NewPCG(seed, uint64(c+1)))
			all.Go(func() {
				for range 4 {
					name := machines[order.IntN(len(machines))]
					e := on(h)
					e.Token = engine.Token{Client: fmt.Sprintf("c%d", c), Run: fmt.Sprint(order.Uint32())}
					var err error
					if order.IntN(2) == 0 {
						_, err = e.Up(t.Context(), shared(t, name), engine.Options{})
					} else {
						_, err = e.Down(t.Context(), name, engine.DownOptions{Force: true})
					}
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		for _, err := range errs {
			if err != nil {
				assert.Contains(t, []fault.Kind{fault.Refused, fault.NotFound}, fault.KindOf(err), "seed %d: %v", seed, err)
			}
		}
		for _, name := range machines {
			_, err := client(h, "last").Up(t.Context(), shared(t, name), engine.Options{Replace: true})
			require.NoError(t, err, "seed %d", seed)
		}
		sound(t, h, machines...)
		for _, name := range machines {
			_, err := client(h, "last").Down(t.Context(), name, engine.DownOptions{Force: true})
			require.NoError(t, err, "seed %d", seed)
		}
		h.Wait(2 * time.Hour) // what the others left counts as left behind
		_, err := client(h, "last").Prune(t.Context(), false)
		require.NoError(t, err)
		require.Empty(t, h.VolumeNames(), "seed %d", seed)
	}
}

// TestTheClockJumps lets the host's clock jump to and fro at every call of an up that lays a
// root disk on an uploaded image, while another client prunes: a machine that is up has its image.
func TestTheClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{3 * time.Hour, -3 * time.Hour} {
		for n := 1; ; n++ {
			for m := n; ; m++ {
				h := enginetest.NewHost(enginetest.Options{})
				up(t, h, inStore(), engine.Options{}) // the pool is there
				down(t, h)
				var err error
				var calls atomic.Int64
				pruned := false
				h.Each(func(string) enginetest.Fate {
					call := int(calls.Add(1))
					if call == n {
						h.Wait(jump)
					}
					if call == m {
						h.Each(nil)
						_, perr := client(h, "other").Prune(t.Context(), false)
						require.NoError(t, perr)
						pruned = true
					}
					return enginetest.Fate{}
				})
				_, err = client(h, "one").Up(t.Context(), shared(t, "example"), engine.Options{})
				h.Each(nil)
				if err == nil {
					sound(t, h, "example")
				} else {
					require.Contains(t, []fault.Kind{fault.Refused, fault.NotFound}, fault.KindOf(err), err)
				}
				if t.Failed() {
					t.Fatalf("the clock jumps by %s at call %d and prune comes at call %d", jump, n, m)
				}
				if !pruned {
					if m == n {
						n = 1 << 30
					}
					break
				}
			}
			if n >= 1<<30 {
				break
			}
		}
	}
}

// TestAThousandNeighbours finds that a machine's commands ask no more of a host with a
// thousand other domains than of one without.
func TestAThousandNeighbours(t *testing.T) {
	calls := map[int]int{}
	for _, others := range []int{0, 1000} {
		h := enginetest.NewHost(enginetest.Options{})
		for n := range others {
			name := fmt.Sprintf("other%d", n)
			h.PlantDomain(engine.Domain{Name: name, UUID: fmt.Sprintf("33333333-2222-3333-4444-%012d", n), Disks: []string{"/" + name}})
		}
		w := withVolumes(volume("data", spec.GiB))
		up(t, h, w, engine.Options{})
		settledAgain(t, h, w)
		down(t, h)
		calls[others] = len(h.Calls())
		assert.Len(t, h.DomainNames(), others)
	}
	assert.Equal(t, calls[0], calls[1000])
}

// TestTwoMakeThePool lets another client bring up its first machine at every call of the first
// up on a host: both make the pool, and neither fails.
func TestTwoMakeThePool(t *testing.T) {
	other := inStore()
	other.Machine.Name = "web"
	for n := 1; ; n++ {
		h := enginetest.NewHost(enginetest.Options{})
		more := during(h, n,
			func() { up(t, h, other, engine.Options{}) },
			func() { up(t, h, inStore(), engine.Options{}) })
		if !more {
			assert.Greater(t, n, 8)
			return
		}
		assert.Equal(t, []string{"example", "web"}, h.DomainNames(), "moment %d", n)
	}
}
