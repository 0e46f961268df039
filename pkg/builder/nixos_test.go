package builder

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// nixosFlake is a flake as people have it: one system, and no word of machines.
const nixosFlake = `{
  outputs = { self }:
    let nixpkgs = (import ./nixpkgs/flake.nix).outputs { self = { }; };
    in {
      nixosConfigurations.web = nixpkgs.lib.nixosSystem { modules = [ ./configuration.nix ]; };
    };
}
`

// newNixOS is a lab with such a flake in a repository, on a nixpkgs of the tests' own.
func newNixOS(t testing.TB, configuration string, more map[string]string) *lab {
	t.Helper()
	files := map[string]string{"flake.nix": nixosFlake, "configuration.nix": configuration}
	copyInto(t, files, "../../images/testdata/nixos", "nixpkgs")
	maps.Copy(files, more)
	l := newLab(t, files)
	l.git("init")
	return l
}

func copyInto(t testing.TB, files map[string]string, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(from, path)
		files[filepath.Join(to, rel)] = string(data)
		return err
	}))
}

// made is what the tests' make-disk-image notes of an image.
type made struct {
	System struct {
		Boot struct {
			GrowPartition bool
			KernelParams  []string
			ResumeDevice  string
			Initrd        struct {
				Luks struct{ Devices map[string]any }
			}
			Loader struct {
				Timeout int
				Efi     struct {
					CanTouchEfiVariables bool
					EfiSysMountPoint     string
				}
				SystemdBoot struct{ Enable bool } `json:"systemd-boot"`
				Grub        struct {
					Enable, EfiSupport, EfiInstallAsRemovable bool
					Device                                    string
					Devices                                   []string
				}
			}
		}
		FileSystems map[string]struct {
			Device, FsType         string
			AutoResize, AutoFormat bool
			Options                []string
		}
		Networking  struct{ HostName string }
		Services    struct{ QemuGuest struct{ Enable bool } }
		SwapDevices []any
		Units       []string
		Grow        map[string]string
		FsPackages  []string
	}
	Arguments struct {
		DiskSize, Format, PartitionTableType, Label string
		CopyChannel                                 bool
	}
}

func TestVolumesAreMounted(t *testing.T) {
	l := newNixOS(t, `{ vmctl.volumes = { data = { mountPoint = "/data"; fsType = "xfs"; }; raw.size = 1; }; }`, nil)
	ref := l.ref()
	ref.Attr = "web"
	res, err := l.build(ref)
	require.NoError(t, err)
	m := read(t, res)
	volume := m.System.FileSystems["/data"]
	assert.Equal(t, "/dev/disk/by-id/virtio-data", volume.Device)
	assert.Equal(t, "xfs", volume.FsType)
	assert.True(t, volume.AutoFormat)
	assert.True(t, volume.AutoResize)
	assert.Equal(t, []string{"nofail"}, volume.Options)
	assert.Len(t, m.System.FileSystems, 2)
	assert.Contains(t, m.System.Units, "vmctl-grow@")
	assert.Contains(t, m.System.Grow["vmctl-grow@"], "systemd-growfs")
	assert.Equal(t, []string{"e2fsprogs", "xfsprogs", "btrfs-progs"}, m.System.FsPackages)

	l.write("images/test/configuration.nix", `{ vmctl.volumes.a-name-longer-than-twenty = { }; }`)
	_, err = l.build(ref)
	require.ErrorContains(t, err, "the configuration contradicts itself")
}

func read(t testing.TB, res Result) (m made) {
	t.Helper()
	data, err := os.ReadFile(res.Path)
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(data), "\n")
	decode := json.NewDecoder(strings.NewReader(text))
	require.NoError(t, decode.Decode(&m.System))
	require.NoError(t, decode.Decode(&m.Arguments))
	return m
}

