//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestVolumes is what data volumes are for: what is written there is there after
// everything that happens to a machine.
func TestVolumes(t *testing.T) {
	p := root(t)
	before := p.look(t)
	pr := p.project(t)
	pr.edit(t, "tiny", "disk: 1GiB", "disk: 1GiB\nvolumes:\n  data: {size: 32MiB, mount: /data}")
	s := p.shell(t, pr.dir)
	s.ok("vmctl up tiny")
	assert.Contains(t, pr.inside(t, "grep /data /proc/mounts"), "/dev/vdb /data ext4 rw")
	pr.inside(t, "echo precious >/data/note; sync")
	s.volumesLive(t, pr)

	pr.refused(t, 5, []string{"volume", "rm", "--yes", "tiny/data"}, "domain tiny runs with it")
	s.volumesCrash(t, pr)
	s.volumesMove(t, pr)

	assert.Contains(t, s.ok("vmctl down --volumes --yes tiny"), "tiny is down")
	s.leave()
	p.nothingLeft(t, before)
}

// volumesLive grows a volume and attaches and detaches another while the guest runs.
func (s *shell) volumesLive(t *testing.T, pr *project) {
	t.Helper()
	pr.edit(t, "tiny", "size: 32MiB", "size: 64MiB")
	pr.edit(t, "tiny", "  data:", "  extra: {size: 16MiB, encrypt: true, mount: /extra}\n  data:")
	plan, code := s.run("vmctl plan tiny")
	assert.Equal(t, 2, code)
	for _, word := range []string{"volume data 32MiB → 64MiB", "attach disk extra", "define secret"} {
		assert.Contains(t, unwrap(plan), word)
	}
	s.ok("vmctl up tiny")
	_, code = s.run("vmctl plan tiny")
	assert.Zero(t, code)
	assert.Equal(t, "16777216", pr.inside(t, "blockdev --getsize64 /dev/disk/by-id/virtio-extra"))
	assert.Contains(t, pr.inside(t, "grep /extra /proc/mounts"), "/extra ext4 rw", "vmctl mounted it")
	pr.inside(t, "until [ $(df -m /data | awk 'NR==2 {print $2}') -gt 40 ]; do sleep 0.1; done")
	assert.Equal(t, "precious", pr.inside(t, "cat /data/note"))
	pr.edit(t, "tiny", "  extra: {size: 16MiB, encrypt: true, mount: /extra}\n", "")
	assert.Contains(t, s.ok("vmctl up tiny"), "detach disk extra")
	pr.inside(t, "until [ ! -e /dev/disk/by-id/virtio-extra ]; do sleep 0.1; done")
	assert.Regexp(t, `(?m)^tiny/extra +kept +16MiB`, s.ok("vmctl volume list"))
	s.send("vmctl volume rm tiny/extra\n")
	s.expect(`Delete tiny/extra \(16MiB, .* of it used\)\? What is in there is lost\. \[y/N\] `)
	s.send("n\n")
	shown, code := s.prompt("")
	assert.Equal(t, 5, code)
	assert.Contains(t, shown, "nothing was deleted")
	s.send("vmctl volume rm tiny/extra\n")
	s.expect(`\[y/N\] `)
	s.send("y\n")
	shown, code = s.prompt("")
	assert.Zero(t, code)
	assert.Contains(t, shown, "tiny/extra is deleted")
	assert.NotContains(t, pr.p.virsh(t, "secret-list"), "tiny", "its key went with it")
}

// volumesCrash kills what runs the machine, and makes its root disk anew.
func (s *shell) volumesCrash(t *testing.T, pr *project) {
	t.Helper()
	killLibvirtd(t)
	startLibvirtd(t)
	assert.Contains(t, s.ok("vmctl up tiny"), "tiny is up to date")
	running := qemus(t)
	require.Len(t, running, 1)
	pid, err := strconv.Atoi(running[0])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, func() bool { return len(qemus(t)) == 0 })
	pr.edit(t, "tiny", "disk: 1GiB", "disk: 512MiB")
	assert.Contains(t, s.ok("vmctl up --replace tiny"), "delete volume tiny")
	assert.Equal(t, "precious", pr.inside(t, "cat /data/note"), "through a crash, and with a new root disk")
}

// volumesMove takes the machine down, its volume away, and brings both back.
func (s *shell) volumesMove(t *testing.T, pr *project) {
	t.Helper()
	assert.Contains(t, s.ok("vmctl down tiny"), "kept: tiny/data (64MiB)")
	file := filepath.Join(pr.dir, "data.qcow2")
	s.ok("vmctl volume export tiny/data data.qcow2")
	qemuImg(t, "check", file)
	raw := filepath.Join(pr.dir, "data.raw")
	s.ok("vmctl volume export --format raw tiny/data data.raw")
	info, err := os.Stat(raw)
	require.NoError(t, err)
	assert.Equal(t, int64(64<<20), info.Size())
	assert.Less(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(32<<20), "holes stay holes")
	s.ok("vmctl volume rm --yes tiny/data")
	s.ok("vmctl volume import tiny/data data.raw")
	var listed struct {
		Volumes []struct {
			Name string
			Size int64
		}
	}
	require.NoError(t, json.Unmarshal([]byte(pr.ok(t, "volume", "list", "-o", "json").out), &listed))
	require.Len(t, listed.Volumes, 1)
	assert.Equal(t, int64(64<<20), listed.Volumes[0].Size)
	s.ok("vmctl up tiny")
	assert.Equal(t, "precious", pr.inside(t, "cat /data/note"), "after down, export, rm, import and up")
}

// inside runs a script in the guest tiny, and gives what it prints.
func (pr *project) inside(t *testing.T, script string) string {
	t.Helper()
	return strings.TrimSpace(pr.ok(t, "exec", "tiny", "--", "sh", "-c", script).out)
}
