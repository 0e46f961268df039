//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// sample says which points are tried: all of them in KILL_ROUNDS rounds, or every so many-th by KILL_EVERY, of
// which KILL_SEED says which: a part of a round. Without either, the scenarios say how many, and each day tries others.
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

// of picks points from 1 to n: every so many-th, unless the environment says otherwise.
func (s sample) of(n, every int) []int {
	var all []int
	if s.rounds > 0 {
		for range s.rounds {
			for k := 1; k <= n; k++ {
				all = append(all, k)
			}
		}
		return all
	}
	if s.every > 0 {
		every = s.every
	}
	if every == 0 {
		return nil
	}
	every = min(every, n)
	for k := 1 + s.seed%every; k <= n; k += every {
		all = append(all, k)
	}
	return all
}

// TestStoppedAnywhere plays each scenario undisturbed, which says what it comes to and how
// many points it has, and then ends vmctl at the n-th of its write-like system calls: by
// SIGKILL, after which the same command again brings about what the undisturbed run did; and by Ctrl-C,
// after which vmctl takes back by itself what it has begun; and by a libvirtd that is killed and started
// again. As nobody follows its calls on a person's machine, it is killed at random times as well. After
// down nothing is left.
func TestStoppedAnywhere(t *testing.T) {
	s, points := newStage(t), sampling(t)
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			u := s.undisturbed(t, sc)
			for _, way := range []struct {
				name  string
				every int
				at    func(*testing.T, scenario, int, course) bool
				// late is how much of the points need not be reached: other runs may be through by then.
				late float64
			}{{"killed", sc.killed, s.kill, 0.1}, {"interrupted", sc.interrupted, s.interrupt, 0.1}, {"restarted", 0, s.restart, 0.1}, {"surprised", 10 * sc.killed, s.surprise, 1}} {
				t.Run(way.name, func(t *testing.T) {
					tried, reached := 0, 0
					for _, k := range points.of(u.points, way.every) {
						passed := t.Run(strconv.Itoa(k), func(t *testing.T) {
							tried++
							if way.at(t, sc, k, u) {
								reached++
								return
							}
							assert.Greater(t, float64(k), float64(u.points)*(1-way.late), "other runs have far fewer points than the undisturbed one")
						})
						if !passed {
							s.mend(t)
						}
					}
					assert.GreaterOrEqual(t, reached, tried/4, "vmctl is through before it is stopped")
					t.Logf("%s, %s: %d points tried, %d of them reached", sc.name, way.name, tried, reached)
				})
			}
		})
	}
}

// course is how a scenario goes when nothing disturbs it.
type course struct {
	points int
	state  string
	// took is how long it goes on while nobody follows its calls.
	took time.Duration
}

func (s *stage) undisturbed(t *testing.T, sc scenario) course {
	t.Helper()
	sc.ready(t, s)
	u, calls := course{}, map[string]int{}
	r, _ := s.traced(t, s.args(sc, sc.command...), func(p testenv.Point) error {
		u.points = p.N
		calls[p.Call]++
		return nil
	})
	require.Zero(t, r.code, r.err)
	u.state = s.settled(t, sc)
	s.clean(t, sc)
	sc.ready(t, s)
	began := time.Now()
	s.ok(t, s.args(sc, sc.command...)...)
	u.took = time.Since(began)
	s.clean(t, sc)
	t.Logf("%s has %d points: %v", sc.name, u.points, calls)
	return u
}

// becomes demands a state of what a command has brought about that has ended.
func (s *stage) becomes(t *testing.T, sc scenario, want string, told ...any) {
	t.Helper()
	if s.state(t, sc) != want {
		assert.Empty(t, apart(want, s.settled(t, sc)), told...)
	}
}

func (s *stage) kill(t *testing.T, sc scenario, k int, u course) bool {
	t.Helper()
	sc.ready(t, s)
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
	s.heals(t, sc, k, u, "killed at point %d, %s", k, at.Call)
	return at.N == k
}