func TestPlainConfiguration(t *testing.T) {
	l := newNixOS(t, `{ networking.hostName = "shop"; boot.kernelParams = [ "quiet" ]; }`, nil)
	ref := l.ref()
	ref.Attr = "web"
	res, err := l.build(ref)
	require.NoError(t, err)
	assert.Equal(t, "nixosConfigurations.web", res.Attr)
	assert.False(t, res.Cached)
	assert.Empty(t, res.Left)
	assert.Equal(t, "git+file://"+l.project+"?dir="+flakeDir, strings.ReplaceAll(res.Origin.URL, "%2f", "/"))
	assert.True(t, res.Origin.Dirty)

	m := read(t, res)
	assert.Equal(t, "shop", m.System.Networking.HostName)
	assert.Equal(t, []string{"quiet", "console=tty0", "console=ttyS0"}, m.System.Boot.KernelParams, "the last console is the serial one")
	assert.True(t, m.System.Boot.GrowPartition)
	assert.True(t, m.System.Services.QemuGuest.Enable)
	assert.Zero(t, m.System.Boot.Loader.Timeout)
	assert.Equal(t, "/dev/disk/by-label/nixos", m.System.FileSystems["/"].Device)
	assert.True(t, m.System.FileSystems["/"].AutoResize)
	assert.NotContains(t, m.System.FileSystems, "/boot")
	assert.Equal(t, []string{"/dev/vda"}, m.System.Boot.Loader.Grub.Devices)
	assert.Equal(t, "auto", m.Arguments.DiskSize)
	assert.Equal(t, "qcow2", m.Arguments.Format)
	assert.Equal(t, "legacy", m.Arguments.PartitionTableType)
	assert.False(t, m.Arguments.CopyChannel)

	cmd := exec.CommandContext(t.Context(), "git", "-C", l.project, "status", "--porcelain", "--ignored", "--untracked-files=all")
	out, err := cmd.Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		assert.True(t, strings.HasPrefix(line, "A "), "nothing is written into the person's tree: %s", line)
	}

	runs := l.runs()
	again, err := l.build(ref)
	require.NoError(t, err)
	assert.True(t, again.Cached)
	assert.Equal(t, runs, l.runs(), "nothing has changed, so no nix starts")
	assert.JSONEq(t, string(res.Spec), string(again.Spec), "the machine that it describes is remembered")
	again.Cached, again.Spec, res.Spec = false, nil, nil
	assert.Equal(t, res, again)
	recalled, ok := l.Recall(ref)
	assert.True(t, ok)
	assert.Equal(t, res.Path, recalled.Path)

	for name, change := range map[string]func(*Ref){
		"firmware": func(r *Ref) { r.Firmware = "efi" },
		"no kvm":   func(r *Ref) { r.NoKVM = true },
	} {
		changed := ref
		change(&changed)
		res, err := l.build(changed)
		require.NoError(t, err)
		assert.False(t, res.Cached, name)
	}
}

// TestPlainConfigurationOfAMachine is a configuration that was written for a real one.
func TestPlainConfigurationOfAMachine(t *testing.T) {
	const configuration = `{ lib, ... }: {
  boot.loader.systemd-boot.enable = true;
  boot.loader.efi.canTouchEfiVariables = true;
  boot.loader.timeout = 3;
  boot.initrd.luks.devices.root.device = "/dev/disk/by-uuid/1";
  boot.resumeDevice = "/dev/nvme0n1p3";
  services.qemuGuest.enable = false;
  swapDevices = [ { device = "/dev/nvme0n1p3"; } ];
  fileSystems."/" = { device = "/dev/mapper/root"; fsType = "btrfs"; options = [ "subvol=root" ]; };
  fileSystems."/boot" = { device = "/dev/disk/by-uuid/2"; fsType = "vfat"; };
  fileSystems."/home" = { device = "/dev/disk/by-uuid/3"; fsType = "ext4"; };
  fileSystems."/tank" = { device = "tank/data"; fsType = "zfs"; };
  fileSystems."/tmp" = { device = "tmpfs"; fsType = "tmpfs"; };
  fileSystems."/srv" = { device = "server:/srv"; fsType = "nfs"; };
  fileSystems."/data" = { device = "/dev/disk/by-id/virtio-data"; fsType = "ext4"; };
}`
	l := newNixOS(t, configuration, nil)
	ref := l.ref()
	res, err := l.build(ref)
	require.NoError(t, err)
	assert.Equal(t, []string{"/home", "/tank"}, res.Left)
	m := read(t, res)
	assert.Equal(t, "/dev/disk/by-label/nixos", m.System.FileSystems["/"].Device)
	assert.Equal(t, "ext4", m.System.FileSystems["/"].FsType)
	assert.Equal(t, "/dev/disk/by-label/ESP", m.System.FileSystems["/boot"].Device)
	for _, kept := range []string{"/tmp", "/srv", "/data"} {
		assert.Contains(t, m.System.FileSystems, kept)
	}
	for _, left := range res.Left {
		assert.NotContains(t, m.System.FileSystems, left, "the guest would wait for its disk")
	}
	assert.Empty(t, m.System.SwapDevices)
	assert.Empty(t, m.System.Boot.Initrd.Luks.Devices)
	assert.Empty(t, m.System.Boot.ResumeDevice)
	assert.True(t, m.System.Boot.Loader.SystemdBoot.Enable)
	assert.False(t, m.System.Boot.Loader.Grub.Enable)
	assert.False(t, m.System.Boot.Loader.Efi.CanTouchEfiVariables)
	assert.Equal(t, "efi", m.Arguments.PartitionTableType)
	assert.Equal(t, 3, m.System.Boot.Loader.Timeout, "what the person says counts")
	assert.False(t, m.System.Services.QemuGuest.Enable, "what the person says counts")

	ref.Firmware = "bios"
	res, err = l.build(ref)
	require.NoError(t, err)
	m = read(t, res)
	assert.False(t, m.System.Boot.Loader.SystemdBoot.Enable)
	assert.True(t, m.System.Boot.Loader.Grub.Enable)
	assert.Equal(t, "/dev/vda", m.System.Boot.Loader.Grub.Device)
	assert.Equal(t, "legacy", m.Arguments.PartitionTableType)
	assert.Equal(t, "bios", specOf(t, res)["firmware"])
}

