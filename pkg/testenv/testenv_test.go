package testenv_test

import (
	"fmt"
	"io"
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

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// A guest without a disk is enough: its firmware is a real QEMU process.
const guest = `<domain type='qemu'><name>probe</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<serial type='pty'><log file='%LOG%'/></serial></devices></domain>`

func TestHostRunsGuests(t *testing.T) {
	uri := testenv.Host(t)
	testenv.Tool(t, "virsh", "dnsmasq", "iptables")
	file := filepath.Join(testenv.Dir(t, ""), "probe.xml")
	xml := strings.ReplaceAll(guest, "%LOG%", "/var/log/libvirt/qemu/probe-console.log")
	require.NoError(t, os.WriteFile(file, []byte(xml), 0o644))

	assert.Empty(t, virsh(t, uri, "list", "--all", "--name"), "the host is nobody else's")
	virsh(t, uri, "create", file)
	assert.Equal(t, "running", virsh(t, uri, "domstate", "probe"))
	virsh(t, uri, "net-start", "default")
	virsh(t, uri, "net-destroy", "default")
	virsh(t, uri, "destroy", "probe")
	assert.Contains(t, testenv.Logs(time.Time{}), "/var/log/libvirt/qemu/probe.log")
}

func TestTesterHasASession(t *testing.T) {
	testenv.Host(t)
	testenv.Tool(t, "virsh")
	dir := testenv.Dir(t, "tester")
	file := filepath.Join(dir, "probe.xml")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(guest, "%LOG%", dir+"/log")), 0o644))
	testenv.Give(t, dir)

	assert.Equal(t, "tester", as(t, "id", "-un"))
	as(t, "virsh", "-c", testenv.Session, "create", file)
	assert.Equal(t, "running", as(t, "virsh", "-c", testenv.Session, "domstate", "probe"))
	as(t, "virsh", "-c", testenv.Session, "destroy", "probe")
}

func TestNixBuildsOffline(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	env := testenv.Nix(t)
	const expr = `derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo hi > $out" ]; }`
	cmd := exec.Command("nix-build", "--no-out-link", "-E", expr)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	require.NoError(t, err)
	content, err := os.ReadFile(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	assert.Equal(t, "hi\n", string(content))
}

func TestToolNamesWhatIsMissing(t *testing.T) {
	const missing = "programs not installed: no-such-program (go tool task setup installs them)"
	t.Setenv("CI", "")
	r := &recorder{TB: t}
	testenv.Tool(r, "sh", "no-such-program")
	assert.Equal(t, missing, r.skipped)
	assert.Empty(t, r.failed)

	t.Setenv("CI", "true")
	r = &recorder{TB: t}
	testenv.Tool(r, "sh", "no-such-program")
	assert.Equal(t, missing, r.failed, "in CI a missing tool is a failure")
	assert.Empty(t, r.skipped)
}

// TestNothingStays kills a run that is in the middle of a guest's life.
func TestNothingStays(t *testing.T) {
	testenv.Host(t)
	testenv.Tool(t, "virsh")
	if os.Getenv("VMCTL_TESTENV_VICTIM") != "" {
		file := filepath.Join(testenv.Dir(t, ""), "probe.xml")
		xml := strings.ReplaceAll(guest, "%LOG%", "/var/log/libvirt/qemu/victim-console.log")
		xml = strings.Replace(xml, "probe", "victim", 1)
		require.NoError(t, os.WriteFile(file, []byte(xml), 0o644))
		virsh(t, testenv.System, "create", file)
		_, err := os.Stdout.WriteString("guest runs\n")
		require.NoError(t, err)
		<-t.Context().Done() // until it is killed
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	victim := exec.Command(self, "-test.run=^TestNothingStays$")
	victim.Env = append(os.Environ(), "VMCTL_TESTENV=", "VMCTL_TESTENV_VICTIM=1")
	out, err := victim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, victim.Start())
	line := make([]byte, len("guest runs"))
	_, err = io.ReadFull(out, line)
	require.NoError(t, err)
	require.Equal(t, "guest runs", string(line))
	require.Contains(t, processes(t), "guest=victim", "the victim's guest is seen from outside it")

	require.NoError(t, victim.Process.Kill())
	_ = victim.Wait() // killed
	assert.Eventually(t, func() bool {
		all := processes(t)
		// This run's own daemon is left, no other.
		return !strings.Contains(all, "guest=victim") && strings.Count(all, "libvirtd\x00-d") == 1
	}, 10*time.Second, 10*time.Millisecond)
}

// processes are the command lines of everything in this sandbox and those below it.
func processes(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var all string
	for _, path := range paths {
		line, _ := os.ReadFile(path) // it may have ended meanwhile
		all += string(line) + "\n"
	}
	return all
}

// recorder stands in for a test that is ended.
type recorder struct {
	testing.TB
	failed, skipped string
}

func (r *recorder) Fatal(args ...any) { r.failed = fmt.Sprint(args...) }
func (r *recorder) Skip(args ...any)  { r.skipped = fmt.Sprint(args...) }

func virsh(t *testing.T, uri string, args ...string) string {
	t.Helper()
	return output(t, exec.Command("virsh", append([]string{"-c", uri}, args...)...))
}

func as(t *testing.T, name string, args ...string) string {
	t.Helper()
	return output(t, testenv.AsTester(exec.Command(name, args...)))
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", cmd, out)
	return strings.TrimSpace(string(out))
}
