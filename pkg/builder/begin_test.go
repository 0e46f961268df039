package builder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheFlakeOfInitBuilds builds what vmctl init writes, on the tests' own nixpkgs: the
// real one cannot be fetched by a test.
func TestTheFlakeOfInitBuilds(t *testing.T) {
	text := func(name string) string {
		data, err := os.ReadFile(filepath.Join("../project/template", name))
		require.NoError(t, err)
		return strings.NewReplacer("@NAME@", "test", "@SYSTEM@", "x86_64-linux").Replace(string(data))
	}
	pinned, err := os.ReadFile("../../images/example/flake.lock")
	require.NoError(t, err)
	assert.Equal(t, string(pinned), text("flake.lock"), "pinned as the example is")

	const input = `  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";` + "\n"
	flake := text("flake.nix")
	require.Contains(t, flake, input)
	flake = strings.Replace(flake, input, "", 1)
	flake = strings.Replace(flake, "{ nixpkgs, ... }:", "{ self }: let nixpkgs = (import ./nixpkgs/flake.nix).outputs { self = { }; }; in", 1)
	l := newNixOS(t, text("configuration.nix"), map[string]string{"flake.nix": flake})
	res, err := l.build(l.ref())
	require.NoError(t, err)
	m := read(t, res)
	assert.Equal(t, "test", m.System.Networking.HostName)
	assert.True(t, m.System.Services.QemuGuest.Enable)
}