// TestReleasesDiffer: make-disk-image has had other arguments, and file systems no enable.
func TestReleasesDiffer(t *testing.T) {
	l := newNixOS(t, `{ fileSystems."/var" = { device = "/dev/sda3"; fsType = "ext4"; }; }`, nil)
	edit := func(file, old, new string) {
		path := filepath.Join(l.flake, file)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(text), old)
		l.write(filepath.Join(flakeDir, file), strings.ReplaceAll(string(text), old, new))
	}
	edit("nixpkgs/lib/make-disk-image.nix", `additionalSpace ? "512M", `, "")
	edit("nixpkgs/lib/make-disk-image.nix", `additionalSpace `, "")
	edit("nixpkgs/modules/base.nix", "enable = option types.bool true;\n          device", "device")
	edit("nixpkgs/modules/base.nix", "lib.filterAttrs (_: fs: fs.enable) config.fileSystems", "config.fileSystems")
	res, err := l.build(l.ref())
	require.NoError(t, err)
	assert.Equal(t, "tmpfs", read(t, res).System.FileSystems["/var"].FsType)
}

func specOf(t testing.TB, res Result) (spec map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(res.Spec, &spec))
	return spec
}

func TestSpec(t *testing.T) {
	const nothing = `{"version": 1, "system": "x86_64-linux", "nixos": {"release": "25.11", "stateVersion": "25.11"},
		"memorySize": null, "cores": null, "diskSize": null, "firmware": "bios", "secureBoot": false, "autostart": false,
		"network": null, "ports": [], "volumes": {}, "shares": {}, "credentials": {}, "identity": false, "interfaces": []}`
	for name, test := range map[string]struct {
		configuration string
		want          map[string]any
	}{
		"nothing said": {`{ }`, nil},
		"build-vm's": {
			`{ virtualisation.vmVariant.virtualisation = { memorySize = 2048; cores = 4; diskSize = 8192;
			     forwardPorts = [ { from = "host"; host.port = 8080; guest.port = 80; } ]; }; }`,
			map[string]any{
				"memorySize": 2048, "cores": 4, "diskSize": 8192,
				"ports": []any{map[string]any{"proto": "tcp", "host": map[string]any{"address": "", "port": 8080}, "guest": map[string]any{"address": "", "port": 80}}},
			},
		},
		"build-vm's are defaults": {
			`{ vmctl.memorySize = 512; virtualisation.vmVariant.virtualisation.memorySize = 2048; }`,
			map[string]any{"memorySize": 512},
		},
		"all of it": {
			`{ vmctl = { memorySize = 512; cores = 1; diskSize = 4096; firmware = "efi"; autostart = true; network = "lan";
			     volumes.data = { size = 1024; mountPoint = "/data"; fsType = "xfs"; };
			     shares.src = { source = "/srv/src"; target = "/src"; };
			     credentials.token.source = "secrets/token";
			     interfaces = [ { bridge = "br0"; } ]; }; }`,
			map[string]any{
				"memorySize": 512, "cores": 1, "diskSize": 4096, "firmware": "efi", "autostart": true, "network": "lan",
				"volumes":     map[string]any{"data": map[string]any{"size": 1024, "mountPoint": "/data", "fsType": "xfs", "encrypt": false, "device": nil}},
				"shares":      map[string]any{"src": map[string]any{"source": "/srv/src", "target": "/src", "readOnly": false}},
				"credentials": map[string]any{"token": map[string]any{"source": "secrets/token", "env": nil, "command": nil, "sops": nil, "age": nil, "persist": false}},
				"interfaces":  []any{map[string]any{"bridge": "br0", "network": nil, "macvtap": nil, "user": false, "mac": nil, "address": nil, "model": nil}},
			},
		},
		"GRUB for both":      {`{ boot.loader.grub = { efiSupport = true; device = "/dev/vda"; }; }`, nil},
		"GRUB for UEFI":      {`{ boot.loader.grub = { efiSupport = true; device = "nodev"; }; }`, map[string]any{"firmware": "efi"}},
		"firmware is stated": {`{ vmctl.firmware = "bios"; boot.loader.systemd-boot.enable = true; }`, nil},
		"the module is imported": {
			`{ imports = [ { key = "vmctl"; imports = [ ./module ]; } ]; vmctl.cores = 7; }`,
			map[string]any{"cores": 7},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			more := map[string]string{}
			copyInto(t, more, "../../images/module", "module")
			l := newNixOS(t, test.configuration, more)
			res, err := l.build(l.ref())
			require.NoError(t, err)
			want := map[string]any{}
			require.NoError(t, json.Unmarshal([]byte(nothing), &want))
			maps.Copy(want, test.want)
			text, err := json.Marshal(want)
			require.NoError(t, err)
			assert.JSONEq(t, string(text), string(res.Spec))
		})
	}
}

