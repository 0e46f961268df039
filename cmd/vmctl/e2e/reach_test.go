//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// TestReach does things inside of a guest, through its agent and by ssh.
func TestReach(t *testing.T) {
	testenv.Tool(t, "ssh", "scp")
	p := root(t)
	pr := p.project(t)
	for _, name := range []string{"one", "two"} {
		pr.machine(t, name, "disk: 1GiB", `ports: ["auto:22"]`, "ssh: {user: tarn}")
	}
	first := ports(t, pr.ok(t, "up", "-o", "json", "one").out)
	defer pr.vmctl(t, "down", "--force", "one", "two")

	pr.exec(t)
	pr.copies(t)
	pr.ssh(t)
	pr.plainSSH(t)

	second := ports(t, pr.ok(t, "up", "-o", "json", "--no-wait", "two").out)
	assert.NotEqual(t, first, second, "two machines have ports of their own")
	pr.ok(t, "down", "--force", "two")
	assert.Contains(t, pr.ok(t, "up", "one").err, "one is up to date")
}

func ports(t *testing.T, document string) int {
	t.Helper()
	var parsed struct {
		Machines []struct{ Ports []struct{ Host int } }
	}
	require.NoError(t, json.Unmarshal([]byte(document), &parsed))
	require.NotZero(t, parsed.Machines[0].Ports[0].Host)
	return parsed.Machines[0].Ports[0].Host
}

// piped runs vmctl with something on its standard input.
func (pr *project) piped(t *testing.T, in []byte, args ...string) result {
	t.Helper()
	cmd := pr.p.command(t, pr.dir, "vmctl", args...)
	cmd.Stdin = bytes.NewReader(in)
	return pr.p.finish(t, cmd)
}

func (pr *project) exec(t *testing.T) {
	t.Helper()
	r := pr.piped(t, nil, "exec", "one", "sh", "-c", "echo out; echo err >&2; exit 7")
	assert.Equal(t, result{"out\n", "err\n", 7}, r)
	binary := random(t, 300<<10)
	r = pr.piped(t, binary, "exec", "one", "cat")
	assert.Zero(t, r.code, r.err)
	assert.True(t, bytes.Equal(binary, []byte(r.out)), "what goes in comes out")
	r = pr.piped(t, nil, "exec", "one", "--", "dd", "if=/dev/zero", "bs=1M", "count=3")
	assert.Len(t, r.out, 3<<20)
	r = pr.piped(t, []byte("by ssh"), "exec", "--via", "ssh", "one", "sh", "-c", `id -un; cat; exit "$1"`, "sh", "3")
	assert.Equal(t, "tarn\nby ssh", r.out)
	assert.Equal(t, 3, r.code)
}

func (pr *project) copies(t *testing.T) {
	t.Helper()
	large := random(t, 16<<20)
	for via, file := range map[string][]byte{"agent": large[:1<<20], "ssh": large} {
		from, back := filepath.Join(pr.dir, via), filepath.Join(pr.dir, via+".back")
		require.NoError(t, os.WriteFile(from, file, 0o640))
		pr.ok(t, "cp", "--via", via, from, "one:/tmp/")
		pr.ok(t, "cp", "--via", via, "one:/tmp/"+via, back)
		got, err := os.ReadFile(back)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(file, got), "by %s", via)
		info, err := os.Stat(back)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o640), info.Mode())
	}
	pr.ok(t, "cp", "-r", "domain", "one:/tmp/d")
	pr.ok(t, "cp", "-r", "one:/tmp/d", "copied")
	assert.FileExists(t, filepath.Join(pr.dir, "copied", "one.yaml"))
	left := pr.piped(t, nil, "exec", "one", "sh", "-c", "ls -A /tmp")
	assert.Equal(t, 1, strings.Count(left.out, ".vmctl-"), "only what this command itself makes: no half copy stays")
}

func (pr *project) ssh(t *testing.T) {
	t.Helper()
	binary := random(t, 300<<10)
	r := pr.piped(t, binary, "ssh", "one", "cat; exit 5")
	assert.Equal(t, 5, r.code, r.err)
	assert.True(t, bytes.Equal(binary, []byte(r.out)))
	assert.NotContains(t, r.err, "authenticity", "the host key is known from the start")

	cmd := pr.p.command(t, pr.dir, "vmctl", "ssh", "one", "echo started; sleep 1000")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	assert.Equal(t, 130, cmd.ProcessState.ExitCode())

	// Ctrl-C is the command's own, where it has a terminal.
	s := pr.p.shell(t, pr.dir)
	s.send("vmctl ssh -t one 'trap \"exit 9\" INT; echo now; while :; do sleep 1; done'\n")
	s.expect(`(?m)^now\r?$`)
	s.send("\x03")
	_, code := s.prompt("")
	assert.Equal(t, 9, code)
	s.leave()

	// Another key than the known one is refused where nobody confirms it.
	known, err := filepath.Glob(filepath.Join(pr.p.home, ".local/state/vmctl/ssh/known/*/one"))
	require.NoError(t, err)
	require.Len(t, known, 1)
	const other = "vmctl.one ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP8CRwsTRykVGM4NfA8dipjzKmZ9651GVBAHsjJEJ0rC\n"
	require.NoError(t, os.WriteFile(known[0], []byte(other), 0o600))
	cmd = pr.p.command(t, pr.dir, "ssh", "-o", "BatchMode=yes", "-F", pr.config(t), "one", "true")
	assert.NotZero(t, pr.p.finish(t, cmd).code, "plain ssh refuses")
	r = pr.piped(t, nil, "ssh", "one", "echo in")
	assert.Equal(t, "in\n", r.out, "the agent confirms the new key: %s", r.err)
	assert.Contains(t, r.err, "its guest agent confirms the new one")
}

// config is a file with the machines for ssh.
func (pr *project) config(t *testing.T) string {
	t.Helper()
	file := filepath.Join(pr.dir, "ssh.conf")
	require.NoError(t, os.WriteFile(file, []byte(pr.ok(t, "ssh-config").out), 0o600))
	return file
}

func (pr *project) plainSSH(t *testing.T) {
	t.Helper()
	config := pr.config(t)
	r := pr.p.finish(t, pr.p.command(t, pr.dir, "ssh", "-n", "-F", config, "one", "id -un"))
	assert.Equal(t, "tarn\n", r.out, r.err)
	r = pr.p.finish(t, pr.p.command(t, pr.dir, "scp", "-F", config, "domain/one.yaml", "one:plain"))
	assert.Zero(t, r.code, r.err)

	pr.forwards(t, "one")
}

// forwards leads a free port of this machine to the guest's ssh server.
func (pr *project) forwards(t *testing.T, machine string) {
	t.Helper()
	cmd := pr.p.command(t, pr.dir, "vmctl", "forward", "-o", "json", machine, "auto:22")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var told struct{ Forwards []struct{ Local int } }
	require.NoError(t, json.NewDecoder(out).Decode(&told))
	banner := pr.p.finish(t, pr.p.command(t, pr.dir, "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+strings.TrimSpace(jsonNumber(told.Forwards[0].Local))+"; head -c 8 <&3"))
	assert.Equal(t, "SSH-2.0-", banner.out, banner.err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait()
	assert.Equal(t, 130, cmd.ProcessState.ExitCode())
}

func jsonNumber(n int) string {
	text, _ := json.Marshal(n)
	return string(text)
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	_, err := rand.Read(p)
	require.NoError(t, err)
	return p
}
