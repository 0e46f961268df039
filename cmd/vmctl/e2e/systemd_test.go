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
	versions, err := exec.Command("apt-cache", "policy", "systemd", "openssh-server", "qemu-guest-agent", "base-files").Output()
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

// TestSecretsInSystemd: units get what they ask for with LoadCredential before they
// start, sshd has the key that vmctl made, the volume is mounted, and what is to be kept
// is kept encrypted.
func TestSecretsInSystemd(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	image := debian(t, pr.image(t, "tiny"))
	pr.machine(t, "keeper", "image: "+image, "memory: 512MiB", "network: none", "identity: true",
		"volumes: {data: {size: 16MiB, mount: /data}}",
		"secrets:", "  db.password: {command: [echo, "+canaries[0]+"]}", "  kept: {command: [echo, "+canaries[2]+"], persist: true}")
	key := strings.Fields(pr.ok(t, "key", "keeper").out)[1]
	pr.ok(t, "up", "keeper")
	in := func(command string) string { t.Helper(); return guestRun(t, p, "keeper", command) }
	eventually(t, func() bool { return in("systemctl is-active test.service") == "active" })
	assert.Equal(t, canaries[0], in("cat /run/used"))
	assert.Equal(t, "400 0", in("stat -c '%a %u' /run/credstore/db.password"))
	assert.Equal(t, "tmpfs", in("stat -f -c %T /run/credstore"))
	eventually(t, func() bool { return in("systemctl is-active ssh.service") == "active" })
	assert.Contains(t, in("ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null"), key)
	assert.Equal(t, "ext4", in("findmnt -n -o FSTYPE /data"))
	assert.Empty(t, in("ls /dev/disk/by-id | grep creds"))

	// As after a reboot from inside: /run is empty, and there is no disk.
	assert.Empty(t, in("grep -rl "+canaries[2]+" /var/lib/vmctl"))
	assert.Equal(t, canaries[2], in("rm -rf /run/credstore; systemctl start vmctl-credentials; cat /run/credstore/*"))

	pr.ok(t, "secret", "push", "keeper")
	assert.Equal(t, canaries[0], in("cat /run/credstore/db.password"))
	pr.ok(t, "down", "--force", "--volumes", "--yes", "keeper")
}
