//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/testenv"
)

// mover is the machine that scenarios move.
const mover = "mover"

// elsewhere is the host that scenarios move to, as the person there sees it.
type elsewhere struct {
	*person
	before census
}

// other is the stage's second host, made when a scenario first needs it.
func (s *stage) other(t *testing.T) *elsewhere {
	t.Helper()
	if s.second != nil {
		return s.second
	}
	host := testenv.Second(s.t)
	there := *s.p
	there.uri, there.root = host.URI(), host.Path("")
	s.second = &elsewhere{person: &there}
	config := filepath.Join(s.p.home, ".config/vmctl/hosts.yaml")
	s.t.Cleanup(func() { _ = os.Remove(config) })
	s.ok(t, "host", "add", "server", host.URI())
	// Makes the pool, and what libvirt keeps of QEMU.
	define(t, s)
	s.ok(t, "-H", "server", "up", "--no-wait", mover)
	s.ok(t, "-H", "server", "down", "--force", "--volumes", "--yes", mover)
	s.before, s.second.before = s.p.look(t), there.look(t)
	return s.second
}

func define(t *testing.T, s *stage) {
	t.Helper()
	s.machine(t, mover, "image: ./disk.img", "memory: 32MiB", "network: none", "volumes: {kept: 16MiB}")
}

func kept(p *person) string { return filepath.Join(p.root+p.pool, engine.DataVolume(mover, "kept")) }

// readyToMove makes a machine that is off, with something on its data volume.
func readyToMove(t *testing.T, s *stage) {
	t.Helper()
	s.other(t)
	define(t, s)
	s.ok(t, "up", "--no-wait", mover)
	s.ok(t, "stop", "--force", mover)
	qemuIO(t, "write "+patterned, kept(s.p))
}

// usableOnce demands, of every second move that was killed, that the machine can be started on one of both hosts and no
// other, and has its data there.
func usableOnce(t *testing.T, s *stage, k int) {
	t.Helper()
	if k%2 == 0 {
		return
	}
	here, there := s.vmctl(t, "start", "--no-wait", mover), s.vmctl(t, "-H", "server", "start", "--no-wait", mover)
	told := []any{"killed at point %d\nhere: code %d\n%s\nthere: code %d\n%s", k, here.code, here.err, there.code, there.err}
	if here.code == 0 {
		assert.Contains(t, []int{4, 5}, there.code, told...)
		s.ok(t, "stop", "--force", mover)
		qemuIO(t, "read "+patterned, kept(s.p))
		return
	}
	assert.Contains(t, []int{4, 5}, here.code, told...)
	require.Zero(t, there.code, told...)
	s.ok(t, "-H", "server", "stop", "--force", mover)
	qemuIO(t, "read "+patterned, kept(s.second.person))
}

// clean takes the machine down where it has arrived, and checks that its data was there, and is nowhere else.
func (e *elsewhere) clean(t *testing.T, s *stage) {
	t.Helper()
	qemuIO(t, "read "+patterned, kept(e.person))
	assert.NoFileExists(t, kept(s.p))
	s.ok(t, "-H", "server", "down", "--force", "--volumes", "--yes", mover)
	e.nothingLeft(t, e.before)
}
