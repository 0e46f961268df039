//go:build e2e

package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"vmctl/pkg/testenv"
)

// pieces is libvirt's procedure of uploads: in how many an image is sent depends on how fast
// the way to the host is.
const pieces = 208

// TestCalls counts the calls to libvirt that whole commands make, and with them the round
// trips that a host far away costs: a number that grew has to be looked at.
func TestCalls(t *testing.T) {
	p := root(t)
	link := testenv.RPC(t, testenv.Shape{})
	pr := p.project(t)
	pr.write(t, "domain/second.yaml", "image: images/tiny\nmemory: 64MiB\nnetwork: none\n")
	pr.ok(t, "build", "tiny")
	far := link.Remote(t)
	for _, c := range []struct {
		on   string
		args []string
		most int
	}{
		{link.URI(), []string{"up", "--no-wait", "tiny"}, 19}, // and may have to make the pool
		{link.URI(), []string{"up", "--no-wait", "tiny"}, 17},
		{link.URI(), []string{"down", "--force", "tiny"}, 22},
		{link.URI(), []string{"up", "--no-wait", "tiny"}, 17},
		{link.URI(), []string{"list"}, 10},
		{link.URI(), []string{"down", "--force", "tiny"}, 22},
		{link.URI(), []string{"list", "--all"}, 8},
		{far, []string{"up", "--no-wait", "tiny"}, 26}, // and uploads the image, and looks whether it is still there
		{far, []string{"up", "--no-wait", "tiny"}, 16},
		{far, []string{"up", "--no-wait", "second"}, 23}, // and asks whether that is worth a build
		{far, []string{"down", "--force", "second"}, 27},
		{far, []string{"up", "--no-wait", "second"}, 20},
		{far, []string{"info", "tiny"}, 19},
		{far, []string{"stop", "--force", "tiny"}, 16},
		{far, []string{"start", "--no-wait", "tiny"}, 17},
		{far, []string{"down", "--force", "tiny"}, 27},
	} {
		link.Reset()
		pr.ok(t, append([]string{"-c", c.on}, c.args...)...)
		calls := link.Calls() - link.Procedures()[pieces]
		assert.LessOrEqual(t, calls, c.most, "%v on %s: %v", c.args, c.on, link.Procedures())
		assert.Equal(t, 1, link.Connections(), "%v on %s", c.args, c.on)
	}
	pr.ok(t, "-c", far, "down", "--force", "second") // the host is that of other tests, too
}
