package libvirt_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/testenv"
)

// pki is a directory as libvirt's pkipath wants it: the authority, and a certificate of who.
func pki(t *testing.T, a *testenv.Authority, who, name string) string {
	t.Helper()
	dir := testenv.Dir(t, "")
	cert, key := a.Issue(name)
	for file, content := range map[string][]byte{"cacert.pem": a.CA, who + "cert.pem": cert, who + "key.pem": key} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), content, 0o600))
	}
	return dir
}

// listening starts a libvirtd of its own, on an empty host, that takes TCP and TLS, and
// gives their ports.
func listening(t *testing.T, a *testenv.Authority) (tcp, tls int) {
	t.Helper()
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ports[i] = l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
	}
	dir := pki(t, a, "server", "localhost")
	config := filepath.Join(dir, "libvirtd.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `listen_tcp = 1
listen_tls = 1
listen_addr = "127.0.0.1"
tcp_port = "%d"
tls_port = "%d"
auth_tcp = "none"
auth_tls = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
ca_file = "%[3]s/cacert.pem"
cert_file = "%[3]s/servercert.pem"
key_file = "%[3]s/serverkey.pem"
`, ports[0], ports[1], dir), 0o600))
	const empty = "for d in /run/libvirt /var/lib/libvirt /var/cache/libvirt /etc/libvirt; do mount -t tmpfs none $d || exit; done\n" +
		"printf 'cgroup_controllers = []\\nsecurity_driver = \"none\"\\n' >/etc/libvirt/qemu.conf\n" +
		`exec libvirtd --listen -f "$0" -p "$0.pid"`
	cmd := exec.Command("unshare", "-m", "--", "sh", "-c", empty, config)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for _, port := range ports {
		require.Eventually(t, func() bool {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			return err == nil && c.Close() == nil
		}, time.Minute, 10*time.Millisecond)
	}
	return ports[0], ports[1]
}

func TestTransports(t *testing.T) {
	testenv.Host(t)
	testenv.Tool(t, "unshare")
	a := testenv.NewAuthority(t)
	tcp, tls := listening(t, a)
	for _, uri := range []string{
		"qemu+unix:///system?socket=/run/libvirt/libvirt-sock",
		fmt.Sprintf("qemu+tcp://localhost:%d/system", tcp),
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=%s", tls, pki(t, a, "client", "me")),
	} {
		h, closer, err := libvirt.Open(t.Context(), uri)
		require.NoError(t, err, "hint: %s", fault.HintOf(err))
		_, err = h.Domains.ListDomains(t.Context(), engine.WithRecords)
		require.NoError(t, err)
		can, err := h.Inspector.Capabilities(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "x86_64", can.Arch)
		require.NoError(t, closer.Close())
	}
	stranger, mine := testenv.NewAuthority(t), pki(t, a, "client", "me")
	mixed := pki(t, stranger, "client", "me") // of another authority than it trusts
	ours, err := os.ReadFile(filepath.Join(mine, "cacert.pem"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(mixed, "cacert.pem"), ours, 0o600))
	const verified = "the host's TLS certificate is of another authority, or of another name"
	for uri, sentence := range map[string]string{
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=%s", tls, pki(t, stranger, "client", "me")): verified,
		fmt.Sprintf("qemu+tls://127.0.0.1:%d/system?pkipath=%s", tls, mine):                             verified,
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=/nowhere", tls):                             "TLS needs /nowhere/cacert.pem, which is not on this machine",
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=%s", tls, mixed):                            "this machine's TLS certificate " + mixed + "/clientcert.pem is not one of the authority in " + mixed + "/cacert.pem",
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=%s", tcp, mine):                             "the host and this machine cannot agree on TLS",
	} {
		_, _, err := libvirt.Open(t.Context(), uri)
		require.Error(t, err)
		assert.Equal(t, fault.Unreachable, fault.KindOf(err))
		assert.Equal(t, "cannot connect to "+uri+": "+sentence, err.Error())
		assert.NotEmpty(t, fault.HintOf(err))
	}
}
