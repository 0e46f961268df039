//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// told is the key of a definition that runs a script in the guest before its services.
const told = "cloud-init: {ssh-keys: [], user-data: told.sh}"

// tell writes the script.
func (pr *project) tell(t *testing.T, lines ...string) {
	t.Helper()
	pr.write(t, "told.sh", "#!/bin/sh\n"+strings.Join(lines, "\n")+"\n")
}

// said is what the guest last said of itself, as vmctl keeps it.
func (pr *project) said(t *testing.T, machine string) (r struct {
	State     string
	Addresses []string
	Keys      []string `json:"ssh_host_keys"`
},
) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pr.p.home, ".local/state/vmctl/hosts/*/"+machine+".json"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	info, err := os.Stat(files[0])
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	data, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &r))
	return r
}

// TestReady is what a guest can show and what it is not ready for, with guests that are
// made so by what they are told.
func TestReady(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	before := p.look(t)

	// What the guest is told arrives: by label, with the serial, and it reports.
	pr.write(t, "me.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@example\n")
	pr.machine(t, "seeded", "cloud-init: {hostname: sown, ssh-keys: [me.pub], user-data: told.sh}")
	pr.tell(t, "cp /home/tarn/.ssh/authorized_keys /dev/ttyS0", "rm /usr/sbin/qemu-ga")
	assert.Contains(t, pr.ok(t, "up", "seeded").err, "it says so")
	log := pr.ok(t, "logs", "seeded").out
	assert.Contains(t, log, "me@example")
	assert.Regexp(t, `tiny: told by vdb, serial vmctl-seed, instance [0-9a-f-]{36}\n`, log)
	assert.Contains(t, log, "sown login:")
	assert.Contains(t, pr.said(t, "seeded").Addresses, "10.0.2.15")
	assert.Contains(t, pr.ok(t, "up", "seeded").err, "seeded is up to date")

	// Another content for the running guest waits; the guest keeps what it has.
	pr.tell(t, "rm /usr/sbin/qemu-ga", "rm -f /etc/init.d/report")
	assert.Contains(t, pr.ok(t, "up", "seeded").err, "waits for the next boot: seed")
	// Now it has neither an agent nor a report: the login is the sign.
	pr.ok(t, "stop", "--force", "seeded")
	assert.Contains(t, pr.ok(t, "up", "--no-wait", "seeded").err, "seeded is started")
	assert.Contains(t, pr.ok(t, "up", "seeded").err, "up to date, and ready after")
	pr.ok(t, "down", "--force", "seeded")

	// An empty disk, and a kernel that stops.
	qemuImg(t, "create", "-f", "qcow2", filepath.Join(pr.dir, "empty.qcow2"), "8M")
	pr.machine(t, "empty", "image: ./empty.qcow2")
	pr.refused(t, 8, []string{"up", "--timeout", "3s", "empty"}, "empty was not ready within 3s", "firmware")
	pr.ok(t, "down", "--force", "empty")
	pr.machine(t, "stuck", told)
	pr.tell(t, "echo c >/proc/sysrq-trigger")
	pr.refused(t, 1, []string{"up", "stuck"}, "stuck does not boot: its kernel stopped: Kernel panic - not syncing: sysrq triggered crash")
	pr.ok(t, "down", "--force", "stuck")
	p.nothingLeft(t, before)
}

// TestReadySigns waits for one sign each, of one guest that gives each of them late or not.
func TestReadySigns(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	before := p.look(t)
	// No agent, no ssh server, and on the port what no guest should say.
	pr.tell(t, "rm /usr/sbin/qemu-ga /usr/sbin/dropbear",
		`printf '#!/bin/sh\nexec 3>$1\nprintf "\\033[2J\\033]0;x\\007{\\n\\0\\n" >&3; head -c 300000 /dev/zero | tr "\\0" x >&3; echo >&3\n`+
			`while sleep 1; do echo "{\"vmctl\":1,\"state\":\"ready\",\"addresses\":[\"\\u001b[31m\"],\"failed_units\":[\"bad.service\",\"\\u001b[2J\"]}" >&3; done\n' >/etc/init.d/report`,
		"echo Started the tiny thing >/dev/ttyS0")
	pr.machine(t, "signs", told, "ready: agent", `ports: ["2223:22"]`)
	pr.ok(t, "up", "--no-wait", "signs")
	booted := func() bool { return strings.Contains(pr.ok(t, "logs", "signs").out, "login:") }
	for range 4 { // a busy machine takes its time
		eventually(t, booted)
	}
	require.True(t, booted())
	pr.refused(t, 8, []string{"up", "--timeout", "2s", "signs"}, "signs was not ready within 2s: its guest agent did not answer; it asks for a login", "qemu-guest-agent")
	again := func(ready string, code int, words ...string) {
		t.Helper()
		pr.machine(t, "signs", told, "ready: "+ready, `ports: ["2223:22"]`)
		timeout := "10s"
		if code == 8 {
			timeout = "2s"
		}
		pr.refused(t, code, []string{"up", "--timeout", timeout, "signs"}, words...)
	}
	again("ssh", 8, "no ssh server answers at 127.0.0.1:2223")
	again("console /no such thing/", 8, "its console printed nothing that matches /no such thing/")
	again("report", 1, "signs has booted, but units failed: bad.service")
	pr.machine(t, "signs", told, "ready: console /^Started .*thing$/", `ports: ["2223:22"]`)
	assert.Contains(t, pr.ok(t, "up", "signs").err, "its console says so")
	assert.Contains(t, pr.ok(t, "up", "signs").err, "signs is up to date\n")
	pr.ok(t, "down", "--force", "signs")

	pr.tell(t, "true")
	pr.machine(t, "signs", told, "ready: ssh", `ports: ["2223:22"]`)
	assert.Contains(t, pr.ok(t, "up", "signs").err, "its ssh server answers")
	pr.ok(t, "down", "--force", "signs")
	p.nothingLeft(t, before)
}

// TestSecureBoot: an image that is not signed is a sentence of its own.
func TestSecureBootRefuses(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	pr.machine(t, "signed", "firmware: efi", "secure-boot: true")
	r := pr.vmctl(t, "up", "signed") // what its console says is no sentence of ours
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "signed does not boot: the firmware refused what is on its disk")
	assert.Contains(t, r.err, "secure-boot: false")
	pr.ok(t, "down", "--force", "signed")
}
