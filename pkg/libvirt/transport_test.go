package libvirt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
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

// authority is a CA of the tests'.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "authority"}})
	return a
}

// issue makes a key and a certificate for it.
func (a *authority) issue(of *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	of.SerialNumber, of.NotBefore, of.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = of, key
	}
	der, err := x509.CreateCertificate(rand.Reader, of, parent, &key.PublicKey, signer)
	require.NoError(a.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return cert, key
}

// pki is a directory as libvirt's pkipath wants it: the authority, and a certificate of who.
func (a *authority) pki(who string, of *x509.Certificate) string {
	a.t.Helper()
	dir := testenv.Dir(a.t, "")
	write := func(name, kind string, der []byte) {
		require.NoError(a.t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	of.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	of.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	cert, key := a.issue(of)
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	write("cacert.pem", "CERTIFICATE", a.cert.Raw)
	write(who+"cert.pem", "CERTIFICATE", cert.Raw)
	write(who+"key.pem", "EC PRIVATE KEY", der)
	return dir
}

// listening starts a libvirtd of its own, on an empty host, that takes TCP and TLS, and
// gives their ports.
func (a *authority) listening() (tcp, tls int) {
	a.t.Helper()
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(a.t, err)
		ports[i] = l.Addr().(*net.TCPAddr).Port
		require.NoError(a.t, l.Close())
	}
	pki := a.pki("server", &x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}})
	config := filepath.Join(pki, "libvirtd.conf")
	require.NoError(a.t, os.WriteFile(config, fmt.Appendf(nil, `listen_tcp = 1
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
`, ports[0], ports[1], pki), 0o600))
	const empty = "for d in /run/libvirt /var/lib/libvirt /var/cache/libvirt /etc/libvirt; do mount -t tmpfs none $d || exit; done\n" +
		"printf 'cgroup_controllers = []\\nsecurity_driver = \"none\"\\n' >/etc/libvirt/qemu.conf\n" +
		`exec libvirtd --listen -f "$0" -p "$0.pid"`
	cmd := exec.Command("unshare", "-m", "--", "sh", "-c", empty, config)
	require.NoError(a.t, cmd.Start())
	a.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for _, port := range ports {
		require.Eventually(a.t, func() bool {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			return err == nil && c.Close() == nil
		}, time.Minute, 10*time.Millisecond)
	}
	return ports[0], ports[1]
}

func TestTransports(t *testing.T) {
	testenv.Host(t)
	testenv.Tool(t, "unshare")
	a := newAuthority(t)
	tcp, tls := a.listening()
	me := &x509.Certificate{Subject: pkix.Name{CommonName: "me"}}
	for _, uri := range []string{
		"qemu+unix:///system?socket=/run/libvirt/libvirt-sock",
		fmt.Sprintf("qemu+tcp://localhost:%d/system", tcp),
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=%s", tls, a.pki("client", me)),
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
	stranger, mine := newAuthority(t), a.pki("client", me)
	mixed := stranger.pki("client", me) // of another authority than it trusts
	ours, err := os.ReadFile(filepath.Join(mine, "cacert.pem"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(mixed, "cacert.pem"), ours, 0o600))
	const verified = "the host's TLS certificate is of another authority, or of another name"
	for uri, sentence := range map[string]string{
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=%s", tls, stranger.pki("client", me)): verified,
		fmt.Sprintf("qemu+tls://127.0.0.1:%d/system?pkipath=%s", tls, mine):                       verified,
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=/nowhere", tls):                       "TLS needs /nowhere/cacert.pem, which is not on this machine",
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=%s", tls, mixed):                      "this machine's TLS certificate " + mixed + "/clientcert.pem is not one of the authority in " + mixed + "/cacert.pem",
		fmt.Sprintf("qemu+tls://localhost:%d/system?pkipath=%s", tcp, mine):                       "the host and this machine cannot agree on TLS",
	} {
		_, _, err := libvirt.Open(t.Context(), uri)
		require.Error(t, err)
		assert.Equal(t, fault.Unreachable, fault.KindOf(err))
		assert.Equal(t, "cannot connect to "+uri+": "+sentence, err.Error())
		assert.NotEmpty(t, fault.HintOf(err))
	}
}
