//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestInterrupted is Ctrl-C in each of the steps of up.
func TestInterrupted(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	pr.image(t, "tiny")
	pr.ok(t, "up", "--no-wait", "tiny") // makes the pool
	pr.ok(t, "down", "--force", "tiny")
	before := p.look(t)

	t.Run("build", func(t *testing.T) {
		pr.write(t, "images/slow/flake.nix", `{
  outputs = { self }: {
    nixosConfigurations.slow.config.system.build.qcow2 = derivation {
      name = "slow";
      system = "x86_64-linux";
      builder = "/bin/bash";
      args = [ "-c" "echo counting sheep; while :; do read -t 60 </dev/zero; done" ];
    };
  };
}
`)
		pr.machine(t, "slow", "image: images/slow")
		s := p.shell(t, pr.dir)
		s.send("vmctl up slow\n")
		s.expect(`counting sheep`)
		s.send(ctrlC)
		shown, code := s.prompt("")
		assert.Equal(t, 130, code, shown)
		assert.Contains(t, shown, "interrupted")
		s.leave()
		p.nothingLeft(t, before)
	})
	t.Run("upload", func(t *testing.T) {
		// Large enough to be caught in the middle.
		disk := filepath.Join(pr.dir, "large.img")
		mbr := make([]byte, 512)
		mbr[510], mbr[511] = 0x55, 0xaa
		require.NoError(t, os.WriteFile(disk, mbr, 0o644))
		require.NoError(t, os.Truncate(disk, 512<<20))
		defer os.Remove(disk)
		pr.machine(t, "uploads", "image: ./large.img")
		r := pr.interrupted(t, func(e event) bool {
			return strings.HasPrefix(e.ID, "uploads/upload volume") && e.Current > 0
		}, "up", "--no-wait", "uploads")
		assert.Equal(t, 130, r.code, r.err)
		if strings.Contains(r.err, "have arrived, and the next vmctl up goes on from there") {
			pr.ok(t, "down", "--force", "uploads") // the host was quick, and has acknowledged a part
		} else {
			assert.Contains(t, r.err, "interrupted; what was begun has been taken back")
		}
		p.nothingLeft(t, before)
	})
	t.Run("start", func(t *testing.T) {
		pr.machine(t, "starts", "image: images/tiny#tiny")
		r := pr.interrupted(t, func(e event) bool {
			return strings.HasPrefix(e.ID, "starts/start domain") && e.Status == "working"
		}, "up", "starts")
		assert.Equal(t, 130, r.code, r.err)
		pr.ok(t, "down", "--force", "starts") // the image's root, if all was taken back
		p.nothingLeft(t, before)
	})
	t.Run("wait", func(t *testing.T) {
		s := p.shell(t, pr.dir)
		s.send("vmctl up tiny\n")
		s.expect(`wait until tiny is ready`)
		s.send(ctrlC)
		shown, code := s.prompt("")
		assert.Equal(t, 130, code, shown)
		assert.Contains(t, unwrap(shown), "tiny keeps booting")
		s.leave()
		assert.Len(t, qemus(t), 1, "what is up stays up")
		pr.ok(t, "down", "--force", "tiny")
		p.nothingLeft(t, before)
	})
	t.Run("stop", func(t *testing.T) {
		pr.ok(t, "up", "--no-wait", "tiny")
		r := pr.interrupted(t, func(e event) bool { return strings.HasPrefix(e.ID, "tiny/stop domain") }, "down", "tiny")
		assert.Equal(t, 130, r.code, r.err)
		assert.Contains(t, r.err, `"kind":"interrupted"`)
		pr.ok(t, "down", "--force", "tiny")
		p.nothingLeft(t, before)
	})
}

// interrupted runs vmctl and sends it SIGINT at an event.
func (pr *project) interrupted(t *testing.T, at func(event) bool, args ...string) result {
	t.Helper()
	sent := false
	r := pr.watched(t, args, func(e event, vmctl *os.Process) {
		if !sent && at(e) {
			sent = true
			require.NoError(t, vmctl.Signal(syscall.SIGINT))
		}
	})
	require.True(t, sent, "the moment came\n%s", r.err)
	return r
}
