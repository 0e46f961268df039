//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// keeperFlake has a system like those of NixOS: a script that activates it, and what it needs
// beside. Its image is another one for each system, as with NixOS.
const keeperFlake = `{
  outputs = { self }:
    let
      make = name: script: more: derivation ({
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        PATH = "/usr/bin:/bin";
        args = [ "-c" script ];
      } // more);
      needed = make "needed-1.0" "head -c 300000 /dev/urandom >$out" { };
      toplevel = make "nixos-system-keeper" ''
        mkdir -p $out/bin
        cp $activation $out/bin/switch-to-configuration
        chmod +x $out/bin/switch-to-configuration
        echo $needed >$out/needs
        ln -s /kernel-1 $out/kernel
      '' { inherit needed; activation = ./activation; };
      qcow2 = make "image" "mkdir $out; cp IMAGE $out/nixos.qcow2" { inherit toplevel; };
    in
    { nixosConfigurations.keeper.config.system.build = { inherit toplevel qcow2; }; };
}
`

// activation activates a system as NixOS's script does; what a test adds comes last.
const activation = `#!/bin/sh
me=$(readlink -f "$0")
case $1 in
dry-activate) echo 'would restart the following units: nginx.service'; exit ;;
boot) exit ;;
esac
echo "activating the system"
ln -sfn "${me%/bin/*}" /run/current-system
systemctl start ssh.service qemu-guest-agent.service
`

// ofImage is what the activation of the system in the image does besides.
const ofImage = "# the one of the image"

// keeper writes the flake of a machine whose image is a whole Debian.
func (pr *project) keeper(t *testing.T, image string) {
	t.Helper()
	pr.write(t, "images/keeper/flake.nix", strings.Replace(keeperFlake, "IMAGE", image, 1))
	pr.write(t, "images/keeper/activation", activation+ofImage+"\n")
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(pr.dir, "key")).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// system changes the configuration: what its activation does besides.
func (pr *project) system(t *testing.T, more string) {
	t.Helper()
	pr.write(t, "images/keeper/activation", activation+more+"\n")
}

// changed is what apply and rollback say in JSON.
type changed struct {
	Machines []struct {
		Changed, Rebooted bool
		System, Previous  string
		Generation        int
		Copied            struct{ Paths, Bytes int }
		Differences       []string
		Waiting           []string
		Ready             string
		Generations       []struct {
			Number              int
			System              string
			Runs, Booted, Boots bool
		}
	}
}

func (pr *project) change(t *testing.T, args ...string) changed {
	t.Helper()
	var done changed
	require.NoError(t, json.Unmarshal([]byte(pr.ok(t, append(args, "-o", "json", "keeper")...).out), &done))
	require.Len(t, done.Machines, 1)
	return done
}

