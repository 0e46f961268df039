package guest_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/guest"
	"vmctl/pkg/ssh"
	"vmctl/pkg/testenv"
)

// TestConfigMeansWhatTheOptionsMean asks ssh itself what it understands.
func TestConfigMeansWhatTheOptionsMean(t *testing.T) {
	testenv.Tool(t, "ssh")
	shared := filepath.Join(t.TempDir(), "shared")
	require.NoError(t, os.WriteFile(shared, []byte("Host *\n  ControlMaster auto\n  Port 99\n"), 0o600))
	server := &ssh.Host{User: "root", Name: "server", Port: "23", Config: shared}
	login := guest.SSH{
		Machine: "web", User: "admin", Key: "/keys/my key", Batch: true,
		Known: guest.Known{Path: "/state/known hosts/web", Alias: "vmctl.web"},
		Route: guest.Route{Address: netip.MustParseAddr("192.0.2.7"), Port: 2222, Jump: &ssh.Host{User: "root", Name: "server", Port: "22"}},
	}
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(login.Config(server)), 0o600))
	asks := func(host string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "ssh", "-G", "-F", file, host).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	out := asks("vmctl.web")
	for _, line := range []string{
		"hostname 192.0.2.7", "port 2222", "user admin", "batchmode yes", "hostkeyalias vmctl.web", "stricthostkeychecking true",
		"userknownhostsfile /state/known hosts/web", "connecttimeout 10", "serveraliveinterval 5",
		"proxycommand " + ssh.Quote(login.Route.Jump.Through("192.0.2.7:2222")...),
	} {
		assert.Contains(t, out, line+"\n")
	}
	assert.Contains(t, out, "/keys/my key\n")
	assert.Contains(t, out, "controlmaster false\n")
	for _, line := range []string{"hostname server", "port 23", "user root", "controlmaster auto", "batchmode no"} {
		assert.Contains(t, asks("server"), line+"\n")
	}
	assert.Contains(t, asks("another"), "controlmaster false\n")
}
