package ssh_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
	"vmctl/pkg/ssh"
	"vmctl/pkg/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestOf(t *testing.T) {
	assert.Equal(t, &ssh.Host{User: "me", Name: "host", Port: "22", Key: "/my key"}, ssh.Of("qemu+ssh://me@host:22/system?keyfile=/my%20key"))
	for _, uri := range []string{"qemu:///system", "qemu+tls://host/system", "qemu+ssh://-oProxyCommand=x/system", "server", ":"} {
		assert.Nil(t, ssh.Of(uri), uri)
	}
}

func TestQuote(t *testing.T) {
	hostile := []string{"plain", "", "a b", "it's", "$(id)", "`id`", "a\nb", `\`, "-x", "*"}
	out, err := exec.Command("sh", "-c", "printf '%s|' "+ssh.Quote(hostile...)).Output()
	require.NoError(t, err)
	assert.Equal(t, strings.Join(hostile, "|")+"|", string(out))
}

// All ssh of one process share one connection, and nothing of it stays.
func TestSharedConnection(t *testing.T) {
	server := testenv.SSH(t)
	server.Trust(t)
	link := testenv.TCP(t, fmt.Sprintf("127.0.0.1:%d", server.Port), testenv.Shape{})
	require.NoError(t, os.WriteFile(server.KnownHosts, fmt.Appendf(nil, "[127.0.0.1]:%s %s\n", link.Port(), server.HostKey), 0o600))
	dir := testenv.Dir(t, "")
	killed := filepath.Join(dir, "ssh-4194305") // no process has such a number
	require.NoError(t, os.Mkdir(killed, 0o700))
	shared := ssh.Share("", filepath.Join(dir, strings.Repeat("long", 30)), filepath.Join(dir, "with blank"), dir)
	require.NotNil(t, shared)
	assert.NoDirExists(t, killed, "what a killed process left is removed")
	info, err := os.Stat(filepath.Dir(shared.Config()))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700)|os.ModeDir, info.Mode())

	// In libvirt's place: the first connection, which stays.
	first := exec.Command(shared.Command(), "-l", "root", "-p", link.Port(), "--", "127.0.0.1", "echo there; cat")
	in, err := first.StdinPipe()
	require.NoError(t, err)
	out, err := first.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, first.Start())
	said := make([]byte, len("there"))
	_, err = out.Read(said)
	require.NoError(t, err)

	h := ssh.Of("qemu+ssh://root@127.0.0.1:" + link.Port() + "/system")
	h.Config = shared.Config()
	for range 3 {
		out, err := h.Run(t.Context(), `echo "$0 it's"`)
		require.NoError(t, err)
		assert.Equal(t, "sh it's\n", out)
	}
	conn := h.Dial(t.Context(), fmt.Sprintf("127.0.0.1:%d", server.Port))
	greeting := make([]byte, 4)
	_, err = conn.Read(greeting)
	require.NoError(t, err)
	assert.Equal(t, "SSH-", string(greeting))
	require.NoError(t, conn.Close())
	_, err = h.Run(t.Context(), "exit 3")
	failed, ok := err.(*proc.Error) //nolint:errorlint // proc promises it
	require.True(t, ok, "%v", err)
	assert.Equal(t, 3, failed.ExitCode)
	assert.Equal(t, 1, link.Connections(), "one connection, and one authentication, for all")

	require.NoError(t, in.Close())
	require.NoError(t, first.Wait())
	shared.Close()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)

	h = &ssh.Host{Name: "127.0.0.1", Port: "1"}
	_, err = h.Run(t.Context(), "true")
	assert.Equal(t, fault.Unreachable, fault.KindOf(err))
}

func TestNothingIsShared(t *testing.T) {
	testenv.Host(t)
	var none *ssh.Shared
	assert.Empty(t, none.Command())
	assert.Empty(t, none.Config())
	none.Close()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.Nil(t, ssh.Share(file))
	for name, spoil := range map[string]func(dir string) error{
		"of everybody":      func(dir string) error { return os.Chmod(dir, 0o777) }, //nolint:gosec // that is the case
		"of somebody else":  func(dir string) error { return os.Chown(dir, 61000, 61000) },
		"a link of another": func(dir string) error { return errors.Join(os.Remove(dir), os.Symlink(t.TempDir(), dir)) },
	} {
		dir := filepath.Join(testenv.Dir(t, ""), "place")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, spoil(dir))
		assert.Nil(t, ssh.Share(dir), "a directory %s could give us another program to run", name)
	}
}
