//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

const (
	debianDir = "/var/tmp/vmctl-test-debian"
	// debianVar says why there are no packages for debian, when there are none.
	debianVar = "VMCTL_TEST_DEBIAN"
)

// fetchDebian gets the packages of a whole Debian, before the tests are on a private host
// that has no way to Debian's servers. They are kept from run to run, one set for the
// versions that the machine's package lists know: fetching takes most of a minute.
func fetchDebian() {
	if os.Getenv(debianVar) != "" {
		return
	}
	why := "ok"
	for _, arg := range os.Args {
		if run, ok := strings.CutPrefix(arg, "-test.run="); ok && run != "" && !strings.Contains(run, "Secrets") {
			return // one that does not need it
		}
	}
	tar, err := debianTar()
	if err == nil {
		if _, missing := os.Stat(tar); missing != nil {
			var out []byte
			if out, err = exec.Command("testdata/debian/build.sh", "packages", tar).CombinedOutput(); err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
		}
	}
	if err != nil {
		why = err.Error()
	}
	_ = os.Setenv(debianVar, why)
}

func debianTar() (string, error) {
	versions, err := exec.Command("apt-cache", "policy", "systemd", "openssh-server", "qemu-guest-agent", "nix-bin", "base-files").Output()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(versions)
	return filepath.Join(debianDir, hex.EncodeToString(sum[:8])+".tar"), os.MkdirAll(debianDir, 0o755)
}

