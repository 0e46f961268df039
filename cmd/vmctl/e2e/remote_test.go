//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// TestRemote is the same as on this machine, over ssh: vmctl uses nothing but libvirt's
// connection, and must not know that the host's files are here as well.
func TestRemote(t *testing.T) {
	p := root(t)
	server := testenv.SSH(t)
	pr := p.project(t)
	config := filepath.Join(p.home, ".config/vmctl/hosts.yaml")
	t.Cleanup(func() { _ = os.Remove(config) })
	pr.ok(t, "host", "add", "server", server.URI())
	pr.ok(t, "host", "add", "gone", "qemu+ssh://root@127.0.0.1:1/system")

	pr.refused(t, 6, []string{"-H", "server", "up", "tiny"}, "the host's ssh key is unknown or has changed", "hint: ")
	server.Trust(t)
	pr.ok(t, "host", "check", "server")
	pr.ok(t, "-H", "server", "up", "--no-wait", "tiny") // makes the pool
	pr.ok(t, "-H", "server", "down", "--force", "tiny")
	before := p.look(t)

	s := p.shell(t, pr.dir)
	shown := s.ok("vmctl -H server up tiny")
	assert.Contains(t, unwrap(shown), "could not be asked whether tiny runs there")
	assert.Contains(t, shown, "upload volume")
	assert.Contains(t, shown, "tiny is ready after")
	assert.Contains(t, shown, "vmctl -H server console tiny")
	again := s.ok("vmctl -H server up tiny")
	assert.Contains(t, again, "tiny is up to date")
	assert.NotContains(t, again, "could not be asked", "only a machine that is made anew could be elsewhere")

	pr.refused(t, 6, []string{"list", "--all-hosts"}, "cannot connect to qemu+ssh://root@127.0.0.1:1/system", "nothing listens on that port")
	list := pr.vmctl(t, "list", "-A").out
	assert.Regexp(t, `tiny +running .* server`, list)
	eventually(t, func() bool { return strings.Contains(pr.ok(t, "-H", "server", "logs", "tiny").out, "tiny login:") })
	assert.Contains(t, pr.ok(t, "-H", "server", "logs", "tiny").out, "tiny login:")
	s.send("vmctl -H server console tiny\n")
	s.expect(`leave with Ctrl-\]`)
	s.send("\n")
	s.expect(`tiny login:`)
	s.send("\x1d")
	_, code := s.prompt("")
	assert.Zero(t, code)

	pr.edit(t, "tiny", "cpus: 1", "cpus: 1\nhost: server")
	assert.Contains(t, pr.ok(t, "up", "tiny").err, "tiny is up to date")
	assert.Contains(t, pr.ok(t, "down", "tiny").err, "tiny is down: it shut down in")
	s.leave()
	p.nothingLeft(t, before)
	require.Empty(t, strings.TrimSpace(p.virsh(t, "list", "--all", "--name")))
}
