//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// tidy takes everything off the host when a test has failed, whatever it left and however
// broken the host is: the next test is to fail by itself alone.
func (p *person) tidy(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	virsh := func(args ...string) []string {
		out, _ := p.commandIn(context.Background(), "/", "virsh", append([]string{"-q", "-c", p.uri}, args...)...).Output() // what is gone is well gone
		return strings.Fields(string(out))
	}
	if len(virsh("uri")) == 0 && p.uri == "qemu:///system" {
		_ = p.commandIn(context.Background(), "/", "libvirtd", "-d").Run()
		eventually(t, func() bool { return len(virsh("uri")) > 0 })
	}
	for _, name := range virsh("list", "--all", "--name") {
		virsh("destroy", name)
		virsh("undefine", "--nvram", "--managed-save", "--snapshots-metadata", "--checkpoints-metadata", name)
	}
	for _, id := range virsh("secret-list") {
		if strings.Count(id, "-") == 4 {
			virsh("secret-undefine", id)
		}
	}
	virsh("net-destroy", "default")
	for _, pid := range qemus(t) {
		if n, err := strconv.Atoi(pid); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	_ = syscall.Unmount(p.pool, syscall.MNT_DETACH) // a small one of the test's own
	for _, pattern := range []string{p.pool + "/*", p.nvram + "/*", p.locks + "/gcroots", p.home + "/.config/vmctl/hosts.yaml"} {
		left, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, path := range left {
			_ = os.RemoveAll(path)
		}
	}
	virsh("pool-refresh", "vmctl")
}