// heals demands that the same command again puts right what a kill has left.
func (s *stage) heals(t *testing.T, sc scenario, k int, u course, told ...any) {
	t.Helper()
	s.settled(t, sc)
	if sc.killedAt != nil {
		sc.killedAt(t, s, k)
	}
	s.ok(t, s.args(sc, sc.command...)...)
	s.becomes(t, sc, u.state, told...)
	s.clean(t, sc)
}

// surprise kills vmctl, whose threads run as they like, at a random time of the k-th part of its course.
func (s *stage) surprise(t *testing.T, sc scenario, k int, u course) bool {
	t.Helper()
	sc.ready(t, s)
	after := time.Duration((float64(k-1) + rand.Float64()) / float64(u.points) * float64(u.took))
	cmd := s.p.command(t, s.dir, "vmctl", s.args(sc, sc.command...)...)
	require.NoError(t, cmd.Start())
	dies := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	dies.Stop()
	killed := cmd.ProcessState.ExitCode() < 0
	if !killed {
		require.NoError(t, err)
	}
	s.heals(t, sc, k, u, "killed after %s of about %s", after, u.took)
	return killed
}

// restart kills libvirtd and starts it again while vmctl stands still at a point.
func (s *stage) restart(t *testing.T, sc scenario, k int, u course) bool {
	t.Helper()
	sc.ready(t, s)
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
	switch {
	case libraryCrashed(t, r):
		t.Logf("libvirt's library crashed at point %d, %s", k, at.Call)
		s.settled(t, sc)
	default:
		require.Contains(t, []int{0, 6}, r.code, told...)
		if r.code != 0 {
			assert.Contains(t, r.err, "hint:", told...)
		}
	}
	s.ok(t, s.args(sc, sc.command...)...)
	s.becomes(t, sc, u.state, told...)
	s.clean(t, sc)
	return at.N == k
}

// libraryCrashed says that vmctl died of a fault that libvirt's client library had before version 10.4 (CVE-2024-4418): when
// a connection breaks while several threads wait on it, one of them may write where another's stack was. Nobody can
// catch that; it is as if vmctl had been killed there, and has to heal as that does.
func libraryCrashed(t *testing.T, r result) bool {
	t.Helper()
	if r.code != 2 || !strings.Contains(r.err, "SIGSEGV") || !strings.Contains(r.err, "signal arrived during cgo execution") {
		return false
	}
	out, err := exec.Command("virsh", "--version").Output()
	require.NoError(t, err)
	var major, minor int
	_, err = fmt.Sscanf(string(out), "%d.%d", &major, &minor)
	require.NoError(t, err)
	return major < 10 || major == 10 && minor < 4
}

func (s *stage) interrupt(t *testing.T, sc scenario, k int, u course) bool {
	t.Helper()
	sc.ready(t, s)
	start := s.state(t, sc)
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
	now := s.settled(t, sc)
	switch {
	case r.code == 0:
		assert.Empty(t, apart(u.state, now), told...)
	case sc.back && now != u.state: // the guest did not run yet
		assert.Empty(t, apart(start, now), told...)
	}
	s.ok(t, s.args(sc, sc.command...)...)
	s.becomes(t, sc, u.state, told...)
	s.clean(t, sc)
	return at.N == k
}

// apart are the lines that only one of two states has: whole ones are too long to compare by eye.
func apart(want, now string) (lines []string) {
	if want == now {
		return nil
	}
	wanted, found := strings.Split(want, "\n"), strings.Split(now, "\n")
	for _, line := range wanted {
		if !slices.Contains(found, line) {
			lines = append(lines, "missing: "+line)
		}
	}
	for _, line := range found {
		if !slices.Contains(wanted, line) {
			lines = append(lines, "too many: "+line)
		}
	}
	if lines == nil {
		lines = []string{"the same lines, otherwise ordered or repeated: " + now}
	}
	return lines
}
