//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/testenv"
)

// TestMigrate moves a machine to another host and back: while a program counts in the
// guest's memory, and stopped.
func TestMigrate(t *testing.T) {
	p := root(t)
	second := testenv.Second(t)
	first, server := testenv.SSH(t), second.SSH(t)
	first.Trust(t)
	server.Know(t)
	pr := p.project(t)
	config := filepath.Join(p.home, ".config/vmctl/hosts.yaml")
	t.Cleanup(func() { _ = os.Remove(config) })
	pr.ok(t, "host", "add", "server", server.URI())
	pr.edit(t, "tiny", "disk: 1GiB", "disk: 1GiB\nvolumes:\n  data: {size: 32MiB, mount: /data}\n  vault: {size: 16MiB, encrypt: true}")
	pr.ok(t, "up", "--no-wait", "tiny") // makes the pool
	pr.ok(t, "down", "--force", "--volumes", "--yes", "tiny")
	before := p.look(t)

	pr.ok(t, "up", "tiny")
	pr.inside(t, "echo precious >/data/note; sync; (n=0; while :; do n=$((n+1)); echo $n >/run/count; sleep 0.2; done) >/dev/null 2>&1 &")
	counted := pr.counted(t, "tiny")

	s := p.shell(t, pr.dir)
	authority := testenv.NewAuthority(t)
	authority.Certify(testenv.MigrateTLS, second.FirstAddress())
	authority.Certify(second.Path(testenv.MigrateTLS), second.Address())
	plan := pr.ok(t, "migrate", "--dry-run", "tiny", "server").out
	assert.Contains(t, plan, "move running guest tiny (to server, encrypted by TLS)", "both have certificates")
	shown := s.ok("vmctl migrate --live tiny server")
	assert.Contains(t, unwrap(shown), "tiny is on server now")
	pr.moved(t, second, true)
	on := []string{"-H", "server"}
	counted = pr.countsOn(t, counted, on...)
	assert.Contains(t, pr.ok(t, "-H", "server", "up", "tiny").err, "tiny is up to date")

	// Neither host can log in to the other: both are reached by this computer's ssh.
	pr.ok(t, "-H", "server", "migrate", "--live", "--no-tls", "--address", second.FirstAddress(), "tiny", first.URI())
	pr.moved(t, second, false)
	pr.countsOn(t, counted)

	assert.Contains(t, pr.ok(t, "migrate", "--cold", "tiny", "server").err, "tiny is on server now")
	pr.moved(t, second, true)
	assert.Equal(t, "precious", strings.TrimSpace(pr.ok(t, "-H", "server", "exec", "tiny", "--", "cat", "/data/note").out))
	pr.ok(t, "-H", "server", "down", "--force", "--volumes", "--yes", "tiny")
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

// TestMigrateCut ends moves at ten points, in every way in which that happens: live moves to
// the other host, and cold ones back. At most one host runs the machine then, and the same
// command goes on from there.
func TestMigrateCut(t *testing.T) {
	p := root(t)
	second := testenv.Second(t)
	link := testenv.TCP(t, second.Address()+":16509", testenv.Shape{})
	pr := p.project(t)
	config := filepath.Join(p.home, ".config/vmctl/hosts.yaml")
	t.Cleanup(func() { _ = os.Remove(config) })
	pr.ok(t, "host", "add", "server", "qemu+tcp://127.0.0.1:"+link.Port()+"/system")
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "disk.img"), enginetest.BootDisk(), 0o644))
	pr.machine(t, "tiny", "image: ./disk.img", "memory: 32MiB", "network: none", "volumes: {data: 16MiB}")
	pr.ok(t, "up", "--no-wait", "tiny") // makes the pool
	pr.ok(t, "down", "--force", "--volumes", "--yes", "tiny")
	before := p.look(t)
	pr.ok(t, "up", "--no-wait", "tiny")

	there := []string{"migrate", "--live", "--address", second.Address(), "tiny", "server"}
	back := []string{"-H", "server", "migrate", "--cold", "--force", "--no-wait", "tiny", testenv.System}
	pr.refused(t, 5, append(slices.Clone(there), "--tls"), "certificates", "hint:")
	calls := func(args []string) int {
		link.Reset()
		pr.ok(t, args...)
		return link.Calls()
	}
	n := map[bool]int{true: calls(there), false: calls(back)}
	const points = 10
	for point := range points {
		outward := point%2 == 0
		args := map[bool][]string{true: there, false: back}[outward]
		cmd := p.command(t, pr.dir, "vmctl", args...)
		end := []struct {
			name string
			do   func()
			code int
		}{
			{"closed", link.Close, 6},
			{"stalled", func() { link.Stall(); _ = cmd.Process.Signal(syscall.SIGINT) }, 130},
			{"dropped", link.Drop, 6},
			{"killed", func() { _ = cmd.Process.Kill() }, -1},
		}[(point/2+point%2)%4]
		k := 2 + n[outward]*7/10*point/points // later moves make fewer calls than the first
		happened := false
		link.Reset()
		link.AtCall(k, func() { happened = true; end.do() })
		r := p.finish(t, cmd)
		link.Mend()
		told := []any{"%s at call %d of %d, %v\n%s", end.name, k, n[outward], args, r.err}
		require.True(t, happened, told...)
		require.Equal(t, end.code, r.code, told...)
		if end.code == 6 {
			require.Contains(t, r.err, "hint:", told...)
		}
		require.LessOrEqual(t, len(running(t, testenv.System))+len(running(t, second.URI())), 1, told...)
		require.Contains(t, pr.ok(t, "list", "-A").out, "tiny", told...)
		eventually(t, func() bool { r = pr.vmctl(t, args...); return r.code == 0 }) // libvirtd may still be at what was cut
		require.Zero(t, r.code, "%s", r.err)
		pr.moved(t, second, outward)
	}
	pr.ok(t, "down", "--force", "--volumes", "--yes", "tiny")
	p.nothingLeft(t, before)
	left, err := os.ReadDir(second.Path(p.pool))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// running are the names of the domains that run on a host.
func running(t *testing.T, uri string) []string {
	t.Helper()
	out, err := exec.Command("virsh", "-c", uri, "list", "--name", "--state-running").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.Fields(string(out))
}
