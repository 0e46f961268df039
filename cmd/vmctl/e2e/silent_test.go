//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/testenv"
)

// linked is a project with a machine that boots in no time, and the private host as another
// machine called far, behind a link.
func linked(t *testing.T, shape testenv.Shape) (*project, *testenv.Link) {
	t.Helper()
	p := root(t)
	pr := p.project(t)
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "disk.img"), enginetest.BootDisk(), 0o644))
	pr.machine(t, "one", "image: ./disk.img", "memory: 32MiB", "network: none")
	config := filepath.Join(p.home, ".config/vmctl/hosts.yaml")
	t.Cleanup(func() { _ = os.Remove(config) })
	link := testenv.RPC(t, shape)
	pr.ok(t, "host", "add", "far", link.Remote(t))
	return pr, link
}

// TestHostThatKeepsWaiting uses a host behind a slow line, which then falls silent: a person
// is told what is waited for and can leave, other hosts are shown, and what waits goes on
// when the host is heard again.
func TestHostThatKeepsWaiting(t *testing.T) {
	pr, link := linked(t, testenv.Shape{Delay: 50 * time.Millisecond, Rate: 1 << 20})
	pr.ok(t, "up", "--no-wait", "one") // makes the pool
	pr.ok(t, "down", "--force", "one")
	before := pr.p.look(t)
	pr.ok(t, "-H", "far", "up", "--no-wait", "one")
	assert.Regexp(t, `one +running`, pr.ok(t, "-H", "far", "list").out)
	s := pr.p.shell(t, pr.dir)
	s.send("vmctl -H far console one\n")
	s.expect(`leave with Ctrl-\]`)
	s.expect(`vmctl guest ready`)
	link.Stall()
	s.send("\x1d")
	_, code := s.prompt("")
	assert.Zero(t, code)

	list := pr.p.shell(t, pr.dir)
	list.send("vmctl list --all-hosts\n")
	list.expect(`one +running`) // the host that answers is shown
	list.expect(`wait for hosts to answer.*far`)
	for _, verb := range []string{"list", "up one", "down one"} {
		s.send("vmctl -H far " + verb + "\n")
		s.expect(`far does not answer yet; waiting for it`)
		s.send(ctrlC)
		shown, code := s.prompt("")
		assert.Equal(t, 130, code, "%s\n%s", verb, shown)
	}
	s.send("vmctl -H far up --no-wait one\n")
	s.expect(`far does not answer yet; waiting for it`)
	link.Mend()
	shown, code := list.prompt("")
	assert.Zero(t, code, shown)
	assert.Regexp(t, `one +running.*far`, shown, "the other one, too, when it does")
	list.leave()
	shown, code = s.prompt("")
	assert.Zero(t, code, shown)
	assert.Contains(t, shown, "one is up to date")
	s.leave()
	pr.ok(t, "-H", "far", "down", "--force", "one")
	pr.p.nothingLeft(t, before)
}

// TestHostLostInTheMiddle cuts the connection of up and of list, and restarts libvirtd,
// before one of their calls. The guests run on, and the same command again does the rest.
func TestHostLostInTheMiddle(t *testing.T) {
	pr, link := linked(t, testenv.Shape{})
	pr.ok(t, "up", "--no-wait", "one")
	pr.ok(t, "down", "--force", "one")
	before := pr.p.look(t)
	pr.machine(t, "other", "image: ./disk.img", "memory: 32MiB", "network: none")
	pr.ok(t, "up", "--no-wait", "other")
	guests := qemus(t)
	up := []string{"-H", "far", "up", "--no-wait", "one"}
	calls := func(args ...string) int {
		link.Reset()
		pr.ok(t, args...)
		return link.Calls()
	}
	for _, c := range []struct {
		args   []string
		n      int
		points int
	}{
		{[]string{"-H", "far", "list"}, calls("-H", "far", "list"), 2},
		{up, calls(up...), 6},
	} {
		pr.ok(t, "-H", "far", "down", "--force", "one")
		for point := range c.points {
			k, restarted := 1+(c.n-1)*point/c.points, point%2 == 1
			link.Reset()
			over := make(chan struct{})
			link.AtCall(k, func() {
				defer close(over)
				if restarted {
					killLibvirtd(t)
					startLibvirtd(t)
				} else {
					link.Drop()
				}
			})
			r := pr.vmctl(t, c.args...)
			told := []any{"call %d of %v, libvirtd restarted: %v\n%s", k, c.args, restarted, r.err}
			require.Equal(t, 6, r.code, told...)
			<-over
			require.Contains(t, r.err, "hint:", told...)
			pr.ok(t, c.args...)
			require.Subset(t, qemus(t), guests, "guests run on")
			pr.ok(t, "-H", "far", "down", "--force", "one")
		}
	}
	pr.ok(t, "down", "--force", "other")
	pr.p.nothingLeft(t, before)
}
