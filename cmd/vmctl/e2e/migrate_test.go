//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/testenv"
)

// TestMigrate moves a machine to another host and back: while a program counts in the
// guest's memory, and stopped.
func TestMigrate(t *testing.T) {
	p := root(t)
	second := testenv.Second(t)
	pr := p.project(t)
	config := filepath.Join(p.home, ".config/vmctl/hosts.yaml")
	t.Cleanup(func() { _ = os.Remove(config) })
	pr.ok(t, "host", "add", "server", second.URI())
	pr.edit(t, "tiny", "disk: 1GiB", "disk: 1GiB\nvolumes:\n  data: {size: 32MiB, mount: /data}\n  vault: {size: 16MiB, encrypt: true}")
	pr.ok(t, "up", "--no-wait", "tiny") // makes the pool
	pr.ok(t, "down", "--force", "--volumes", "--yes", "tiny")
	before := p.look(t)

	pr.ok(t, "up", "tiny")
	pr.inside(t, "echo precious >/data/note; sync; (n=0; while :; do n=$((n+1)); echo $n >/run/count; sleep 0.2; done) >/dev/null 2>&1 &")
	counted := pr.counted(t, "tiny")

	s := p.shell(t, pr.dir)
	shown := s.ok("vmctl migrate --live tiny server")
	assert.Contains(t, unwrap(shown), "tiny is on server now")
	pr.moved(t, second, true)
	on := []string{"-H", "server"}
	counted = pr.countsOn(t, counted, on...)
	assert.Contains(t, pr.ok(t, "-H", "server", "up", "tiny").err, "tiny is up to date")

	pr.ok(t, "-H", "server", "migrate", "--live", "--address", second.FirstAddress(), "tiny", testenv.System)
	pr.moved(t, second, false)
	pr.countsOn(t, counted)

	assert.Contains(t, pr.ok(t, "migrate", "--cold", "tiny", "server").err, "tiny is on server now")
	pr.moved(t, second, true)
	assert.Equal(t, "precious", strings.TrimSpace(pr.ok(t, "-H", "server", "exec", "tiny", "--", "cat", "/data/note").out))
	pr.ok(t, "-H", "server", "down", "--volumes", "--yes", "tiny")
	s.leave()
	p.nothingLeft(t, before)
	left, err := os.ReadDir(second.Path(p.pool))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// counted is how far the program in the guest has come.
func (pr *project) counted(t *testing.T, args ...string) int {
	t.Helper()
	var n int
	eventually(t, func() bool {
		r := pr.vmctl(t, append(append([]string{"exec"}, args...), "--", "cat", "/run/count")...)
		n, _ = strconv.Atoi(strings.TrimSpace(r.out))
		return n > 0
	})
	return n
}

// countsOn checks that the program counts on from where it was.
func (pr *project) countsOn(t *testing.T, from int, args ...string) int {
	t.Helper()
	n := pr.counted(t, append(args, "tiny")...)
	assert.GreaterOrEqual(t, n, from)
	eventually(t, func() bool { return pr.counted(t, append(args, "tiny")...) > n })
	return n
}

// moved checks that tiny is on one host alone.
func (pr *project) moved(t *testing.T, second *testenv.SecondHost, there bool) {
	t.Helper()
	here := strings.Fields(pr.p.virsh(t, "list", "--all", "--name"))
	files, err := filepath.Glob(filepath.Join(pr.p.pool, "*"))
	require.NoError(t, err)
	elsewhere, err := os.ReadDir(second.Path(pr.p.pool))
	require.NoError(t, err)
	if there {
		assert.Empty(t, here)
		assert.Empty(t, files)
		assert.NotEmpty(t, elsewhere)
		return
	}
	assert.Equal(t, []string{"tiny"}, here)
	assert.Empty(t, elsewhere)
	assert.NotContains(t, files, filepath.Join(pr.p.pool, engine.ArrivingVolume("tiny")))
}

// TestMigrateCut breaks the connection to the other host in the middle of moves, and kills
// vmctl: the machine is on one host, and the next command goes on from there.
func TestMigrateCut(t *testing.T) {
	p := root(t)
	second := testenv.Second(t)
	link := testenv.TCP(t, second.Address()+":16509", testenv.Shape{})
	pr := p.project(t)
	config := filepath.Join(p.home, ".config/vmctl/hosts.yaml")
	t.Cleanup(func() { _ = os.Remove(config) })
	pr.ok(t, "host", "add", "server", "qemu+tcp://127.0.0.1:"+link.Port()+"/system")
	pr.ok(t, "up", "--no-wait", "tiny") // makes the pool
	pr.ok(t, "down", "--force", "tiny")
	before := p.look(t)
	pr.ok(t, "up", "--no-wait", "tiny")
	address := []string{"--address", second.Address()}

	for _, c := range []struct {
		at      string
		flags   []string
		arrived bool
	}{
		{"upload volume base-", append([]string{"--live"}, address...), false},
		{"copy volume tiny." + strings.TrimPrefix(engine.RootVolume("tiny"), "tiny."), []string{"--cold", "--force", "--no-wait"}, false},
		{"move running guest", append([]string{"--live"}, address...), false},
		{"start domain", []string{"--cold", "--force", "--no-wait"}, true},
	} {
		cut := false
		r := pr.watched(t, append(append([]string{"migrate"}, c.flags...), "tiny", "server"), func(e event, _ *os.Process) {
			if !cut && strings.HasPrefix(e.ID, "tiny/"+c.at) {
				cut = true
				link.Close()
			}
		})
		require.True(t, cut, "%s\n%s", c.at, r.err)
		require.Equal(t, 6, r.code, "%s\n%s", c.at, r.err)
		list := pr.ok(t, "list", "-A").out
		if c.arrived {
			assert.Regexp(t, `tiny +moved to server`, list)
			pr.refused(t, 5, []string{"up", "tiny"}, "tiny is on server now")
			continue
		}
		require.Regexp(t, `tiny +running`, list, c.at)
		assert.NotContains(t, p.virsh(t, "domstate", "tiny"), "paused")
	}
	pr.ok(t, "migrate", "--no-wait", "tiny", "server")
	pr.moved(t, second, true)

	back := []string{"-H", "server", "migrate", "--live", "--address", second.FirstAddress(), "tiny", testenv.System}
	killed := false
	r := pr.watched(t, back, func(e event, vmctl *os.Process) {
		if !killed && strings.HasPrefix(e.ID, "tiny/move running guest") {
			killed = true
			_ = vmctl.Kill()
		}
	})
	require.True(t, killed, r.err)
	eventually(t, func() bool { return pr.vmctl(t, back...).code == 0 })
	pr.moved(t, second, false)
	pr.ok(t, "down", "--force", "tiny")
	p.nothingLeft(t, before)
	left, err := os.ReadDir(second.Path(p.pool))
	require.NoError(t, err)
	assert.Empty(t, left)
}
