//go:build e2e

package e2e

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// sample says which points are tried: all of them in KILL_ROUNDS rounds, or without that
// variable a few, and others each day; KILL_SEED tries the same ones again. With KILL_EVERY
// vmctl is killed at every so many-th point, of which KILL_SEED says which: a part of a round.
type sample struct {
	rounds, every, seed int
}

func sampling(t *testing.T) sample {
	t.Helper()
	number := func(name string, preset int) int {
		value := os.Getenv(name)
		if value == "" {
			return preset
		}
		n, err := strconv.Atoi(value)
		require.NoError(t, err, name)
		return n
	}
	s := sample{number("KILL_ROUNDS", 0), number("KILL_EVERY", 0), number("KILL_SEED", int(time.Now().Unix()/86400))}
	if s.rounds == 0 {
		t.Logf("KILL_SEED=%d", s.seed)
	}
	return s
}

// of picks about so many of the points from 1 to n.
func (s sample) of(n, few int) []int {
	all := []int{}
	if s.rounds > 0 {
		for range s.rounds {
			for k := 1; k <= n; k++ {
				all = append(all, k)
			}
		}
		return all
	}
	every := max(1, (n+few-1)/few)
	if s.every > 0 && few > 1 {
		every = s.every
	}
	for k := 1 + s.seed%every; k <= n; k += every {
		all = append(all, k)
	}
	return all
}

// TestStoppedAnywhere plays each scenario undisturbed, which says what it comes to and how
// many points it has, and then ends vmctl at the n-th of its write-like system calls: by
// SIGKILL, after which the same command again brings about what the undisturbed run did; and by Ctrl-C,
// after which vmctl takes back by itself what it has begun; and by a libvirtd that is killed and started
// again. After down nothing is left.
func TestStoppedAnywhere(t *testing.T) {
	s, points := newStage(t), sampling(t)
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			sc.ready(t, s.project)
			n, calls := 0, map[string]int{}
			r, _ := s.traced(t, s.args(sc, sc.command...), func(p testenv.Point) error {
				n = p.N
				calls[p.Call]++
				return nil
			})
			require.Zero(t, r.code, r.err)
			want := s.p.settled(t, "victim")
			s.clean(t, sc)
			t.Logf("%s has %d points: %v", sc.name, n, calls)
			for _, k := range points.of(n, 3) {
				s.kill(t, sc, k, want)
			}
			for _, k := range points.of(n, 1) {
				s.interrupt(t, sc, k, want)
			}
			if points.rounds > 0 { // else TestHostLostInTheMiddle does that
				for _, k := range points.of(n, 1) {
					s.restart(t, sc, k, want)
				}
			}
		})
	}
}

// becomes demands a state of what a command has brought about that has ended.
func (s *stage) becomes(t *testing.T, want string, told ...any) {
	t.Helper()
	if s.p.state(t, "victim") != want {
		assert.Equal(t, want, s.p.settled(t, "victim"), told...)
	}
}

func (s *stage) kill(t *testing.T, sc scenario, k int, want string) {
	t.Helper()
	sc.ready(t, s.project)
	var at testenv.Point
	_, ws := s.traced(t, s.args(sc, sc.command...), func(p testenv.Point) error {
		if at = p; p.N == k {
			return testenv.ErrStopped
		}
		return nil
	})
	if !ws.Signaled() {
		require.Zero(t, ws.ExitStatus()) // it was through with fewer calls
	}
	s.p.settled(t, "victim")
	s.ok(t, s.args(sc, sc.command...)...)
	s.becomes(t, want, "killed at point %d, %s", k, at.Call)
	s.clean(t, sc)
}

// restart kills libvirtd and starts it again while vmctl stands still at a point.
func (s *stage) restart(t *testing.T, sc scenario, k int, want string) {
	t.Helper()
	sc.ready(t, s.project)
	var at testenv.Point
	r, _ := s.traced(t, s.args(sc, sc.command...), func(p testenv.Point) error {
		if p.N == k {
			at = p
			killLibvirtd(t)
			startLibvirtd(t)
		}
		return nil
	})
	told := []any{"libvirtd was restarted at point %d, %s: code %d\n%s", k, at.Call, r.code, r.err}
	require.Contains(t, []int{0, 6}, r.code, told...)
	if r.code != 0 {
		assert.Contains(t, r.err, "hint:", told...)
	}
	s.ok(t, s.args(sc, sc.command...)...)
	s.becomes(t, want, told...)
	s.clean(t, sc)
}

func (s *stage) interrupt(t *testing.T, sc scenario, k int, want string) {
	t.Helper()
	sc.ready(t, s.project)
	start := s.p.state(t, "victim")
	var at testenv.Point
	r, _ := s.traced(t, s.args(sc, sc.command...), func(p testenv.Point) error {
		if p.N != k {
			return nil
		}
		at = p
		return syscall.Kill(p.PID, syscall.SIGINT)
	})
	told := []any{"interrupted at point %d, %s: code %d\n%s", k, at.Call, r.code, r.err}
	require.Contains(t, []int{0, 130}, r.code, told...)
	now := s.p.settled(t, "victim")
	switch {
	case r.code == 0:
		assert.Equal(t, want, now, told...)
	case sc.back && now != want: // the guest did not run yet
		assert.Equal(t, start, now, told...)
	}
	s.ok(t, s.args(sc, sc.command...)...)
	s.becomes(t, want, told...)
	s.clean(t, sc)
}
