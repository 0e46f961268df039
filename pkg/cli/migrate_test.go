package cli

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAddressOf(t *testing.T) {
	for uri, want := range map[string]string{
		"qemu+ssh://root@server.example.org:22/system": "server.example.org", "qemu+tcp://[2001:db8::1]/system": "2001:db8::1",
		"qemu:///system": "", "qemu+ssh://127.0.0.1:2222/system": "", "qemu+ssh://localhost/system": "", "qemu+tcp://[::1]/system": "", "%": "",
	} {
		assert.Equal(t, want, addressOf(uri), uri)
	}
}

func TestStorePath(t *testing.T) {
	for _, c := range [][3]string{
		{"nix-abc", "/nix/store/abc-disk/nixos.qcow2", "/nix/store/abc-disk"}, {"nix-abc", "/nix/store/abc-disk.qcow2", "/nix/store/abc-disk.qcow2"},
		{"nix-abc", "/pool/base-nix-abc.qcow2", ""}, {"sha256-abc", "/nix/store/abc-disk/x", ""},
	} {
		assert.Equal(t, c[2], storePath(c[0], c[1]), c[1])
	}
}