// TestWrittenOut: what the definition names is built as it is.
func TestWrittenOut(t *testing.T) {
	const flake = `{
  outputs = { self }:
    let nixpkgs = (import ./nixpkgs/flake.nix).outputs { self = { }; };
    in {
      nixosConfigurations.web = nixpkgs.lib.nixosSystem { modules = [ ./configuration.nix ]; };
      packages.x86_64-linux.disk = ` + "%DISK%" + `;
    };
}
`
	l := newNixOS(t, `{ vmctl.cores = 3; system.build.qcow2 = `+drv("own", goodScript)+`;
		system.build.images.qemu = `+drv("variant", goodScript)+`; }`, map[string]string{
		"flake.nix": strings.ReplaceAll(flake, "%DISK%", drv("package", goodScript)),
	})
	// The configuration uses vmctl's options, which only vmctl's wrapper gives it.
	l.write(flakeDir+"/configuration.nix", strings.Replace(mustRead(t, l.flake+"/configuration.nix"), "vmctl.cores = 3; ", "", 1))
	for attr, want := range map[string]struct{ attr, out string }{
		"":                        {"nixosConfigurations.web.config.system.build.qcow2", "own"},
		"web":                     {"nixosConfigurations.web.config.system.build.qcow2", "own"},
		"nixosConfigurations.web": {"nixosConfigurations.web.config.system.build.qcow2", "own"},
		"web.images.qemu":         {"nixosConfigurations.web.config.system.build.images.qemu", "variant"},
		"nixosConfigurations.web.config.system.build.images.qemu": {"nixosConfigurations.web.config.system.build.images.qemu", "variant"},
		"packages.x86_64-linux.disk":                              {"packages.x86_64-linux.disk", "package"},
	} {
		ref := l.ref()
		ref.Attr = attr
		res, err := l.build(ref)
		require.NoError(t, err, attr)
		assert.Equal(t, want.attr, res.Attr, attr)
		assert.True(t, strings.HasSuffix(res.OutPath, "-"+want.out), "%s is %s", attr, res.OutPath)
		assert.Equal(t, strings.HasPrefix(want.attr, configurations), res.Spec != nil, "a configuration describes a machine: %s", attr)
	}
}

