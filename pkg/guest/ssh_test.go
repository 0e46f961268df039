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
	login := guest.SSH{
		Machine: "web", User: "admin", Key: "/keys/my key", Batch: true,
		Known: guest.Known{Path: "/state/known hosts/web", Alias: "vmctl.web"},
		Route: guest.Route{Address: netip.MustParseAddr("192.0.2.7"), Port: 2222, Jump: &ssh.Host{User: "root", Name: "server", Port: "22"}},
	}
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(login.Config()), 0o600))
	out, err := exec.CommandContext(t.Context(), "ssh", "-G", "-F", file, "web").CombinedOutput()
	require.NoError(t, err, string(out))
	for _, line := range []string{
		"hostname 192.0.2.7", "port 2222", "user admin", "batchmode yes", "hostkeyalias vmctl.web", "stricthostkeychecking true",
		"userknownhostsfile /state/known hosts/web", "connecttimeout 10", "serveraliveinterval 5",
		"proxycommand " + ssh.Quote(login.Route.Jump.Through("192.0.2.7:2222")...),
	} {
		assert.Contains(t, string(out), line+"\n")
	}
	assert.Contains(t, string(out), "/keys/my key\n")
}
