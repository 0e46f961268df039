//go:build e2e

package e2e

import (
	"testing"

	"vmctl/pkg/testenv"
)

func TestCalls(t *testing.T) {
	p := root(t)
	link := testenv.RPC(t, 0)
	pr := p.project(t)
	pr.ok(t, "build", "tiny")
	try := func(uri string) {
		count := func(args ...string) {
			link.Reset()
			r := pr.ok(t, append([]string{"-c", uri}, args...)...)
			t.Log(args, link.Calls(), link.Connections(), link.Procedures(), r.err)
		}
		count("up", "--no-wait", "tiny")
		count("up", "--no-wait", "tiny")
		count("list")
		count("list", "-o", "json")
		count("info", "tiny")
		count("stop", "--force", "tiny")
		count("start", "--no-wait", "tiny")
		count("down", "--force", "tiny")
		count("up", "--no-wait", "tiny")
		count("down", "--force", "tiny")
	}
	try(link.URI())
	try(link.Remote(t))
}