// applies brings the running guest to another system, and has it go back from those that are
// no good. It gives the systems of the first two generations.
func (pr *project) applies(t *testing.T, in func(string) string) (first, second string) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(pr.dir, "key.pub"))
	require.NoError(t, err)
	in("mkdir -m 700 -p /root/.ssh && echo '" + strings.TrimSpace(string(key)) + "' >/root/.ssh/authorized_keys")
	// What NixOS's installer would have left: the first generation.
	made := pr.piped(t, nil, "exec", "keeper", "sh", "-c", "set -e; mkdir -p /tmp/nixos-system-first/bin && cat >/tmp/nixos-system-first/bin/switch-to-configuration <<'E'\n"+activation+"E\n"+
		"cd /tmp && chmod +x nixos-system-first/bin/* && path=$(nix-store --add nixos-system-first) && "+
		"nix-env -p /nix/var/nix/profiles/system --set $path && systemctl start nixos.service && readlink -f /run/current-system")
	require.Contains(t, made.out, "-nixos-system-first", made.err)
	first = strings.TrimSpace(made.out)

	shown := pr.ok(t, "apply", "--dry-activate", "keeper")
	assert.Equal(t, "would restart the following units: nginx.service\n", shown.out)
	m := pr.change(t, "apply").Machines[0]
	assert.True(t, m.Changed)
	assert.Equal(t, first, m.Previous)
	assert.Equal(t, 2, m.Generation)
	assert.Equal(t, []string{"kernel"}, m.Waiting)
	assert.NotEmpty(t, m.Ready)
	assert.Contains(t, strings.Join(m.Differences, "\n"), "needed")
	now := func() string { return in("readlink -f /run/current-system /nix/var/nix/profiles/system | uniq") }
	assert.Equal(t, m.System, now())
	assert.Equal(t, "300000", in("wc -c <$(cat /run/current-system/needs)"), "all that it needs came along")

	// What else there is to say of the machine goes by that, and nix is not asked.
	pr.p.nixStarts(t)
	assert.Contains(t, pr.ok(t, "up", "keeper").err, "keeper is up to date")
	assert.Contains(t, pr.ok(t, "outdated", "keeper").out, "current")
	assert.Contains(t, pr.ok(t, "apply", "keeper").err, "runs that system already: generation 2")
	assert.Zero(t, pr.p.nixStarts(t))

	// Nobody gets in any more, by no way: the guest comes back alone.
	pr.system(t, "systemctl stop ssh.service qemu-guest-agent.service")
	back := pr.vmctl(t, "apply", "--timeout", "8s", "keeper")
	assert.Contains(t, []int{6, 8}, back.code, "a slow host may not come so far as to activate it")
	assert.Contains(t, back.err, "keeper runs its previous system again")
	assert.Equal(t, m.System, now())

	pr.system(t, "echo cannot migrate the database; exit 4")
	pr.refused(t, 1, []string{"apply", "keeper"}, "could not be activated", "ended with 4", "cannot migrate the database")
	assert.Equal(t, m.System, now())
	pr.system(t, ofImage)
	return first, m.System
}

// reboots has the host build a system and the guest boot it.
func (pr *project) reboots(t *testing.T, in func(string) string) {
	t.Helper()
	server := testenv.SSH(t, "SetEnv "+strings.Join(pr.p.nix, " "))
	server.Trust(t)
	pr.p.elsewhere(t)
	pr.system(t, "# built on the host")
	m := pr.change(t, "-c", server.URI(), "apply", "--build-on", "host", "--reboot").Machines[0]
	assert.True(t, m.Rebooted)
	assert.Empty(t, m.Waiting)
	assert.NotEmpty(t, m.Ready)
	assert.Equal(t, 3, m.Generation)
	assert.Positive(t, m.Copied.Paths)
	assert.FileExists(t, m.System+"/bin/switch-to-configuration", "the host has built it")
	cmd := pr.p.command(t, pr.dir, "unshare", "-m", filepath.Join(pr.p.bin, "nix"), "path-info", m.System)
	assert.NotZero(t, pr.p.finish(t, cmd).code, "and this machine has not")
	assert.NoDirExists(t, filepath.Join(pr.p.home, ".local/state/vmctl/gcroots/system/keeper"), "nothing keeps it there any more")
	eventually(t, func() bool { return in("systemctl is-active nixos.service") == "inactive" })
	assert.Equal(t, m.System, in("readlink -f /run/booted-system"))
}

// goesBack brings the guest to the generation before, of those that are listed.
func (pr *project) goesBack(t *testing.T, in func(string) string, first, second string) {
	t.Helper()
	r := pr.ok(t, "rollback", "--list", "keeper")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	require.Len(t, lines, 4, r.out)
	assert.Regexp(t, `^GENERATION +MADE +STATE +SYSTEM$`, lines[0])
	assert.Regexp(t, `^ +1 +20\S+ \S+ +- +`+first+`$`, lines[1])
	assert.Regexp(t, `^ +3 .* +runs, booted, boots next +/`, lines[3])

	m := pr.change(t, "rollback").Machines[0]
	assert.Equal(t, 2, m.Generation)
	assert.Equal(t, second, m.System)
	assert.Equal(t, second, in("readlink -f /run/current-system /nix/var/nix/profiles/system | uniq"))
	all := pr.change(t, "rollback", "--list").Machines[0].Generations
	require.Len(t, all, 3)
	assert.Equal(t, first, all[0].System)
	assert.True(t, all[1].Runs && all[1].Boots && !all[1].Booted)
	assert.True(t, all[2].Booted && !all[2].Runs && !all[2].Boots)
	pr.refused(t, 4, []string{"rollback", "--to", "9", "keeper"}, "keeper has no generation 9")
}
