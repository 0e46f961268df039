//go:build e2e

package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestHalt powers guests off: by the agent alone, by the power button alone, and
// against their will.
func TestHalt(t *testing.T) {
	p := tester(t)
	before := p.look(t)
	pr := p.project(t)
	c := &consoles{t, pr}

	pr.ok(t, "up", "tiny")
	w := c.attach()
	w.login()
	// A power button that does nothing leaves the agent.
	w.guest(`su -c 'printf "#!/bin/sh\n" >/etc/acpi/PWRF/00000080; sync'`)
	c.leave(w)
	assert.Contains(t, pr.ok(t, "stop", "tiny").err, "tiny is off: it shut down")
	assert.Contains(t, pr.ok(t, "stop", "tiny").err, "it was off already")

	pr.ok(t, "start", "tiny")
	w = c.attach()
	w.login()
	w.guest(`su -c 'printf "#!/bin/sh\nexec poweroff\n" >/etc/acpi/PWRF/00000080; killall qemu-ga'`)
	c.leave(w)
	assert.Contains(t, pr.ok(t, "stop", "tiny").err, "tiny is off: it shut down")

	// A guest that still boots hears nothing.
	pr.ok(t, "start", "--no-wait", "tiny")
	r := pr.ok(t, "stop", "--timeout", "1s", "tiny")
	assert.Contains(t, r.err, "tiny did not shut down within 1s: destroying it")
	assert.Contains(t, r.err, "tiny is off: it was switched off")

	pr.ok(t, "start", "--no-wait", "tiny")
	r = pr.ok(t, "down", "--force", "tiny")
	assert.Contains(t, r.err, "tiny is down: it was switched off")
	assert.NotContains(t, r.err, "did not shut down")
	p.nothingLeft(t, before)
}
