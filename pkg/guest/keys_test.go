package guest_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/guest"
	"vmctl/pkg/ssh"
)

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP8CRwsTRykVGM4NfA8dipjzKmZ9651GVBAHsjJEJ0rC"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP8CRwsTRykVGM4NfA8dipjzKmZ9651GVBAHsjJEJ0rD"
)

func TestHostKeysAreKeysAndNothingElse(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []guest.HostKey
	}{
		"one":               {keyA + " root@tiny\n", []guest.HostKey{keyA}},
		"two, one twice":    {keyB + "\n" + keyA + "\n" + keyB, []guest.HostKey{keyA, keyB}},
		"another type":      {strings.Replace(keyA, "ssh-ed25519", "ssh-rsa", 1), nil},
		"no base64":         {"ssh-ed25519 !!!!", nil},
		"a marker":          {"@cert-authority * " + keyA, nil},
		"a private key":     {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", nil},
		"an unknown type":   {"ssh-evil AAAA", nil},
		"nothing":           {"", nil},
		"control sequences": {"\x1b[2J" + keyA, nil},
		"many":              {strings.Repeat("ssh-rsa x\n", 1000) + keyA, []guest.HostKey{keyA}},
		"too long":          {"ssh-ed25519 " + strings.Repeat("AAAA", 4000), nil},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, guest.ParseHostKeys(tt.text)) })
	}
}

func TestKnownKeys(t *testing.T) {
	k := guest.Known{Path: filepath.Join(t.TempDir(), "a", "example"), Alias: "vmctl.example"}
	keys, err := k.Keys()
	require.NoError(t, err)
	assert.Empty(t, keys)
	require.NoError(t, k.Learn([]guest.HostKey{keyA}))
	text, err := os.ReadFile(k.Path)
	require.NoError(t, err)
	assert.Equal(t, "vmctl.example "+keyA+"\n", string(text))
	keys, err = k.Keys()
	require.NoError(t, err)
	assert.Equal(t, []guest.HostKey{keyA}, keys)
	require.NoError(t, k.Learn([]guest.HostKey{keyB}))
	keys, err = k.Keys()
	require.NoError(t, err)
	assert.Equal(t, []guest.HostKey{keyB}, keys)
	require.NoError(t, k.Forget())
	require.NoError(t, k.Forget())
}

func FuzzParseHostKeys(f *testing.F) {
	f.Add(keyA)
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range guest.ParseHostKeys(text) {
			assert.Len(t, strings.Fields(string(k)), 2)
			assert.NotContains(t, string(k), "\n")
		}
	})
}

func TestSSHArguments(t *testing.T) {
	s := &guest.SSH{
		Machine: "example", User: "-oProxyCommand=x", Key: "/k", Known: guest.Known{Path: "/a b/50%", Alias: "vmctl.example"},
		Route: guest.Route{Address: address("127.0.0.1"), Port: 2222},
	}
	assert.Equal(t, []string{
		"-o", "HostKeyAlias=vmctl.example", "-o", `UserKnownHostsFile="/a b/50%%"`, "-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=yes", "-o", "CheckHostIP=no", "-o", "UpdateHostKeys=no", "-o", "HashKnownHosts=no",
		"-p", "2222", "-l", "-oProxyCommand=x", "-i", "/k", "-o", "ProxyCommand=none", "-T", "127.0.0.1", "--", "-oProxyCommand=y",
	}, s.Args([]string{"-T"}, "-oProxyCommand=y"), "what could be an option stands behind the option that it belongs to, or behind --")

	s.Ask, s.Key = true, ""
	s.Route.Jump = ssh.Of("qemu+ssh://me@host.example.org:2200/system?keyfile=/my%20key")
	args := s.Args(nil)
	assert.Contains(t, args, "StrictHostKeyChecking=ask")
	assert.Contains(t, args, "ProxyCommand=ssh -l me -p 2200 -i '/my key' -o ClearAllForwardings=yes -W 127.0.0.1:2222 -- host.example.org")
	for _, uri := range []string{"qemu:///system", "qemu+tls://host/system", "qemu+ssh://-oProxyCommand=x/system", ":"} {
		assert.Nil(t, ssh.Of(uri), uri)
	}
}

func address(s string) netip.Addr { return netip.MustParseAddr(s) }
