package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// MigrateTLS is where QEMU on the private hosts looks for the certificates of live moves.
const MigrateTLS = "/etc/libvirt/migrate-tls"

// Authority is a certificate authority of the tests'.
type Authority struct {
	// CA is its own certificate, PEM.
	CA []byte

	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "authority"},
	})
	a.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	return a
}

func (a *Authority) sign(of *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	of.SerialNumber, of.NotBefore, of.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = of, key
	}
	der, err := x509.CreateCertificate(rand.Reader, of, parent, &key.PublicKey, signer)
	must(a.t, err)
	cert, err := x509.ParseCertificate(der)
	must(a.t, err)
	return cert, key
}

// Issue makes a certificate for a name or an address, and its key, both PEM. Servers and
// clients may use it.
func (a *Authority) Issue(name string) (cert, key []byte) {
	a.t.Helper()
	of := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		of.IPAddresses = []net.IP{ip}
	} else {
		of.DNSNames = []string{name}
	}
	signed, private := a.sign(of)
	der, err := x509.MarshalECPrivateKey(private)
	must(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// Certify gives a host's QEMU, whose MigrateTLS is seen here as dir, certificates of its
// address, for the time of the test: others look for keys that lie about.
func (a *Authority) Certify(dir, address string) {
	a.t.Helper()
	cert, key := a.Issue(address)
	for name, content := range map[string][]byte{
		"ca-cert": a.CA, "server-cert": cert, "client-cert": cert, "server-key": key, "client-key": key,
	} {
		file := filepath.Join(dir, name+".pem")
		// QEMU reads them as a user of its own.
		must(a.t, os.WriteFile(file, content, 0o644))
		a.t.Cleanup(func() { _ = os.Remove(file) })
	}
}
