//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// elsewhere gives a person's nix a store of its own, at the same place as the host's: what
// one of them builds the other one has not.
func (p *person) elsewhere(t *testing.T) {
	t.Helper()
	var base string
	for _, v := range p.nix {
		if dir, ok := strings.CutPrefix(v, "NIX_STORE_DIR="); ok {
			base = filepath.Dir(dir)
		}
	}
	own := testenv.Dir(t, "")
	require.NoError(t, exec.Command("cp", "-r", filepath.Join(base, "conf"), own).Run())
	real, err := exec.LookPath("nix")
	require.NoError(t, err)
	script := fmt.Sprintf(`#!/bin/sh
echo "$*" >>%s
exec unshare -m -- sh -c 'mount --bind "$0" %s && exec %s "$@"' %s "$@"
`, p.nixLog(), base, real, own)
	require.NoError(t, os.WriteFile(filepath.Join(p.bin, "nix"), []byte(script), 0o755))
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+w", own).Run() })
}

// TestBuildOnHost evaluates here, builds on the host, and uses the image where it lies.
func TestBuildOnHost(t *testing.T) {
	p := root(t)
	server := testenv.SSH(t, "SetEnv "+strings.Join(p.nix, " "))
	server.Trust(t)
	pr := p.project(t)
	p.elsewhere(t)
	// An image that nobody has built yet.
	flake := filepath.Join(pr.dir, "images/tiny/flake.nix")
	text, err := os.ReadFile(flake)
	require.NoError(t, err)
	fresh := strings.Replace(string(text), `name = "tiny`, `unique = "`+filepath.Base(p.bin)+`"; name = "tiny`, 1)
	require.NotEqual(t, string(text), fresh)
	require.NoError(t, os.WriteFile(flake, []byte(fresh), 0o644))
	before := p.look(t)
	on := func(args ...string) []string { return append([]string{"-c", server.URI()}, args...) }
	roots := filepath.Join(p.home, ".local/state/vmctl/gcroots/system/tiny")

	shown := pr.ok(t, on("up", "-v", "--no-wait", "--build-on", "host", "tiny")...).err
	assert.Contains(t, shown, "msg=\"build on the host\" machine=tiny host=127.0.0.1")
	assert.NotContains(t, shown, "upload volume", "the image is there")
	base := regexp.MustCompile(`<vmctl:base>(.*)</vmctl:base>`).FindStringSubmatch(p.virsh(t, "dumpxml", "tiny"))
	require.Len(t, base, 2)
	info, err := os.Stat(base[1]) // in the host's store
	require.NoError(t, err)
	assert.Zero(t, info.Sys().(*syscall.Stat_t).Uid, "and is not relabelled")
	cmd := p.command(t, pr.dir, "unshare", "-m", filepath.Join(p.bin, "nix"), "path-info", base[1])
	assert.NotZero(t, p.finish(t, cmd).code, "what was built is not in this machine's store")
	links, err := os.ReadDir(roots)
	require.NoError(t, err)
	require.Len(t, links, 1)
	live := exec.Command("nix-store", "--gc", "--print-roots")
	live.Env = append(os.Environ(), p.nix...)
	out, err := live.Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), roots, "the host's nix keeps it")

	p.nixStarts(t)
	assert.Contains(t, pr.ok(t, on("up", "--build-on", "host", "tiny")...).err, "nothing has changed")
	assert.Zero(t, p.nixStarts(t), "one question to the host is enough")
	pr.ok(t, on("down", "--force", "tiny")...)
	assert.NoDirExists(t, roots, "the link went with the machine")

	// What a machine that is gone kept, prune lets go.
	require.NoError(t, os.MkdirAll(roots, 0o755))
	require.NoError(t, os.Symlink(filepath.Dir(base[1]), filepath.Join(roots, "left")))
	pruned := pr.ok(t, on("image", "prune")...).out
	assert.Regexp(t, "tiny +nix store of the host", pruned)
	assert.NoDirExists(t, roots)

	// Where ssh finds no nix, it is built here and sent.
	plain := testenv.SSH(t, "SetEnv PATH="+testenv.Programs(t, "sh", "which", "virt-ssh-helper"))
	plain.Trust(t)
	pr.edit(t, "tiny", "cpus: 1", "cpus: 1\nbuild-on: host")
	r := pr.vmctl(t, "-c", plain.URI(), "plan", "tiny")
	assert.Equal(t, 2, r.code, r.err)
	assert.Contains(t, r.err, "nix builds here: ssh finds no nix on 127.0.0.1")
	assert.Contains(t, r.out, "upload volume")
	p.nothingLeft(t, before)
}