func mustRead(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// TestWithoutKVM: nix refuses an image that wants KVM where it sees none; --no-kvm builds it.
func TestWithoutKVM(t *testing.T) {
	l := newNixOS(t, `{ }`, nil)
	text := mustRead(t, l.flake+"/nixpkgs/lib/make-disk-image.nix")
	l.write(flakeDir+"/nixpkgs/lib/make-disk-image.nix", strings.Replace(text, "pkgs.needs or [ ]", `[ "kvm" ]`, 1))
	l.write(flakeDir+"/flake.nix", strings.Replace(nixosFlake, "    };\n}", `      packages.x86_64-linux.disk = `+drv("package", goodScript, `requiredSystemFeatures = [ "kvm" ];`)+";\n    };\n}", 1))
	l.Builder = New(Options{CacheDir: l.cacheDir, Env: l.env, Sink: l.recorder, Settings: map[string]string{"system-features": "nixos-test"}})
	for _, attr := range []string{"web", "packages.x86_64-linux.disk"} {
		ref := l.ref()
		ref.Attr = attr
		_, err := l.build(ref)
		require.EqualError(t, err, "images/test could not be built: building its image needs KVM, and nix does not see it on this machine", attr)
		assert.Contains(t, fault.HintOf(err), "--no-kvm")
		assert.Contains(t, fault.HintOf(err), "remote builder")
		ref.NoKVM = true
		res, err := l.build(ref)
		require.NoError(t, err, attr)
		assert.FileExists(t, res.Path)
	}
}

// TestLockIsUsedAsItIs: the wrapper's inputs are what the person locked, though the
// branch has moved on.
func TestLockIsUsedAsItIs(t *testing.T) {
	l := newLab(t, map[string]string{"placeholder": ""})
	files := map[string]string{}
	copyInto(t, files, "../../images/testdata/nixos", "")
	other := filepath.Join(l.project, "..", "nixpkgs")
	for name, text := range files {
		l.write(filepath.Join("../nixpkgs", name), text)
	}
	git := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", other, "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	git("init", "-q")
	git("add", "-A")
	git("commit", "-qm", "one")
	l.write(flakeDir+"/flake.nix", `{
  inputs.nixpkgs.url = "git+file://`+other+`?ref=main";
  outputs = { self, nixpkgs }: { nixosConfigurations.web = nixpkgs.lib.nixosSystem { modules = [ ./configuration.nix ]; }; };
}
`)
	l.write(flakeDir+"/configuration.nix", "{ }")
	l.git("init")
	l.nix("nix", "--extra-experimental-features", "nix-command flakes", "flake", "lock", l.flake)
	l.git("add", "-A")
	first, err := l.build(l.ref())
	require.NoError(t, err)

	l.write("../nixpkgs/modules/base.nix", strings.Replace(files["modules/base.nix"], `types.str "nixos"`, `types.str "moved"`, 1))
	git("commit", "-qam", "two")
	res, err := l.Build(t.Context(), l.ref(), "", true)
	require.NoError(t, err)
	assert.Equal(t, "nixos", read(t, res).System.Networking.HostName)
	assert.Equal(t, first.OutPath, res.OutPath)
}

func TestWrapperErrorsHavePositions(t *testing.T) {
	for name, test := range map[string]struct {
		configuration, want, lines, hint string
		more                             map[string]string
		details                          string
	}{
		"syntax": {
			configuration: "{\n  networking.hostName = \"a\"\n  boot.resumeDevice = \"\";\n}\n",
			want:          "images/test could not be built: syntax error, unexpected '=', expecting ';' (images/test/configuration.nix:3:21)",
			lines:         " --> images/test/configuration.nix:3:21\n 3 |   boot.resumeDevice = \"\";\n   |                     ^",
			hint:          "correct the line",
		},
		"undefined": {
			configuration: "{ networking.hostName = nam; }\n",
			want:          "images/test could not be built: undefined variable 'nam' (images/test/configuration.nix:1:25)",
			lines:         " --> images/test/configuration.nix:1:25\n 1 | { networking.hostName = nam; }\n   |                         ^",
			hint:          "correct the name, or bring it in with `let`, `inherit` or an argument",
		},
		"missing attribute": {
			configuration: "{ pkgs, ... }:\n{ environment.x = [ pkgs.curll ]; }\n",
			want:          "images/test could not be built: attribute 'curll' missing (images/test/configuration.nix:2:21)",
			hint:          "correct the name; `nix repl` shows what there is",
		},
		"option": {
			configuration: "{ services.nginxx.enable = true; }\n",
			want:          "images/test could not be built: there is no option services.nginxx (images/test/configuration.nix)",
			hint:          "correct the name; the options that exist: https://search.nixos.org/options",
		},
		"option of vmctl": {
			configuration: "{ vmctl.memory = 1024; }\n",
			want:          "images/test could not be built: there is no option vmctl.memory (images/test/configuration.nix)",
			hint:          "correct the name; vmctl's options: memorySize, cores, diskSize, firmware, ports, volumes and more",
		},
		"type": {
			configuration: "{ vmctl.memorySize = \"1GiB\"; }\n",
			want:          "images/test could not be built: the value of the option vmctl.memorySize is not of type null or positive integer, meaning >0 (images/test/configuration.nix)",
		},
		"assertion": {
			configuration: "{ assertions = [ { assertion = false; message = \"the moon is too far\"; } { assertion = true; message = \"no\"; } ]; }\n",
			want:          "images/test could not be built: the configuration contradicts itself",
			details:       "- the moon is too far",
		},
		"untracked": {
			configuration: "{ imports = [ ./extra.nix ]; }\n",
			want:          "images/test could not be built: it uses images/test/extra.nix, which git does not track, and nix sees only what git tracks",
			hint:          "git add -N images/test/extra.nix",
		},
		"dependency": {
			configuration: "{ environment.kernel = \"${" + drv("kernel", "echo no config; exit 5") + "}\"; }\n",
			want:          "images/test could not be built: kernel failed with exit code 5",
			details:       "  | no config",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newNixOS(t, test.configuration, test.more)
			if name == "untracked" {
				l.write(flakeDir+"/extra.nix", "{ }")
			}
			for round := range 2 { // what nix remembers of a failure must not make it worse
				_, err := l.build(l.ref())
				var failed *Error
				require.ErrorAs(t, err, &failed, "round %d", round)
				if failed.traces() && failed.Position != nil {
					assert.Contains(t, err.Error(), test.want)
				} else {
					require.EqualError(t, err, test.want, "round %d", round)
				}
				assert.Contains(t, failed.Details(), test.lines)
				assert.Contains(t, failed.Details(), test.details)
				if test.hint != "" {
					assert.Equal(t, test.hint, failed.Hint())
				}
				assert.NotContains(t, err.Error()+failed.Details(), "wrappers", "positions are in the person's own files")
			}
			require.NotEmpty(t, l.recorder.of(progress.Failed))
		})
	}
}

