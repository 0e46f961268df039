//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// plainFlake is a NixOS flake that knows nothing of vmctl but the options with which it
// describes its machine.
const plainFlake = `{
  outputs = { self }:
    let nixpkgs = (import ./nixpkgs/flake.nix).outputs { self = { }; };
    in { nixosConfigurations.web = nixpkgs.lib.nixosSystem { modules = [ ./configuration.nix ]; }; };
}
`

const plainConfiguration = `{ config, ... }:
{
  networking.hostName = "shop";
  fileSystems."/" = { device = "/dev/disk/by-uuid/3f2a"; fsType = "ext4"; };
  fileSystems."/home" = { device = "/dev/disk/by-uuid/77c1"; fsType = "ext4"; };
  vmctl = {
    memorySize = 256;
    cores = 1;
    diskSize = 1024;
    network = "user";
    ports = [ { host.port = 2222; guest.port = 22; } ];
  };
}
`

// diskImage stands in for nixpkgs' make-disk-image: it makes images/tiny, with the name that
// the configuration gives the machine.
const diskImage = `{ pkgs, lib, config, diskSize, format, partitionTableType, copyChannel }:
assert diskSize == "auto" && format == "qcow2" && partitionTableType == "legacy" && !copyChannel;
derivation {
  name = "nixos-disk-image";
  inherit (pkgs) system;
  builder = "/bin/bash";
  PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  args = [ "-c" "cp -r $files root && chmod -R u+w root && echo $host > root/etc/hostname && root=$PWD/root bash $script" ];
  host = assert config.fileSystems."/".device == "/dev/disk/by-label/nixos"; config.networking.hostName;
  boot = ../tiny/boot;
  files = ../tiny/root;
  script = ../tiny/build.sh;
}
`

// TestPlainFlake takes a configuration without code for machines, and without a definition,
// to a guest that runs, and away.
func TestPlainFlake(t *testing.T) {
	p := root(t)
	before := p.look(t)
	pr := &project{p, filepath.Join(testenv.Dir(t, p.owner()), "shop")}
	copyTree(t, "../../../images/testdata/nixos", filepath.Join(pr.dir, "nixpkgs"))
	copyTree(t, "../../../images/tiny", filepath.Join(pr.dir, "nixpkgs/tiny"))
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "nixpkgs/lib/make-disk-image.nix"), []byte(diskImage), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "flake.nix"), []byte(plainFlake), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "configuration.nix"), []byte(plainConfiguration), 0o644))
	pr.git(t, "init", "-q", "-b", "main")
	pr.git(t, "add", ".")

	assert.Contains(t, pr.ok(t, "list", "--available").out, ".#web")
	s := p.shell(t, pr.dir)
	shown := unwrap(s.ok("vmctl up .#web"))
	assert.Contains(t, shown, "web is ready after")
	assert.Contains(t, shown, "left out of the image, since the machine does not have their disks: /home")
	assert.Contains(t, shown, "ssh -p 2222 root@127.0.0.1")
	// The image is of the configuration. The agent may answer before the console asks.
	s.send("vmctl console web\n")
	s.expect(`connected to web; leave with Ctrl-\]`)
	s.expect(`shop login: $`)
	s.send(bracket)
	s.expect(`left web`)
	_, code := s.prompt("")
	require.Zero(t, code)
	assert.Regexp(t, `(?m)^web +running +1 +256MiB +2222→22 `, s.ok("vmctl list"))

	p.nixStarts(t)
	assert.Contains(t, s.ok("vmctl up .#web"), "web is up to date")
	assert.Zero(t, p.nixStarts(t), "an up with nothing to do starts no nix")

	// A definition counts key by key.
	pr.write(t, "domain/web.yaml", "image: .#web\nmemory: 288MiB\n")
	plan, code := s.run("vmctl plan web")
	assert.Equal(t, 2, code)
	assert.Contains(t, plan, "memory 256MiB → 288MiB")
	assert.NotContains(t, plan, "cpus")

	assert.Contains(t, s.ok("vmctl down .#web"), "web is down")
	s.leave()
	p.nothingLeft(t, before)
	assert.NoFileExists(t, filepath.Join(pr.dir, "flake.lock"))
}