// debian is an image of a whole Debian with systemd.
func debian(t *testing.T, tiny string) string {
	t.Helper()
	testenv.Tool(t, "mmdebstrap", "apt-cache", "mke2fs", "sfdisk", "passwd")
	tar, err := debianTar()
	require.NoError(t, err)
	if _, err := os.Stat(tar); err != nil {
		testenv.Missing(t, "no Debian: "+os.Getenv(debianVar))
	}
	const script = "../../../images/module/credentials.sh"
	sum := sha256.New()
	sum.Write([]byte(tar + tiny))
	files := []string{script}
	require.NoError(t, filepath.WalkDir("testdata/debian", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		sum.Write(content)
	}
	image := filepath.Join(debianDir, hex.EncodeToString(sum.Sum(nil)[:8])+".qcow2")
	if _, err := os.Stat(image); err == nil {
		return image
	}
	old, err := filepath.Glob(filepath.Join(debianDir, "*.qcow2"))
	require.NoError(t, err)
	for _, file := range old {
		require.NoError(t, os.Remove(file))
	}
	out, err := exec.CommandContext(t.Context(), "testdata/debian/build.sh", "image", tar, tiny, script, image).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return image
}

// emulated is the key of a definition that gives a CPU which costs a fifth less to emulate than
// one that has everything.
const emulated = "cpu: Nehalem"

// booted waits until systemd has started everything and gives what each of some commands prints.
func booted(in func(string) string, commands ...string) []string {
	return strings.Split(in("systemctl is-system-running --wait >/dev/null; "+strings.Join(commands, "; printf '|'; ")), "|")
}

// TestSecretsInSystemd: units get what they ask for with LoadCredential before they
// start, sshd has the key that vmctl made, the volume is mounted, and what is to be kept
// is kept encrypted.
func TestSecretsInSystemd(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	pr.keeper(t, debian(t, pr.image(t, "tiny")))
	pr.machine(t, "keeper", "image: images/keeper", "memory: 512MiB", emulated, `ports: ["auto:22"]`, "ssh: {key: key}", "identity: true",
		"volumes: {data: {size: 16MiB, mount: /data}}",
		"secrets:", "  db.password: {command: [echo, "+canaries[0]+"]}", "  kept: {command: [echo, "+canaries[2]+"], persist: true}")
	key := strings.Fields(pr.ok(t, "key", "keeper").out)[1]
	pr.ok(t, "up", "keeper")
	in := func(command string) string { t.Helper(); return guestRun(t, p, "keeper", command) }
	assert.Equal(t, []string{"activeactive", canaries[0], "400 0", "tmpfs", "127.0.0.1 ssh-ed25519 " + key, "ext4", ""}, booted(in,
		"systemctl is-active test.service ssh.service", "cat /run/used", "stat -c '%a %u' /run/credstore/db.password", "stat -f -c %T /run/credstore",
		"ssh-keyscan -T 60 -t ed25519 127.0.0.1 2>/dev/null", "findmnt -n -o FSTYPE /data", "ls /dev/disk/by-id | grep creds"))

	// As after a reboot from inside: /run is empty, and there is no disk.
	assert.Equal(t, []string{"", canaries[2]}, booted(in, "grep -rl "+canaries[2]+" /var/lib/vmctl",
		"rm -rf /run/credstore; systemctl start vmctl-credentials; cat /run/credstore/*"))

	pr.ok(t, "secret", "push", "--via", "disk", "keeper")
	assert.Equal(t, canaries[0], in("cat /run/credstore/db.password"))
	first, second := pr.applies(t, in)
	keeperByFirmware(t, pr, in, key)
	pr.goesBack(t, in, first, second)
	pr.ok(t, "down", "--force", "--volumes", "--yes", "keeper")
}

// keeperByFirmware boots the same guest once more, as apply --reboot does: by fw_cfg systemd takes
// secrets without anything of vmctl's in the guest, and by SMBIOS who may log in. It has them
// again after a reboot from inside.
func keeperByFirmware(t *testing.T, pr *project, in func(string) string, hostKey string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(pr.dir, "key.pub"))
	require.NoError(t, err)
	public := strings.Join(strings.Fields(string(text))[:2], " ")
	pr.edit(t, "keeper", ", persist: true", "")
	pr.edit(t, "keeper", "identity: true", "identity: true\nsecrets-by: fw_cfg\nsystemd: {ssh-keys: ["+public+"]}")
	in("rm -rf /etc/systemd/system/*/vmctl-credentials.service /var/lib/vmctl /usr/lib/vmctl; " +
		"printf 'r! /etc/ssh/ssh_host_*\nr! /root/.ssh/authorized_keys\n' >/etc/tmpfiles.d/boots-anew.conf; sync")
	assert.Contains(t, pr.ok(t, "up", "keeper").err, "next boot")
	began := time.Now()
	pr.reboots(t, in)
	check := func() {
		t.Helper()
		assert.Equal(t, []string{"activeactive", canaries[0], "127.0.0.1 ssh-ed25519 " + hostKey, public + " 600", ""}, booted(in,
			"systemctl is-active test.service ssh.service", "cat /run/used", "ssh-keyscan -T 60 -t ed25519 127.0.0.1 2>/dev/null",
			"cat /root/.ssh/authorized_keys; stat -c ' %a' /root/.ssh/authorized_keys", "ls /run/credstore"))
	}
	check()
	for _, args := range [][]string{{"keeper"}, {"--inactive", "keeper"}} {
		assert.NotContains(t, pr.p.virsh(t, append([]string{"dumpxml"}, args...)...), canaries[0])
	}
	assert.NotContains(t, pr.p.virsh(t, "dumpxml", "--inactive", "keeper"), "fwcfg")
	leaks(t, pr.p, began, canaries[:1])

	// QEMU has them until it ends; the host has them nowhere.
	boot := func() string {
		return pr.vmctl(t, "exec", "--via", "agent", "keeper", "cat", "/proc/sys/kernel/random/boot_id").out
	}
	was := boot()
	pr.vmctl(t, "exec", "--via", "agent", "keeper", "systemctl", "--no-block", "reboot")
	require.Eventually(t, func() bool { now := boot(); return now != "" && now != was }, 3*time.Minute, time.Second/2)
	check()

	// Its agent takes changed ones, in a guest that has nothing of vmctl's.
	pr.edit(t, "keeper", "[echo, "+canaries[0]+"]", "[echo, "+canaries[3]+"]")
	assert.Contains(t, pr.ok(t, "secret", "push", "-o", "json", "keeper").out, `"via": "agent"`)
	assert.Equal(t, []string{canaries[3], canaries[3], ""}, booted(in, "cat /run/credentials/@system/db.password",
		"systemctl restart test.service; cat /run/used", "ls -A /run | grep vmctl-"))
}