// TestNoConfiguration is what is said of flakes that give nothing to extend.
func TestNoConfiguration(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": `{ outputs = { self }: { nixosConfigurations.test = { config = { }; }; }; }`})
	_, err := l.build(l.ref())
	require.EqualError(t, err, "nixosConfigurations.test of images/test has no config.system.build.qcow2, so there is no image to build")
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
	assert.Contains(t, fault.HintOf(err), "lib.nixosSystem")
}

func TestOffers(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": `{ outputs = { self }: { nixosConfigurations = { b = throw "evaluated"; a = throw "evaluated"; }; }; }`})
	names, err := l.Offers(t.Context(), l.ref())
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, names)
	l.write(flakeDir+"/flake.nix", "{ outputs = { self }: { }; }")
	names, err = l.Offers(t.Context(), l.ref())
	require.NoError(t, err)
	assert.Empty(t, names)
}

// TestGoals is what may stand behind # in a definition.
func TestGoals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]goal{
		"":                           {},
		"web":                        {name: "web"},
		`"a.b"`:                      {name: "a.b"},
		"nixosConfigurations.web":    {name: "web"},
		"web.images.qemu":            {name: "web", path: attrPath{"nixosConfigurations", "web", "config", "system", "build", "images", "qemu"}},
		"packages.images.x":          {path: attrPath{"packages", "images", "x"}},
		"packages.x86_64-linux.disk": {path: attrPath{"packages", "x86_64-linux", "disk"}},
		"nixosConfigurations.web.config.system.build.isoImage": {
			name: "web", path: attrPath{"nixosConfigurations", "web", "config", "system", "build", "isoImage"},
		},
	} {
		got, err := parseGoal(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	_, err := parseGoal("a..b")
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
}

// TestInputURL: a directory means to the wrapper what it means on nix's command line.
func TestInputURL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain, repository := filepath.Join(dir, "plain"), filepath.Join(dir, "repo")
	for _, sub := range []string{"plain", "repo/.git", "repo/images/a&b"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	for flake, want := range map[string]string{
		plain:                      "path:" + plain,
		repository:                 "git+file://" + repository,
		repository + "/images":     "git+file://" + repository + "?dir=images",
		repository + "/images/a&b": "git+file://" + repository + "?dir=images/a%26b",
	} {
		assert.Equal(t, want, inputURL(Ref{Flake: flake}, flake))
	}
	require.NoError(t, os.WriteFile(filepath.Join(repository, ".git", "shallow"), nil, 0o644))
	assert.Equal(t, "git+file://"+repository+"?shallow=1", inputURL(Ref{Flake: repository}, repository))
	assert.Equal(t, "github:o/r/0123", inputURL(Ref{Flake: "github:o/r"}, "github:o/r/0123"))
	assert.Equal(t, `"a\"b\${c}\\"`, nixString(`a"b${c}\`))
}
