//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
	link := testenv.TCP(t, fmt.Sprintf("127.0.0.1:%d", server.Port), testenv.Shape{})
	server.Port, _ = strconv.Atoi(link.Port())
	pr := p.project(t)
	pr.write(t, "word", "open sesame")
	pr.edit(t, "tiny", "cpus: 1", "cpus: 1\ngraphics: vnc\nready: ssh\nvolumes: {data: 32MiB}\nsecrets: {word: {file: word}}")
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
	pr.ok(t, "host", "remove", "gone")
	pr.everyVerb(t, link)
	assert.Contains(t, pr.ok(t, "down", "--volumes", "--yes", "tiny").err, "tiny is down")
	s.leave()
	p.nothingLeft(t, before)
	require.Empty(t, strings.TrimSpace(p.virsh(t, "list", "--all", "--name")))
}

// everyVerb goes through what can be done with a machine, each over one ssh connection.
func (pr *project) everyVerb(t *testing.T, link *testenv.Link) {
	t.Helper()
	back, disk := filepath.Join(pr.dir, "back"), filepath.Join(pr.dir, "data.qcow2")
	for _, step := range []remoteStep{
		{"info tiny", "running"},
		{"plan tiny", "^$"},
		{"ssh tiny id -un", "^tarn\n$"},
		{"exec tiny id -un", "^root\n$"},
		{"exec --via ssh tiny id -un", "^tarn\n$"},
		{"cp domain/tiny.yaml tiny:/tmp/there", "^$"},
		{"cp --via ssh tiny:/tmp/there " + back, "^$"},
		{"exec tiny cat /run/credstore/word", "^open sesame$"},
		{"secret push tiny", ""},
		{"screenshot tiny --file " + filepath.Join(pr.dir, "screen.png"), ""},
		{"volume list", "tiny/data"},
		{"image list", "in use"},
		{"image inspect tiny", "images/tiny"},
		{"image prune --dry-run", ""},
		{"outdated", ""},
		{"host check server", "QEMU"},
	} {
		step.run(t, pr, link)
	}
	pr.forwards(t, "tiny")
	pr.refused(t, 4, []string{"ip", "tiny"}, "it uses user networking")
	for _, step := range []remoteStep{
		{"stop tiny", ""},
		{"volume export tiny/data " + disk, ""},
		{"down tiny", ""}, // nobody deletes a machine's disk from under it
		{"volume rm --yes tiny/data", ""},
		{"volume import tiny/data " + disk, ""},
		{"volume list tiny", "tiny/data"},
	} {
		step.run(t, pr, link)
	}
	copied, err := os.ReadFile(back)
	require.NoError(t, err)
	assert.Contains(t, string(copied), "image: images/tiny")
	left, err := filepath.Glob(filepath.Join(pr.p.home, ".local/state/vmctl/locks/ssh-*"))
	require.NoError(t, err)
	assert.Empty(t, left, "what the connection was shared by is gone")
}

// remoteStep is a command for a machine on another host, and what its result looks like.
type remoteStep struct{ args, shows string }

func (s remoteStep) run(t *testing.T, pr *project, link *testenv.Link) {
	t.Helper()
	link.Reset()
	r := pr.ok(t, append([]string{"-H", "server"}, strings.Fields(s.args)...)...)
	assert.Regexp(t, s.shows, r.out, s.args)
	assert.Equal(t, 1, link.Connections(), "one authentication for %s", s.args)
}
